//! The error of a target that cannot be probed.

use std::{error::Error, fmt};

use crate::model::Cause;

/// The longest line, in characters.
pub(super) const LINE: usize = 200;

/// The error for a text that is not a valid target of a probe.
///
/// The message quotes the target, with its secrets redacted, and describes valid ones.
///
/// ```
/// use tower_health::exec::ExecProbe;
///
/// let error = ExecProbe::new("ready").unwrap_err();
/// assert!(error.to_string().contains("http://HOST:PORT/PATH"));
/// let error = ExecProbe::new("http://app:hunter2@127.0.0.1/ready").unwrap_err();
/// assert!(!error.to_string().contains("hunter2"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTarget {
    text: String,
    problem: &'static str,
}

impl InvalidTarget {
    pub(super) fn new(text: &str, problem: &'static str) -> Self {
        // The text may contain a password.
        let text = Cause::new(text).redacted().chars().take(LINE).collect();
        Self { text, problem }
    }
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.text, self.problem)
    }
}

impl Error for InvalidTarget {}
