//! [`Check`]: the code of a check with its name and its policy.
//!
//! The setters only store values. [`Policy::problems`] validates them together when the check is
//! registered, because a value may contradict another one that is set later.

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
/// | [`flapping`](Self::flapping) | from 25 % until 10 % |
/// | criticality | [`Critical`](Criticality::Critical) |
///
/// [`HealthBuilder::defaults`](crate::HealthBuilder::defaults) changes the defaults of all checks of
/// a service at once.
///
/// An invalid name or setting is reported when the service's [`Health`](crate::Health) starts, with
/// all other problems. Durations must be between 1 ms and 365 days, except that `wait` may be zero.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_health::{Check, Health, Status};
///
/// #[derive(Clone)]
/// struct Ledger;
/// impl Ledger {
///     async fn ping(&self) -> std::io::Result<()> { Ok(()) }
/// }
///
/// let ledger = Ledger;
/// // The usual form: the closure receives a clone of the value on each run.
/// let with = Check::with("ledger", ledger, |ledger| async move { ledger.ping().await });
/// // A function, or a closure that owns what its future needs.
/// let new = Check::new("clock", || async { Status::Pass }).period(Duration::from_secs(30));
/// // Code that blocks its thread, on a thread of its own.
/// let blocking = Check::blocking("mount", || std::fs::metadata("/").map(|_| ())).non_critical();
///
/// let health = Health::builder("orders").checks([with, new, blocking]).start()?;
/// assert_eq!(health.report().checks.len(), 3);
/// # Ok(())
/// # }
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

/// How the code of a check runs.
#[derive(Clone)]
pub(crate) enum Code {
    /// On the runtime, as a task.
    Async(Arc<Foreign<dyn HealthCheck>>),
    /// On a thread of its own.
    Blocking(Arc<Foreign<dyn Fn() -> Outcome + Send + Sync>>),
}

impl Code {
    /// Returns the problems in the code's own settings.
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
    /// Creates a check from a type that implements [`HealthCheck`], an `Arc` of one, an async
    /// function, or a closure that returns a future.
    ///
    /// The future is `'static`: it cannot borrow what the closure captured. Use
    /// [`with`](Self::with) if it needs a value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io;
    /// use tower_health::{Check, Health, Reason};
    ///
    /// async fn broker() -> io::Result<()> {
    ///     Err(io::ErrorKind::ConnectionRefused.into())
    /// }
    ///
    /// let health = Health::builder("orders").check(Check::new("broker", broker)).start()?;
    /// let report = health.run_now("broker").await?;
    /// // The error of the function is the outcome of the run.
    /// assert_eq!(report.reason, Some(Reason::ConnectionRefused));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<C, M>(name: impl Into<String>, code: C) -> Self
    where
        C: IntoHealthCheck<M>,
        C::Check: HealthCheck,
    {
        Self::of(name, code.into_health_check())
    }

    /// Creates a check from a function that receives a clone of `state` on each run.
    ///
    /// Pools and clients are cheap to clone. Put any other value into an [`Arc`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    /// use tower_health::{Check, Health, Outcome, Reason, Status};
    ///
    /// let queued = Arc::new(AtomicUsize::new(0));
    /// let queue = Check::with("queue", Arc::clone(&queued), |queued| async move {
    ///     match queued.load(Ordering::Relaxed) {
    ///         0..100 => Outcome::pass(),
    ///         _ => Outcome::warn(Reason::LimitExceeded),
    ///     }
    /// });
    /// let health = Health::builder("orders").check(queue).start()?;
    /// assert_eq!(health.run_now("queue").await?.status, Status::Pass);
    /// queued.store(250, Ordering::Relaxed);
    /// assert_eq!(health.run_now("queue").await?.status, Status::Warn);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<S, F, Fut>(name: impl Into<String>, state: S, function: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(S) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoOutcome,
    {
        Self::of(name, StateCheck { state, function })
    }

