//! What the engine is told, and what it does when the application changes its checks.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    Engine, Slot,
    board::{Cell, Definition, Id},
    drain::{DrainCause, Hurry},
    pushed::Pushed,
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
    Drain(DrainCause),
    /// The drain is to go on to its next part.
    #[cfg_attr(
        not(all(unix, feature = "signals")),
        expect(dead_code, reason = "no signal is handled")
    )]
    Hurry(Hurry),
    /// Nothing is in flight any more.
    Idle,
    /// The application said something of a check.
    Pushed(Id),
    /// A maintenance began or ended, which readers know already.
    Maintain,
    Add(Registration),
    Replace(Registration),
    Remove(String, Reply),
    /// Who spoke of a check has nothing to say any more.
    Withdraw(Arc<Pushed>),
}

/// A check to be registered, and who wants to know.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) definition: Definition,
    /// None for what the application speaks of itself.
    pub(crate) code: Option<Code>,
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
    /// It depends on a check that there is not.
    UnknownRoot(UnknownCheck),
    /// Checks would depend on each other: the way round.
    Circle(Vec<Name>),
    /// These depend on it.
    Needed(Vec<Name>),
    /// The application speaks of it itself, or it is a start-up task.
    NotRun(Name),
}

impl Engine {
    /// Runs a check once before it counts.
    pub(super) fn add(&mut self, registration: Registration) {
        let Registration {
            mut definition,
            code,
            reply,
        } = registration;
        if let Some(id) = self.writer.id(&definition.name) {
            // Who died may be followed.
            let known = self
                .writer
                .cell(id)
                .and_then(|cell| cell.definition.pushed.as_ref());
            let gone = |pushed: &Arc<Pushed>| pushed.is_abandoned();
            let follows =
                known.is_some_and(gone) && definition.pushed.as_ref().is_some_and(|new| !gone(new));
            if !follows {
                let answer = Err(Refused::Taken(definition.name));
                return self.replies.push((reply, answer));
            }
            self.writer.replace(id, definition, self.clock.now());
            return self.register(id, true, reply);
        }
        definition.policy.holds_while_pending = false;
        let Some(code) = code else {
            let is_gone = |pushed: &Arc<Pushed>| pushed.is_abandoned();
            if definition.pushed.as_ref().is_some_and(is_gone) {
                return self.replies.push((reply, Err(Refused::Removed)));
            }
            let name = definition.name.clone();
            let id = self.writer.enlist(definition);
            self.succeed_root(&name);
            return self.register(id, false, reply);
        };
        // It closes no circle, as nobody depends on it yet.
        let roots = match self.roots_named(&definition.depends_on) {
            Ok(roots) => roots,
            Err(refused) => return self.replies.push((reply, Err(refused))),
        };
        let mut slot = Slot::new(code, &definition.policy);
        slot.waiting.push(reply);
        let name = definition.name.clone();
        let id = self.writer.add(definition);
        _ = self.set_roots(id, roots);
        self.succeed_root(&name);
        self.slots.insert(id, slot);
        self.enqueue(id, Lane::New);
    }

    /// Hears what the application says of a check from now on.
    fn register(&mut self, id: Id, follows: bool, reply: Reply) {
        self.writer.hear(id, self.clock.now());
        // Who went meanwhile had no check to speak of.
        let gone = |cell: &Arc<Cell>| {
            cell.definition
                .pushed
                .as_ref()
                .is_some_and(|pushed| pushed.is_abandoned())
        };
        if self.writer.cell(id).is_some_and(gone) {
            match follows {
                // Nobody took the place of who died.
                true => self.writer.miss(id, self.clock.now()),
                false => self.remove_check(id),
            }
            return self.replies.push((reply, Err(Refused::Removed)));
        }
        let report = self.writer.report(id);
        self.replies
            .extend(report.map(|report| (reply, Ok(report))));
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
        let is_run = self.slots.get(id).is_some_and(|slot| !slot.task);
        let Some(code) = code.filter(|_| is_run) else {
            let answer = Err(Refused::NotRun(definition.name));
            return self.replies.push((reply, answer));
        };
        let roots = self.roots_of_successor(id, &definition.depends_on);
        if let Err(refused) = roots.and_then(|roots| self.set_roots(id, roots)) {
            return self.replies.push((reply, Err(refused)));
        }
        self.keep_bereft(id, &definition.depends_on);
        if let Some(cell) = self.writer.cell(id) {
            definition.policy.holds_while_pending = cell.definition.policy.holds_while_pending;
        }
        self.end_run(id);
        if let Some(slot) = self.slots.get_mut(id) {
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
        let behind = self.behind(id);
        if !behind.is_empty() {
            return self.replies.push((reply, Err(Refused::Needed(behind))));
        }
        let report = self.writer.report(id);
        self.remove_check(id);
        self.replies
            .extend(report.map(|report| (reply, Ok(report))));
    }

    /// Takes away the check of who spoke of it, unless it is somebody else's by now.
    pub(super) fn withdraw(&mut self, pushed: &Arc<Pushed>) {
        let Some(id) = pushed.id() else {
            return;
        };
        let is_it = |cell: &Arc<Cell>| {
            let spoken = cell.definition.pushed.as_ref();
            spoken.is_some_and(|known| Arc::ptr_eq(known, pushed))
        };
        if self.writer.cell(id).is_some_and(is_it) {
            self.remove_check(id);
        }
    }

    fn remove_check(&mut self, id: Id) {
        self.end_run(id);
        self.unplan(id);
        if let Some(mut slot) = self.slots.remove(id) {
            self.queue.remove(id, &mut slot.places);
            let waiting = slot.waiting.into_iter();
            self.replies
                .extend(waiting.map(|reply| (reply, Err(Refused::Removed))));
        }
        if let Some(cell) = self.writer.remove(id) {
            self.forget_roots(id, &cell.definition.name, self.clock.now());
            self.removed.push(cell);
        }
    }

    /// Starts the run that somebody asked for, unless it was started since.
    pub(super) fn demand(&mut self, id: Id) {
        let cell = self.writer.cell(id);
        if cell.is_some_and(|cell| cell.flight.is_waiting()) {
            self.demand_roots(id, self.clock.now());
            self.run_next(id);
        }
    }

    /// Runs a check as soon as there is room, whatever its schedule says. A run that was given up and has not ended
    /// is not run on top of: it is counted as often as it is retried, and whoever asks meanwhile is told how it is.
    pub(super) fn run_next(&mut self, id: Id) {
        let now = self.clock.now();
        let Some(slot) = self.slots.get(id) else {
            // There is nothing to run; whoever asks is told how it is.
            return self.landed.push((id, false));
        };
        let done = self.writer.cell(id).is_some_and(|cell| cell.is_done());
        match &slot.run {
            None if done => self.landed.push((id, false)),
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
            // It will tell nothing, and its end has the check run anew, if anything may.
            Some(run) if run.void && self.blocker(id).is_some() => self.landed.push((id, false)),
            Some(_) => {}
        }
    }

    /// Cancels the run of a check that is under way.
    fn end_run(&mut self, id: Id) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if let Some(run) = slot.run.take().filter(|run| !run.given_up) {
            self.limits.remove(&(run.limit, id));
            if !slot.task {
                self.room += 1;
            }
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
