use std::time::{Duration, SystemTime};

use super::Totals;
use crate::model::{Name, Outcome, Probe, Reason, Status};

/// How a run ended, as it is counted.
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

    /// How the run with this outcome ended; none if it was given up before, and has not.
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

/// Something about a check that operators are to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// It counts from now on.
    Came,
    /// A run ended.
    Ran(RunResult, Duration),
    /// Its status became another.
    Became(Status),
    /// Its state is another, or was learnt anew.
    Changed,
}

/// What operators are told of a check, whatever happened.
#[derive(Debug)]
pub(crate) struct CheckFacts<'a> {
    pub(crate) name: &'a Name,
    pub(crate) status: Status,
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) totals: &'a Totals,
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Probe(Probe),
    /// One check, whether there is such a check or not.
    Check,
}
