//! Checks of the recipes in the documentation. Each recipe is shown exactly as it is compiled, and
//! states what it queries, what it needs and what it guarantees.

use std::{collections::BTreeSet, fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PAGE: &str = "checks/docs/recipes.md";
const SOURCES: &str = "examples/recipes/src";

/// The entries of each recipe, in this order.
const ENTRIES: [&str; 5] = ["query", "permissions", "reports", "not detected", "tested"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the modules of the crate, in the order of its root.
fn modules() -> Vec<String> {
    let root = read(&format!("{SOURCES}/lib.rs"));
    let modules = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    modules
        .filter_map(|module| module.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// Returns a source file without the comment at its top.
fn shown(module: &str) -> String {
    let source = read(&format!("{SOURCES}/{module}.rs"));
    let lines = source.lines().skip_while(|line| line.starts_with("//!"));
    let lines: Vec<&str> = lines.collect();
    lines.join("\n").trim().to_owned()
}

struct Recipe {
    heading: String,
    /// Its code blocks, with their info string.
    blocks: Vec<(String, String)>,
    /// The paragraphs and lists around them.
    text: String,
}

/// Returns the parts of the page that have a heading.
fn recipes() -> Vec<Recipe> {
    let page = read(PAGE);
    let mut recipes: Vec<Recipe> = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in page.lines() {
        let recipe = recipes.last_mut();
        match (&mut block, line.strip_prefix("```"), recipe) {
            (Some(_), Some(_), Some(recipe)) => recipe.blocks.extend(block.take()),
            (Some((_, code)), _, _) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, Some(kind), Some(_)) => block = Some((kind.to_owned(), String::new())),
            (None, Some(_), None) => panic!("{PAGE}: code before the first recipe"),
            (None, None, recipe) => match (line.strip_prefix("## "), recipe) {
                (Some(heading), _) => recipes.push(Recipe {
                    heading: heading.to_owned(),
                    blocks: Vec::new(),
                    text: String::new(),
                }),
                (None, Some(recipe)) => {
                    recipe.text.push_str(line);
                    recipe.text.push('\n');
                }
                (None, None) => {}
            },
        }
    }
    assert_eq!(block, None, "{PAGE}: a code block has no end");
    recipes
}

#[test]
fn each_recipe_is_shown_word_for_word_as_it_is_compiled() {
    let (modules, recipes) = (modules(), recipes());
    let headings: Vec<&str> = recipes.iter().map(|recipe| &*recipe.heading).collect();
    assert_eq!(
        modules.len(),
        recipes.len(),
        "{SOURCES} has {modules:?}, and {PAGE} has {headings:?}"
    );
    assert!(modules.len() > 10, "{modules:?}");
    for (module, recipe) in modules.iter().zip(&recipes) {
        let heading = &recipe.heading;
        let [(kind, code)] = recipe.blocks.as_slice() else {
            panic!("{PAGE}: {heading} has {} code blocks", recipe.blocks.len());
        };
        // The block is highlighted as Rust, but is not a doctest, because rustdoc has none of the
        // clients.
        assert_eq!(kind, "rs", "{PAGE}: {heading}");
        assert!(
            code.trim() == shown(module),
            "{PAGE}: what is below {heading} is not {SOURCES}/{module}.rs"
        );
    }
}

#[test]
fn each_file_is_a_recipe() {
    let files = fs::read_dir(Path::new(ROOT).join(SOURCES)).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut known: BTreeSet<String> = modules()
        .iter()
        .map(|module| format!("{module}.rs"))
        .collect();
    known.insert("lib.rs".to_owned());
    assert_eq!(files, known);
}

#[test]
fn each_recipe_states_its_guarantees() {
    for recipe in recipes() {
        let heading = &recipe.heading;
        let entries: Vec<&str> = recipe
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("* **")?.split_once("**: "))
            .filter(|(_, said)| !said.trim().is_empty())
            .map(|(entry, _)| entry)
            .collect();
        assert_eq!(entries, ENTRIES, "{PAGE}: {heading}");
    }
}

#[test]
fn each_client_is_listed_with_its_compiled_version() {
    let manifest = read("examples/recipes/Cargo.toml");
    let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
    let asked: BTreeSet<String> = dependencies
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = { version = \""))
        .filter_map(|(name, rest)| Some(format!("{name} {}", rest.split_once('"')?.0)))
        .collect();
    assert!(asked.len() > 10, "{asked:?}");
    let page = read(PAGE);
    let rows = page
        .lines()
        .skip_while(|line| *line != "| recipe | dependencies |")
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let listed: BTreeSet<String> = rows
        .filter_map(|row| row.trim_matches('|').split('|').nth(1))
        .flat_map(|cell| cell.split([',', ';']))
        .map(|part| part.trim().to_owned())
        .filter(|part| part.ends_with(|last: char| last.is_ascii_digit()))
        .collect();
    assert_eq!(listed, asked);
}
