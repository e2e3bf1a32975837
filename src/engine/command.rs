//! What the engine is told, and what it does when the application changes its checks.

use tokio::sync::oneshot;

use super::{
    Engine, Slot,
    board::{Definition, Id},
    queue::Lane,
    run::Ended,
};
use crate::{
    check::Code,
    model::{CheckReport, Name, UnknownCheck},
};

/// What the engine is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The run of a check with this number has ended, and this is what it said if it was not ended before.
    Ran {
        id: Id,
        number: u64,
        said: Option<Ended>,
    },
    /// Somebody asked for a run, and was the first.
    Demand(Id),
    /// A drain began, which readers know already.
    Drain,
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
    /// The check was removed before it had run.
    Removed,
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
        self.enqueue(id, Lane::New);
    }

    /// Gives a check other code and another policy. What its old code was asked is nobody's any more.
    pub(super) fn replace(&mut self, registration: Registration) {
        let Registration {
            mut definition,
            code,
            reply,
        } = registration;
        let Some(id) = self.writer.id(&definition.name) else {
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
        let Some(id) = self.writer.id(name) else {
            let answer = Err(self.unknown(name));
            return self.replies.push((reply, answer));
        };
        self.end_run(id);
        self.unplan(id);
        if let Some(slot) = self.slots.remove(&id) {
            if slot.queued.is_some() {
                self.queue.remove(id);
            }
            let waiting = slot.waiting.into_iter();
            self.replies
                .extend(waiting.map(|reply| (reply, Err(Refused::Removed))));
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

    /// Runs a check as soon as there is room, whatever its schedule says. A run that was given up and has not ended
    /// is not run on top of: it is counted as often as it is retried, and whoever asks meanwhile is told how it is.
    pub(super) fn run_next(&mut self, id: Id) {
        let now = self.clock.now();
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        match &slot.run {
            None => self.enqueue(id, Lane::Asked),
            Some(run) if run.given_up => {
                let cell = self.writer.cell(id);
                match cell.is_some_and(|cell| cell.is_demanded(now)) {
                    true => {
                        self.unplan(id);
                        self.due(id, now);
                    }
                    false => self.landed.push((id, false)),
                }
            }
            Some(_) => {}
        }
    }

    /// Cancels the run of a check that is under way.
    fn end_run(&mut self, id: Id) {
        let run = self.slots.get_mut(&id).and_then(|slot| slot.run.take());
        if let Some(run) = run.filter(|run| !run.given_up) {
            self.limits.remove(&(run.limit, run.number, id));
            self.room += 1;
        }
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
