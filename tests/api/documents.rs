//! Checks of the published documents: their links work wherever a package is read, each feature is
//! listed with its driver, and all tests are run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The published documents, as separate pages or as parts of the documentation.
const PUBLISHED: &[&str] = &[
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "README.md",
    "docs/probers.md",
    "checks/CHANGELOG.md",
    "checks/README.md",
    "checks/docs/checks.md",
    "checks/docs/recipes.md",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .current_dir(ROOT)
        .args([
            "metadata",
            "--locked",
            "--all-features",
            "--format-version=1",
        ])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn package<'m>(metadata: &'m Value, name: &str) -> &'m Value {
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    packages.find(|package| package["name"] == name).unwrap()
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link)
}

/// Returns the line of the public interface that a page of the documentation describes.
fn item(page: &str) -> String {
    let page = page.split('#').next().unwrap().replace("/index.html", "");
    let (modules, last) = page.rsplit_once('/').unwrap_or(("", &page));
    let modules = modules.replace('/', "::");
    match last.trim_end_matches(".html").split_once('.') {
        Some((kind, name)) => format!("pub {} {modules}::{name}", kind.replace("derive", "macro")),
        None if modules.is_empty() => format!("pub mod {last}"),
        None => format!("pub mod {modules}::{last}"),
    }
}

#[test]
fn links_of_published_documents_are_absolute_and_their_pages_exist() {
    let mut pages = 0;
    for document in PUBLISHED {
        for link in links(&read(document)) {
            assert!(
                link.starts_with("https://"),
                "{document}: {link} leads nowhere in the published package"
            );
            let Some((name, page)) = link
                .strip_prefix("https://docs.rs/")
                .filter(|page| page.starts_with("tower-health"))
                .and_then(|page| page.split_once("/latest/"))
            else {
                continue;
            };
            let interface = read(&format!("tests/api/snapshots/{name}.snap"));
            let item = item(page);
            let is_there = |line: &str| {
                let rest = line.strip_prefix(&item);
                rest.is_some_and(|rest| {
                    !rest.starts_with(|next: char| next.is_alphanumeric() || next == ':')
                })
            };
            assert!(
                interface.lines().any(is_there),
                "{document}: {link}: there is no `{item}`"
            );
            pages += 1;
        }
    }
    assert!(pages > 10, "{pages}");
}

/// Returns the cells of a line of a table, without comment marks. `None` for other lines.
fn row(line: &str) -> Option<Vec<&str>> {
    let line = line.trim_start_matches("//!").trim();
    let cells = line.strip_prefix('|')?.trim_end_matches('|');
    Some(cells.split('|').map(str::trim).collect())
}

/// Returns the rows of the tables in a text.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(row)
}

/// Returns the rows of the tables that have a column for features.
fn feature_rows(text: &str) -> Vec<Vec<&str>> {
    let rows: Vec<_> = text.lines().map(row).collect();
    let tables = rows
        .split(Option::is_none)
        .map(|table| table.iter().flatten());
    let has_features = |table: &std::iter::Flatten<std::slice::Iter<'_, _>>| {
        let head: Option<&Vec<&str>> = table.clone().next();
        head.is_some_and(|head| head.contains(&"feature"))
    };
    tables.filter(has_features).flatten().cloned().collect()
}

#[test]
fn each_feature_is_listed_in_the_readme_and_the_crate_docs() {
    let metadata = metadata();
    for (name, documents) in [
        ("tower-health", ["README.md", "src/lib.rs"]),
        (
            "tower-health-checks",
            ["checks/README.md", "checks/src/lib.rs"],
        ),
    ] {
        let features = package(&metadata, name)["features"].as_object().unwrap();
        for document in documents {
            let text = read(document);
            let listed: BTreeSet<&str> = feature_rows(&text)
                .into_iter()
                .flatten()
                .filter_map(|cell| cell.strip_prefix('`')?.split_once('`'))
                .map(|(feature, _)| feature)
                .collect();
            let known: BTreeSet<&str> = features.keys().map(String::as_str).collect();
            let known = &known - &BTreeSet::from(["default"]);
            let missing = &known - &listed;
            assert!(missing.is_empty(), "{document} does not list {missing:?}");
            // The tables also list checks and methods. Those are not a single lower-case
            // word.
            let is_a_feature =
                |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let gone: Vec<_> = listed.iter().filter(is_a_feature).collect();
            let gone: Vec<_> = gone
                .into_iter()
                .filter(|word| !known.contains(**word))
                .collect();
            assert!(
                gone.is_empty(),
                "{document} lists {gone:?}, and {name} has no such feature"
            );
        }
    }
}

