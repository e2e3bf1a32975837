//! Checks that stand behind others, and are not run while those fail.

use super::{Engine, board::Id, clock::Moment, command::Refused};
use crate::model::{Name, UnknownCheck};

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
        self.roots.set(id, roots).map_err(|round| {
            let name = |&id: &Id| Some(self.writer.cell(id)?.definition.name.clone());
            Refused::Circle(round.iter().filter_map(name).collect())
        })
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
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.hurried = false;
            if let Some(run) = &mut slot.run {
                run.void = true;
            }
            if slot.queued.take().is_some() {
                self.queue.remove(id);
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
        let run = self.slots.get(&id).and_then(|slot| slot.run.as_ref());
        let is_under_way = run.is_some_and(|run| !run.given_up);
        let is_blocked = self.writer.cell(id).is_some_and(|cell| cell.is_blocked());
        // The end of a run that is under way has it run anew.
        if is_blocked && !is_under_way {
            let at = now.mono + self.schedule.first();
            self.plan_at(id, at);
        }
    }
}
