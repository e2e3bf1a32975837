//! The aggregate of all checks, kept so that one change costs O(log n).

use std::{collections::BTreeSet, time::Duration};

use super::{
    board::Id,
    clock::Moment,
    state::{Effect, State},
    threshold::Phase,
};
use crate::{
    check::{Part, Policy},
    model::{Probe, Status},
};

/// What one check adds to the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    effect: Effect,
    good: bool,
    started: bool,
    /// Whether it is known to keep the instance from being ready.
    down: bool,
    retry_in: Duration,
}

impl Standing {
    pub(crate) fn of(state: &State, policy: &Policy, now: Moment) -> Self {
        let effect = state.effect(policy, now);
        let counts = effect == Effect::Blocks || policy.is_task();
        Self {
            effect,
            down: counts && state.threshold.phase() == Phase::Failing,
            good: state.status == Status::Pass,
            started: match policy.part {
                Part::Readiness => {
                    // One that stands behind what fails is not run, and what was once so stays.
                    let ended =
                        state.last_run.is_some() || state.threshold.phase() != Phase::Pending;
                    ended || !policy.holds_while_pending
                }
                Part::Liveness => true,
                Part::Startup => state.threshold.passed(),
            },
            retry_in: state.retry_in,
        }
    }
}

impl Standing {
    /// Whether it fails the verdict of `probe`.
    pub(crate) fn fails(self, probe: Probe) -> bool {
        match (probe, self.effect) {
            (Probe::Startup, _) => !self.started,
            (Probe::Liveness, effect) => effect == Effect::Kills,
            (Probe::Readiness | Probe::Health, effect) => {
                matches!(effect, Effect::Blocks | Effect::Returning | Effect::Kills)
            }
        }
    }
}

/// The checks, by what they do to the verdicts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// They fail readiness.
    pub(crate) blocking: Group,
    /// They make it a warning.
    degrading: BTreeSet<Id>,
    /// They do not pass, and change nothing.
    harmless: BTreeSet<Id>,
    /// They fail liveness.
    pub(crate) killing: Group,
    /// They make it a warning.
    ailing: BTreeSet<Id>,
    /// Their first run has not ended.
    pub(crate) starting: Group,
    /// How many of the blocking are good, and wait before they return.
    returning: usize,
    /// How many are known to keep the instance from being ready.
    down: usize,
}

impl Tally {
    pub(crate) fn of(standings: impl IntoIterator<Item = (Id, Standing)>) -> Self {
        let mut tally = Self::default();
        for (id, standing) in standings {
            tally.insert(id, standing);
        }
        tally
    }

    pub(crate) fn replace(&mut self, id: Id, old: Standing, new: Standing) {
        if old != new {
            self.remove(id, old);
            self.insert(id, new);
        }
    }

    pub(crate) fn insert(&mut self, id: Id, standing: Standing) {
        match standing.effect {
            Effect::Blocks | Effect::Returning => self.blocking.insert(id, standing.retry_in),
            Effect::Degrades => _ = self.degrading.insert(id),
            Effect::Kills => self.killing.insert(id, standing.retry_in),
            Effect::Ails => _ = self.ailing.insert(id),
            Effect::None if !standing.good => _ = self.harmless.insert(id),
            Effect::None => {}
        }
        self.returning += usize::from(standing.effect == Effect::Returning);
        self.down += usize::from(standing.down);
        if !standing.started {
            self.starting.insert(id, standing.retry_in);
        }
    }

    pub(crate) fn remove(&mut self, id: Id, standing: Standing) {
        self.blocking.remove(id, standing.retry_in);
        self.starting.remove(id, standing.retry_in);
        self.degrading.remove(&id);
        self.harmless.remove(&id);
        self.killing.remove(id, standing.retry_in);
        self.ailing.remove(&id);
        self.down -= usize::from(standing.down);
        self.returning -= usize::from(standing.effect == Effect::Returning);
    }

    /// Whether every check that blocks is good, and waits before it returns.
    pub(crate) fn all_blocking_return(&self) -> bool {
        self.returning == self.blocking.len()
    }

    pub(crate) fn degrades(&self) -> bool {
        !self.degrading.is_empty()
    }

    pub(crate) fn degrading(&self) -> impl Iterator<Item = Id> {
        self.degrading.iter().copied()
    }

    /// Whether something is known to keep the instance from being ready.
    pub(crate) fn is_down(&self) -> bool {
        self.down > 0
    }

    pub(crate) fn kills(&self) -> bool {
        !self.killing.is_empty()
    }

    pub(crate) fn ails(&self) -> bool {
        !self.ailing.is_empty()
    }

    /// Those that liveness suffers from, the worst first.
    pub(crate) fn mortal(&self) -> impl Iterator<Item = Id> {
        self.killing.iter().chain(self.ailing.iter().copied())
    }

    pub(crate) fn mortal_len(&self) -> usize {
        self.killing.len() + self.ailing.len()
    }

    /// The checks that do not simply pass, the worst first, but for those of liveness.
    pub(crate) fn conspicuous(&self) -> impl Iterator<Item = Id> {
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
    order: BTreeSet<Id>,
    delays: BTreeSet<(Duration, Id)>,
}

impl Group {
    fn insert(&mut self, id: Id, delay: Duration) {
        self.order.insert(id);
        self.delays.insert((delay, id));
    }

    fn remove(&mut self, id: Id, delay: Duration) {
        self.order.remove(&id);
        self.delays.remove(&(delay, id));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Id> {
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
            Effect::Kills,
            Effect::Ails,
        ]);
        (effect, any::<[bool; 3]>(), 0_u64..4).prop_map(|(effect, [good, started, down], retry)| {
            Standing {
                effect,
                down,
                good,
                started,
                retry_in: Duration::from_secs(retry),
            }
        })
    }

    proptest! {
        #[test]
        fn a_tally_that_was_kept_equals_one_that_is_counted_anew(
            mut standings in prop::collection::vec(standing(), 1..24),
            changes in prop::collection::vec((any::<prop::sample::Index>(), standing()), 0..64),
        ) {
            let of = |standings: &[Standing]| Tally::of((0..).map(Id).zip(standings.iter().copied()));
            let mut tally = of(&standings);
            for (index, new) in changes {
                let index = index.index(standings.len());
                tally.replace(Id(index as u64), standings[index], new);
                standings[index] = new;
                prop_assert_eq!(&tally, &of(&standings));
            }
        }
    }
}
