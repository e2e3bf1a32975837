use std::sync::Arc;

use super::{
    cell::Cell,
    clock::{Deadline, Moment},
    control::Maintenance,
    facts::Facts,
    id::Id,
    life::Life,
    state::State,
    tally::{Standing, Tally},
    view::View,
};

/// The verdicts, and until when they are valid if nothing happens.
#[derive(Debug)]
pub(crate) struct Published {
    /// The version of the [control state](super::control::Control) that is included.
    pub(super) version: u64,
    pub(crate) valid_until: Option<Deadline>,
    /// From when on a reader has to request a run. `None` if no check runs on demand.
    pub(crate) demand_from: Option<Deadline>,
    pub(crate) view: Arc<View>,
}

impl Published {
    /// The verdicts of all checks as they read at `now`: O(n). A status that is new since `before`
    /// is new since `at`.
    pub(super) fn count(
        cells: &[Arc<Cell>],
        (now, at): (Moment, Moment),
        life: Life,
        maintenance: Option<&Maintenance>,
        before: Option<&View>,
    ) -> Self {
        let stopped = life.stopped();
        let states: Vec<State> = cells.iter().map(|cell| cell.read(now, stopped)).collect();
        let each = || cells.iter().zip(&states);
        let standing = |(cell, state): (&Arc<Cell>, &State)| {
            (cell.id, Standing::of(state, &cell.definition.policy, now))
        };
        let tally = Tally::of(each().map(standing));
        let cause = maintenance.map(|maintenance| maintenance.cause.clone());
        let facts = Facts::new(&tally, life, cause);
        let report = |id: Id| {
            let index = cells.binary_search_by_key(&id, |cell| cell.id).ok()?;
            let (cell, state) = (cells.get(index)?, states.get(index)?);
            Some(cell.definition.report(state, now))
        };
        let valid_until = each()
            .filter_map(|(cell, state)| state.changes_at(&cell.definition.policy, now))
            .chain(maintenance.map(|maintenance| maintenance.until))
            .reduce(Deadline::min);
        let demand_from = cells
            .iter()
            .filter_map(|cell| cell.demand_from())
            .reduce(Deadline::min);
        Self {
            version: 0,
            valid_until: valid_until.filter(|_| stopped.is_none()),
            demand_from: demand_from.filter(|_| stopped.is_none()),
            view: Arc::new(View::new(&facts, at, &report, before)),
        }
    }
}
