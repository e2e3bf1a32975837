//! Dependencies between checks. A check is not run while a check that it depends on fails.

use std::{mem, time::Duration};

use super::{Engine, clock::Moment, id::Id, message::Refused, slot::Progress};
use crate::{
    check::Code,
    model::{Criticality, Name, UnknownCheck},
};

impl Engine {
    /// The checks of these names, which `check` depends on.
    pub(super) fn roots_named(&self, check: &Name, names: &[Name]) -> Result<Vec<Id>, Refused> {
        let id = |name: &Name| {
            let unknown = || UnknownCheck::new(name, self.writer.names());
            let refused = || Refused::UnknownRoot(check.clone(), unknown());
            self.writer.id(name).ok_or_else(refused)
        };
        names.iter().map(id).collect()
    }

    /// Sets the checks that a check depends on.
    pub(super) fn set_roots(&mut self, id: Id, roots: Vec<Id>) -> Result<(), Refused> {
        let affected = [self.roots.of(id), &*roots].concat();
        self.roots.set(id, roots).map_err(|path| {
            let name = |&id: &Id| Some(self.writer.cell(id)?.definition.name.clone());
            Refused::Cycle(path.iter().filter_map(name).collect())
        })?;
        self.update_dependents_of(affected);
        Ok(())
    }

    /// Removes a check from the graph. Its dependents depend on the next check of its name.
    pub(super) fn remove_roots(&mut self, id: Id, name: &Name, now: Moment) {
        let dependents: Vec<Id> = self.roots.dependents(id).collect();
        let roots = self.roots.of(id).to_vec();
        self.roots.remove(id);
        self.update_dependents_of(roots);
        self.keep_orphaned(id, &[]);
        for &id in &dependents {
            self.orphaned.push((name.clone(), id));
            self.follow_roots_of(id, now);
        }
    }

    /// Lets the checks that depended on an earlier check of this name depend on the new one.
    pub(super) fn adopt_orphans(&mut self, name: &Name) {
        let (adopted, orphaned): (Vec<_>, Vec<_>) = mem::take(&mut self.orphaned)
            .into_iter()
            .partition(|(gone, _)| gone == name);
        self.orphaned = orphaned;
        for (_, id) in adopted {
            let cell = self.writer.cell(id);
            let names = cell.map_or(&[][..], |cell| &cell.definition.depends_on);
            let roots = names
                .iter()
                .filter_map(|name| self.writer.id(name))
                .collect();
            // A check that would close a cycle stays out of it.
            _ = self.set_roots(id, roots);
        }
    }

    /// The checks of these names, without those that were removed while this one depended on them.
    pub(super) fn roots_of_successor(
        &self,
        id: Id,
        check: &Name,
        names: &[Name],
    ) -> Result<Vec<Id>, Refused> {
        let is_orphaned = |name: &Name| {
            let mut orphaned = self.orphaned.iter();
            orphaned.any(|(gone, dependent)| gone == name && *dependent == id)
        };
        let existing: Vec<Name> = names
            .iter()
            .filter(|name| !is_orphaned(name))
            .cloned()
            .collect();
        self.roots_named(check, &existing)
    }

    /// Forgets the removed checks that a check depended on, except for those of these names.
    pub(super) fn keep_orphaned(&mut self, id: Id, names: &[Name]) {
        self.orphaned
            .retain(|(name, dependent)| *dependent != id || names.contains(name));
    }

    /// Notes whether each of these checks has dependents.
    fn update_dependents_of(&mut self, roots: impl IntoIterator<Item = Id>) {
        for root in roots {
            let has_dependents = self.roots.dependents(root).next().is_some();
            self.writer.set_has_dependents(root, has_dependents);
        }
    }

