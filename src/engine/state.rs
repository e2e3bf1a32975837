//! Pure: the state of one check, and its effect on readiness and liveness.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{
    clock::{Deadline, Moment},
    flapping::{Flapping, Shown},
    schedule::nominal,
    threshold::{Phase, Threshold},
};
use crate::{
    check::{AffectedProbe, Policy},
    model::{Cause, CheckEffect, Criticality, Measurement, Name, Outcome, Reason, Status},
};

/// Each step makes a new state from the old one, an event and a moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) threshold: Threshold,
    pub(crate) status: Status,
    pub(crate) reason: Option<Reason>,
    /// The dependency that fails, while the check is not run for it.
    pub(crate) blocked_by: Option<Name>,
    pub(crate) cause: Option<Cause>,
    pub(crate) measurements: Arc<[Measurement]>,
    pub(crate) since: Moment,
    pub(crate) last_run: Option<Run>,
    /// From when on a reader has to request a run, unless the last run decides that. A blocked
    /// check is held back for a while each time, and runs at once when it is unblocked.
    demand_from: Option<Deadline>,
    /// The smoothed duration of good runs.
    pub(crate) smoothed: Option<Duration>,
    pub(crate) last_success: Option<Moment>,
    /// The delay before the next run, without its jitter.
    pub(crate) retry_in: Duration,
    /// When the last result becomes stale. `None` if there is none, or if it never does.
    expires: Option<Deadline>,
    /// Since when the grace of a shared check has run.
    grace_from: Option<Moment>,
    /// Until when a shared check that is good again still blocks readiness.
    returns: Option<Deadline>,
    pub(crate) flapping: Flapping,
}

/// A run that ended or timed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) ended: Moment,
    pub(crate) duration: Duration,
}

impl Moment {
    /// The run from this moment until `ended`.
    pub(crate) fn run_until(self, ended: Self) -> Run {
        Run {
            ended,
            duration: ended.mono.saturating_sub(self.mono),
        }
    }
}

/// The effect of a check on the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// Degrades readiness to a warning.
    Degrades,
    /// Fails readiness.
    Blocks,
    /// Fails readiness although it is good: a shared check that delays its return.
    Returning,
    /// Fails liveness.
    FailsLiveness,
    /// Degrades liveness to a warning.
    DegradesLiveness,
}

impl From<Effect> for CheckEffect {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::None => Self::None,
            Effect::Degrades => Self::StaysReady,
            Effect::Blocks | Effect::Returning => Self::NotReady,
            Effect::FailsLiveness => Self::NotAlive,
            Effect::DegradesLiveness => Self::StaysAlive,
        }
    }
}

/// The weight of the runs before the last one.
const KEPT: f64 = 0.75;

fn smooth(before: Duration, last: Duration) -> Duration {
    before.mul_f64(KEPT) + last.mul_f64(1.0 - KEPT)
}

impl State {
    pub(crate) fn pending(now: Moment, policy: &Policy) -> Self {
        let threshold = Threshold::pending();
        Self {
            threshold,
            status: Status::Fail,
            reason: Some(Reason::Pending),
            blocked_by: None,
            cause: None,
            measurements: Arc::default(),
            since: now,
            last_run: None,
            demand_from: None,
            smoothed: None,
            last_success: None,
            retry_in: nominal(policy, threshold),
            expires: None,
            grace_from: None,
            returns: None,
            flapping: Flapping::new(policy),
        }
    }

    /// The same state, which becomes stale at `expires`.
    pub(crate) fn until(self, expires: Deadline) -> Self {
        Self {
            expires: Some(expires),
            ..self
        }
    }

