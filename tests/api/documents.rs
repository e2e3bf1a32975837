//! What the documents say of the crates: links lead somewhere wherever a package is read, each feature is listed with its driver,
//! and what tests there are is run.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What is published, as a page of its own or as a part of the documentation.
const PUBLISHED: &[&str] = &[
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "README.md",
    "docs/probers.md",
    "checks/CHANGELOG.md",
    "checks/README.md",
    "checks/docs/checks.md",
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

/// The line of an interface that a page of the documentation is about.
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
fn links_lead_to_pages_that_there_are_wherever_a_package_is_read() {
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

/// The first cell of each row of the tables of a text, without comment marks.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim());
    lines
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn each_feature_is_listed_where_one_looks_first() {
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
            let listed: BTreeSet<&str> = rows(&text)
                .flatten()
                .filter_map(|cell| cell.strip_prefix('`')?.split_once('`'))
                .map(|(feature, _)| feature)
                .collect();
            for feature in features.keys().filter(|feature| *feature != "default") {
                assert!(
                    listed.contains(&**feature),
                    "{document} does not list the feature {feature} of {name}"
                );
            }
        }
    }
}

#[test]
fn each_driver_is_listed_in_the_version_that_is_asked_for() {
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

/// What README.md and checks/README.md say of the minimum Rust version.
#[test]
fn no_dependency_needs_a_newer_rust_than_is_said() {
    let metadata = metadata();
    let newest = |name: &str| {
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
        let newer = packages.filter(|package| seen.contains(package["id"].as_str().unwrap()));
        let newer = newer.filter_map(|package| {
            let version = package["rust_version"].as_str()?;
            let minor: u32 = version.split('.').nth(1)?.parse().ok()?;
            (minor > 88).then(|| {
                package["name"]
                    .as_str()
                    .unwrap()
                    .split('-')
                    .next()
                    .unwrap()
                    .to_owned()
            })
        });
        newer.collect::<BTreeSet<_>>()
    };
    assert_eq!(newest("tower-health"), BTreeSet::new());
    let drivers = ["async", "sqlx"].map(str::to_owned);
    assert_eq!(newest("tower-health-checks"), BTreeSet::from(drivers));
}

/// `tests/run` names the tests beside the two crates one by one.
#[test]
fn each_test_beside_the_crates_is_run() {
    let script = read("tests/run");
    let words: BTreeSet<&str> = script.split_whitespace().collect();
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
            assert!(
                words.contains(name),
                "tests/run does not run the test {name}"
            );
        }
    }
}
