//! The state of one check: what is known of it, and what that does to readiness.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{
    clock::{Deadline, Moment},
    schedule::nominal,
    threshold::{Phase, Threshold},
};
use crate::{
    check::{Part, Policy},
    model::{Cause, Criticality, Measurement, Name, Outcome, Reason, Status},
};

/// Pure: each step makes a new state of the old one, an event and a moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) threshold: Threshold,
    pub(crate) status: Status,
    pub(crate) reason: Option<Reason>,
    /// What it stands behind, while that fails.
    pub(crate) blocked_by: Option<Name>,
    pub(crate) cause: Option<Cause>,
    pub(crate) measurements: Arc<[Measurement]>,
    pub(crate) since: Moment,
    pub(crate) last_run: Option<Run>,
    /// From when on a reader has reason to run it, if that is not for its last run to say: one that stands behind what fails is held
    /// back for a while each time, and asked at once when that is over.
    asked_from: Option<Deadline>,
    /// How long good runs take of late.
    pub(crate) smoothed: Option<Duration>,
    pub(crate) last_success: Option<Moment>,
    /// The delay before the next run, without its jitter.
    pub(crate) retry_in: Duration,
    /// When the last result is too old to be believed; none if there is none to believe.
    expires: Option<Deadline>,
    /// Since when a shared check's grace runs.
    grace_from: Option<Moment>,
    /// Until when a shared check that is good again still counts as failing.
    returns: Option<Deadline>,
}

/// A run that ended, or was given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) ended: Moment,
    pub(crate) duration: Duration,
}

impl Moment {
    /// The run that began here and ended at `ended`. How long it took is for the monotonic clock to say.
    pub(crate) fn run_until(self, ended: Self) -> Run {
        Run {
            ended,
            duration: ended.mono.saturating_sub(self.mono),
        }
    }
}

/// What a check does to readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// Ready, but a warning.
    Degrades,
    /// Not ready.
    Blocks,
    /// Not ready, though good: a shared check that waits before it returns.
    Returning,
    /// Not alive.
    Kills,
    /// Alive, but a warning.
    Ails,
}