    /// Creates a check from a function that blocks its thread.
    ///
    /// Each run has its own thread, which is never a thread of tokio. A run that hangs therefore
    /// delays no other check, no probe and no exit of the process. It cannot be cancelled, and no
    /// other run starts until it has ended. Until then, each time that it is due counts as one more
    /// failure, with the reason [`StillRunning`](crate::Reason::StillRunning). The function is
    /// dropped outside the runtime, so it may own a client that has its own runtime.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Reason};
    ///
    /// let mount = Check::blocking("mount", || std::fs::metadata("/no/such/path").map(|_| ()));
    /// let health = Health::builder("orders").check(mount).start()?;
    /// assert_eq!(health.run_now("mount").await?.reason, Some(Reason::NotFound));
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocking<F, O>(name: impl Into<String>, function: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: IntoOutcome,
    {
        let function = Foreign::blocking(Box::new(move || function().into_outcome()) as Box<_>);
        let code = Code::Blocking(Arc::new(function));
        Self::from_code(name, code, ComponentType::default())
    }

    /// Creates a check from async code, which also says what kind of component it checks.
    fn of(name: impl Into<String>, check: impl HealthCheck) -> Self {
        let component_type = check.component_type();
        let code = Code::Async(Arc::new(Foreign::new(Box::new(check) as Box<_>)));
        Self::from_code(name, code, component_type)
    }

    /// Creates a check with the default of every setting.
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

    /// Marks the check as critical: this instance cannot serve without it. See
    /// [`Criticality::Critical`]. If several of `critical`, [`shared`](Self::shared),
    /// [`non_critical`](Self::non_critical) and [`criticality`](Self::criticality) are called, the
    /// last call takes effect. Defaults to critical.
    pub fn critical(self) -> Self {
        self.criticality(Criticality::Critical)
    }

    /// Marks the dependency as shared: all replicas lose it at the same time. See
    /// [`Criticality::Shared`]. Defaults to critical.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// static UP: AtomicBool = AtomicBool::new(true);
    ///
    /// let postgres = Check::new("postgres", || async {
    ///     if UP.load(Ordering::Relaxed) { Status::Pass } else { Status::Fail }
    /// });
    /// let health = Health::builder("orders").check(postgres.shared()).start()?;
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    ///
    /// UP.store(false, Ordering::Relaxed);
    /// assert_eq!(health.run_now("postgres").await?.status, Status::Fail);
    /// // It was good once, so the instance continues to receive traffic.
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shared(self) -> Self {
        self.criticality(Criticality::Shared)
    }

    /// Marks the check as non-critical: the service works without it. See
    /// [`Criticality::NonCritical`]. The instance is still starting until the first run of the
    /// check has ended, as with any check that is registered before the start. Defaults to
    /// critical.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, report::Stage};
    ///
    /// let search = Check::new("search", || async { Status::Fail });
    /// let health = Health::builder("orders").check(search.non_critical()).start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// assert_eq!(health.stage(), Stage::Ready);
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
    /// # Ok(())
    /// # }
    /// ```
    pub fn non_critical(self) -> Self {
        self.criticality(Criticality::NonCritical)
    }

    /// Sets how a failure of this check affects readiness. Use it if the criticality is computed.
    /// Defaults to [`Criticality::Critical`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Criticality, Health, Status};
    ///
    /// let replicas = 3;
    /// let criticality = if replicas == 1 { Criticality::Critical } else { Criticality::Shared };
    /// let postgres = Check::new("postgres", || async { Status::Pass }).criticality(criticality);
    /// let health = Health::builder("orders").check(postgres).start()?;
    /// assert_eq!(health.check("postgres")?.criticality, Criticality::Shared);
    /// # Ok(())
    /// # }
    /// ```
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.policy.criticality = criticality;
        self
    }

