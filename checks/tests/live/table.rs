//! The tables of `docs/checks.md` about the three rules. Each row is observed on a real server,
//! printed, and compared.

use tower_health::{HealthCheck, Outcome, Status};

/// The counters of the servers for a thousand runs.
pub(crate) const LEFT_BEHIND: &str = "Side effects on servers";

/// Prints a row, and asserts that the table below that heading contains it.
pub(crate) fn assert_row(heading: &str, cells: &[&str]) {
    let row = format!("| {} |", cells.join(" | "));
    println!("{heading}: {row}");
    let documented = include_str!("../../docs/checks.md");
    let mut sections = documented.split("\n## ");
    let section = sections.find(|section| section.starts_with(heading));
    let has_row = section.is_some_and(|section| section.lines().any(|line| line == row));
    assert!(has_row, "docs/checks.md, {heading}, does not have\n{row}");
}

/// Asserts the row of an optional value that a server does not reveal or does not have. The check
/// passes without a bound on it, and does not pass with one.
pub(crate) async fn assert_optional(
    name: &str,
    what: &str,
    check: &impl HealthCheck,
    bounded: &impl HealthCheck,
) {
    let (without, with) = (said(check).await, said(bounded).await);
    assert_ne!(with, "pass", "{name}: {what}");
    assert_row("Optional values", &[name, what, without.as_str(), &with]);
}

/// Asserts the row of a condition in which requests of the service fail. The check does not pass in
/// that condition.
pub(crate) async fn assert_refusal(name: &str, what: &str, check: &impl HealthCheck) {
    let said = said(check).await;
    assert_ne!(said, "pass", "{name}: {what}");
    assert_row(
        "Faults that affect requests of the service",
        &[name, what, &said],
    );
}

/// Returns the current result of a check, in the form of the tables.
async fn said(check: &impl HealthCheck) -> String {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    match outcome.reason() {
        Some(reason) if outcome.status() != Status::Pass => {
            format!("{}: {reason}", outcome.status())
        }
        _ => outcome.status().to_string(),
    }
}
