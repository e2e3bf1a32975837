//! The verdicts: what the states of all checks come to.

use std::{sync::Arc, time::Duration};

use super::{
    board::Id,
    clock::{Deadline, Moment},
    life::{Life, LifeEvent},
    memo::Memo,
    tally::{Group, Tally},
};
use crate::model::{Cause, CheckReport, Probe, Stage, Status, Verdict, VerdictReason};

/// What is published: the verdicts, and until when they hold if nothing happens.
#[derive(Debug)]
pub(crate) struct Published {
    /// What of [`Outside`](super::outside::Outside) it has seen.
    pub(super) turn: u64,
    pub(crate) valid_until: Option<Deadline>,
    /// From when on some check that runs on demand has reason to; none if there is no such check.
    pub(crate) demand_from: Option<Deadline>,
    pub(crate) view: Arc<View>,
}

/// The verdicts of one moment. A new one is made whenever anything that a reader can see changes.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) liveness: Arc<Face>,
    pub(crate) readiness: Arc<Face>,
    pub(crate) startup: Arc<Face>,
    pub(crate) health: Arc<Face>,
    /// Once it has [stopped](Life::stopped), nothing else is published any more.
    pub(crate) life: Life,
    pub(crate) stage: Stage,
}

/// One verdict and the answers made of it.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) verdict: Verdict,
    pub(crate) memo: Memo,
}

/// After how long to ask again for an instance that is leaving.
const DRAINING: Duration = Duration::from_secs(1);

