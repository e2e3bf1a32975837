//! What was announced last: to subscribers, and to the log.

use std::time::Duration;

use super::{
    clock::Moment,
    flapping::{Flapping, bit},
    view::View,
};
use crate::model::{FlappingPhase, Name, Probe, Reason, Status, VerdictReason};

/// What subscribers were last notified of one check.
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
    /// When it was last announced that the check flaps, and the number of changes then. `None` if
    /// it does not flap.
    flapping: Option<(Moment, u32)>,
}

impl Announced {
    /// Nothing is known of the check yet.
    pub(super) fn nothing(since: Moment) -> Self {
        Self {
            status: None,
            since,
            reason: None,
            blocked_by: None,
            reasons: 0,
            last: (None, since),
            flapping: None,
        }
    }

    /// How long a reason that returns has to hold until it is announced again. A reason that
    /// alternates is not.
    const SETTLES: Duration = Duration::from_secs(60);

    /// The shortest time between two summaries of a check that flaps.
    const SUMMARIES: Duration = Duration::from_secs(600);

    /// What is to be announced of the flapping of a check. While it flaps, nothing else is.
    pub(super) fn flapping(&mut self, flapping: Flapping, now: Moment) -> Flaps {
        let (changes, _) = flapping.changes(now);
        let phase = match (self.flapping, flapping.flaps()) {
            (None, false) => return Flaps::No,
            (None, true) => FlappingPhase::Began,
            (Some(_), false) => FlappingPhase::Ended,
            (Some((at, before)), true) => {
                if changes == before || at.age_at(now) < Self::SUMMARIES {
                    return Flaps::Silently;
                }
                FlappingPhase::Continues
            }
        };
        self.flapping = flapping.flaps().then_some((now, changes));
        Flaps::News(phase)
    }

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

/// Whether a check flaps, as far as subscribers have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaps {
    No,
    /// It flaps, and that is known.
    Silently,
    /// It begins or ceases to flap, or a summary is due.
    News(FlappingPhase),
}

/// The verdicts that were last announced to somebody: their status and reason, and since when the
/// status holds.
#[derive(Clone, Debug)]
pub(super) struct AnnouncedVerdicts(
    pub(super) [(Status, Option<VerdictReason>, Moment); Probe::ALL.len()],
);

impl AnnouncedVerdicts {
    /// The current verdicts are known.
    pub(super) fn of(view: &View, now: Moment) -> Self {
        Self(Probe::ALL.map(|probe| {
            let verdict = &view.of(probe).verdict;
            (verdict.status, verdict.reason, now)
        }))
    }
}
