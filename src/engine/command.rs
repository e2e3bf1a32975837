//! Changes to the checks of a running engine, and runs on request.

use std::sync::Arc;

use super::{
    Engine,
    id::Id,
    message::{Refused, Registration, Reply},
    pushed::Pushed,
    queue::Lane,
    slot::{Progress, Slot},
};
use crate::model::UnknownCheck;

impl Engine {
    /// Adds a check. It does not count before its first run.
    pub(super) fn add(&mut self, registration: Registration) {
        let Registration {
            mut definition,
            code,
            reply,
        } = registration;
        if let Some(id) = self.writer.id(&definition.name) {
            // A heartbeat whose worker died may be followed by another.
            let is_free = self
                .writer
                .cell(id)
                .is_some_and(|cell| cell.definition.is_abandoned());
            if !is_free || definition.pushed.is_none() || definition.is_abandoned() {
                return self.refuse(reply, Refused::Taken(definition.name));
            }
            self.writer.replace(id, definition, self.clock.now());
            return self.register_pushed(id, true, reply);
        }
        definition.policy.blocks_while_pending = false;
        let name = definition.name.clone();
        let Some(code) = code else {
            if definition.is_abandoned() {
                return self.refuse(reply, Refused::Removed);
            }
            let id = self.writer.add_pushed(definition);
            self.adopt_orphans(&name);
            return self.register_pushed(id, false, reply);
        };
        // It cannot close a cycle, because nothing depends on it yet.
        let roots = match self.roots_named(&name, &definition.depends_on) {
            Ok(roots) => roots,
            Err(refused) => return self.refuse(reply, refused),
        };
        let mut slot = Slot::new(code, &definition.policy);
        slot.waiting.push(reply);
        let id = self.writer.add(definition);
        _ = self.set_roots(id, roots);
        self.adopt_orphans(&name);
        self.slots.insert(id, slot);
        self.enqueue(id, Lane::New);
    }

    /// Records what the application has reported of a check so far. `follows` says whether the
    /// check existed before.
    fn register_pushed(&mut self, id: Id, follows: bool, reply: Reply) {
        let now = self.clock.now();
        self.writer.record_pushed(id, now);
        // The handle may have been dropped meanwhile.
        let is_abandoned = |cell: &Arc<super::Cell>| cell.definition.is_abandoned();
        if self.writer.cell(id).is_some_and(is_abandoned) {
            if follows {
                self.writer.record_died(id, now);
            } else {
                self.remove_check(id);
            }
            return self.refuse(reply, Refused::Removed);
        }
        let report = self.writer.report(id);
        self.replies
            .extend(report.map(|report| (reply, Ok(report))));
    }

    /// Gives a check other code and another policy. The result of a run of the old code is
    /// discarded.
    pub(super) fn replace(&mut self, registration: Registration) {
        let Registration {
            mut definition,
            code,
            reply,
        } = registration;
        let Some(id) = self.writer.id(&definition.name) else {
            let unknown = self.unknown(&definition.name);
            return self.refuse(reply, unknown);
        };
        let is_run = self.slots.get(id).is_some_and(|slot| !slot.is_task);
        let Some(code) = code.filter(|_| is_run) else {
            return self.refuse(reply, Refused::NotRun(definition.name));
        };
        let roots = self.roots_of_successor(id, &definition.name, &definition.depends_on);
        if let Err(refused) = roots.and_then(|roots| self.set_roots(id, roots)) {
            return self.refuse(reply, refused);
        }
        self.keep_orphaned(id, &definition.depends_on);
        if let Some(cell) = self.writer.cell(id) {
            definition.policy.blocks_while_pending = cell.definition.policy.blocks_while_pending;
        }
        self.cancel(id);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.replace(code, definition.policy.timeout(), reply);
        }
        self.writer.replace(id, definition, self.clock.now());
        self.run_next(id);
    }

    pub(super) fn remove(&mut self, name: &str, reply: Reply) {
        let Some(id) = self.writer.id(name) else {
            let unknown = self.unknown(name);
            return self.refuse(reply, unknown);
        };
        let dependents = self.dependents(id);
        if !dependents.is_empty() {
            return self.refuse(reply, Refused::HasDependents(dependents));
        }
        let report = self.writer.report(id);
        self.remove_check(id);
        self.replies
            .extend(report.map(|report| (reply, Ok(report))));
    }

    /// Removes the check of a handle that was stopped, unless another handle has taken its place.
    pub(super) fn withdraw(&mut self, pushed: &Arc<Pushed>) {
        let Some(id) = pushed.id() else {
            return;
        };
        let cell = self.writer.cell(id);
        if cell.is_some_and(|cell| cell.is_pushed_by(pushed)) {
            self.remove_check(id);
        }
    }

    fn remove_check(&mut self, id: Id) {
        self.cancel(id);
        self.dequeue(id);
        self.unplan(id);
        if let Some(slot) = self.slots.remove(id) {
            let waiting = slot.waiting.into_iter();
            self.replies
                .extend(waiting.map(|reply| (reply, Err(Refused::Removed))));
        }
        if let Some(cell) = self.writer.remove(id) {
            self.remove_roots(id, &cell.definition.name, self.clock.now());
            self.removed.push(cell);
        }
    }

    /// Starts the run that a reader requested, unless it has started since.
    pub(super) fn demand(&mut self, id: Id) {
        let cell = self.writer.cell(id);
        if cell.is_some_and(|cell| cell.flight.is_requested()) {
            self.demand_roots(id, self.clock.now());
            self.run_next(id);
        }
    }

    /// Runs a check as soon as there is a permit, whatever its schedule says. While a run that
    /// overran its limit lasts, there is no other. The caller gets the current state, and a failure
    /// is counted as often as the check is retried.
    pub(super) fn run_next(&mut self, id: Id) {
        let now = self.clock.now();
        let cell = self.writer.cell(id);
        let is_done = cell.is_some_and(|cell| cell.is_done());
        let is_demanded = cell.is_some_and(|cell| cell.is_demanded(now));
        match self.slots.get(id).map(|slot| &slot.progress) {
            Some(Progress::Idle | Progress::Queued(_)) if !is_done => {
                self.enqueue(id, Lane::Requested);
            }
            Some(Progress::Overrun(_)) if is_demanded => {
                self.unplan(id);
                self.due(id, now);
            }
            // Its end runs the check again, unless it is still blocked then.
            Some(Progress::Running(run)) if !run.discard || self.blocker(id).is_none() => {}
            // There is nothing to run. The caller gets the current state.
            _ => self.completed.push(id),
        }
    }

    fn refuse(&mut self, reply: Reply, refused: Refused) {
        self.replies.push((reply, Err(refused)));
    }

    fn unknown(&self, name: &str) -> Refused {
        Refused::Unknown(UnknownCheck::new(name, self.writer.names()))
    }
}
