//! Who will change by itself, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    board::Id,
    clock::{Deadline, Moment},
};

/// A deadline each for some checks; the earliest on each clock is known.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    of: BTreeMap<Id, Deadline>,
    mono: BTreeSet<(Duration, Id)>,
    wall: BTreeSet<(Duration, Id)>,
}

impl Deadlines {
    pub(super) fn set(&mut self, id: Id, deadline: Option<Deadline>) {
        let old = match deadline {
            Some(new) => self.of.insert(id, new),
            None => self.of.remove(&id),
        };
        if let Some(old) = old {
            self.mono.remove(&(old.mono(), id));
            self.wall.remove(&(old.wall(), id));
        }
        if let Some(new) = deadline {
            self.mono.insert((new.mono(), id));
            self.wall.insert((new.wall(), id));
        }
    }

    /// The deadline that is over as soon as any of them is.
    pub(super) fn first(&self) -> Option<Deadline> {
        let (&(mono, _), &(wall, _)) = (self.mono.first()?, self.wall.first()?);
        Some(Deadline::new(mono, wall))
    }

    /// A check whose deadline is over.
    pub(super) fn due(&self, now: Moment) -> Option<Id> {
        let due = |first: Option<&(Duration, Id)>, now| {
            first.filter(|&&(at, _)| at <= now).map(|&(_, id)| id)
        };
        due(self.mono.first(), now.mono).or_else(|| due(self.wall.first(), now.wall))
    }
}
