//! Who will change by itself, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    board::Id,
    clock::{Deadline, Moment},
};

/// A deadline each for some checks; the earliest is known.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    of: BTreeMap<Id, Deadline>,
    in_order: BTreeSet<(Duration, Id)>,
}

impl Deadlines {
    pub(super) fn set(&mut self, id: Id, deadline: Option<Deadline>) {
        let old = match deadline {
            Some(new) => self.of.insert(id, new),
            None => self.of.remove(&id),
        };
        if let Some(old) = old {
            self.in_order.remove(&(old.mono(), id));
        }
        if let Some(new) = deadline {
            self.in_order.insert((new.mono(), id));
        }
    }

    /// The first of them.
    pub(super) fn first(&self) -> Option<Deadline> {
        let (_, id) = self.in_order.first()?;
        self.of.get(id).copied()
    }

    /// A check whose deadline is over.
    pub(super) fn due(&self, now: Moment) -> Option<Id> {
        let &(at, id) = self.in_order.first()?;
        (at <= now.mono).then_some(id)
    }
}
