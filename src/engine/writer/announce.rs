//! Which verdicts are announced: to subscribers each change, to the log fewer while checks flap.

use std::{sync::Arc, time::Duration};

use super::Writer;
use crate::{
    engine::{
        announced::AnnouncedVerdict,
        clock::{Deadline, Moment},
        id::Id,
    },
    model::{
        CheckReport, Event, Probe, Stage, Status, VerdictReason, VerdictReasonChange,
        VerdictTransition,
    },
};

/// How long a verdict for which only flapping checks decide has to hold until it is logged.
const SETTLES: Duration = Duration::from_secs(60);

/// The same for liveness. An orchestrator restarts an instance that is not alive, so it has less
/// time.
const LIVENESS_SETTLES: Duration = Duration::from_secs(10);

impl Writer {
    /// Notes the verdicts whose status or reason is not the one that subscribers know, or that was
    /// logged.
    pub(super) fn note_transitions(&mut self, now: Moment) {
        let (mut announced, mut logged) = (self.announced.clone(), self.logged.clone());
        let mut withheld: Option<Deadline> = None;
        for ((probe, announced), logged) in Probe::ALL
            .into_iter()
            .zip(&mut announced.0)
            .zip(&mut logged.0)
        {
            let verdict = &self.view.of(probe).verdict;
            let (status, reason) = (verdict.status, verdict.reason);
            if (status, reason) != (announced.status, announced.reason)
                && (status <= announced.status || self.is_news(status))
            {
                let event = self.transition(probe, announced, (status, reason, now), now);
                self.events.push(event);
            }
            if logged.status == announced.status {
                // It may have changed and returned without a line.
                logged.since = announced.since;
            }
            if (announced.status, announced.reason) == (logged.status, logged.reason) {
                continue;
            }
            let known = self.known_until(probe, logged, announced);
            if let Some(until) = known.filter(|until| !until.reached(now)) {
                withheld = Some(withheld.map_or(until, |first| first.min(until)));
            } else {
                let to = (announced.status, announced.reason, announced.since);
                let line = self.transition(probe, logged, to, now);
                self.lines.push(line);
            }
        }
        (self.announced, self.logged, self.withheld) = (announced, logged, withheld);
    }

    /// Whether a verdict that got worse is news. An expiry that nobody read is none.
    fn is_news(&self, to: Status) -> bool {
        let unread = |id: Id| {
            let entry = self.entries.get(id);
            entry.is_some_and(|entry| entry.expired_unread)
        };
        match to {
            Status::Fail => {
                self.view.stage != Stage::NotReady
                    || self.tally.blocking.is_empty()
                    || !self.tally.blocking.iter().all(unread)
            }
            Status::Warn => !self.tally.degrading().all(unread),
            Status::Pass => true,
        }
    }

    /// Until when a verdict is not logged. `None` if it is logged at once.
    ///
    /// A verdict that is no better than the logged one is not, if it was logged not long ago, and
    /// if each check that decides it flaps. Each of them has a line that says so. Once the verdict
    /// has held for a while, it is logged.
    fn known_until(
        &self,
        probe: Probe,
        logged: &AnnouncedVerdict,
        current: &AnnouncedVerdict,
    ) -> Option<Deadline> {
        let known = logged.known_until(current.status)?;
        if current.status < logged.status {
            return None;
        }
        let flaps = |id: Id| {
            let cell = self.cell(id);
            cell.is_some_and(|cell| cell.current.load().state.flapping.flaps())
        };
        let mut deciding = self.tally.deciding(probe, current.status, current.reason);
        let only_flapping = deciding.next().is_some_and(flaps) && deciding.all(flaps);
        let settles = match probe {
            Probe::Liveness => LIVENESS_SETTLES,
            _ => SETTLES,
        };
        only_flapping.then(|| known.min(current.since.plus(settles)))
    }

    /// Announces another verdict than the announced one, with the time since when its status has
    /// held.
    fn transition(
        &self,
        probe: Probe,
        announced: &mut AnnouncedVerdict,
        (to, reason, since): (Status, Option<VerdictReason>, Moment),
        now: Moment,
    ) -> Event {
        let before = announced.clone();
        let mut ids = self.tally.deciding(probe, to, reason);
        let report = |id| Some(self.cell(id)?.report(now));
        let listed = ids.by_ref().take(VerdictTransition::MAX_CHECKS);
        let checks: Arc<[CheckReport]> = listed.filter_map(report).collect();
        let more = ids.count();
        let cause = self.view.of(probe).verdict.cause.clone();
        if to == before.status {
            announced.replace((to, reason), before.since, now);
            Event::VerdictReason(VerdictReasonChange {
                probe,
                status: to,
                from: before.reason,
                to: reason,
                cause,
                checks,
                more,
                since: before.since.time(),
                lasted: before.since.age_at(now),
            })
        } else {
            announced.replace((to, reason), since, now);
            Event::Verdict(VerdictTransition {
                probe,
                from: before.status,
                to,
                reason,
                cause,
                checks,
                more,
                at: since.time(),
                lasted: before.since.age_at(since),
            })
        }
    }
}