/// How much of what was before the last run is kept.
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
            asked_from: None,
            smoothed: None,
            last_success: None,
            retry_in: nominal(policy, threshold),
            expires: None,
            grace_from: None,
            returns: None,
        }
    }

    /// The same state, which is not believed any more from `expires` on.
    pub(crate) fn until(self, expires: Deadline) -> Self {
        Self {
            expires: Some(expires),
            ..self
        }
    }

    /// What the outcome of a run makes of it. `jitter` is from 0 to 1 and says how much of a period a shared
    /// check that outlasted its grace waits before it returns.
    pub(crate) fn record(&self, outcome: Outcome, run: Run, policy: &Policy, jitter: f64) -> Self {
        let old = self.at(run.ended);
        let (status, reason, cause, measurements) = outcome.into_parts();
        let good = status.is_good();
        let threshold = old
            .threshold
            .record(good, policy.fail_after, policy.pass_after);
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
        Self {
            threshold,
            status,
            reason,
            blocked_by: None,
            cause,
            measurements: measurements.into(),
            since: if unchanged { old.since } else { run.ended },
            last_run: Some(run),
            asked_from: None,
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
        }
    }

    /// Until when it has to wait, if an outcome at `now` makes its phase `phase`.
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

    /// The state as it reads at `now`: the last result may have become too old since.
    pub(crate) fn at(&self, now: Moment) -> Cow<'_, Self> {
        match self.expires {
            Some(expires) if expires.reached(now) => Cow::Owned(self.expired(expires.moment())),
            _ => Cow::Borrowed(self),
        }
    }

    /// Whether there is a result that is not too old.
    pub(crate) fn is_believed(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| !expires.reached(now))
    }

    /// Until when nobody who reads it has reason to run it again; none before the first run.
    pub(crate) fn fresh_until(&self) -> Option<Deadline> {
        let by_run = self.last_run.map(|run| run.ended.plus(self.retry_in));
        self.asked_from.or(by_run)
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
            ..self.clone()
        }
    }

    /// The same state, if what it tells was said to hold still at `at`.
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

    /// The same state, which never becomes too old.
    pub(crate) fn for_good(self) -> Self {
        Self {
            expires: None,
            ..self
        }
    }

    fn expired(&self, at: Moment) -> Self {
        self.without_outcome(Reason::Stale, at)
    }

    /// The same state, while what it stands behind fails. That does not become too old.
    pub(crate) fn blocked(&self, by: Name, at: Moment) -> Self {
        Self {
            blocked_by: Some(by),
            asked_from: Some(at.plus(self.retry_in)),
            ..self.at(at).without_outcome(Reason::Blocked, at)
        }
    }

    /// The same state, once nothing fails any more that it stands behind: a run is to tell how it is.
    pub(crate) fn unblocked(&self) -> Self {
        Self {
            reason: Some(Reason::Pending),
            blocked_by: None,
            asked_from: Some(Deadline::PAST),
            ..self.clone()
        }
    }

    /// The same state, of which nothing is believed from `at` on.
    fn without_outcome(&self, reason: Reason, at: Moment) -> Self {
        let was_failing = self.threshold.phase() == Phase::Failing;
        Self {
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
        }
    }

    /// The state as it reads once nothing runs checks any more.
    pub(crate) fn stopped(&self, at: Moment) -> Self {
        let was_failing = self.threshold.phase() == Phase::Failing;
        Self {
            status: Status::Fail,
            since: if was_failing { self.since } else { at },
            reason: Some(Reason::EngineStopped),
            blocked_by: None,
            cause: None,
            threshold: self.threshold.expire(),
            ..self.clone()
        }
    }

    pub(crate) fn effect(&self, policy: &Policy, now: Moment) -> Effect {
        match (policy.part, self.threshold.phase()) {
            (Part::Readiness, _) => {}
            (Part::Liveness, Phase::Failing) => return Effect::Kills,
            (Part::Liveness, Phase::Good) if self.status == Status::Warn => return Effect::Ails,
            // What has to be done first is for startup to wait for.
            (Part::Liveness | Part::Startup, _) => return Effect::None,
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
            (Phase::Pending, _) if !policy.holds_while_pending => Effect::None,
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

    /// When the state will read otherwise, if nothing happens.
    pub(crate) fn changes_at(&self, policy: &Policy, now: Moment) -> Option<Deadline> {
        [self.expires_at(now), self.effect_changes_at(policy, now)]
            .into_iter()
            .flatten()
            .reduce(Deadline::min)
    }

    /// When its result will be too old.
    pub(crate) fn expires_at(&self, now: Moment) -> Option<Deadline> {
        self.expires.filter(|deadline| !deadline.reached(now))
    }

    /// When it will do something else to readiness, though it stays as it is.
    pub(crate) fn effect_changes_at(&self, policy: &Policy, now: Moment) -> Option<Deadline> {
        [self.grace_ends(policy), self.returns]
            .into_iter()
            .flatten()
            .filter(|deadline| !deadline.reached(now))
            .reduce(Deadline::min)
    }

    /// Its status, once anything is known.
    pub(crate) fn known(&self) -> Option<Status> {
        (self.threshold.phase() != Phase::Pending).then_some(self.status)
    }

    /// Whether nobody who reads statuses and reasons can tell the two apart, nor how often it has failed in a row.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        self.status == other.status
            && self.threshold.failures() == other.threshold.failures()
            && self.reason == other.reason
            && self.blocked_by == other.blocked_by
            && self.cause == other.cause
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
            pass_after: 2,
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
            pass_after: 2,
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
            fail_after: 2,
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
            fail_after: 2,
            pass_after: 2,
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
