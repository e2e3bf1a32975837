//! What the engine hands over for publication: changes, and the facts about a check.

use std::time::{Duration, SystemTime};

use crate::model::{ComponentType, Criticality, Name, Outcome, Probe, Reason, Status};

/// How a run ended, for counters. It is finer than a status: a timeout and a panic have their own
/// counters, because their remedies differ from that of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunResult {
    Pass,
    Warn,
    Fail,
    Timeout,
    Panic,
}

impl RunResult {
    /// All results, in the order of the counts in [`Totals`].
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
    /// A failing run has a reason.
    RunEnded(RunResult, Option<Reason>, Duration),
    /// The status changed.
    StatusChanged(Status),
    /// The state changed, or was confirmed.
    StateChanged,
}

/// The totals of one check since the service started. They are counted even while no recorder is
/// installed, and a new recorder receives them as its first values.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(super) runs: [u64; RunResult::ALL.len()],
    pub(super) transitions: [u64; STATUSES.len()],
    /// The failing runs by reason. A reason has a count once it has occurred.
    pub(super) failures: Vec<(Reason, u64)>,
}

/// The values of the label `to`, in the order of [`Totals::transitions`].
pub(crate) const STATUSES: [Status; 3] = [Status::Pass, Status::Warn, Status::Fail];

impl Totals {
    /// Counts a change. Changes that have no counter are ignored.
    pub(crate) fn count(&mut self, note: Note) {
        if let Note::RunEnded(_, Some(reason), _) = note {
            match self.failures.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => self.failures.push((reason, 1)),
            }
        }
        let count = match note {
            Note::RunEnded(result, ..) => self.runs.get_mut(result as usize),
            Note::StatusChanged(status) => self.transitions.get_mut(status as usize),
            Note::Added | Note::StateChanged => None,
        };
        if let Some(count) = count {
            *count += 1;
        }
    }
}

/// The facts about a check that are published with any change.
#[derive(Debug)]
pub(crate) struct CheckFacts<'a> {
    pub(crate) name: &'a Name,
    /// The status that readers see: a pending or stale check fails.
    pub(crate) status: Status,
    /// When the last run with a good outcome ended.
    pub(crate) last_success: Option<SystemTime>,
    /// Whether the status changes often.
    pub(crate) flapping: bool,
    /// Whether it has runs. The application reports the others.
    pub(crate) runs: bool,
    pub(crate) criticality: Criticality,
    pub(crate) component_type: ComponentType,
    /// The counts so far, for a recorder that is new.
    pub(crate) totals: &'a Totals,
}

/// A check that was removed, or has another definition now.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) name: Name,
    pub(crate) criticality: Criticality,
    pub(crate) component_type: ComponentType,
    pub(crate) removed: bool,
}

/// The target of a request, for the label `probe` of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestTarget {
    Probe(Probe),
    /// One check, whether or not it exists.
    Check,
}