/// The table of moved features, for users whose feature cargo no longer finds.
#[test]
fn each_moved_feature_exists_in_the_checks_and_not_in_the_core() {
    let metadata = metadata();
    let has = |package_name: &str, feature: &str| {
        let features = &package(&metadata, package_name)["features"];
        features.get(feature).is_some()
    };
    let changelog = read("CHANGELOG.md");
    let words = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let mut moved = 0;
    for row in rows(&changelog) {
        let [was, is] = row.as_slice() else { continue };
        if !is.contains("tower-health-checks") {
            continue;
        }
        for feature in words(was).iter().filter(|word| !word.starts_with("tower")) {
            assert!(
                !has("tower-health", feature),
                "{feature} is still a feature of the core"
            );
            assert!(
                has("tower-health-checks", feature),
                "{feature} is no feature of the checks"
            );
            moved += 1;
        }
    }
    assert!(moved > 10, "{moved}");
}

#[test]
fn each_driver_is_listed_with_its_required_version() {
    let metadata = metadata();
    let dependencies = package(&metadata, "tower-health-checks")["dependencies"]
        .as_array()
        .unwrap();
    let mut drivers = 0;
    for document in ["checks/README.md", "checks/src/lib.rs"] {
        let text = read(document);
        for cell in rows(&text).flatten() {
            let Some((driver, version)) = cell.split_once(' ') else {
                continue;
            };
            let Some(dependency) = dependencies
                .iter()
                .find(|known| known["name"] == driver && known["kind"].is_null())
            else {
                continue;
            };
            let asked = dependency["req"].as_str().unwrap();
            let same = asked == format!("^{version}") || asked.starts_with(&format!("^{version}."));
            assert!(
                same,
                "{document}: {driver} {version}, and {asked} is asked for"
            );
            drivers += 1;
        }
    }
    assert!(drivers > 20, "{drivers}");
}

/// The minimum Rust version of the workspace, and of each driver that needs a newer one, as both
/// README files state it.
#[test]
fn no_dependency_needs_a_newer_rust_than_documented() {
    let metadata = metadata();
    let minimum = package(&metadata, "tower-health")["rust_version"]
        .as_str()
        .unwrap();
    let minor = |version: &str| version.split('.').nth(1)?.parse::<u32>().ok();
    for document in ["README.md", "checks/README.md"] {
        let said = format!("The minimum Rust version is {minimum}");
        assert!(
            read(document).contains(&said),
            "{document} does not say: {said}"
        );
    }
    // Returns the packages that need a newer Rust version, with that version.
    let newer = |name: &str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![package(&metadata, name)["id"].as_str().unwrap()];
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            let node = nodes.iter().find(|node| node["id"] == id).unwrap();
            for dependency in node["deps"].as_array().unwrap() {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    next.push(dependency["pkg"].as_str().unwrap());
                }
            }
        }
        let packages = metadata["packages"].as_array().unwrap().iter();
        let needed = packages.filter(|package| seen.contains(package["id"].as_str().unwrap()));
        let newer = needed.filter_map(|package| {
            let version = package["rust_version"].as_str()?;
            let name = package["name"].as_str().unwrap().to_owned();
            let needs = minor(version)?;
            (needs > minor(minimum)?).then_some((name, needs))
        });
        newer.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(newer("tower-health"), BTreeMap::new());
    // `sqlx 0.9 needs 1.94` covers sqlx and the crates it consists of.
    let said = read("checks/README.md");
    let said: Vec<(&str, u32)> = said
        .split([':', ','])
        .filter_map(|clause| clause.split_once(" needs "))
        .filter_map(|(driver, version)| Some((driver.split_whitespace().next()?, minor(version)?)))
        .collect();
    for (name, needs) in newer("tower-health-checks") {
        let is_it = |driver: &str| name == driver || name.starts_with(&format!("{driver}-"));
        let known = said
            .iter()
            .any(|&(driver, version)| is_it(driver) && version == needs);
        assert!(
            known,
            "checks/README.md does not say that {name} needs 1.{needs}: {said:?}"
        );
    }
}

/// `tests/run` names each test outside the two crates.
#[test]
fn each_test_outside_the_crates_is_run() {
    let script = read("tests/run");
    let words: Vec<&str> = script.split_whitespace().collect();
    let is_run = |name| words.windows(2).any(|pair| pair == ["--test", name]);
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for package in metadata["packages"].as_array().unwrap() {
        let is_beside = members.contains(package["id"].as_str().unwrap())
            && !package["name"]
                .as_str()
                .unwrap()
                .starts_with("tower-health");
        let targets = package["targets"].as_array().unwrap().iter();
        for target in targets.filter(|target| is_beside && target["kind"][0] == "test") {
            let name = target["name"].as_str().unwrap();
            assert!(is_run(name), "tests/run does not run the test {name}");
        }
    }
}