    /// Sets how long a shared check that was good may fail before this instance is not ready. When
    /// the check is good again after that, the instance becomes ready after a random part of a
    /// period, so that replicas do not return all at once. Setting it on a check that is not shared
    /// is a problem. Defaults to no limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{sync::atomic::{AtomicBool, Ordering}, time::Duration};
    /// use tokio::time::Instant;
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// static UP: AtomicBool = AtomicBool::new(true);
    ///
    /// let postgres = Check::new("postgres", || async {
    ///     if UP.load(Ordering::Relaxed) { Status::Pass } else { Status::Fail }
    /// });
    /// let health = Health::builder("orders")
    ///     .check(postgres.shared().shared_grace(Duration::from_secs(60)))
    ///     .start()?;
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// UP.store(false, Ordering::Relaxed);
    /// health.wait_until(Probe::Readiness, Status::Warn).await?;
    /// let failing = Instant::now();
    /// health.wait_until(Probe::Readiness, Status::Fail).await?;
    /// assert!(failing.elapsed() >= Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    pub fn shared_grace(mut self, grace: Duration) -> Self {
        self.policy.shared_grace = Some(grace);
        self
    }

    /// Sets the delay between the end of a run and the start of the next one, with a jitter of
    /// ±10 %. The first such delay is drawn from 10 % to 110 % of the period, so that replicas do
    /// not run in step. Defaults to 10 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
    /// use tokio::time::sleep;
    /// use tower_health::{Check, Health, Status};
    ///
    /// static RUNS: AtomicU32 = AtomicU32::new(0);
    ///
    /// let clock = Check::new("clock", || async {
    ///     RUNS.fetch_add(1, Ordering::Relaxed);
    ///     Status::Pass
    /// });
    /// let health = Health::builder("orders")
    ///     .check(clock.period(Duration::from_secs(30)))
    ///     .start()?;
    /// sleep(Duration::from_secs(300)).await;
    /// // About ten. The exact number depends on the jitter.
    /// assert!((9..=13).contains(&RUNS.load(Ordering::Relaxed)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn period(mut self, period: Duration) -> Self {
        self.policy.period = Some(period);
        self
    }

    /// Runs the check when it is read, and not on a schedule. Use it for a process that gets no CPU
    /// time between requests, as on serverless platforms.
    ///
    /// A result that is older than `ttl`, but not yet [stale](Self::max_age), is returned
    /// immediately, and starts one run in the background. A reader [waits](Self::wait) only before
    /// the first run and once the result is stale. While the check fails, its [retry
    /// period](Self::retry_period) applies instead of a longer `ttl`. Runs are shared by all
    /// readers and belong to the engine: a reader that disconnects cancels nothing.
    ///
    /// Only these readers run the check: probes over HTTP, the method `Check` of gRPC, and
    /// [`Health::run_now`](crate::Health::run_now). A probe of readiness or health, or of the check
    /// itself, runs it. A probe of startup runs it until it has run once. Other readers in the
    /// process see the last known result. Without a reader it runs once when its dependencies have
    /// [recovered](Self::depends_on), and when it is [added](crate::Health::add) or
    /// [replaced](crate::Health::replace).
    ///
    /// Two services that check each other on demand wait for each other for at most this
    /// [wait](Self::wait). But if each is [critical](Criticality::Critical) to the other, neither
    /// is ever ready. Let each check probe the liveness of the other service, or mark the checks as
    /// [non-critical](Self::non_critical). Defaults to a [period](Self::period).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::sleep;
    /// use tower_health::{Check, Health, Status};
    ///
    /// let clock = Check::new("clock", || async { Status::Pass });
    /// let health = Health::builder("orders")
    ///     .check(clock.on_demand(Duration::from_secs(60)))
    ///     .start()?;
    /// sleep(Duration::from_secs(3600)).await;
    /// // Nothing has read it. This does not run it, either.
    /// assert!(health.check("clock")?.is_pending());
    /// health.run_now("clock").await?;
    /// assert_eq!(health.check("clock")?.status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_demand(mut self, ttl: Duration) -> Self {
        self.policy.on_demand = Some(ttl);
        self
    }

    /// Sets the longest time that a reader waits for a run [on demand](Self::on_demand), if there
    /// is no result yet or only a stale one. After that the reader receives the pending or stale
    /// result. Zero is allowed. Setting it on a check that does not run on demand is a problem.
    /// Defaults to 500 ms.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{future, time::Duration};
    /// use http::StatusCode;
    /// use tokio::time::Instant;
    /// use tower_health::{Check, Health, Status};
    ///
    /// let hanging = Check::new("postgres", future::pending::<Status>)
    ///     .on_demand(Duration::from_secs(60))
    ///     .wait(Duration::from_millis(100));
    /// let probes = Health::builder("orders").check(hanging).start()?.service();
    /// let began = Instant::now();
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
    /// assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    /// assert_eq!(began.elapsed().as_millis(), 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(mut self, wait: Duration) -> Self {
        self.policy.wait = Some(wait);
        self
    }

    /// Sets the delay between a failing run and the next one, even while there are fewer failures
    /// than [`fail_after`](Self::fail_after). Each further failure makes the delay 1.5 times as
    /// long, up to the period. A shared check keeps its period, because a failing database must not
    /// be queried more often. Defaults to 2 s, or the period if that is shorter.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{sync::atomic::{AtomicBool, Ordering}, time::Duration};
    /// use tokio::time::Instant;
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// static TRIED: AtomicBool = AtomicBool::new(false);
    ///
    /// let postgres = Check::new("postgres", || async {
    ///     // The first run fails.
    ///     if TRIED.swap(true, Ordering::Relaxed) { Status::Pass } else { Status::Fail }
    /// });
    /// let (period, retry_period) = (Duration::from_secs(60), Duration::from_secs(1));
    /// let health = Health::builder("orders")
    ///     .check(postgres.period(period).retry_period(retry_period))
    ///     .start()?;
    /// let began = Instant::now();
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// assert!(began.elapsed() < Duration::from_secs(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_period(mut self, retry_period: Duration) -> Self {
        self.policy.retry_period = Some(retry_period);
        self
    }

    /// Sets the time limit of a run. A run that exceeds it is a failure with the reason
    /// [`TimedOut`](crate::Reason::TimedOut). Its future is dropped. [Blocking](Self::blocking)
    /// code continues on its thread. Defaults to 2 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{future, time::Duration};
    /// use tokio::time::Instant;
    /// use tower_health::{Check, Health, Reason, Status};
    ///
    /// let hanging = Check::new("postgres", future::pending::<Status>);
    /// let health = Health::builder("orders")
    ///     .check(hanging.timeout(Duration::from_millis(500)))
    ///     .start()?;
    /// let began = Instant::now();
    /// let report = health.run_now("postgres").await?;
    /// assert_eq!(report.reason, Some(Reason::TimedOut));
    /// assert!(began.elapsed() < Duration::from_secs(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = Some(timeout);
        self
    }

    /// Sets how old a result may be before the check is [stale](crate::Reason::Stale). It must be
    /// at least 1.1 × period + timeout, because the next result may be that late. On demand it must
    /// be at least the `ttl`. A stale check fails until [`pass_after`](Self::pass_after) good
    /// outcomes have followed. Defaults to 3 × period + timeout, where the period of a check on
    /// demand is its `ttl`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::sleep;
    /// use tower_health::{Check, Health, Reason, Status};
    ///
    /// let clock = Check::new("clock", || async { Status::Pass })
    ///     .on_demand(Duration::from_secs(10))
    ///     .max_age(Duration::from_secs(20));
    /// let health = Health::builder("orders").check(clock).start()?;
    /// health.run_now("clock").await?;
    /// sleep(Duration::from_secs(19)).await;
    /// assert_eq!(health.check("clock")?.status, Status::Pass);
    /// sleep(Duration::from_secs(2)).await;
    /// assert_eq!(health.check("clock")?.reason, Some(Reason::Stale));
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.policy.max_age = Some(max_age);
        self
    }

    /// Sets how long a run may take before it is a warning with the reason
    /// [`Slow`](crate::Reason::Slow). It must be shorter than the [timeout](Self::timeout). Bodies
    /// in health+json then contain a [smoothed](crate::report::CheckReport::smoothed_duration)
    /// duration beside that of the last run. Defaults to no limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::sleep;
    /// use tower_health::{Check, Health, Reason, Status};
    ///
    /// let slow = Check::new("search", || async {
    ///     sleep(Duration::from_millis(300)).await;
    ///     Status::Pass
    /// });
    /// let health = Health::builder("orders")
    ///     .check(slow.warn_above(Duration::from_millis(200)))
    ///     .start()?;
    /// let report = health.run_now("search").await?;
    /// assert_eq!((report.status, report.reason), (Status::Warn, Some(Reason::Slow)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_above(mut self, bound: Duration) -> Self {
        self.policy.warn_above = Some(bound);
        self
    }

    /// Sets the number of consecutive failing outcomes after which the check fails. A good outcome
    /// in between starts the count again. The first failure of a check that has not been good yet
    /// counts immediately. A value of 0 is a problem. Defaults to 1.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use tower_health::{Check, Health, Status};
    ///
    /// static UP: AtomicBool = AtomicBool::new(true);
    ///
    /// let postgres = Check::new("postgres", || async {
    ///     if UP.load(Ordering::Relaxed) { Status::Pass } else { Status::Fail }
    /// });
    /// let health = Health::builder("orders").check(postgres.fail_after(2)).start()?;
    /// health.run_now("postgres").await?;
    ///
    /// UP.store(false, Ordering::Relaxed);
    /// let report = health.run_now("postgres").await?;
    /// assert_eq!((report.status, report.consecutive_failures), (Status::Pass, 1));
    /// assert_eq!(health.run_now("postgres").await?.status, Status::Fail);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_after(mut self, outcomes: u32) -> Self {
        self.policy.fail_after = Some(outcomes);
        self
    }

    /// Sets the number of consecutive good outcomes after which the check is good. A warning is a
    /// good outcome. This also applies to the first outcomes of a check: until then it is pending,
    /// unless one fails. A value of 0 is a problem. Defaults to 1.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let clock = Check::new("clock", || async { Status::Pass }).pass_after(2);
    /// let health = Health::builder("orders").check(clock).start()?;
    /// assert!(health.run_now("clock").await?.is_pending());
    /// assert_eq!(health.run_now("clock").await?.status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pass_after(mut self, outcomes: u32) -> Self {
        self.policy.pass_after = Some(outcomes);
        self
    }

    /// Sets when the check flaps, by the share of changes among its last ten runs, in percent. It
    /// begins to flap when the share is above `high`, and no longer flaps when it is `low` or less.
    /// A change is a new status, or a [reason](crate::report::CheckReport::reason) that returns
    /// while the check fails. A further step in the same direction, from pass through warn to fail,
    /// is none. `high = 100` means never.
    ///
    /// A check that flaps is one event and one line in the log when that begins, one when it ends,
    /// and a summary every ten minutes at most, instead of one of each for every change. Probers
    /// see every change all the same. If they should not, raise [`fail_after`](Self::fail_after) or
    /// [`pass_after`](Self::pass_after). After ten minutes without a change, or 20 periods if they
    /// are longer, a check no longer flaps, however few runs it had. Nor does it once its status is
    /// worse than those it flapped between. A result [on demand](Self::on_demand) that expires
    /// between readers is no change.
    ///
    /// A value above 100, and a `low` above `high`, are problems. Defaults to 10 and 25, that is
    /// from three changes in ten runs until one is left.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, testing::ScriptedCheck};
    ///
    /// let cache = ScriptedCheck::new(Status::Pass);
    /// let health = Health::builder("orders")
    ///     .check(Check::new("cache", cache.clone()).non_critical())
    ///     .start()?;
    /// for status in [Status::Pass, Status::Fail, Status::Pass, Status::Fail] {
    ///     cache.set_outcome(status);
    ///     health.run_now("cache").await?;
    /// }
    /// let report = health.check("cache")?;
    /// assert!(report.flapping, "three changes in ten runs");
    /// assert_eq!(report.status, Status::Fail, "the status is that of the last run");
    /// # Ok(())
    /// # }
    /// ```
    pub fn flapping(mut self, low: u8, high: u8) -> Self {
        (self.policy.flapping_low, self.policy.flapping_high) = (Some(low), Some(high));
        self
    }

    /// Sets the kind of component that is checked. It is `componentType` in health+json, and
    /// affects no verdict. Defaults to [`HealthCheck::component_type`], and to
    /// [`ComponentType::Component`] for functions.
    pub fn component_type(mut self, component_type: ComponentType) -> Self {
        self.component_type = component_type;
        self
    }

    /// Sets the `http` or `https` URL of a page that explains to operators what to do when the
    /// check fails. Only callers with [full](crate::endpoint::Exposure::Full) exposure receive it,
    /// because such a page contains internal names. A URL of more than 1024 bytes is a problem. So
    /// is a URL with a user in it, or with something that [redaction](crate::Cause::new) would
    /// remove, such as `?key=…`. Defaults to none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, error::ConfigError};
    ///
    /// let clock = |url: &str| Check::new("clock", || async { Status::Pass }).runbook(url);
    /// let page = "https://wiki.example/clock";
    /// let health = Health::builder("orders").check(clock(page)).start()?;
    /// assert_eq!(health.check("clock")?.runbook.as_deref(), Some(page));
    ///
    /// let user = "https://admin@wiki.example/clock";
    /// let error = Health::builder("orders").check(clock(user)).start().unwrap_err();
    /// assert!(matches!(error.problems(), [ConfigError::Setting { .. }]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn runbook(mut self, url: impl Into<String>) -> Self {
        self.runbook = Some(url.into());
        self
    }

    /// Adds a dependency on another check. While that check fails, this one is not run, and fails
    /// with the reason [`Blocked`](crate::Reason::Blocked), as in "blocked by network". A report
    /// thus shows the root cause and not its consequences, and nothing is queried that cannot be
    /// reached. As soon as none of the checks that it depends on fails any more, this check is
    /// pending and runs. A [shared](Self::shared) check does not run before a period has passed
    /// since its last run. A check may have several dependencies, which may have dependencies of
    /// their own.
    ///
    /// A blocked check affects readiness according to its own [criticality](Self::criticality), as
    /// if it had failed itself. A check that depends on a shared check should therefore be shared
    /// too. A critical one is logged as a warning at the start.
    ///
    /// A dependency [on demand](Self::on_demand) runs when readiness or health is read, or when a
    /// run of a check that depends on it is requested. If it has not run lately, so that its result
    /// is stale, it blocks nothing.
    ///
    /// A dependency that is not registered and a cycle are problems, and removing a check that
    /// others depend on is an error. A [heartbeat](crate::push::Heartbeat::stop) that others depend
    /// on may still be stopped. It then blocks nothing until a check with the same name is
    /// registered again. Defaults to none.
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
