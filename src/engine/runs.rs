//! The life of a run: start, time limit, end, result.

use std::time::Duration;

use super::{
    Engine,
    clock::Moment,
    id::Id,
    message::Message,
    queue::Lane,
    run::{self, Ended},
    slot::{Progress, Running},
    state,
};
use crate::{
    check::panicked,
    model::{Outcome, Reason},
};

impl Engine {
    /// The time of a check has come. A run that overran its limit is not repeated while it lasts.
    /// It counts one more failure.
    pub(super) fn due(&mut self, id: Id, now: Moment) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        match &slot.progress {
            Progress::Idle | Progress::Queued(_) => self.enqueue(id, Lane::Due),
            // Its end or its time limit plans the next.
            Progress::Running(_) => {}
            Progress::Overrun(run) => {
                let run = run.began.run_until(now);
                self.record(id, Outcome::fail(Reason::StillRunning), run);
            }
        }
    }

    pub(super) fn start(&mut self, id: Id, now: Moment) {
        // It may be queued in another lane.
        self.dequeue(id);
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        self.runs_started += 1;
        let number = self.runs_started;
        let sender = self.sender.clone();
        let report = move |ended| {
            // There may be no engine any more.
            _ = sender.send(Message::Ran { id, number, ended });
        };
        let task = run::start(&self.runtime, self.clock, &slot.code, report);
        let limit = now.mono + slot.timeout;
        self.limits.insert((limit, id));
        slot.began = Some(now.mono);
        slot.progress = Progress::Running(Running {
            number,
            began: now,
            limit,
            discard: false,
            stalled: Duration::ZERO,
            task,
        });
        if !slot.is_task {
            self.permits -= 1;
        }
        if let Some(cell) = self.writer.cell(id) {
            cell.flight.start();
        }
    }

    pub(super) fn time_out_overdue(&mut self, now: Moment) {
        while let Some(&(limit, id)) = self.limits.first() {
            if limit > now.mono {
                break;
            }
            self.limits.remove(&(limit, id));
            self.time_out(id, now);
        }
    }

    /// The time limit of a run is over. The run may continue.
    fn time_out(&mut self, id: Id, now: Moment) {
        let is_blocked = self.blocker(id).is_some();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if !slot.is_task {
            self.permits += 1;
        }
        let Some(running) = slot.overrun() else {
            return;
        };
        let (run, stalled) = (running.began.run_until(now), running.stalled);
        // The failure of a dependency is over, and may be what the run met.
        let discard = running.discard && !is_blocked;
        if discard || slot.forgive_timeout(run, stalled) {
            slot.forgive();
            // It has as long again to end. Then it runs again.
            let timeout = slot.timeout;
            self.plan_at(id, now.mono + timeout);
        } else {
            self.record(id, Outcome::fail(Reason::TimedOut), run);
        }
    }

    /// The run of a check ended. It was cancelled if there is no result.
    pub(super) fn ran(&mut self, id: Id, ended: Option<Ended>) {
        let now = self.clock.now();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let running = match slot.end() {
            Progress::Running(running) => running,
            Progress::Overrun(_) => {
                if slot.is_forgiven() {
                    self.run_next(id);
                }
                return;
            }
            Progress::Idle | Progress::Queued(_) => return,
        };
        let was_cancelled = ended.is_none() && running.discard;
        // Without a result and without a reason to cancel it, the task was ended by the runtime.
        let (outcome, run) = ended.unwrap_or_else(|| (panicked(), running.began.run_until(now)));
        // On a stalled runtime, the end of a run can be noticed before its time limit.
        let overran = run.duration > slot.timeout;
        let forgiven = overran && slot.forgive_timeout(run, running.stalled);
        self.limits.remove(&(running.limit, id));
        if !slot.is_task {
            self.permits += 1;
        }
        let blocker = self.blocker(id);
        if forgiven {
            self.run_next(id);
        } else if running.discard && blocker.is_none() {
            self.run_again(id, now);
        } else if let Some(by) = blocker.filter(|_| was_cancelled) {
            self.block(id, by, now);
        } else if overran {
            self.record(id, Outcome::fail(Reason::TimedOut), run);
        } else {
            let outcome = self.with_slowness(id, outcome, run.duration, running.stalled);
            self.record(id, outcome, run);
        }
    }

    /// Adds a warning to the outcome of a slow run.
    fn with_slowness(
        &mut self,
        id: Id,
        outcome: Outcome,
        took: Duration,
        stalled: Duration,
    ) -> Outcome {
        let (Some(cell), Some(slot)) = (self.writer.cell(id), self.slots.get_mut(id)) else {
            return outcome;
        };
        let policy = &cell.definition.policy;
        let is_slow = policy.is_slow(took);
        let by_stall = is_slow && !policy.is_slow(took.saturating_sub(stalled));
        if !slot.forgive_slowness(by_stall) && is_slow {
            outcome.merge(Outcome::warn(Reason::Slow))
        } else {
            outcome
        }
    }

    /// Records an outcome and plans the next run.
    fn record(&mut self, id: Id, outcome: Outcome, run: state::Run) {
        let now = self.clock.now();
        let jitter = self.schedule.unit();
        self.completed.push(id);
        self.writer.note_run(id, false);
        self.writer.note_result(id, &outcome, run.duration);
        let blocker = self.blocker(id);
        self.writer.update(id, now, |state, policy| match blocker {
            // The run met the failure of its dependency.
            Some(by) => state.blocked(by, now),
            None => state
                .record(outcome, run, policy, jitter)
                .at(now)
                .into_owned(),
        });
        if let Some(slot) = self.slots.get_mut(id) {
            slot.recorded();
        }
        self.reply(id);
        self.plan(id, now);
    }

    /// Replies to everyone who waits for a run of this check.
    pub(super) fn reply(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(id) {
            for reply in slot.waiting.drain(..) {
                let report = self.writer.report(id);
                self.replies
                    .extend(report.map(|report| (reply, Ok(report))));
            }
        }
    }

    /// Cancels the run of a check.
    pub(super) fn cancel(&mut self, id: Id) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        match slot.end() {
            Progress::Running(run) => {
                self.limits.remove(&(run.limit, id));
                if !slot.is_task {
                    self.permits += 1;
                }
            }
            queued @ Progress::Queued(_) => slot.progress = queued,
            Progress::Idle | Progress::Overrun(_) => {}
        }
    }

    /// Sends the replies that readers can verify by now.
    pub(super) fn send_replies(&mut self) {
        for id in self.completed.drain(..) {
            if let Some(cell) = self.writer.cell(id) {
                cell.flight.complete();
            }
        }
        for cell in self.removed.drain(..) {
            cell.flight.abandon();
        }
        for (reply, changed) in self.replies.drain(..) {
            // The receiver may be gone.
            _ = reply.send(changed);
        }
    }
}
