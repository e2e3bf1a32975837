//! The tables of `docs/checks.md` about the three rules: each row is seen on a real server, printed, and compared.

use tower_health::{HealthCheck, Outcome, Status};

/// What servers counted in a thousand runs.
pub(crate) const LEFT_BEHIND: &str = "What is left behind";

/// Prints a row, and asserts that the table below that heading has it.
pub(crate) fn assert_row(heading: &str, cells: &[&str]) {
    let row = format!("| {} |", cells.join(" | "));
    println!("{heading}: {row}");
    let documented = include_str!("../../docs/checks.md");
    let mut sections = documented.split("\n## ");
    let section = sections.find(|section| section.starts_with(heading));
    let has_row = section.is_some_and(|section| section.lines().any(|line| line == row));
    assert!(has_row, "docs/checks.md, {heading}, does not have\n{row}");
}

/// A row of what a server keeps to itself or does not have: without a bound on it the check passes, and with one it does not.
pub(crate) async fn assert_optional(
    name: &str,
    what: &str,
    check: &impl HealthCheck,
    bounded: &impl HealthCheck,
) {
    let (without, with) = (said(check).await, said(bounded).await);
    assert_ne!(with, "pass", "{name}: {what}");
    assert_row(
        "What nobody asked for",
        &[name, what, without.as_str(), &with],
    );
}

/// A row of what makes the service's own requests fail: the check does not pass then.
pub(crate) async fn assert_refusal(name: &str, what: &str, check: &impl HealthCheck) {
    let said = said(check).await;
    assert_ne!(said, "pass", "{name}: {what}");
    assert_row("What the service's own requests meet", &[name, what, &said]);
}

/// What a check says now, as tables have it.
async fn said(check: &impl HealthCheck) -> String {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    match outcome.reason() {
        Some(reason) if outcome.status() != Status::Pass => {
            format!("{}: {reason}", outcome.status())
        }
        _ => outcome.status().to_string(),
    }
}