    /// The state after a run with this outcome. `jitter`, from 0 to 1, is the part of a period by
    /// which a shared check that exceeded its grace delays its return.
    pub(crate) fn record(&self, outcome: Outcome, run: Run, policy: &Policy, jitter: f64) -> Self {
        let old = self.at(run.ended);
        let (status, reason, cause, measurements) = outcome.into_parts();
        let good = status.is_good();
        let threshold = old
            .threshold
            .record(good, policy.fail_after(), policy.pass_after());
        let takes_effect = match threshold.phase() {
            Phase::Pending => false,
            Phase::Good => good,
            Phase::Failing => !good,
        };
        let (status, reason, cause) = if takes_effect {
            (status, reason, cause)
        } else {
            (old.status, old.reason, old.cause.clone())
        };
        let unchanged = threshold.phase() == old.threshold.phase() && status == old.status;
        let returns = old.returns_after(threshold.phase(), run.ended, policy, jitter);
        let mut next = Self {
            threshold,
            status,
            reason,
            blocked_by: None,
            cause,
            measurements: measurements.into(),
            since: if unchanged { old.since } else { run.ended },
            last_run: Some(run),
            demand_from: None,
            smoothed: match old.smoothed {
                Some(before) if good => Some(smooth(before, run.duration)),
                None if good => Some(run.duration),
                unchanged => unchanged,
            },
            last_success: if good {
                Some(run.ended)
            } else {
                old.last_success
            },
            retry_in: nominal(policy, threshold),
            expires: (!policy.is_task()).then(|| run.ended.plus(policy.max_age())),
            grace_from: match threshold.phase() {
                Phase::Failing => old.grace_from.or(Some(run.ended)),
                _ => old.grace_from.filter(|_| returns.is_some()),
            },
            returns,
            flapping: old.flapping,
        };
        next.flapping = if policy.is_task() && threshold.phase() == Phase::Good {
            // It is done, and does not run again.
            old.flapping.reset()
        } else {
            old.flapping.after_run(old.shown(), next.shown(), run.ended)
        };
        next
    }

    /// Until when the return is delayed, if an outcome at `now` leads to `phase`.
    fn returns_after(
        &self,
        phase: Phase,
        now: Moment,
        policy: &Policy,
        jitter: f64,
    ) -> Option<Deadline> {
        if phase != Phase::Good {
            return None;
        }
        let comes_back = self.threshold.phase() == Phase::Failing
            && self.threshold.passed()
            && self.effect(policy, now) == Effect::Blocks
            && policy.criticality == Criticality::Shared;
        if comes_back {
            Some(now.plus(policy.period().mul_f64(jitter)))
        } else {
            self.returns.filter(|returns| !returns.reached(now))
        }
    }

