//! Which check changes by itself next, and when.

use std::{collections::BTreeSet, time::Duration};

use super::{
    clock::{Deadline, Moment},
    id::Id,
    table::Table,
};

/// A deadline for each of some checks, in order.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// An entry stays until its check is removed.
    of: Table<Id, Option<Deadline>>,
    in_order: BTreeSet<(Duration, Id)>,
}

impl Deadlines {
    pub(super) fn set(&mut self, id: Id, deadline: Option<Deadline>) {
        let old = self.of.insert(id, deadline).flatten();
        self.forget(id, old);
        if let Some(new) = deadline {
            self.in_order.insert((new.mono(), id));
        }
    }

    pub(super) fn remove(&mut self, id: Id) {
        let old = self.of.remove(id).flatten();
        self.forget(id, old);
    }

    fn forget(&mut self, id: Id, old: Option<Deadline>) {
        if let Some(old) = old {
            self.in_order.remove(&(old.mono(), id));
        }
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Deadline> {
        let &(_, id) = self.in_order.first()?;
        self.of.get(id).copied().flatten()
    }

    /// A check whose deadline has passed.
    pub(super) fn due(&self, now: Moment) -> Option<Id> {
        let &(at, id) = self.in_order.first()?;
        (at <= now.mono).then_some(id)
    }
}