    /// Runs the checks on demand that a check depends on, if they are due. Readers may request none
    /// of them.
    pub(super) fn demand_roots(&mut self, id: Id, now: Moment) {
        let mut seen = Vec::new();
        let mut next = self.roots.of(id).to_vec();
        while let Some(root) = next.pop() {
            match seen.binary_search(&root) {
                Ok(_) => continue,
                Err(index) => seen.insert(index, root),
            }
            next.extend(self.roots.of(root));
            let cell = self.writer.cell(root);
            if cell.is_some_and(|cell| cell.is_demanded(now)) {
                self.run_next(root);
            }
        }
    }

    /// The names of the checks that depend on a check.
    pub(super) fn dependents(&self, id: Id) -> Vec<Name> {
        let name = |id| Some(self.writer.cell(id)?.definition.name.clone());
        self.roots.dependents(id).filter_map(name).collect()
    }

    /// Blocks the dependents of checks that fail now, and runs those that are no longer blocked.
    pub(super) fn follow_roots(&mut self, now: Moment) {
        while let Some(root) = self.writer.next_blocking_changed() {
            let dependents: Vec<Id> = self.roots.dependents(root).collect();
            for id in dependents {
                self.follow_roots_of(id, now);
            }
        }
    }

    fn follow_roots_of(&mut self, id: Id, now: Moment) {
        match self.blocker(id) {
            Some(by) => self.block(id, by, now),
            None => self.unblock(id, now),
        }
    }

    /// The failing check that a check is blocked by.
    pub(super) fn blocker(&self, id: Id) -> Option<Name> {
        let mut roots = self.roots.of(id).iter();
        roots.find_map(|&root| self.writer.blocks(root)).cloned()
    }

    /// Blocks a check. A run in flight may end, and its result is discarded.
    pub(super) fn block(&mut self, id: Id, by: Name, now: Moment) {
        self.unplan(id);
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if let Some(run) = slot.run_mut() {
            run.discard = true;
        } else {
            self.dequeue(id);
            self.writer.note_run(id, false);
        }
        self.writer
            .update(id, now, |state, _| state.blocked(by, now));
        self.completed.push(id);
        self.reply(id);
    }

    /// Runs a check that was blocked until now. That includes a check on demand: no reader would
    /// request it while it reads as blocked.
    fn unblock(&mut self, id: Id, now: Moment) {
        let is_blocked = self.writer.cell(id).is_some_and(|cell| cell.is_blocked());
        if !is_blocked {
            return;
        }
        self.writer.update(id, now, |state, _| state.unblocked());
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        match &slot.progress {
            // Its result is discarded, and its end runs the check again. Blocking code cannot be
            // cancelled.
            Progress::Running(run) => {
                if let Code::Async(_) = slot.code {
                    run.task.abort();
                }
            }
            Progress::Queued(_) => {}
            Progress::Idle | Progress::Overrun(_) => {
                let at = now.mono + self.schedule.first();
                self.plan_at(id, at.max(self.earliest(id)));
            }
        }
    }

    /// Runs a check whose result was discarded because a dependency failed meanwhile.
    pub(super) fn run_again(&mut self, id: Id, now: Moment) {
        let slot = self.slots.get(id);
        let cell = self.writer.cell(id);
        let is_requested = slot.is_some_and(|slot| !slot.waiting.is_empty())
            || cell.is_some_and(|cell| cell.flight.is_requested());
        let earliest = self.earliest(id);
        if is_requested || earliest <= now.mono {
            self.run_next(id);
        } else {
            self.plan_at(id, earliest);
        }
    }

    /// The earliest time of the next run. A shared check runs at most once in a period, however
    /// often it is blocked and unblocked.
    fn earliest(&self, id: Id) -> Duration {
        let cell = self.writer.cell(id);
        let shared = cell.filter(|cell| cell.definition.policy.criticality == Criticality::Shared);
        let earliest = shared.and_then(|cell| {
            let began = self.slots.get(id)?.began?;
            Some(began + cell.definition.policy.period())
        });
        earliest.unwrap_or_default()
    }
}
