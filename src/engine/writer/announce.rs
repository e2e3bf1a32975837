//! Which verdicts are announced: to subscribers each change, to the log fewer while checks flap.

use std::sync::Arc;

use super::Writer;
use crate::{
    engine::{announced::AnnouncedVerdicts, clock::Moment, id::Id},
    model::{
        CheckReport, Event, Probe, Stage, Status, VerdictReason, VerdictReasonChange,
        VerdictTransition,
    },
};

impl Writer {
    /// Notes the verdicts whose status or reason is not the one that subscribers know, or that was
    /// logged.
    pub(super) fn note_transitions(&mut self, now: Moment) {
        let mut announced = self.announced.clone();
        let events = self.transitions(&mut announced, now, &|_, from, (to, _)| {
            to <= from || self.is_news(to)
        });
        self.announced = announced;
        self.events.extend(events);

        let mut logged = self.logged.clone();
        let lines = self.transitions(&mut logged, now, &|probe, from, (to, reason)| {
            (to <= from || self.is_news(to))
                && (to < from || !self.only_flapping_decide(probe, to, reason))
        });
        self.logged = logged;
        self.lines.extend(lines);
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

    /// Whether every check that decides a verdict flaps. Each of them has a line that says so.
    fn only_flapping_decide(
        &self,
        probe: Probe,
        status: Status,
        reason: Option<VerdictReason>,
    ) -> bool {
        let flaps = |id: Id| {
            let cell = self.cell(id);
            cell.is_some_and(|cell| cell.current.load().state.flapping.flaps())
        };
        let mut deciding = self.tally.deciding(probe, status, reason).peekable();
        deciding.peek().is_some() && deciding.all(flaps)
    }

    /// Returns the events of the verdicts that are not the announced ones, and that `is_news`
    /// accepts: by the probe, the status from before, and the new status with its reason.
    fn transitions(
        &self,
        announced: &mut AnnouncedVerdicts,
        now: Moment,
        is_news: &dyn Fn(Probe, Status, (Status, Option<VerdictReason>)) -> bool,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for (probe, announced) in Probe::ALL.into_iter().zip(&mut announced.0) {
            let verdict = &self.view.of(probe).verdict;
            let (to, reason) = (verdict.status, verdict.reason);
            let (from, from_reason, since) = *announced;
            if (to, reason) == (from, from_reason) || !is_news(probe, from, (to, reason)) {
                continue;
            }
            let mut ids = self.tally.deciding(probe, to, reason);
            let report = |id| Some(self.cell(id)?.report(now));
            let listed = ids.by_ref().take(VerdictTransition::MAX_CHECKS);
            let checks: Arc<[CheckReport]> = listed.filter_map(report).collect();
            let more = ids.count();
            let cause = verdict.cause.clone();
            events.push(if to == from {
                *announced = (to, reason, since);
                Event::VerdictReason(VerdictReasonChange {
                    probe,
                    status: to,
                    from: from_reason,
                    to: reason,
                    cause,
                    checks,
                    more,
                    since: since.time(),
                    lasted: since.age_at(now),
                })
            } else {
                *announced = (to, reason, now);
                Event::Verdict(VerdictTransition {
                    probe,
                    from,
                    to,
                    reason,
                    cause,
                    checks,
                    more,
                    at: now.time(),
                    lasted: since.age_at(now),
                })
            });
        }
        events
    }
}
