//! Pure: the verdicts that follow from the states of all checks and the life of the instance.

use std::time::Duration;

use super::{
    life::{Life, LifeEvent},
    tally::Tally,
};
use crate::model::{Cause, Probe, Stage, Status, VerdictReason};

/// When to retry on an instance that is draining. Another instance serves its address by then.
const DRAINING: Duration = Duration::from_secs(1);

/// Everything that decides the verdicts.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(super) tally: &'a Tally,
    pub(super) life: Life,
    /// The cause of a maintenance.
    cause: Option<Cause>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(tally: &'a Tally, life: Life, cause: Option<Cause>) -> Self {
        let life = if tally.starting.is_empty() {
            life.after(LifeEvent::Started)
        } else {
            life
        };
        Self { tally, life, cause }
    }

    pub(crate) fn started(&self) -> bool {
        self.life.has_started()
    }

    fn stopped(&self) -> bool {
        self.life.stopped().is_some()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.life.stage(!self.tally.blocking.is_empty())
    }

    pub(crate) fn verdict(&self, probe: Probe) -> (Status, Option<VerdictReason>) {
        match probe {
            Probe::Liveness => self.liveness(),
            Probe::Readiness => self.readiness(),
            Probe::Startup => self.startup(),
            Probe::Health => self.health(),
        }
    }

    fn liveness(&self) -> (Status, Option<VerdictReason>) {
        let status = match self.stage() {
            Stage::Stopped => return (Status::Fail, Some(VerdictReason::EngineStopped)),
            // A draining instance ends its workers, and must not be restarted for that.
            Stage::Draining => return (Status::Pass, None),
            _ if self.tally.fails_liveness() => Status::Fail,
            _ if self.tally.degrades_liveness() => Status::Warn,
            _ => return (Status::Pass, None),
        };
        (status, Some(VerdictReason::Checks))
    }

    fn startup(&self) -> (Status, Option<VerdictReason>) {
        if self.started() {
            (Status::Pass, None)
        } else if self.stopped() {
            (Status::Fail, Some(VerdictReason::EngineStopped))
        } else {
            (Status::Fail, Some(VerdictReason::Starting))
        }
    }

    fn readiness(&self) -> (Status, Option<VerdictReason>) {
        let reason = match self.stage() {
            Stage::Stopped => VerdictReason::EngineStopped,
            Stage::Draining => VerdictReason::Draining,
            Stage::Maintenance => VerdictReason::Maintenance,
            Stage::Starting => VerdictReason::Starting,
            Stage::NotReady if self.tally.all_blocking_return() => VerdictReason::Returning,
            Stage::NotReady => VerdictReason::Checks,
            Stage::Ready if self.tally.degrades() => {
                return (Status::Warn, Some(VerdictReason::Checks));
            }
            Stage::Ready => return (Status::Pass, None),
        };
        (Status::Fail, Some(reason))
    }

    /// The worse of liveness and readiness. If both are equal, the reason is that of liveness.
    fn health(&self) -> (Status, Option<VerdictReason>) {
        let (liveness, readiness) = (self.liveness(), self.readiness());
        if readiness.0 > liveness.0 {
            readiness
        } else {
            liveness
        }
    }

    /// Whether the instance is starting, and nothing is known to prevent readiness.
    pub(crate) fn is_unknown(&self) -> bool {
        self.stage() == Stage::Starting && !self.tally.is_down()
    }

    /// The cause behind a reason.
    pub(crate) fn cause_of(&self, reason: Option<VerdictReason>) -> Option<Cause> {
        let is_maintenance = reason == Some(VerdictReason::Maintenance);
        self.cause.clone().filter(|_| is_maintenance)
    }

    /// After how long a verdict that fails may have changed. `None` if that is unknown, or for the
    /// reader to compute: a maintenance ends at a fixed time.
    pub(crate) fn retry_after(&self, probe: Probe) -> Option<Duration> {
        let checks = self.tally.blocking.shortest_delay();
        let starting = (!self.started() && !self.stopped())
            .then(|| self.tally.starting.shortest_delay())
            .flatten();
        let readiness = || match self.readiness().1? {
            VerdictReason::EngineStopped | VerdictReason::Maintenance => None,
            VerdictReason::Draining => Some(DRAINING),
            VerdictReason::Starting => shortest(checks, starting),
            _ => checks,
        };
        match probe {
            // A retry does not help: the instance has to be restarted.
            Probe::Liveness => None,
            Probe::Startup => starting,
            Probe::Readiness => readiness(),
            Probe::Health => {
                let fails = self.liveness() == (Status::Fail, Some(VerdictReason::Checks));
                let liveness = self.tally.failing_liveness.shortest_delay();
                shortest(readiness(), liveness.filter(|_| fails))
            }
        }
    }
}

