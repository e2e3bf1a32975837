//! The aggregate of all checks, kept so that one change costs O(log n).

use std::{collections::BTreeSet, time::Duration};

use super::{
    clock::Moment,
    state::{Effect, State},
};
use crate::{check::Policy, model::Status};

/// What one check adds to the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    effect: Effect,
    good: bool,
    started: bool,
    retry_in: Duration,
}

impl Standing {
    pub(crate) fn of(state: &State, policy: &Policy, now: Moment) -> Self {
        Self {
            effect: state.effect(policy, now),
            good: state.status == Status::Pass,
            started: state.last_run.is_some(),
            retry_in: state.retry_in,
        }
    }
}

/// The checks, by what they do to the verdicts. A check is known by its place in the order of registration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// They fail readiness.
    pub(crate) blocking: Group,
    /// They make it a warning.
    degrading: BTreeSet<usize>,
    /// They do not pass, and change nothing.
    harmless: BTreeSet<usize>,
    /// Their first run has not ended.
    pub(crate) starting: Group,
    /// How many of the blocking are good, and wait before they return.
    returning: usize,
}

impl Tally {
    pub(crate) fn of(standings: impl IntoIterator<Item = Standing>) -> Self {
        let mut tally = Self::default();
        for (index, standing) in standings.into_iter().enumerate() {
            tally.insert(index, standing);
        }
        tally
    }

    pub(crate) fn replace(&mut self, index: usize, old: Standing, new: Standing) {
        if old != new {
            self.remove(index, old);
            self.insert(index, new);
        }
    }

    fn insert(&mut self, index: usize, standing: Standing) {
        match standing.effect {
            Effect::Blocks | Effect::Returning => self.blocking.insert(index, standing.retry_in),
            Effect::Degrades => _ = self.degrading.insert(index),
            Effect::None if !standing.good => _ = self.harmless.insert(index),
            Effect::None => {}
        }
        self.returning += usize::from(standing.effect == Effect::Returning);
        if !standing.started {
            self.starting.insert(index, standing.retry_in);
        }
    }

    fn remove(&mut self, index: usize, standing: Standing) {
        self.blocking.remove(index, standing.retry_in);
        self.starting.remove(index, standing.retry_in);
        self.degrading.remove(&index);
        self.harmless.remove(&index);
        self.returning -= usize::from(standing.effect == Effect::Returning);
    }

    /// Whether every check that blocks is good, and waits before it returns.
    pub(crate) fn all_blocking_return(&self) -> bool {
        self.returning == self.blocking.len()
    }

    pub(crate) fn degrades(&self) -> bool {
        !self.degrading.is_empty()
    }

    /// The checks that do not simply pass, the worst first.
    pub(crate) fn conspicuous(&self) -> impl Iterator<Item = usize> {
        let rest = self.degrading.iter().chain(&self.harmless).copied();
        self.blocking.iter().chain(rest)
    }

    pub(crate) fn conspicuous_len(&self) -> usize {
        self.blocking.len() + self.degrading.len() + self.harmless.len()
    }
}

/// Some checks in their order, and the shortest retry delay among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    order: BTreeSet<usize>,
    delays: BTreeSet<(Duration, usize)>,
}

impl Group {
    fn insert(&mut self, index: usize, delay: Duration) {
        self.order.insert(index);
        self.delays.insert((delay, index));
    }

    fn remove(&mut self, index: usize, delay: Duration) {
        self.order.remove(&index);
        self.delays.remove(&(delay, index));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn shortest_delay(&self) -> Option<Duration> {
        self.delays.first().map(|&(delay, _)| delay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing() -> impl Strategy<Value = Standing> {
        let effect = prop::sample::select(vec![
            Effect::None,
            Effect::Degrades,
            Effect::Blocks,
            Effect::Returning,
        ]);
        (effect, any::<bool>(), any::<bool>(), 0_u64..4).prop_map(
            |(effect, good, started, retry)| Standing {
                effect,
                good,
                started,
                retry_in: Duration::from_secs(retry),
            },
        )
    }

    proptest! {
        #[test]
        fn a_tally_that_was_kept_equals_one_that_is_counted_anew(
            mut standings in prop::collection::vec(standing(), 1..24),
            changes in prop::collection::vec((any::<prop::sample::Index>(), standing()), 0..64),
        ) {
            let mut tally = Tally::of(standings.iter().copied());
            for (index, new) in changes {
                let index = index.index(standings.len());
                tally.replace(index, standings[index], new);
                standings[index] = new;
                prop_assert_eq!(&tally, &Tally::of(standings.iter().copied()));
            }
        }
    }
}
