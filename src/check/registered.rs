use std::{fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use super::{
    HealthCheck, IntoHealthCheck, IntoOutcome, Policy, foreign::Foreign, guard::guard,
    into::StateCheck,
};
use crate::model::{Cause, ComponentType, Criticality, Outcome};

/// A check with its name and its policy, ready to be registered.
///
/// | setting | default |
/// | --- | --- |
/// | [`period`](Self::period) | 10 s |
/// | [`on_demand`](Self::on_demand), [`wait`](Self::wait) | not on demand, 500 ms |
/// | [`retry_period`](Self::retry_period) | 2 s, or the period if that is shorter |
/// | [`timeout`](Self::timeout) | 2 s |
/// | [`max_age`](Self::max_age) | 3 × period + timeout |
/// | [`warn_above`](Self::warn_above) | none |
/// | [`fail_after`](Self::fail_after), [`pass_after`](Self::pass_after) | 1, 1 |
/// | criticality | [`Critical`](Criticality::Critical) |
///
/// A bad name or setting is reported when the service's [`Health`](crate::Health) starts, with all others.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Check, Status};
///
/// #[derive(Clone)]
/// struct Ledger;
/// impl Ledger {
///     async fn ping(&self) -> std::io::Result<()> { Ok(()) }
/// }
///
/// let ledger = Ledger;
/// // The paved path: the closure is given a clone of the value on each run.
/// let with = Check::with("ledger", ledger, |ledger| async move { ledger.ping().await });
/// // A function, or a closure that owns what its future needs.
/// let new = Check::new("clock", || async { Status::Pass }).period(Duration::from_secs(30));
/// // Code that blocks its thread, on a thread of its own.
/// let blocking = Check::blocking("mount", || std::fs::metadata("/").map(|_| ())).non_critical();
/// ```
#[must_use = "a check does nothing until it is given to `HealthBuilder::check`"]
pub struct Check {
    pub(crate) name: String,
    pub(crate) code: Code,
    pub(crate) component_type: ComponentType,
    pub(crate) runbook: Option<String>,
    pub(crate) depends_on: Vec<String>,
    pub(crate) policy: Policy,
}

/// How a check's code is run.
#[derive(Clone)]
pub(crate) enum Code {
    /// On the runtime, as a task.
    Async(Arc<Foreign<dyn HealthCheck>>),
    /// On a thread of its own.
    Blocking(Arc<Foreign<dyn Fn() -> Outcome + Send + Sync>>),
}

impl Code {
    /// What is wrong with the settings of the code itself.
    pub(crate) fn problems(&self) -> Vec<String> {
        let Self::Async(check) = self else {
            return Vec::new();
        };
        let problems = || check.get().map(HealthCheck::problems).unwrap_or_default();
        guard(AssertUnwindSafe(problems)).unwrap_or_else(|panicked| {
            let cause = panicked.cause().map_or("", Cause::redacted).to_owned();
            vec![format!("its settings cannot be examined: {cause}")]
        })
    }
}

impl Check {
    /// A check of a type that implements [`HealthCheck`], an `Arc` of one, an async function, or a closure
    /// that returns a future.
    ///
    /// The future is `'static`: it cannot borrow what the closure captured. Where it needs a value, use
    /// [`with`](Self::with).
    pub fn new<C, M>(name: impl Into<String>, code: C) -> Self
    where
        C: IntoHealthCheck<M>,
        C::Check: HealthCheck,
    {
        Self::of(name, code.into_health_check())
    }

    /// A check of a function that is given a clone of `state` on each run.
    ///
    /// Pools and clients are cheap to clone; anything else goes into an [`Arc`].
    pub fn with<S, F, Fut>(name: impl Into<String>, state: S, function: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(S) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoOutcome,
    {
        Self::of(name, StateCheck { state, function })
    }

    /// A check of a function that blocks its thread.
    ///
    /// Each run has a thread of its own, never one of tokio's: a run that hangs delays no other check, no
    /// probe and no exit of the process. It cannot be cancelled; while it has not ended, no other is started.
    /// The function is dropped outside the runtime, so it may hold a client that has a runtime of its own.
    pub fn blocking<F, O>(name: impl Into<String>, function: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: IntoOutcome,
    {
        let function = Foreign::blocking(Box::new(move || function().into_outcome()) as Box<_>);
        let code = Code::Blocking(Arc::new(function));
        Self::from_code(name, code, ComponentType::default())
    }

    fn of(name: impl Into<String>, check: impl HealthCheck) -> Self {
        let component_type = check.component_type();
        let code = Code::Async(Arc::new(Foreign::new(Box::new(check) as Box<_>)));
        Self::from_code(name, code, component_type)
    }

    fn from_code(name: impl Into<String>, code: Code, component_type: ComponentType) -> Self {
        Self {
            name: name.into(),
            code,
            component_type,
            runbook: None,
            depends_on: Vec::new(),
            policy: Policy::default(),
        }
    }

    /// This instance cannot serve without it: see [`Criticality::Critical`]. Defaults to critical.
    pub fn critical(self) -> Self {
        self.criticality(Criticality::Critical)
    }

    /// Every replica loses it at once: see [`Criticality::Shared`]. Defaults to critical.
    pub fn shared(self) -> Self {
        self.criticality(Criticality::Shared)
    }

    /// The service can do without it: see [`Criticality::NonCritical`]. Defaults to critical.
    pub fn non_critical(self) -> Self {
        self.criticality(Criticality::NonCritical)
    }

    /// What it does to readiness. Defaults to [`Criticality::Critical`].
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.policy.criticality = criticality;
        self
    }

    /// For how long a shared check that was good may fail before this instance is not ready. When the check is
    /// good again after that, the instance returns after a random part of a period, so that replicas do not
    /// return all at once. Defaults to no limit.
    pub fn shared_grace(mut self, grace: Duration) -> Self {
        self.policy.shared_grace = Some(grace);
        self
    }

    /// How long after the end of a run the next one starts, jittered by ±10 %. Defaults to 10 s.
    pub fn period(mut self, period: Duration) -> Self {
        self.policy.period = Some(period);
        self
    }

    /// Runs the check when somebody reads it, rather than on a schedule: for a process that has no time in the
    /// background, such as one whose processor is taken away between requests. Defaults to a
    /// [period](Self::period).
    ///
    /// An answer that is older than `ttl`, but not yet [stale](Self::max_age), is given at once, and starts one
    /// run behind it. Only before the first run, and once the answer is stale, does a reader over HTTP
    /// [wait](Self::wait). While the check fails, its [retry period](Self::retry_period) stands for a longer
    /// `ttl`. Runs are shared by all readers, and belong to none of them: one that goes away cancels nothing.
    ///
    /// Only probes over HTTP and gRPC run it, and [`Health::run_now`](crate::Health::run_now): those of readiness and
    /// health, of the check itself, and of startup until the check has run once. Readers in the process see what
    /// is known. It runs without a reader once, when what it [depends on](Self::depends_on) is back.
    ///
    /// Two services that check each other on demand cannot wait for each other for long; but if each is
    /// [critical](Criticality::Critical) to the other, neither is ever ready. Let them ask for liveness, or be
    /// [non-critical](Self::non_critical).
    pub fn on_demand(mut self, ttl: Duration) -> Self {
        self.policy.on_demand = Some(ttl);
        self
    }

    /// The longest that a reader waits for a run [on demand](Self::on_demand) of a check of which nothing is
    /// known, or only what is stale. Then it is told that. Zero is allowed. Defaults to 500 ms.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.policy.wait = Some(wait);
        self
    }

    /// How long after a failing run the next one starts, also while the failures are fewer than
    /// [`fail_after`](Self::fail_after); each further failure makes it 1.5 times as long, up to the period. A
    /// shared check keeps its period, so that a falling database is not asked more often.
    /// Defaults to 2 s, or the period if that is shorter.
    pub fn retry_period(mut self, retry_period: Duration) -> Self {
        self.policy.retry_period = Some(retry_period);
        self
    }

    /// How long a run may take. Defaults to 2 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = timeout;
        self
    }

    /// How old a result may be before it is not believed and the check reads as
    /// [stale](crate::Reason::Stale); at least 1.1 × period + timeout, as the next result may be that late, and
    /// on demand at least the ttl. Defaults to 3 × period + timeout, the period being the ttl on demand.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.policy.max_age = Some(max_age);
        self
    }

    /// How long a run may take before it is a warning, [`Slow`](crate::Reason::Slow); shorter than the
    /// [timeout](Self::timeout). Reports then show a [smoothed](crate::report::CheckReport::smoothed_duration) value beside the last.
    /// Defaults to no such bound.
    pub fn warn_above(mut self, bound: Duration) -> Self {
        self.policy.warn_above = Some(bound);
        self
    }

    /// How many failing outcomes in a row make it fail. The first failure of a check that has not been good
    /// yet counts at once. Defaults to 1.
    pub fn fail_after(mut self, outcomes: u32) -> Self {
        self.policy.fail_after = outcomes;
        self
    }

    /// How many good outcomes in a row make it good. Defaults to 1.
    pub fn pass_after(mut self, outcomes: u32) -> Self {
        self.policy.pass_after = outcomes;
        self
    }

    /// What kind of thing it asks. Defaults to what its [`HealthCheck::component_type`] says, and to
    /// [`ComponentType::Component`] for functions.
    pub fn component_type(mut self, component_type: ComponentType) -> Self {
        self.component_type = component_type;
        self
    }

    /// What to do when it fails: the `http` or `https` URL of a page for operators. Only callers who may see
    /// [everything](crate::endpoint::Exposure::Full) are told of it, for such a page names more than strangers are to know. One with a
    /// user in it, or with what [redaction](crate::Cause::new) would take out, such as `?key=…`, is a mistake. Defaults to none.
    pub fn runbook(mut self, url: impl Into<String>) -> Self {
        self.runbook = Some(url.into());
        self
    }

    /// Depends on another check: while that fails, this one is not run, and fails with the reason
    /// [`Blocked`](crate::Reason::Blocked), «blocked by network». So a report shows the cause and not its echoes, and what cannot be
    /// reached is not asked. As soon as nothing that it depends on fails any more it is pending, and run; a
    /// [shared](Self::shared) one not before its period is over. It may depend on several, and they on others. Defaults to none.
    ///
    /// What it does to readiness is for its own [criticality](Self::criticality) to say, as if it had failed itself: what depends
    /// on a shared check should be shared too, and a critical one is warned of at start. A root [on demand](Self::on_demand) is
    /// asked by who asks for readiness, or for a check on demand that depends on it; one that nobody has asked for lately blocks
    /// nothing.
    /// To depend on what is not registered, or in a circle, is a mistake; to remove what others depend on is an error. A heartbeat
    /// or reporter that stops may be depended on all the same: it blocks nothing until there is one of its name again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("network", || async { Status::Fail }))
    ///     .check(Check::new("postgres", || async { Status::Pass }).depends_on("network"))
    ///     .start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// let postgres = health.run_now("postgres").await?;
    /// assert_eq!(postgres.why().as_deref(), Some("blocked by network"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn depends_on(mut self, name: impl Into<String>) -> Self {
        self.depends_on.push(name.into());
        self
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("code", &self.code)
            .field("component_type", &self.component_type)
            .field("runbook", &self.runbook)
            .field("depends_on", &self.depends_on)
            .field("policy", &self.policy)
            .finish()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Async",
            Self::Blocking(_) => "Blocking",
        })
    }
}
