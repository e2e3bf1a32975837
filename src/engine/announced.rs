//! What was announced last: to subscribers, and to the log.

use std::time::Duration;

use super::{
    clock::{Deadline, Moment},
    flapping::{Flapping, bit},
    view::View,
};
use crate::model::{FlappingPhase, Name, Probe, Reason, Status, VerdictReason};

/// The shortest time between two summaries of what flaps.
const SUMMARIES: Duration = Duration::from_secs(600);

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
    /// The last reason with the check that it names, announced or not, and since when both have
    /// held.
    last: (Option<Reason>, Option<Name>, Moment),
    /// When it was last announced that the check flaps, and the last number of changes. `None` if
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
            last: (None, None, since),
            flapping: None,
        }
    }

    /// How long a reason that returns has to hold until it is announced again. A reason that
    /// alternates is not.
    const SETTLES: Duration = Duration::from_secs(60);

    /// What is to be announced of the flapping of a check. While it flaps, nothing else is.
    pub(super) fn flapping(&mut self, flapping: Flapping, now: Moment) -> Flaps {
        let (changes, _) = flapping.changes(now);
        let phase = match (self.flapping, flapping.flaps()) {
            (None, false) => return Flaps::No,
            (None, true) => FlappingPhase::Began,
            (Some(_), false) => FlappingPhase::Ended,
            (Some((at, before)), true) => {
                if changes == before || at.age_at(now) < SUMMARIES {
                    self.flapping = Some((at, changes));
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
        if (self.last.0, self.last.1.as_ref()) != (reason, by) {
            self.last = (reason, by.cloned(), now);
        }
        self.returns_at().is_none_or(|settled| settled.reached(now))
            && (reason, by) != (self.reason, self.blocked_by.as_ref())
    }

    /// When the last reason is news if it still holds then. `None` unless it was announced before,
    /// and another one since.
    pub(super) fn returns_at(&self) -> Option<Deadline> {
        let (reason, by, since) = &self.last;
        let is_other = (reason, by) != (&self.reason, &self.blocked_by);
        let returns = is_other && self.reasons & bit(*reason) != 0;
        returns.then(|| since.plus(Self::SETTLES))
    }

    /// The reason is announced. Returns the one from before.
    pub(super) fn reason(
        &mut self,
        reason: Option<Reason>,
        by: Option<&Name>,
        now: Moment,
    ) -> Option<Reason> {
        self.reasons |= bit(reason);
        self.last = (reason, by.cloned(), now);
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

/// The verdicts that were last announced to somebody.
#[derive(Clone, Debug)]
pub(super) struct AnnouncedVerdicts(pub(super) [AnnouncedVerdict; Probe::ALL.len()]);

/// The last verdict that was announced for one probe.
#[derive(Clone, Debug)]
pub(super) struct AnnouncedVerdict {
    pub(super) status: Status,
    pub(super) reason: Option<VerdictReason>,
    /// Since when the status has held.
    pub(super) since: Moment,
    /// When a warning or worse, and when a failure was last announced.
    worse: [Option<Moment>; 2],
}

impl AnnouncedVerdicts {
    /// The current verdicts are known.
    pub(super) fn of(view: &View, now: Moment) -> Self {
        Self(Probe::ALL.map(|probe| {
            let verdict = &view.of(probe).verdict;
            AnnouncedVerdict {
                status: verdict.status,
                reason: verdict.reason,
                since: now,
                worse: [None; 2],
            }
        }))
    }
}

impl AnnouncedVerdict {
    /// Another verdict is announced at `now`. Its status has held `since` then.
    pub(super) fn replace(
        &mut self,
        (status, reason): (Status, Option<VerdictReason>),
        since: Moment,
        now: Moment,
    ) {
        (self.reason, self.status, self.since) = (reason, status, since);
        match status {
            Status::Pass => {}
            Status::Warn => self.worse[0] = Some(now),
            Status::Fail => self.worse = [Some(now); 2],
        }
    }

    /// Until when it is no news that the verdict has this status, or a worse one. `None` if it
    /// never was announced.
    pub(super) fn known_until(&self, status: Status) -> Option<Deadline> {
        let last = match status {
            Status::Pass => None,
            Status::Warn => self.worse[0],
            Status::Fail => self.worse[1],
        };
        Some(last?.plus(SUMMARIES))
    }
}