fn shortest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        check::Policy,
        engine::{
            clock::moment,
            id::Id,
            state::{Run, State},
            tally::Standing,
        },
        model::{Criticality, Outcome, Reason},
    };

    /// The rows of the table of criticalities.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Case {
        Pending,
        Pass,
        Warn,
        NeverGood,
        FailsAfterGood,
    }

    fn state(case: Case, policy: &Policy) -> State {
        let run = Run {
            ended: moment(1),
            duration: Duration::ZERO,
        };
        let record = |state: State, outcome| state.record(outcome, run, policy, 0.0);
        let pending = State::pending(moment(0), policy);
        let fail = || Outcome::fail(Reason::Failed);
        match case {
            Case::Pending => pending,
            Case::Pass => record(pending, Outcome::pass()),
            Case::Warn => record(pending, Outcome::warn(Reason::Busy)),
            Case::NeverGood => record(pending, fail()),
            Case::FailsAfterGood => record(record(pending, Outcome::pass()), fail()),
        }
    }

    /// The table, and nothing else.
    fn readiness_of(criticality: Criticality, case: Case) -> Status {
        use Criticality::{Critical, NonCritical, Shared};
        match (case, criticality) {
            (Case::Pass, _) | (Case::Pending, NonCritical) => Status::Pass,
            (Case::Warn, _) | (_, NonCritical) | (Case::FailsAfterGood, Shared) => Status::Warn,
            (Case::Pending, _) | (_, Critical) | (Case::NeverGood, Shared) => Status::Fail,
        }
    }

    fn check() -> impl Strategy<Value = (Criticality, Case)> {
        let criticalities = [
            Criticality::Critical,
            Criticality::Shared,
            Criticality::NonCritical,
        ];
        let cases = [
            Case::Pending,
            Case::Pass,
            Case::Warn,
            Case::NeverGood,
            Case::FailsAfterGood,
        ];
        (
            prop::sample::select(criticalities.to_vec()),
            prop::sample::select(cases.to_vec()),
        )
    }

    proptest! {
        #[test]
        fn the_verdicts_are_those_of_the_table(
            checks in prop::collection::vec(check(), 0..12),
            started_before: bool,
            maintained: bool,
            draining: bool,
            stopped: bool,
        ) {
            let standing = |&(criticality, case): &(Criticality, Case)| {
                let policy = Policy { criticality, ..Policy::default() };
                Standing::of(&state(case, &policy), &policy, moment(1))
            };
            let tally = Tally::of((0..).map(Id).zip(checks.iter().map(standing)));
            let events = [
                (started_before, LifeEvent::Started),
                (maintained, LifeEvent::MaintenanceBegan),
                (draining, LifeEvent::DrainBegan),
                (stopped, LifeEvent::Stopped(moment(1))),
            ];
            let happened = events.into_iter().filter_map(|(did, event)| did.then_some(event));
            let life = happened.fold(Life::default(), Life::after);
            let facts = Facts::new(&tally, life, None);

            let all_ended = checks.iter().all(|&(_, case)| case != Case::Pending);
            // Nothing begins once the engine has stopped.
            let started = started_before || (all_ended && !stopped);
            prop_assert_eq!(facts.startup().0 == Status::Pass, started);
            prop_assert_eq!(facts.liveness().0 == Status::Fail, stopped && !draining);
            let worst = checks
                .iter()
                .map(|&(criticality, case)| readiness_of(criticality, case))
                .max()
                .unwrap_or(Status::Pass);
            let serves = started && !maintained && !draining && !stopped;
            let readiness = if serves { worst } else { Status::Fail };
            prop_assert_eq!(facts.readiness().0, readiness);
            prop_assert_eq!(facts.health().0, readiness.max(facts.liveness().0));
            // Whatever is not a pass says why; whatever fails for its checks says when to ask
            // again.
            for (status, reason) in [facts.liveness(), facts.startup(), facts.readiness(), facts.health()] {
                prop_assert_eq!(status != Status::Pass, reason.is_some());
            }
            let asks_again = readiness == Status::Fail && (draining || !(stopped || maintained));
            prop_assert_eq!(facts.retry_after(Probe::Readiness).is_some(), asks_again);
        }
    }
}
