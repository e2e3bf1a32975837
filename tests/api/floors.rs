//! The modules import downwards only, and no file depends on itself by way of others.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::imports::{Graph, read_graph};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The floor of each module, from the table of `ARCHITECTURE.md`.
fn floors() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(format!("{ROOT}/ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let (floor, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some((floor.parse::<u32>().ok()?, rest))
    });
    let modules = rows.flat_map(|(floor, rest)| {
        let cell = rest.split(" |").next().unwrap_or_default();
        let names = cell.split('`').skip(1).step_by(2).map(move |name| {
            let name = name.trim_start_matches("src/").trim_end_matches('/');
            (name.trim_end_matches(".rs").to_owned(), floor)
        });
        names.collect::<Vec<_>>()
    });
    modules.collect()
}

#[test]
fn each_module_imports_from_its_own_floor_or_below() {
    let floors = floors();
    let graph = read_graph(&format!("{ROOT}/src"));
    let mut modules = BTreeSet::new();
    for (file, imports) in &graph {
        let module = file.split("::").next().unwrap();
        modules.insert(module);
        for import in imports {
            let imported = import.split("::").next().unwrap();
            let floor = |name: &str| {
                let floor = floors.get(name);
                *floor.unwrap_or_else(|| panic!("ARCHITECTURE.md has no floor for `{name}`"))
            };
            assert!(
                floor(imported) <= floor(module),
                "{file} imports {import}, which is on a higher floor"
            );
        }
    }
    assert!(modules.len() > 10, "{modules:?}");
}

#[test]
fn no_file_depends_on_itself() {
    for source in ["src", "checks/src"] {
        let graph = read_graph(&format!("{ROOT}/{source}"));
        let edges: usize = graph.values().map(BTreeSet::len).sum();
        assert!(edges > 50, "{source}: {edges}");
        if let Some(cycle) = cycle(&graph) {
            panic!("{source}: {}", cycle.join(" -> "));
        }
    }
}

/// A path from a file back to itself.
fn cycle(graph: &Graph) -> Option<Vec<String>> {
    fn visit(graph: &Graph, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let file = path.last().unwrap().clone();
        for next in graph.get(&file).into_iter().flatten() {
            if let Some(start) = path.iter().position(|file| file == next) {
                path.drain(..start);
                path.push(next.clone());
                return true;
            }
            if done.contains(next) {
                continue;
            }
            path.push(next.clone());
            if visit(graph, path, done) {
                return true;
            }
            path.pop();
        }
        done.insert(file);
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|file| {
        let mut path = vec![file.clone()];
        visit(graph, &mut path, &mut done).then_some(path)
    })
}
