use std::sync::Arc;

use super::{announced::Announced, cell::Cell, tally::Standing};
use crate::model::{Name, Status};

/// What the writer keeps of one check.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) cell: Arc<Cell>,
    /// `None` for a check that does not count yet.
    pub(super) standing: Option<Standing>,
    pub(super) announced: Announced,
    /// The status that was last counted as a transition.
    pub(super) counted: Option<Status>,
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
            announced: Announced::nothing(since),
            counted: None,
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
