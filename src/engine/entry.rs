use std::{sync::Arc, time::Duration};

use super::{cell::Cell, clock::Moment, tally::Standing};
use crate::model::{Name, Reason, Status};

/// What the writer keeps of one check.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) cell: Arc<Cell>,
    /// `None` for a check that does not count yet.
    pub(super) standing: Option<Standing>,
    pub(super) announced: Announced,
    /// Whether the result expired while nobody read it. Subscribers are not notified of that.
    pub(super) expired_unread: bool,
    /// Whether a run is queued or in flight.
    pub(super) runs: bool,
    /// The check that its dependents are blocked by, if any.
    pub(super) blocks: Option<Name>,
    pub(super) has_dependents: bool,
}

/// What subscribers were last notified of.
#[derive(Debug)]
pub(super) struct Announced {
    /// `None` while nothing is known.
    pub(super) status: Option<Status>,
    /// Since when the status has held.
    pub(super) since: Moment,
    pub(super) reason: Option<Reason>,
    blocked_by: Option<Name>,
    /// The reasons that were announced since the status began, one bit for each.
    reasons: u64,
    /// The last reason, announced or not, and since when it has held.
    last: (Option<Reason>, Moment),
}

impl Announced {
    /// How long a reason that returns has to hold until it is announced again. A reason that
    /// alternates is not.
    const SETTLES: Duration = Duration::from_secs(60);

    /// The status is new.
    pub(super) fn transition(&mut self, status: Status, since: Moment) -> (Option<Status>, Moment) {
        let before = (self.status, self.since);
        (self.status, self.since, self.reasons) = (Some(status), since, 0);
        before
    }

    /// Whether a failure has another reason than the announced one, which is to be announced now.
    pub(super) fn is_news(
        &mut self,
        reason: Option<Reason>,
        by: Option<&Name>,
        now: Moment,
    ) -> bool {
        // Between the recovery of the check that blocked it and its next run, nothing is known.
        if reason == Some(Reason::Pending) {
            return false;
        }
        if self.last.0 != reason {
            self.last = (reason, now);
        }
        let is_other = reason != self.reason || by != self.blocked_by.as_ref();
        let returns = reason != self.reason && self.reasons & bit(reason) != 0;
        is_other && (!returns || self.last.1.age_at(now) >= Self::SETTLES)
    }

    /// The reason is announced. Returns the one from before.
    pub(super) fn reason(
        &mut self,
        reason: Option<Reason>,
        by: Option<&Name>,
        now: Moment,
    ) -> Option<Reason> {
        self.reasons |= bit(reason);
        self.last = (reason, now);
        self.blocked_by = by.cloned();
        std::mem::replace(&mut self.reason, reason)
    }
}

/// The bit of a reason.
fn bit(reason: Option<Reason>) -> u64 {
    reason.map_or(0, |reason| 1 << reason as u32)
}

impl Entry {
    pub(super) fn new(cell: Arc<Cell>) -> Self {
        let since = cell.current.load().state.since;
        Self {
            cell,
            standing: None,
            announced: Announced {
                status: None,
                since,
                reason: None,
                blocked_by: None,
                reasons: 0,
                last: (None, since),
            },
            expired_unread: false,
            runs: false,
            blocks: None,
            has_dependents: false,
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.cell.definition.name
    }

    /// Whether readers see the check.
    pub(super) fn counts(&self) -> bool {
        self.standing.is_some()
    }
}