    /// The state as it reads at `now`. The last result may have become stale since.
    pub(crate) fn at(&self, now: Moment) -> Cow<'_, Self> {
        let mut state = match self.expires {
            Some(expires) if expires.reached(now) => Cow::Owned(self.expired(expires.moment())),
            _ => Cow::Borrowed(self),
        };
        if state.flapping.is_over(now) {
            state.to_mut().flapping = state.flapping.at(now);
        }
        state
    }

    /// Whether there is a result that is not stale.
    pub(crate) fn is_valid(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| !expires.reached(now))
    }

    /// Until when no reader has to request a run. `None` before the first run.
    pub(crate) fn fresh_until(&self) -> Option<Deadline> {
        let by_run = self.last_run.map(|run| run.ended.plus(self.retry_in));
        self.demand_from.or(by_run)
    }

    /// The same state under another policy.
    pub(crate) fn under(&self, policy: &Policy) -> Self {
        let expires = self.expires.and(self.last_run);
        Self {
            retry_in: nominal(policy, self.threshold),
            expires: expires.map(|run| run.ended.plus(policy.max_age())),
            returns: self
                .returns
                .filter(|_| policy.criticality == Criticality::Shared),
            flapping: self.flapping.under(policy),
            ..self.clone()
        }
    }

    /// The same state, confirmed at `at`. Only a good result can be confirmed.
    pub(crate) fn confirmed(&self, at: Moment, ttl: Duration) -> Self {
        let good = self.threshold.phase() == Phase::Good;
        let last = self.last_run.filter(|run| good && at.mono > run.ended.mono);
        let (Some(run), Some(_)) = (last, self.expires) else {
            return self.clone();
        };
        Self {
            last_run: Some(Run { ended: at, ..run }),
            last_success: self.last_success.map(|_| at),
            expires: Some(at.plus(ttl)),
            ..self.clone()
        }
    }

    /// The same state, which never becomes stale.
    pub(crate) fn without_expiry(self) -> Self {
        Self {
            expires: None,
            ..self
        }
    }

    fn expired(&self, at: Moment) -> Self {
        self.without_outcome(Reason::Stale, at)
    }

    /// The state while the dependency `by` fails. It does not become stale.
    pub(crate) fn blocked(&self, by: Name, at: Moment) -> Self {
        Self {
            blocked_by: Some(by),
            demand_from: Some(at.plus(self.retry_in)),
            ..self.at(at).without_outcome(Reason::Blocked, at)
        }
    }

    /// The state once no dependency fails any more. It is pending until the next run.
    pub(crate) fn unblocked(&self) -> Self {
        Self {
            reason: Some(Reason::Pending),
            blocked_by: None,
            demand_from: Some(Deadline::PAST),
            ..self.clone()
        }
    }

    /// The state without a valid result from `at` on.
    fn without_outcome(&self, reason: Reason, at: Moment) -> Self {
        let was_failing = self.threshold.phase() == Phase::Failing;
        let mut next = Self {
            threshold: self.threshold.expire(),
            status: Status::Fail,
            reason: Some(reason),
            blocked_by: None,
            cause: None,
            since: if was_failing { self.since } else { at },
            expires: None,
            grace_from: self.grace_from.or(Some(at)),
            returns: None,
            ..self.clone()
        };
        next.flapping = self.flapping.after_change(self.shown(), next.shown(), at);
        next
    }

    /// What a change is judged by.
    fn shown(&self) -> Shown {
        Shown {
            status: self.known(),
            reason: self.reason,
        }
    }

    /// The state as it reads once checks no longer run.
    pub(crate) fn stopped(&self, at: Moment) -> Self {
        let was_failing = self.threshold.phase() == Phase::Failing;
        Self {
            status: Status::Fail,
            since: if was_failing { self.since } else { at },
            reason: Some(Reason::EngineStopped),
            blocked_by: None,
            cause: None,
            threshold: self.threshold.expire(),
            flapping: self.flapping.reset(),
            ..self.clone()
        }
    }

    pub(crate) fn effect(&self, policy: &Policy, now: Moment) -> Effect {
        match (policy.affects, self.threshold.phase()) {
            (AffectedProbe::Readiness, _) => {}
            (AffectedProbe::Liveness, Phase::Failing) => return Effect::FailsLiveness,
            (AffectedProbe::Liveness, Phase::Good) if self.status == Status::Warn => {
                return Effect::DegradesLiveness;
            }
            // A start-up task affects startup only.
            (AffectedProbe::Liveness | AffectedProbe::Startup, _) => return Effect::None,
        }
        let held = self.returns.is_some_and(|returns| !returns.reached(now));
        match (self.threshold.phase(), policy.criticality) {
            (Phase::Good, _) if held => Effect::Returning,
            (Phase::Good, _) if self.status == Status::Pass => Effect::None,
            (Phase::Good, _) | (Phase::Failing, Criticality::NonCritical) => Effect::Degrades,
            (Phase::Failing, Criticality::Shared) if self.has_grace(policy, now) => {
                Effect::Degrades
            }
            (Phase::Pending, Criticality::NonCritical) => Effect::None,
            (Phase::Pending, _) if !policy.blocks_while_pending => Effect::None,
            (Phase::Pending | Phase::Failing, _) => Effect::Blocks,
        }
    }

    fn has_grace(&self, policy: &Policy, now: Moment) -> bool {
        let over = self.grace_ends(policy).is_some_and(|end| end.reached(now));
        self.threshold.passed() && !over
    }

    fn grace_ends(&self, policy: &Policy) -> Option<Deadline> {
        Some(self.grace_from?.plus(policy.shared_grace?))
    }

    /// When the state changes if nothing happens.
    pub(crate) fn changes_at(&self, policy: &Policy, now: Moment) -> Option<Deadline> {
        [self.expires_at(now), self.effect_changes_at(policy, now)]
            .into_iter()
            .flatten()
            .reduce(Deadline::min)
    }

    /// When its result becomes stale.
    pub(crate) fn expires_at(&self, now: Moment) -> Option<Deadline> {
        self.expires.filter(|deadline| !deadline.reached(now))
    }

    /// When its effect changes although the state does not.
    pub(crate) fn effect_changes_at(&self, policy: &Policy, now: Moment) -> Option<Deadline> {
        [self.grace_ends(policy), self.returns, self.flapping.ends()]
            .into_iter()
            .flatten()
            .filter(|deadline| !deadline.reached(now))
            .reduce(Deadline::min)
    }

    /// The status. `None` while the check is pending.
    pub(crate) fn known(&self) -> Option<Status> {
        (self.threshold.phase() != Phase::Pending).then_some(self.status)
    }

    /// Whether both have the same status, reasons, cause and number of consecutive failures, and
    /// whether both flap or neither does.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        self.status == other.status
            && self.threshold.failures() == other.threshold.failures()
            && self.reason == other.reason
            && self.blocked_by == other.blocked_by
            && self.cause == other.cause
            && self.flapping.flaps() == other.flapping.flaps()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::moment;

    const SECOND: Duration = Duration::from_secs(1);

    fn run(seconds: u64) -> Run {
        Run {
            ended: moment(seconds),
            duration: SECOND,
        }
    }

    fn shared(grace: u64) -> Policy {
        Policy {
            criticality: Criticality::Shared,
            shared_grace: Some(Duration::from_secs(grace)),
            ..Policy::default()
        }
    }

    fn pass(state: &State, at: u64, policy: &Policy) -> State {
        state.record(Outcome::pass(), run(at), policy, 0.5)
    }

    fn fail(state: &State, at: u64, policy: &Policy) -> State {
        state.record(Outcome::fail(Reason::Failed), run(at), policy, 0.5)
    }

    #[test]
    fn an_old_success_becomes_stale() {
        let policy = Policy::default();
        let state = pass(&State::pending(moment(0), &policy), 1, &policy);
        assert_eq!(state.at(moment(32)).status, Status::Pass);
        let stale = state.at(moment(6 * 24 * 3600)).into_owned();
        assert_eq!(
            (stale.status, stale.reason),
            (Status::Fail, Some(Reason::Stale))
        );
        assert_eq!(stale.since, moment(33));
        assert_eq!(stale.effect(&policy, moment(34)), Effect::Blocks);
    }

    #[test]
    fn a_stale_check_needs_its_good_outcomes_again() {
        let policy = Policy {
            pass_after: Some(2),
            ..Policy::default()
        };
        let good = pass(
            &pass(&State::pending(moment(0), &policy), 1, &policy),
            2,
            &policy,
        );
        assert_eq!(good.status, Status::Pass);
        let first = pass(&good, 100, &policy);
        assert_eq!(
            (first.status, first.reason),
            (Status::Fail, Some(Reason::Stale))
        );
        assert_eq!(pass(&first, 101, &policy).status, Status::Pass);
    }

    #[test]
    fn an_old_good_outcome_does_not_count_to_pass_after() {
        let policy = Policy {
            pass_after: Some(2),
            ..Policy::default()
        };
        let once = pass(&State::pending(moment(0), &policy), 1, &policy);
        assert_eq!(
            (once.status, once.reason),
            (Status::Fail, Some(Reason::Pending))
        );
        assert_eq!(once.at(moment(300)).reason, Some(Reason::Stale));
        let later = pass(&once, 300, &policy);
        assert_eq!(later.status, Status::Fail);
        assert_eq!(pass(&later, 301, &policy).status, Status::Pass);
    }

    #[test]
    fn an_outcome_below_its_threshold_changes_the_streak_alone() {
        let policy = Policy {
            fail_after: Some(2),
            ..Policy::default()
        };
        let good = pass(&State::pending(moment(0), &policy), 1, &policy);
        let once = fail(&good, 2, &policy);
        assert_eq!(
            (once.status, once.since, once.threshold.failures()),
            (Status::Pass, moment(1), 1)
        );
        let twice = fail(&once, 3, &policy);
        assert_eq!((twice.status, twice.since), (Status::Fail, moment(3)));
        assert_eq!(twice.last_success, Some(moment(1)));
    }

    #[test]
    fn warn_and_pass_change_at_once_and_both_are_good() {
        let policy = Policy {
            fail_after: Some(2),
            pass_after: Some(2),
            ..Policy::default()
        };
        let warn =
            |state: &State, at| state.record(Outcome::warn(Reason::Busy), run(at), &policy, 0.0);
        let state = warn(&pass(&State::pending(moment(0), &policy), 1, &policy), 2);
        assert_eq!(
            (state.status, state.reason),
            (Status::Warn, Some(Reason::Busy))
        );
        assert_eq!(state.effect(&policy, moment(2)), Effect::Degrades);
        let state = warn(&fail(&state, 3, &policy), 4);
        assert_eq!(
            fail(&state, 5, &policy).status,
            Status::Warn,
            "a warning resets the failure streak"
        );
        assert_eq!(pass(&state, 5, &policy).status, Status::Pass);
    }

    #[test]
    fn a_shared_check_that_was_never_good_blocks() {
        let policy = shared(60);
        let pending = State::pending(moment(0), &policy);
        assert_eq!(pending.effect(&policy, moment(0)), Effect::Blocks);
        assert_eq!(
            fail(&pending, 1, &policy).effect(&policy, moment(1)),
            Effect::Blocks
        );
    }

    #[test]
    fn a_shared_check_that_was_good_takes_no_replica_out() {
        let policy = Policy {
            criticality: Criticality::Shared,
            ..Policy::default()
        };
        let good = pass(&State::pending(moment(0), &policy), 1, &policy);
        assert_eq!(
            fail(&good, 2, &policy).effect(&policy, moment(1_000_000)),
            Effect::Degrades
        );
        assert_eq!(
            good.at(moment(99)).effect(&policy, moment(99)),
            Effect::Degrades,
            "stale"
        );
    }

    #[test]
    fn the_grace_of_a_shared_check_ends_and_its_return_waits() {
        let policy = shared(60);
        let good = pass(&State::pending(moment(0), &policy), 1, &policy);
        let failing = fail(&fail(&good, 10, &policy), 20, &policy);
        assert_eq!(failing.effect(&policy, moment(69)), Effect::Degrades);
        assert_eq!(
            failing.changes_at(&policy, moment(20)).map(Deadline::mono),
            Some(52 * SECOND)
        );
        let failing = fail(&failing, 40, &policy);
        assert_eq!(
            failing.changes_at(&policy, moment(40)).map(Deadline::mono),
            Some(70 * SECOND)
        );
        assert_eq!(failing.effect(&policy, moment(70)), Effect::Blocks);

        let back = pass(&fail(&failing, 70, &policy), 80, &policy);
        assert_eq!(back.status, Status::Pass);
        assert_eq!(back.effect(&policy, moment(84)), Effect::Returning);
        assert_eq!(
            back.changes_at(&policy, moment(80)).map(Deadline::mono),
            Some(85 * SECOND)
        );
        assert_eq!(back.effect(&policy, moment(85)), Effect::None);

        // Failing again while it waits is no new outage with a grace of its own.
        let again = fail(&back, 82, &policy);
        assert_eq!(again.effect(&policy, moment(82)), Effect::Blocks);
        // Failing again after it returned is.
        let later = fail(&pass(&back, 90, &policy), 100, &policy);
        assert_eq!(later.effect(&policy, moment(101)), Effect::Degrades);
    }

    #[test]
    fn the_first_return_of_a_shared_check_does_not_wait() {
        let policy = shared(60);
        let failing = fail(&State::pending(moment(0), &policy), 1, &policy);
        assert_eq!(
            pass(&failing, 100, &policy).effect(&policy, moment(100)),
            Effect::None
        );
    }
}
