//! Checks that stand behind others, and are not run while those fail.

use std::time::Duration;

use super::{Engine, board::Id, clock::Moment, command::Refused};
use crate::{
    check::Code,
    model::{Criticality, Name, UnknownCheck},
};

impl Engine {
    /// The checks of these names.
    pub(super) fn roots_named(&self, names: &[Name]) -> Result<Vec<Id>, Refused> {
        let id = |name: &Name| {
            let unknown = || Refused::UnknownRoot(UnknownCheck::new(name, self.writer.names()));
            self.writer.id(name).ok_or_else(unknown)
        };
        names.iter().map(id).collect()
    }

    /// Has a check stand behind others.
    pub(super) fn set_roots(&mut self, id: Id, roots: Vec<Id>) -> Result<(), Refused> {
        let before = self.roots.of(id).to_vec();
        let heeded = [&*before, &*roots].concat();
        self.roots.set(id, roots).map_err(|round| {
            let name = |&id: &Id| Some(self.writer.cell(id)?.definition.name.clone());
            Refused::Circle(round.iter().filter_map(name).collect())
        })?;
        self.heed(heeded);
        Ok(())
    }

    /// Takes a check out that is gone. Those behind it stand there again if one of its name comes.
    pub(super) fn forget_roots(&mut self, id: Id, name: &Name, now: Moment) {
        let behind: Vec<Id> = self.roots.behind(id).collect();
        let roots = self.roots.of(id).to_vec();
        self.roots.remove(id);
        self.heed(roots);
        self.keep_bereft(id, &[]);
        for &id in &behind {
            self.bereft.push((name.clone(), id));
            self.heed_roots_of(id, now);
        }
    }

    /// Has those stand behind a new check that stood behind one of its name.
    pub(super) fn succeed_root(&mut self, name: &Name) {
        let (come, bereft) = std::mem::take(&mut self.bereft)
            .into_iter()
            .partition(|(gone, _)| gone == name);
        self.bereft = bereft;
        let come: Vec<(Name, Id)> = come;
        for (_, id) in come {
            let cell = self.writer.cell(id);
            let names = cell.map_or(&[][..], |cell| &cell.definition.depends_on);
            let roots = names
                .iter()
                .filter_map(|name| self.writer.id(name))
                .collect();
            // One that would close a circle stays outside of it.
            _ = self.set_roots(id, roots);
        }
    }

    /// The checks of these names, but for those that are gone and that this one stands behind if they come again.
    pub(super) fn roots_of_successor(&self, id: Id, names: &[Name]) -> Result<Vec<Id>, Refused> {
        let is_bereft = |name: &Name| {
            let mut bereft = self.bereft.iter();
            bereft.any(|(gone, behind)| gone == name && *behind == id)
        };
        let there: Vec<Name> = names
            .iter()
            .filter(|name| !is_bereft(name))
            .cloned()
            .collect();
        self.roots_named(&there)
    }

    /// Forgets what a check stood behind that is gone, but for these.
    pub(super) fn keep_bereft(&mut self, id: Id, names: &[Name]) {
        self.bereft
            .retain(|(name, behind)| *behind != id || names.contains(name));
    }

    /// Notes which checks others stand behind.
    fn heed(&mut self, roots: impl IntoIterator<Item = Id>) {
        for root in roots {
            let is_heeded = self.roots.behind(root).next().is_some();
            self.writer.heed(root, is_heeded);
        }
    }

    /// Runs what a check stands behind and nobody else may ask for: its roots on demand, if it is time to ask them.
    pub(super) fn demand_roots(&mut self, id: Id, now: Moment) {
        let mut seen = Vec::new();
        let mut next = self.roots.of(id).to_vec();
        while let Some(root) = next.pop() {
            match seen.binary_search(&root) {
                Ok(_) => continue,
                Err(place) => seen.insert(place, root),
            }
            next.extend(self.roots.of(root));
            let cell = self.writer.cell(root);
            if cell.is_some_and(|cell| cell.is_demanded(now)) {
                self.run_next(root);
            }
        }
    }

    /// The names of those that stand behind a check.
    pub(super) fn behind(&self, id: Id) -> Vec<Name> {
        let name = |id| Some(self.writer.cell(id)?.definition.name.clone());
        self.roots.behind(id).filter_map(name).collect()
    }

    /// Blocks those that stand behind a check that fails now, and runs those that stand behind none any more.
    pub(super) fn heed_roots(&mut self, now: Moment) {
        while let Some(root) = self.writer.next_turned() {
            let behind: Vec<Id> = self.roots.behind(root).collect();
            for id in behind {
                self.heed_roots_of(id, now);
            }
        }
    }

    /// Blocks a check, or runs it if it was blocked, as what it stands behind asks for.
    pub(super) fn heed_roots_of(&mut self, id: Id, now: Moment) {
        match self.blocker(id) {
            Some(by) => self.block(id, by, now),
            None => self.unblock(id, now),
        }
    }

    /// What fails that a check stands behind.
    pub(super) fn blocker(&self, id: Id) -> Option<Name> {
        let mut roots = self.roots.of(id).iter();
        roots.find_map(|&root| self.writer.blocks(root)).cloned()
    }

    /// A check that is not to be run. A run of it that is under way may end, and tells nothing.
    pub(super) fn block(&mut self, id: Id, by: Name, now: Moment) {
        self.unplan(id);
        if let Some(slot) = self.slots.get_mut(id) {
            if let Some(run) = &mut slot.run {
                run.void = true;
            }
            if slot.is_queued() {
                self.queue.remove(id, &mut slot.places);
                self.writer.note_run(id, false);
            }
        }
        self.writer
            .update(id, now, |state, _| state.blocked(by, now));
        self.landed.push((id, false));
        self.reply(id);
    }

    /// Runs a check that was blocked until now, also one on demand: nobody would ask for it while it reads as blocked.
    fn unblock(&mut self, id: Id, now: Moment) {
        let is_blocked = self.writer.cell(id).is_some_and(|cell| cell.is_blocked());
        if !is_blocked {
            return;
        }
        self.writer.update(id, now, |state, _| state.unblocked());
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        match &slot.run {
            // What it asked is of no interest any more, and its end has it run anew. Code that blocks cannot be ended.
            Some(run) if !run.given_up => {
                if let Code::Async(_) = slot.code {
                    run.task.abort();
                }
            }
            _ if slot.is_queued() => {}
            _ => {
                let at = now.mono + self.schedule.first();
                self.plan_at(id, at.max(self.earliest(id)));
            }
        }
    }

    /// Runs a check whose last run told nothing, for what it stands behind failed meanwhile.
    pub(super) fn run_anew(&mut self, id: Id, now: Moment) {
        let waiting = self
            .slots
            .get(id)
            .is_some_and(|slot| !slot.waiting.is_empty());
        let cell = self.writer.cell(id);
        let is_asked = waiting || cell.is_some_and(|cell| cell.flight.is_waiting());
        let earliest = self.earliest(id);
        match is_asked || earliest <= now.mono {
            true => self.run_next(id),
            false => self.plan_at(id, earliest),
        }
    }

    /// Before when a check is not to be asked again: what is shared is asked once in a period, whatever comes and goes before it.
    fn earliest(&self, id: Id) -> Duration {
        let cell = self.writer.cell(id);
        let shared = cell.filter(|cell| cell.definition.policy.criticality == Criticality::Shared);
        let last = shared.and_then(|cell| {
            let began = self.slots.get(id)?.began?;
            Some(began + cell.definition.policy.period())
        });
        last.unwrap_or_default()
    }
}
