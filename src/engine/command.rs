//! What the engine is told, and what it does when the application changes its checks.

use tokio::sync::oneshot;

use super::{
    Engine, Slot,
    board::{Definition, Id},
    run::Event,
};
use crate::{
    check::Code,
    model::{CheckReport, Name, UnknownCheck},
};

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// What became of the run of a check with this number.
    Run {
        id: Id,
        number: u64,
        event: Event,
    },
    /// Somebody asked for a run, and was the first.
    Demand(Id),
    Add(Registration),
    Replace(Registration),
    Remove(String, Reply),
}

/// A check to be registered, and who wants to know.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) definition: Definition,
    pub(crate) code: Code,
    pub(crate) reply: Reply,
}

pub(crate) type Reply = oneshot::Sender<Answer>;

/// How the check is, or was when it went.
pub(crate) type Answer = Result<CheckReport, Refused>;

/// Why the checks stay as they are.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is a check of that name.
    Taken(Name),
    Unknown(UnknownCheck),
}

impl Engine {
    /// Runs a check once before it counts.
    pub(super) fn add(&mut self, registration: Registration) {
        let Registration {
            mut definition,
            code,
            reply,
        } = registration;
        if self.writer.id(&definition.name).is_some() {
            let answer = Err(Refused::Taken(definition.name));
            return self.replies.push((reply, answer));
        }
        definition.policy.holds_while_pending = false;
        let mut slot = Slot::new(code, definition.policy.timeout);
        slot.waiting.push(reply);
        let id = self.writer.add(definition);
        self.slots.insert(id, slot);
        self.run_next(id);
    }

    /// Gives a check other code and another policy. What its old code was asked is nobody's any more.
    pub(super) fn replace(&mut self, registration: Registration) {
        let Registration {
            mut definition,
            code,
            reply,
        } = registration;
        let Some(id) = self.counting(&definition.name) else {
            let answer = Err(self.unknown(&definition.name));
            return self.replies.push((reply, answer));
        };
        if let Some(cell) = self.writer.cell(id) {
            definition.policy.holds_while_pending = cell.definition.policy.holds_while_pending;
        }
        self.end_run(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.code = code;
            slot.timeout = definition.policy.timeout;
            slot.excused = false;
            slot.waiting.push(reply);
        }
        self.writer.replace(id, definition, self.clock.now());
        self.run_next(id);
    }

    pub(super) fn remove(&mut self, name: &str, reply: Reply) {
        let Some(id) = self.counting(name) else {
            let answer = Err(self.unknown(name));
            return self.replies.push((reply, answer));
        };
        self.end_run(id);
        self.unplan(id);
        if let Some(slot) = self.slots.remove(&id) {
            if slot.queued {
                self.queue.retain(|&(queued, _)| queued != id);
            }
            for waiting in slot.waiting {
                let answer = Err(self.unknown(name));
                self.replies.push((waiting, answer));
            }
        }
        if let Some(report) = self.writer.report(id) {
            self.replies.push((reply, Ok(report)));
        }
        if let Some(cell) = self.writer.remove(id) {
            self.removed.push(cell);
        }
    }

    /// Starts the run that somebody asked for, unless it was started since.
    pub(super) fn demand(&mut self, id: Id) {
        let cell = self.writer.cell(id);
        if cell.is_some_and(|cell| cell.flight.is_waiting()) {
            self.run_next(id);
        }
    }

    /// Runs a check as soon as there is room, before those that are merely due.
    pub(super) fn run_next(&mut self, id: Id) {
        let now = self.clock.now();
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match &slot.run {
            None => {
                if slot.queued {
                    self.queue.retain(|&(queued, _)| queued != id);
                }
                slot.queued = true;
                self.queue.push_front((id, now));
                self.unplan(id);
            }
            Some(run) if run.given_up => {
                self.unplan(id);
                self.due(id, now);
            }
            Some(_) => {}
        }
    }

    /// Cancels the run of a check that is under way.
    fn end_run(&mut self, id: Id) {
        let run = self.slots.get_mut(&id).and_then(|slot| slot.run.take());
        if run.is_some_and(|run| !run.given_up) {
            self.room += 1;
        }
    }

    /// The check of a name, if it counts.
    fn counting(&self, name: &str) -> Option<Id> {
        self.writer.id(name).filter(|&id| self.writer.counts(id))
    }

    fn unknown(&self, name: &str) -> Refused {
        Refused::Unknown(UnknownCheck::new(name, self.writer.names()))
    }

    /// Tells those who wait what readers can see by now.
    pub(super) fn answer(&mut self) {
        for (id, panicked) in self.landed.drain(..) {
            if let Some(cell) = self.writer.cell(id) {
                cell.flight.end(panicked);
            }
        }
        for cell in self.removed.drain(..) {
            cell.flight.abandon();
        }
        for (reply, answer) in self.replies.drain(..) {
            // Nobody waits for it any more, perhaps.
            _ = reply.send(answer);
        }
    }
}
