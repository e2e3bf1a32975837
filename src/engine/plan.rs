//! When each check is due, and which checks wait for a permit.

use std::time::Duration;

use super::{Engine, clock::Moment, id::Id, queue::Lane, run, slot::Progress};
use crate::telemetry;

impl Engine {
    /// Plans the next run of a check, after the delay that its state determines.
    pub(super) fn plan(&mut self, id: Id, now: Moment) {
        let (Some(cell), Some(nominal), Some(slot)) = (
            self.writer.cell(id),
            self.writer.delay(id),
            self.slots.get_mut(id),
        ) else {
            return;
        };
        let policy = &cell.definition.policy;
        if cell.is_on_demand() || cell.is_done() || cell.is_blocked() {
            return;
        }
        let at = if nominal == policy.period() && !slot.has_phase {
            slot.has_phase = true;
            self.schedule.phase(now.mono, policy.period())
        } else {
            self.schedule.next(now.mono, nominal)
        };
        self.plan_at(id, at);
    }

    /// Plans a run as soon as possible. All checks at once are spread a little.
    pub(super) fn plan_soon(&mut self, id: Id, now: Moment) {
        if self
            .writer
            .cell(id)
            .is_some_and(|cell| !cell.is_on_demand())
        {
            let delay = match self.slots.get(id) {
                Some(slot) if slot.is_task => Duration::ZERO,
                _ => self.schedule.first(),
            };
            self.plan_at(id, now.mono + delay);
        }
    }

    pub(super) fn plan_at(&mut self, id: Id, at: Duration) {
        self.unplan(id);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.due = Some(at);
            self.agenda.insert((at, id));
        }
    }

    pub(super) fn unplan(&mut self, id: Id) {
        if let Some(at) = self.slots.get_mut(id).and_then(|slot| slot.due.take()) {
            self.agenda.remove(&(at, id));
        }
    }

    pub(super) fn queue_due(&mut self, now: Moment) {
        while let Some(&(at, id)) = self.agenda.first() {
            if at > now.mono {
                break;
            }
            self.unplan(id);
            self.due(id, now);
        }
    }

    /// Queues a check, unless it is blocked. A check that is queued because it is due, and is
    /// requested, is queued in two lanes. The first of them counts.
    pub(super) fn enqueue(&mut self, id: Id, lane: Lane) {
        let now = self.clock.now();
        if let Some(by) = self.blocker(id) {
            return self.block(id, by, now);
        }
        self.unplan(id);
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let places = match &mut slot.progress {
            Progress::Idle => {
                slot.progress = Progress::Queued(Default::default());
                match &mut slot.progress {
                    Progress::Queued(places) => places,
                    _ => return,
                }
            }
            Progress::Queued(places) if lane == Lane::Requested => places,
            _ => return,
        };
        self.queue.push(lane, id, now.mono, places);
        self.writer.note_run(id, true);
    }

    /// Removes a check from the queue.
    pub(super) fn dequeue(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(id)
            && let Progress::Queued(places) = &mut slot.progress
        {
            self.queue.remove(id, places);
            slot.progress = Progress::Idle;
        }
    }

    pub(super) fn start_queued(&mut self, now: Moment) {
        let started = self.runs_started;
        while self.permits > 0 {
            let Some(id) = self.queue.pop() else {
                self.queue_logged = false;
                break;
            };
            self.start(id, now);
        }
        if self.runs_started > started {
            run::wake_another_worker(&self.runtime);
        }
        self.log_queue(now);
    }

    /// Logs once that checks are queued for longer than their period.
    fn log_queue(&mut self, now: Moment) {
        let Some((since, id)) = self.queue.oldest() else {
            return;
        };
        let Some(cell) = self.writer.cell(id) else {
            return;
        };
        let definition = &cell.definition;
        if !self.queue_logged && now.mono.saturating_sub(since) > definition.policy.period() {
            self.queue_logged = true;
            let service = &self.writer.board().service.name;
            telemetry::queue_saturated(service, &definition.name, self.queue.len());
        }
    }
}
