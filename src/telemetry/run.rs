use std::time::{Duration, SystemTime};

use super::Totals;
use crate::model::{Name, Outcome, Probe, Reason, Status};

/// How a run ended, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunResult {
    Pass,
    Warn,
    Fail,
    Timeout,
    Panic,
}

impl RunResult {
    pub(crate) const ALL: [Self; 5] = [
        Self::Pass,
        Self::Warn,
        Self::Fail,
        Self::Timeout,
        Self::Panic,
    ];

    /// Returns how the run with this outcome ended. Returns `None` if the run was given up earlier
    /// and has not ended since.
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        Some(match (outcome.status(), outcome.reason()) {
            (_, Some(Reason::StillRunning)) => return None,
            (Status::Pass, _) => Self::Pass,
            (Status::Warn, _) => Self::Warn,
            (Status::Fail, Some(Reason::TimedOut)) => Self::Timeout,
            (Status::Fail, Some(Reason::Panicked)) => Self::Panic,
            (Status::Fail, _) => Self::Fail,
        })
    }
}

/// A change of a check that is published to operators.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// The check was added.
    Added,
    /// A run ended.
    RunEnded(RunResult, Duration),
    /// The status changed.
    StatusChanged(Status),
    /// The state changed, or was confirmed.
    StateChanged,
}

/// The facts about a check that are published with any change.
#[derive(Debug)]
pub(crate) struct CheckFacts<'a> {
    pub(crate) name: &'a Name,
    pub(crate) status: Status,
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) totals: &'a Totals,
}

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestTarget {
    Probe(Probe),
    /// One check, whether or not it exists.
    Check,
}
