//! Plain text, as the Kubernetes API server writes it.
//!
//! Source: [Kubernetes API health
//! endpoints](https://kubernetes.io/docs/reference/using-api/health-checks/).
//!
//! A line with `[+]` is a check that passes or warns, and one with `[-]` is a check that fails. The
//! last line is the verdict. The reason of a failure is withheld, as the API server does, because
//! its probes are often reachable without authentication.

use std::fmt::{self, Write};

use super::{Form, Page, Subject};
use crate::{
    endpoint::Exposure,
    model::{CheckReport, Name, Probe, VerdictReason},
};

/// Returns `ok` for a pass. Returns a line for each check on the page for a fail, and for a verbose
/// request. The reason of a failing check is never included.
pub(super) fn body(page: &Page<'_>, form: Form) -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    _ = write(&mut text, page, form);
    text
}

/// Writes the text of a page. Each line ends in a line break. A plain `ok` does not.
fn write(text: &mut String, page: &Page<'_>, form: Form) -> fmt::Result {
    let good = page.status.is_good();
    let probe = match page.subject {
        Subject::Verdict(probe, _) => probe,
        Subject::Check if good => return text.write_str("ok"),
        Subject::Check => return page.checks.iter().try_for_each(|check| line(text, check)),
    };
    if good && !form.verbose {
        return text.write_str("ok");
    }
    if form.exposure > Exposure::Status {
        lines(text, page)?;
    }
    let said = if good { "passed" } else { "failed" };
    writeln!(text, "{} check {said}", probe_name(probe))
}

/// Writes the lines before the verdict: a reason of the instance itself, the checks, how many
/// checks are not listed, and what was excluded.
fn lines(text: &mut String, page: &Page<'_>) -> fmt::Result {
    // The reason is the instance itself, and not a check.
    if let Some(reason) = page
        .reason()
        .filter(|&reason| reason != VerdictReason::Checks)
    {
        let probe_name = reason.as_str().replace(' ', "-");
        writeln!(text, "[-]{probe_name} failed: reason withheld")?;
    }
    page.checks.iter().try_for_each(|check| line(text, check))?;
    if page.more > 0 {
        writeln!(text, "and {} more that do not pass", page.more)?;
    }
    for name in page.excluded.names {
        writeln!(text, "[+]{name} excluded: ok")?;
    }
    unknown(text, page)
}

/// Writes the line of a check.
fn line(text: &mut String, check: &CheckReport) -> fmt::Result {
    let name = &check.name;
    if check.status.is_good() {
        writeln!(text, "[+]{name} ok")
    } else {
        writeln!(text, "[-]{name} failed: reason withheld")
    }
}

/// Writes a warning about excluded names that do not exist.
fn unknown(text: &mut String, page: &Page<'_>) -> fmt::Result {
    let (names, more_unknown) = (page.excluded.unknown, page.excluded.more_unknown);
    let quoted: Vec<String> = names.iter().map(Name::as_str).map(quote).collect();
    let quoted = quoted.join(",");
    match (names.len(), more_unknown) {
        (0, 0) => Ok(()),
        (0, more_unknown) => writeln!(text, "{UNKNOWN}{more_unknown} of them"),
        (_, 0) => writeln!(text, "{UNKNOWN}{quoted}"),
        (_, more_unknown) => writeln!(text, "{UNKNOWN}{quoted} and {more_unknown} more"),
    }
}

/// The beginning of the warning, in the words of the API server.
const UNKNOWN: &str = "warn: some health checks cannot be excluded: no matches for ";

/// Quotes a name as the API server does. A valid name needs no escapes.
fn quote(name: &str) -> String {
    format!("{name:?}")
}

/// Returns the name that the API server has for a probe. `startupz` is not from the API server,
/// which has no such probe.
const fn probe_name(probe: Probe) -> &'static str {
    match probe {
        Probe::Health => "healthz",
        Probe::Readiness => "readyz",
        Probe::Liveness => "livez",
        Probe::Startup => "startupz",
    }
}