/// Everything that decides the verdicts.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    tally: &'a Tally,
    life: Life,
    /// What a maintenance is for.
    cause: Option<Cause>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(tally: &'a Tally, life: Life, cause: Option<Cause>) -> Self {
        let life = match tally.starting.is_empty() {
            true => life.after(LifeEvent::Started),
            false => life,
        };
        Self { tally, life, cause }
    }

    pub(crate) fn started(&self) -> bool {
        self.life.has_started()
    }

    /// Whether nothing runs checks any more.
    fn stopped(&self) -> bool {
        self.life.stopped().is_some()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.life.stage(!self.tally.blocking.is_empty())
    }

    pub(crate) fn liveness(&self) -> (Status, Option<VerdictReason>) {
        let status = match self.stage() {
            Stage::Stopped => return (Status::Fail, Some(VerdictReason::EngineStopped)),
            // Who leaves ends its workers, and is not to be killed over that.
            Stage::Draining => return (Status::Pass, None),
            _ if self.tally.kills() => Status::Fail,
            _ if self.tally.ails() => Status::Warn,
            _ => return (Status::Pass, None),
        };
        (status, Some(VerdictReason::Checks))
    }

    pub(crate) fn startup(&self) -> (Status, Option<VerdictReason>) {
        if self.started() {
            (Status::Pass, None)
        } else if self.stopped() {
            (Status::Fail, Some(VerdictReason::EngineStopped))
        } else {
            (Status::Fail, Some(VerdictReason::Starting))
        }
    }

    pub(crate) fn readiness(&self) -> (Status, Option<VerdictReason>) {
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

    /// The worst of liveness and readiness; liveness speaks first.
    pub(crate) fn health(&self) -> (Status, Option<VerdictReason>) {
        let (liveness, readiness) = (self.liveness(), self.readiness());
        if readiness.0 > liveness.0 {
            readiness
        } else {
            liveness
        }
    }

    pub(crate) fn verdict(&self, probe: Probe) -> (Status, Option<VerdictReason>) {
        match probe {
            Probe::Liveness => self.liveness(),
            Probe::Readiness => self.readiness(),
            Probe::Startup => self.startup(),
            Probe::Health => self.health(),
        }
    }

    /// Whether it starts, and nothing is known yet that will keep it from being ready.
    pub(crate) fn is_unknown(&self) -> bool {
        self.stage() == Stage::Starting && !self.tally.is_down()
    }

    /// What stands behind a reason.
    pub(crate) fn cause_of(&self, reason: Option<VerdictReason>) -> Option<Cause> {
        let is_meant = reason == Some(VerdictReason::Maintenance);
        self.cause.clone().filter(|_| is_meant)
    }

    /// After how long it is worth asking again, while the verdict fails.
    pub(crate) fn retry(&self, probe: Probe) -> Option<Duration> {
        match probe {
            // Asking again later is no cure.
            Probe::Liveness => None,
            Probe::Startup => self.retry_startup(),
            Probe::Readiness => self.retry_readiness(),
            Probe::Health => [self.retry_readiness(), self.retry_liveness()]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// After how long it is worth asking for readiness again, while it fails.
    pub(crate) fn retry_readiness(&self) -> Option<Duration> {
        let blocking = self.tally.blocking.shortest_delay();
        match self.readiness().1? {
            VerdictReason::EngineStopped => None,
            // Another instance answers there by then.
            VerdictReason::Draining => Some(DRAINING),
            // What is left is for who answers to say.
            VerdictReason::Maintenance => None,
            VerdictReason::Starting => [blocking, self.retry_startup()].into_iter().flatten().min(),
            _ => blocking,
        }
    }

    /// After how long liveness may be another: who restarts what is dead is not told, but who asks for all is.
    fn retry_liveness(&self) -> Option<Duration> {
        let fails = self.liveness() == (Status::Fail, Some(VerdictReason::Checks));
        fails.then(|| self.tally.killing.shortest_delay())?
    }

    fn retry_startup(&self) -> Option<Duration> {
        let starts = !self.started() && !self.stopped();
        starts.then(|| self.tally.starting.shortest_delay())?
    }
}

impl View {
    /// The verdicts that follow from `facts`, with what `report` tells of single checks. Those that say the
    /// same as in `before` are kept, with the answers made of them; others have their status since `at`.
    pub(crate) fn new(
        facts: &Facts<'_>,
        at: Moment,
        report: &dyn Fn(Id) -> Option<CheckReport>,
        before: Option<&Self>,
    ) -> Self {
        let listed = |checks: &mut dyn Iterator<Item = Id>| -> Arc<[CheckReport]> {
            checks
                .take(Verdict::MAX_CHECKS)
                .filter_map(report)
                .collect()
        };
        let tally = facts.tally;
        let conspicuous = listed(&mut tally.conspicuous());
        let more = tally.conspicuous_len() - conspicuous.len();
        // Mostly there is none.
        let (mortal, all) = match tally.mortal_len() {
            0 => (Arc::default(), conspicuous.clone()),
            _ => (
                listed(&mut tally.mortal()),
                listed(&mut tally.mortal().chain(tally.conspicuous())),
            ),
        };
        let more_mortal = tally.mortal_len() - mortal.len();
        let more_of_all = tally.mortal_len() + tally.conspicuous_len() - all.len();
        let (mortal, more_mortal) = match facts.liveness().0 {
            Status::Pass => (Arc::default(), 0),
            Status::Warn | Status::Fail => (mortal, more_mortal),
        };
        let starting: &Group = &facts.tally.starting;
        let unstarted = match facts.started() {
            true => Arc::default(),
            false => listed(&mut starting.iter()),
        };
        let since = |probe, status| {
            let before = before.map(|view| &view.face(probe).verdict);
            let same = before.filter(|before| before.status == status);
            same.map_or_else(|| at.time(), |before| before.since)
        };
        let verdict = |probe, (status, reason), checks, more, retry_after| Verdict {
            probe,
            status,
            since: since(probe, status),
            reason,
            cause: facts.cause_of(reason),
            unknown: facts.is_unknown(),
            checks,
            more,
            retry_after,
        };
        Self {
            liveness: Face::keep_or_make(
                before.map(|view| &view.liveness),
                verdict(Probe::Liveness, facts.liveness(), mortal, more_mortal, None),
            ),
            startup: Face::keep_or_make(
                before.map(|view| &view.startup),
                verdict(
                    Probe::Startup,
                    facts.startup(),
                    unstarted.clone(),
                    if facts.started() {
                        0
                    } else {
                        starting.len() - unstarted.len()
                    },
                    facts.retry_startup(),
                ),
            ),
            readiness: Face::keep_or_make(
                before.map(|view| &view.readiness),
                verdict(
                    Probe::Readiness,
                    facts.readiness(),
                    conspicuous.clone(),
                    more,
                    facts.retry_readiness(),
                ),
            ),
            // It tells of every check, so any change makes it new.
            health: Face::make(verdict(
                Probe::Health,
                facts.health(),
                all,
                more_of_all,
                facts.retry(Probe::Health),
            )),
            life: facts.life,
            stage: facts.stage(),
        }
    }

    pub(crate) fn face(&self, probe: Probe) -> &Arc<Face> {
        match probe {
            Probe::Liveness => &self.liveness,
            Probe::Readiness => &self.readiness,
            Probe::Startup => &self.startup,
            Probe::Health => &self.health,
        }
    }
}

impl Face {
    fn make(verdict: Verdict) -> Arc<Self> {
        Arc::new(Self {
            verdict,
            memo: Memo::default(),
        })
    }

    fn keep_or_make(before: Option<&Arc<Self>>, verdict: Verdict) -> Arc<Self> {
        match before {
            Some(face)
                if face.verdict.says_the_same(&verdict)
                    && face.verdict.counts_the_same(&verdict)
                    && face.verdict.retry_after == verdict.retry_after =>
            {
                Arc::clone(face)
            }
            _ => Self::make(verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        check::Policy,
        engine::{
            clock::moment,
            state::{Run, State},
            tally::Standing,
        },
        model::{Criticality, Outcome, Reason},
    };

    /// How a check may be, as the table of criticalities tells it.
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
            // Whatever is not a pass says why; whatever fails for its checks says when to ask again.
            for (status, reason) in [facts.liveness(), facts.startup(), facts.readiness(), facts.health()] {
                prop_assert_eq!(status != Status::Pass, reason.is_some());
            }
            let asks_again = readiness == Status::Fail && (draining || !(stopped || maintained));
            prop_assert_eq!(facts.retry_readiness().is_some(), asks_again);
        }
    }
}
