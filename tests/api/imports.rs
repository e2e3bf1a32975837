//! Which file imports what from which, from the `use` lines of a crate.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The files of a crate by the paths of their modules, such as `engine::board`, and the files that
/// each imports from.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The path of a module or of an item, from the root of the crate.
type Segments = Vec<String>;

/// One `use` of a file.
struct Import {
    path: Segments,
    /// Whether it only exports the item, because the file itself does not use it.
    is_export: bool,
}

/// Reads the graph of the crate with these sources. Items are followed through the modules that
/// export them to the file that has them.
pub(crate) fn read_graph(source: &str) -> Graph {
    let mut files = BTreeMap::new();
    read_files(Path::new(source), &Vec::new(), &mut files);
    assert!(files.len() > 10, "{source}");
    let exports: BTreeMap<(Segments, String), Segments> = files
        .iter()
        .flat_map(|(module, imports)| {
            let named = imports.iter().filter_map(|import| {
                let name = import.path.last()?.clone();
                Some(((module.clone(), name), import.path.clone()))
            });
            named.collect::<Vec<_>>()
        })
        .collect();
    let file_of = |path: &[String]| {
        let mut path = path.to_vec();
        // An item is exported from a few places at most.
        for _ in 0..8 {
            let len = (0..=path.len())
                .rev()
                .find(|&len| files.contains_key(&path[..len]))?;
            let (module, item) = path.split_at(len);
            let export = exports.get(&(module.to_vec(), item.first()?.clone()));
            match export {
                Some(to) if *to != path => path = [to, &item[1..]].concat(),
                _ => break,
            }
        }
        let len = (0..=path.len())
            .rev()
            .find(|&len| files.contains_key(&path[..len]))?;
        Some(path[..len].to_vec())
    };
    let mut graph = Graph::new();
    for (module, imports) in &files {
        // The root exports, and is imported by nobody.
        if module.is_empty() {
            continue;
        }
        let entry = graph.entry(module.join("::")).or_default();
        for import in imports.iter().filter(|import| !import.is_export) {
            match file_of(&import.path).filter(|file| !file.is_empty()) {
                Some(file) if file != *module => _ = entry.insert(file.join("::")),
                _ => {}
            }
        }
    }
    graph
}

fn read_files(directory: &Path, module: &Segments, files: &mut BTreeMap<Segments, Vec<Import>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = || [&module[..], std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            if name != "bin" {
                read_files(&path, &inner(), files);
            }
            continue;
        }
        let file = match &*name {
            "tests" => continue,
            "lib" | "mod" => module.clone(),
            _ => inner(),
        };
        let text = without_tests_and_comments(&fs::read_to_string(&path).unwrap());
        let imports = imports(&text, &file);
        files.insert(file, imports);
    }
}

fn without_tests_and_comments(text: &str) -> String {
    let lines = text.lines().take_while(|line| {
        let is_test = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        !is_test || text.contains("#[cfg(test)]\nmod tests;")
    });
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

fn imports(text: &str, file: &Segments) -> Vec<Import> {
    let mut found = Vec::new();
    let mut body = String::new();
    let mut rest = text;
    while let Some(start) = next_use(rest) {
        let (before, line) = rest.split_at(start);
        body.push_str(before);
        let (line, after) = line.split_once(';').unwrap();
        let (visibility, tree) = line.split_once("use ").unwrap();
        let mut paths = Vec::new();
        leaves(tree, &Vec::new(), &mut paths);
        found.extend(
            paths
                .into_iter()
                .map(|path| (visibility.contains("pub"), path)),
        );
        rest = after;
    }
    body.push_str(rest);
    let uses = |name: &str| {
        let mut at = body.match_indices(name);
        at.any(|(at, _)| {
            let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let (before, after) = (&body[..at], &body[at + name.len()..]);
            !is_part(before.chars().next_back()) && !is_part(after.chars().next())
        })
    };
    let resolved = found.into_iter().filter_map(|(is_public, path)| {
        let is_export = is_public && !uses(path.last()?);
        let path = absolute(&path, file)?;
        Some(Import { path, is_export })
    });
    resolved.collect()
}

/// The offset of the next line that imports.
fn next_use(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let item = match trimmed.strip_prefix("pub") {
            Some(rest) => rest.split_once(' ').map_or("", |(_, item)| item),
            None => trimmed,
        };
        if item.starts_with("use ") {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// The paths of a tree such as `a::{b, c::{d, e}}`.
fn leaves(tree: &str, prefix: &Segments, paths: &mut Vec<Segments>) {
    let tree = tree.trim();
    if let Some(list) = tree.strip_prefix('{') {
        let list = list.strip_suffix('}').unwrap();
        let (mut depth, mut start) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    leaves(&list[start..at], prefix, paths);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return leaves(&list[start..], prefix, paths);
    }
    match tree.split_once("::") {
        Some((first, rest)) if !first.contains('{') => {
            leaves(
                rest,
                &[&prefix[..], &[first.trim().to_owned()]].concat(),
                paths,
            );
        }
        _ if tree.is_empty() => {}
        _ => {
            let name = tree.split(" as ").next().unwrap_or(tree).to_owned();
            paths.push([&prefix[..], &[name]].concat());
        }
    }
}

/// A path from the root of the crate. `None` if it is of another crate.
fn absolute(path: &[String], file: &Segments) -> Option<Segments> {
    let mut base = file.clone();
    let mut rest = path;
    match &*rest.first()?.clone() {
        "crate" => (base, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => return None,
    }
    // `use super::name::{self}` imports the module.
    let rest = rest.strip_suffix(&["self".to_owned()]).unwrap_or(rest);
    Some([&base[..], rest].concat())
}
