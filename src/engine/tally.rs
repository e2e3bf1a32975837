//! The aggregate of all checks. One change costs O(log n).

use std::{collections::BTreeSet, time::Duration};

use super::{
    clock::Moment,
    id::Id,
    state::{Effect, State},
    threshold::Phase,
};
use crate::{
    check::{AffectedProbe, Policy},
    model::{Probe, Status, VerdictReason},
};

/// The contribution of one check to the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    effect: Effect,
    good: bool,
    started: bool,
    /// Whether it is known to prevent readiness.
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
            started: match policy.affects {
                AffectedProbe::Readiness => {
                    // A blocked check is not run. It counts as started, and stays so.
                    let ended =
                        state.last_run.is_some() || state.threshold.phase() != Phase::Pending;
                    ended || !policy.blocks_while_pending
                }
                AffectedProbe::Liveness => true,
                AffectedProbe::Startup => state.threshold.passed(),
            },
            retry_in: state.retry_in,
        }
    }
}

impl Standing {
    /// Whether it fails the verdict of this probe.
    pub(crate) fn fails(self, probe: Probe) -> bool {
        match (probe, self.effect) {
            (Probe::Startup, _) => !self.started,
            (Probe::Liveness, effect) => effect == Effect::FailsLiveness,
            (Probe::Readiness | Probe::Health, effect) => {
                matches!(
                    effect,
                    Effect::Blocks | Effect::Returning | Effect::FailsLiveness
                )
            }
        }
    }
}

/// The checks, grouped by their effect on the verdicts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// They fail readiness.
    pub(crate) blocking: Group,
    /// They degrade readiness to a warning.
    degrading: BTreeSet<Id>,
    /// They do not pass, and affect no verdict.
    ignored: BTreeSet<Id>,
    /// They fail liveness.
    pub(crate) failing_liveness: Group,
    /// They degrade liveness to a warning.
    degrading_liveness: BTreeSet<Id>,
    /// Their first run has not ended.
    pub(crate) starting: Group,
    /// How many of the blocking checks are good, and delay their return.
    returning: usize,
    /// How many are known to prevent readiness.
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
            Effect::FailsLiveness => self.failing_liveness.insert(id, standing.retry_in),
            Effect::DegradesLiveness => _ = self.degrading_liveness.insert(id),
            Effect::None if !standing.good => _ = self.ignored.insert(id),
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
        self.ignored.remove(&id);
        self.failing_liveness.remove(id, standing.retry_in);
        self.degrading_liveness.remove(&id);
        self.down -= usize::from(standing.down);
        self.returning -= usize::from(standing.effect == Effect::Returning);
    }

    /// Whether every blocking check is good, and delays its return.
    pub(crate) fn all_blocking_return(&self) -> bool {
        self.returning == self.blocking.len()
    }

    pub(crate) fn degrades(&self) -> bool {
        !self.degrading.is_empty()
    }

    pub(crate) fn degrading(&self) -> impl Iterator<Item = Id> {
        self.degrading.iter().copied()
    }

    /// Whether some check is known to prevent readiness.
    pub(crate) fn is_down(&self) -> bool {
        self.down > 0
    }

    pub(crate) fn fails_liveness(&self) -> bool {
        !self.failing_liveness.is_empty()
    }

    pub(crate) fn degrades_liveness(&self) -> bool {
        !self.degrading_liveness.is_empty()
    }

    /// The checks that fail or degrade liveness, the worst first.
    pub(crate) fn affecting_liveness(&self) -> impl Iterator<Item = Id> {
        self.failing_liveness
            .iter()
            .chain(self.degrading_liveness.iter().copied())
    }

    pub(crate) fn affecting_liveness_len(&self) -> usize {
        self.failing_liveness.len() + self.degrading_liveness.len()
    }

    /// The checks that decide a verdict. None if the instance itself is the reason.
    pub(crate) fn deciding(
        &self,
        probe: Probe,
        status: Status,
        reason: Option<VerdictReason>,
    ) -> impl Iterator<Item = Id> {
        use VerdictReason::{Checks, Returning, Starting};
        let affects = |of: Probe| probe == of || probe == Probe::Health;
        let is_of_checks = matches!(reason, Some(Checks | Returning));
        let fails = is_of_checks && status == Status::Fail;
        let warns = is_of_checks && status == Status::Warn;
        let (liveness, readiness) = (affects(Probe::Liveness), affects(Probe::Readiness));
        let starting = (reason == Some(Starting)).then(|| self.starting.iter());
        let failing = (fails && liveness).then(|| self.failing_liveness.iter());
        let blocking = (fails && readiness).then(|| self.blocking.iter());
        let degrading_liveness = (warns && liveness).then(|| self.degrading_liveness.iter());
        let degrading = (warns && readiness).then(|| self.degrading.iter());
        let groups = [starting, failing, blocking]
            .into_iter()
            .flatten()
            .flatten();
        let sets = [degrading_liveness, degrading].into_iter().flatten();
        groups.chain(sets.flatten().copied())
    }

    /// The checks that do not pass, the worst first, without those of liveness.
    pub(crate) fn not_passing(&self) -> impl Iterator<Item = Id> {
        let rest = self.degrading.iter().chain(&self.ignored).copied();
        self.blocking.iter().chain(rest)
    }

    pub(crate) fn not_passing_len(&self) -> usize {
        self.blocking.len() + self.degrading.len() + self.ignored.len()
    }
}

/// Checks in the order of registration, and the shortest retry delay among them.
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
            Effect::FailsLiveness,
            Effect::DegradesLiveness,
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
        fn a_tally_that_is_updated_equals_one_that_is_counted_again(
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
