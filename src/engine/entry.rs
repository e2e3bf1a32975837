use std::sync::Arc;

use super::{cell::Cell, clock::Moment, tally::Standing};
use crate::model::{Name, Status};

/// What the writer keeps of one check.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) cell: Arc<Cell>,
    /// `None` for a check that does not count yet.
    pub(super) standing: Option<Standing>,
    /// The status that subscribers were last notified of, and since when it has held. `None` while
    /// nothing is known.
    pub(super) announced: (Option<Status>, Moment),
    /// Whether the result expired while nobody read it. Subscribers are not notified of that.
    pub(super) expired_unread: bool,
    /// Whether a run is queued or in flight.
    pub(super) runs: bool,
    /// The check that its dependents are blocked by, if any.
    pub(super) blocks: Option<Name>,
    pub(super) has_dependents: bool,
}

impl Entry {
    pub(super) fn new(cell: Arc<Cell>) -> Self {
        let since = cell.current.load().state.since;
        Self {
            cell,
            standing: None,
            announced: (None, since),
            expired_unread: false,
            runs: false,
            blocks: None,
            has_dependents: false,
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.cell.definition.name
    }

    /// Whether readers see the check.
    pub(super) fn counts(&self) -> bool {
        self.standing.is_some()
    }
}
