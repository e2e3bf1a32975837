//! The builder of a [`Health`]. It collects settings, validates all of them at the start, and
//! starts the engine.
//!
//! [`HealthBuilder::start`] returns all problems at once, so no function here stops at the first
//! one. `define` and `define_pushed` also validate the checks that are registered later, with
//! [`Health::add`] or as reporters. A check thus follows the same rules at both times.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use http::Uri;
use tokio::runtime::Handle;

use super::{
    ConfigError, Health, StartError,
    config::{self, HealthConfig},
    problems::{Call, Problems, SetBy},
};
use crate::{
    check::{Check, CheckDefaults, Code, Policy, guard, guard_panics, naming_defaults},
    engine::{Board, Definition, DrainPolicy, Engine, Id, Pushed, Roots, Service, Settings},
    model::{Cause, ComponentType, Criticality, Name, UnknownCheck},
    telemetry,
    watchdog::{self, Runtime},
};

/// The shortest bound of a watchdog. It leaves time for several observations and for the delays of
/// a busy machine.
const LEAST_BOUND: Duration = Duration::from_secs(1);

/// The default limit of concurrent runs.
const CONCURRENCY: usize = 64;

/// Builder of a [`Health`]. Returned by [`Health::builder`].
///
/// The setters never fail. [`start`](Self::start) reports all problems at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status};
///
/// let health = Health::builder("orders")
///     .release("1.4.2")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// let report = health.report();
/// assert_eq!(report.release.as_deref(), Some("1.4.2"));
/// assert_eq!(report.checks.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing runs until `start()`"]
pub struct HealthBuilder {
    service: String,
    /// The number of calls so far.
    calls: Call,
    /// The calls that made these settings.
    set_by: SetBy,
    release: Option<String>,
    version: Option<String>,
    description: Option<String>,
    checks: Vec<(Call, Check)>,
    defaults: CheckDefaults,
    settings: Settings,
    runtime: Option<Handle>,
    configs: Vec<(Call, HealthConfig)>,
    pub(crate) watchdog: WatchdogSettings,
    signals: Option<HandleSignals>,
    /// Called after a successful start.
    then: Vec<fn(&Health)>,
}

/// The runtimes to watch.
#[derive(Debug, Default)]
pub(crate) struct WatchdogSettings {
    /// The bound of the watchdog. If it is set, the runtime of the checks is watched.
    pub(crate) bound: Option<(Call, Duration)>,
    /// Further runtimes, by the names of their checks.
    pub(crate) others: Vec<(Call, String, Handle)>,
}

/// Lets signals begin a drain.
type HandleSignals = fn(&Arc<Board>) -> io::Result<()>;

/// A valid check, and the call that registered it.
pub(super) struct Defined {
    call: Call,
    pub(super) definition: Definition,
    pub(super) code: Option<Code>,
}

impl Health {
    /// Returns a builder for the health of the service `service`.
    ///
    /// The name follows the rules of [`Name`], but may be a reserved word. An
    /// invalid name is reported by [`HealthBuilder::start`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Health, error::ConfigError};
    ///
    /// let error = Health::builder("Orders API").start().unwrap_err();
    /// assert!(matches!(error.problems(), [ConfigError::ServiceName(_)]));
    /// // Reserved for the names of checks only.
    /// assert!(Health::builder("health").start().is_ok());
    /// # }
    /// ```
    pub fn builder(service: impl Into<String>) -> HealthBuilder {
        HealthBuilder::new(service.into())
    }
}

impl HealthBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            calls: 0,
            set_by: SetBy::default(),
            release: None,
            version: None,
            description: None,
            checks: Vec::new(),
            defaults: CheckDefaults::default(),
            settings: Settings {
                capacity: CONCURRENCY,
                ..Settings::default()
            },
            runtime: None,
            configs: Vec::new(),
            watchdog: WatchdogSettings::default(),
            signals: None,
            then: Vec::new(),
        }
    }

    /// Sets the release of the running service, such as `env!("CARGO_PKG_VERSION")`. It is
    /// `releaseId` in health+json. Defaults to none.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.release = Some(release.into());
        self
    }

    /// Sets the public version of the service's interface, such as `1`. It is `version` in
    /// health+json. Defaults to none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders")
    ///     .version("1")
    ///     .description("accepts orders")
    ///     .start()?;
    /// let report = health.report();
    /// assert_eq!(report.version.as_deref(), Some("1"));
    /// assert_eq!(report.description.as_deref(), Some("accepts orders"));
    /// assert_eq!(report.release, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets a description of the service for human readers. It is `description` in health+json.
    /// Defaults to none.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Registers a check. Reports list the checks in the order of registration. A service without
    /// checks is ready immediately. A service with checks is ready once the first run of each has
    /// ended and no check prevents it. Defaults to no checks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let empty = Health::builder("empty").start()?;
    /// assert_eq!(empty.verdict(Probe::Readiness).status, Status::Pass);
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn check(mut self, check: Check) -> Self {
        let call = self.next_call();
        self.checks.push((call, check));
        self
    }

    /// Registers several checks, after those that are already registered. Defaults to no checks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let shards = (0..3).map(|n| Check::new(format!("shard-{n}"), || async { Status::Pass }));
    /// let health = Health::builder("orders").checks(shards).start()?;
    /// assert_eq!(health.report().checks[2].name, "shard-2");
    /// # Ok(())
    /// # }
    /// ```
    pub fn checks(mut self, checks: impl IntoIterator<Item = Check>) -> Self {
        for check in checks {
            self = self.check(check);
        }
        self
    }

    /// Sets the settings of every check that sets no value of its own, also of those that are
    /// registered earlier, or [added](Health::add) later. A further call overrides the values that
    /// it sets. A [configuration](Self::config) overrides them as well. Start-up tasks keep their
    /// own settings. The log contains the settings of each check at the start, at the level
    /// *debug*. Defaults to the defaults of [`Check`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, Health, Status, config::CheckDefaults};
    ///
    /// let (usual, rare) = (Duration::from_secs(15), Duration::from_secs(300));
    /// let check = |name| Check::new(name, || async { Status::Pass });
    /// let health = Health::builder("orders")
    ///     .defaults(CheckDefaults::default().period(usual).fail_after(2))
    ///     .check(check("postgres"))
    ///     .check(check("backup").period(rare))
    ///     .start()?;
    /// assert_eq!(health.check("postgres")?.settings.period, Some(usual));
    /// assert_eq!(health.check("backup")?.settings.period, Some(rare));
    /// assert_eq!(health.check("backup")?.settings.fail_after, Some(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn defaults(mut self, defaults: CheckDefaults) -> Self {
        let call = self.next_call();
        self.set_by.merge(call, &mut self.defaults, &defaults);
        self
    }

    /// Sets the maximum number of concurrent runs. Further runs are queued. A run that has exceeded
    /// its timeout does not count, and neither does a start-up task. A limit of 0 is a problem.
    /// Defaults to 64.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::{Instant, sleep};
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let slow = || async {
    ///     sleep(Duration::from_secs(1)).await;
    ///     Status::Pass
    /// };
    /// let health = Health::builder("orders")
    ///     .checks([Check::new("first", slow), Check::new("second", slow)])
    ///     .concurrency(1)
    ///     .start()?;
    /// let began = Instant::now();
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// assert!(began.elapsed() >= Duration::from_secs(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.settings.capacity = runs;
        self.set_by.concurrency = self.next_call();
        self
    }

    /// Adds settings of an operator. They override the code's settings of every check that is
    /// registered before [`start`](Self::start), even after this call. A later configuration
    /// overrides an earlier one. Settings for a check that is not registered, and invalid values,
    /// are problems. A disabled check is not registered, and that is logged. Defaults to no
    /// settings.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, config::HealthConfig};
    ///
    /// let config: HealthConfig = serde_json::from_str(r#"{"checks": {"clok": {"timeout": "1s"}}}"#)?;
    /// let error = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .config(config)
    ///     .start()
    ///     .unwrap_err();
    /// assert!(error.to_string().contains(r#"no check is named "clok" (registered: clock)"#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(mut self, config: HealthConfig) -> Self {
        let call = self.next_call();
        self.configs.push((call, config));
        self
    }

    /// Sets how long the service continues to serve after a [drain](Health::drain) begins, although
    /// it is not ready any more. Load balancers and proxies need this time to notice the change.
    /// After `SIGINT` there is no delay. A delay of more than a day is a problem.
    ///
    /// A load balancer that probes notices after its probe interval times the number of probes that
    /// must fail. Kubernetes removes a deleted pod from its endpoints without a probe. The delay
    /// then covers the time until every node has received that change. Defaults to 5 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::time::Instant;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let began = Instant::now();
    /// // Nothing is in flight, so the drain takes the delay and no more.
    /// health.drain().await;
    /// assert_eq!(began.elapsed().as_secs(), 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.settings.drain.delay = delay;
        self.set_by.drain_delay = self.next_call();
        self
    }

    /// Sets how long the service then waits, while it still accepts connections, until nothing is
    /// in flight. The wait takes the full time if requests continue to arrive, for example from a
    /// client that has not noticed the drain. A time of more than a day is a problem. Defaults to
    /// 15 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders")
    ///     .drain_delay(Duration::ZERO)
    ///     .drain_finish(Duration::from_secs(10))
    ///     .start()?;
    /// let stuck = health.in_flight();
    /// let began = Instant::now();
    /// health.drain().await;
    /// assert_eq!(began.elapsed().as_secs(), 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain_finish(mut self, finish: Duration) -> Self {
        self.settings.drain.finish = finish;
        self.set_by.drain_finish = self.next_call();
        self
    }

    /// Sets how long servers may take to finish the requests on their connections, after they have
    /// stopped accepting and have announced the shutdown. What is left after that is cut. A request
    /// that begins while servers close has no more time than this. A time of more than a day is a
    /// problem.
    ///
    /// By default the [delay](Self::drain_delay), the time to [finish](Self::drain_finish) and this
    /// time add up to 25 s. The sum must be shorter than the time that the orchestrator waits
    /// before it kills the process (`terminationGracePeriodSeconds`, 30 s by default). A sum of
    /// 30 s or more is logged as a warning at the start. Defaults to 5 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{future, time::Duration};
    /// use tokio::time::Instant;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").drain_close(Duration::from_secs(3)).start()?;
    /// let stuck = health.in_flight();
    /// let began = Instant::now();
    /// health.drain();
    /// // A server that never ends. It is dropped when all phases are over.
    /// let ended = health.run(future::pending::<()>()).await;
    /// assert!(ended.is_err());
    /// assert_eq!(began.elapsed().as_secs(), 5 + 15 + 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain_close(mut self, close: Duration) -> Self {
        self.settings.drain.close = close;
        self.set_by.drain_close = self.next_call();
        self
    }

    /// Sets the seed of the schedule's jitter, so that a test gets the same delays each time.
    /// Defaults to a random seed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use tokio::time::Instant;
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// async fn time_to_start(seed: u64) -> Duration {
    ///     let clock = Check::new("clock", || async { Status::Pass });
    ///     let health = Health::builder("orders").check(clock).seed(seed).start().unwrap();
    ///     let began = Instant::now();
    ///     health.wait_until(Probe::Readiness, Status::Pass).await.unwrap();
    ///     began.elapsed()
    /// }
    ///
    /// assert_eq!(time_to_start(7).await, time_to_start(7).await);
    /// # }
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Sets the runtime that the checks run on. It must have timers. Otherwise
    /// [`start`](Self::start) returns an error, as it does if there is no runtime at all. Defaults
    /// to the runtime that is current at [`start`](Self::start).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// // No runtime is current here.
    /// let health = Health::builder("orders").runtime(runtime.handle().clone()).start()?;
    /// let verdict = runtime.block_on(health.wait_until_good(Probe::Readiness))?;
    /// assert_eq!(verdict.status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self.set_by.runtime = self.next_call();
        self
    }

    /// Counts a call, and returns its number.
    pub(crate) fn next_call(&mut self) -> Call {
        self.calls += 1;
        self.calls
    }

    /// Adds a step that runs after a successful start, in the order of these calls.
    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) fn then(mut self, then: fn(&Health)) -> Self {
        self.then.push(then);
        self
    }

    /// Sets what installs the signal handlers. It runs before the engine starts, so that no signal
    /// during the start is lost, and its error is a problem of the start.
    #[cfg(feature = "signals")]
    pub(crate) fn signals(mut self, handle: HandleSignals) -> Self {
        self.signals = Some(handle);
        self
    }

    /// Starts to run the checks.
    ///
    /// The first start in a process wraps its panic hook, so that the payload of a panic in the
    /// code of a check is not printed, because it may contain a secret. Such a panic is a failing
    /// outcome, and its private cause contains the source location. All other panics are passed to
    /// the hook that was set before. A hook that is set later receives the payload, unless it calls
    /// the hook that it replaces. If panics abort (`panic = "abort"`), a check that panics ends the
    /// process like any other code. The location is printed in that case.
    ///
    /// A panic in the code of a check:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Reason, Status};
    ///
    /// async fn parse() -> Status {
    ///     panic!("password=hunter2")
    /// }
    ///
    /// let health = Health::builder("orders").check(Check::new("parser", parse)).start()?;
    /// let report = health.run_now("parser").await?;
    /// assert_eq!(report.reason, Some(Reason::Panicked));
    /// let cause = report.cause.expect("the location");
    /// assert!(!cause.redacted().contains("hunter2"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`StartError`] that contains all problems. Nothing is started in that case.
    pub fn start(self) -> Result<Health, StartError> {
        guard_panics();
        let mut problems = Problems::default();
        if let Err(problem) = valid_service_name(&self.service) {
            problems.push(0, problem);
        }
        let (mut checks, mut settings, mut set_by) = (self.checks, self.settings, self.set_by);
        let mut defaults = self.defaults;
        config::apply(
            self.configs,
            &mut checks,
            (&mut settings, &mut defaults, &mut set_by),
            &mut problems,
        );
        let invalid = defaults.problems();
        if !invalid.is_empty() {
            // Otherwise they would be reported once more for each check.
            defaults = CheckDefaults::default();
        }
        for (setting, problem) in invalid {
            problems.push(set_by.default_call(setting), ConfigError::Default(problem));
        }
        let mut checks = define(checks, &defaults, &mut problems);
        if settings.capacity == 0 {
            problems.push(set_by.concurrency, ConfigError::NoConcurrency);
        }
        for setting in settings.drain.problems() {
            problems.push(set_by.drain(setting), ConfigError::Drain(setting));
        }
        check_dependencies(&checks, &mut problems);
        let runtime = match self.runtime {
            Some(runtime) => with_timers(runtime).map_err(|problem| (set_by.runtime, problem)),
            // `start` itself looks for a runtime.
            None => current_runtime()
                .and_then(with_timers)
                .map_err(|problem| (Call::MAX, problem)),
        };
        let runtime = runtime.map_err(|(call, problem)| problems.push(call, problem));
        let runtime = runtime.ok();
        let own = self.watchdog.bound.is_some();
        let runtimes =
            self.watchdog
                .define(runtime.as_ref(), &defaults, &mut checks, &mut problems);
        let Some(runtime) = runtime.filter(|_| problems.is_empty()) else {
            return Err(StartError::new(problems.into_ordered()));
        };
        let service = Service {
            name: self.service.into(),
            release: self.release.map(Into::into),
            version: self.version.map(Into::into),
            description: self.description.map(Into::into),
        };
        warn_about(&service.name, &settings, &checks);
        for Defined { definition, .. } in &checks {
            let (name, settings) = (&definition.name, definition.settings());
            let criticality = definition.policy.criticality;
            telemetry::registered(&service.name, name, criticality, &settings);
        }
        let checks = checks
            .into_iter()
            .map(|defined| (defined.definition, defined.code));
        let engine = Engine::new(&runtime, service, checks.collect(), settings);
        let board = Arc::clone(engine.board());
        if let Some(Err(error)) = self.signals.map(|handle| handle(&board)) {
            return Err(StartError::new(vec![ConfigError::Signals(error.kind())]));
        }
        let health = Health::new(board, defaults, engine.spawn());
        if !runtimes.is_empty() {
            health.watchdog().watch(health.board(), runtimes, own);
        }
        self.then.iter().for_each(|then| then(&health));
        Ok(health)
    }
}

impl WatchdogSettings {
    /// Registers each watched runtime as a check like any other.
    fn define(
        self,
        own: Option<&Handle>,
        defaults: &CheckDefaults,
        checks: &mut Vec<Defined>,
        problems: &mut Problems,
    ) -> Vec<Runtime> {
        let (call, bound) = self.bound.unwrap_or((0, watchdog::BOUND));
        if !(LEAST_BOUND..=watchdog::HOLDS).contains(&bound) {
            problems.push(call, ConfigError::Watchdog(bound));
        }
        let own = self
            .bound
            .map(|(call, _)| (call, watchdog::OWN.to_owned(), own.cloned()));
        let others = self.others.into_iter();
        let others = others.map(|(call, name, handle)| (call, name, Some(handle)));
        let mut runtimes = Vec::new();
        for (call, name, handle) in own.into_iter().chain(others) {
            let pushed = Arc::new(Pushed::lasting());
            let (mut policy, system) = (watchdog::policy(), ComponentType::System);
            defaults.apply_flapping_to(&mut policy);
            let definition = define_pushed(&name, policy, system, None, Arc::clone(&pushed));
            let definition = match definition {
                Ok(definition) => definition,
                Err(invalid) => {
                    invalid
                        .into_iter()
                        .for_each(|problem| problems.push(call, problem));
                    continue;
                }
            };
            let is_same = |known: &Defined| known.definition.name == definition.name;
            if checks.iter().any(is_same) {
                problems.push(call, ConfigError::DuplicateName(definition.name));
                continue;
            }
            checks.push(Defined {
                call,
                definition,
                code: None,
            });
            runtimes.extend(handle.map(|handle| Runtime {
                name: name.into(),
                handle,
                pushed,
                bound,
            }));
        }
        runtimes
    }
}

/// Validates the name of a service. It may be a reserved word, unlike that of a check.
fn valid_service_name(name: &str) -> Result<(), ConfigError> {
    match Name::new(name) {
        Err(error) if !error.is_reserved() => Err(ConfigError::ServiceName(error)),
        _ => Ok(()),
    }
}

/// Validates checks with these defaults, and returns the definition and the code of each valid one.
pub(super) fn define(
    checks: Vec<(Call, Check)>,
    defaults: &CheckDefaults,
    problems: &mut Problems,
) -> Vec<Defined> {
    let mut seen = HashSet::new();
    let mut defined = Vec::with_capacity(checks.len());
    for (call, mut check) in checks {
        let set = defaults.apply_to(&mut check.policy);
        let policy = check.policy.problems().into_iter();
        let invalid = policy
            .map(|problem| naming_defaults(problem, &set))
            .chain(check.runbook.as_deref().and_then(runbook_problem))
            .chain(check.code.problems());
        for problem in invalid {
            let check = check.name.chars().take(Name::MAX_LEN).collect();
            problems.push(call, ConfigError::Setting { check, problem });
        }
        let mut roots = Vec::new();
        for root in check.depends_on.iter().map(Name::new) {
            match root {
                Ok(root) => roots.push(root),
                Err(error) => {
                    let check = check.name.chars().take(Name::MAX_LEN).collect();
                    problems.push(call, ConfigError::DependencyName { check, error });
                }
            }
        }
        match Name::new(&check.name) {
            Err(error) => problems.push(call, ConfigError::CheckName(error)),
            Ok(name) if seen.contains(&name) => {
                problems.push(call, ConfigError::DuplicateName(name));
            }
            Ok(name) => {
                seen.insert(name.clone());
                let definition = Definition {
                    name,
                    component_type: check.component_type,
                    runbook: check.runbook.map(Into::into),
                    policy: check.policy,
                    depends_on: roots,
                    pushed: None,
                };
                defined.push(Defined {
                    call,
                    definition,
                    code: Some(check.code),
                });
            }
        }
    }
    defined
}

/// Logs settings that are valid, but probably not meant.
fn warn_about(service: &Arc<str>, settings: &Settings, checks: &[Defined]) {
    let longest = settings.drain.longest();
    if longest >= DrainPolicy::GRACE_PERIOD {
        telemetry::drain_exceeds_grace_period(service, longest);
    }
    for (check, root) in critical_on_shared(checks) {
        telemetry::critical_depends_on_shared(service, check, root);
    }
}

/// Validates that all dependencies are registered and that they do not form a cycle.
fn check_dependencies(checks: &[Defined], problems: &mut Problems) {
    let named = || checks.iter().map(|check| check.definition.name.clone());
    let ids = by_name(checks);
    let mut graph = Roots::default();
    for (position, check) in checks.iter().enumerate() {
        let mut roots = Vec::new();
        for name in &check.definition.depends_on {
            match ids.get(name) {
                Some(&root) => roots.push(root),
                None => {
                    let error = UnknownCheck::new(name, named().collect());
                    let check_name = check.definition.name.to_string();
                    problems.push(
                        check.call,
                        ConfigError::UnknownDependency {
                            check: check_name,
                            error,
                        },
                    );
                }
            }
        }
        if let Err(path) = graph.set(Id::at(position), roots) {
            let name = |id: &Id| Some(checks.get(id.position())?.definition.name.clone());
            let path = path.iter().filter_map(name).collect();
            problems.push(check.call, ConfigError::Cycle(path));
        }
    }
}

/// Returns the identifiers of the checks by name. They are those that the engine assigns, because
/// both number the checks in the order of registration.
fn by_name(checks: &[Defined]) -> HashMap<Name, Id> {
    let named = checks.iter().map(|check| check.definition.name.clone());
    named.zip((0..).map(Id::at)).collect()
}

/// Returns each critical check that depends on a shared one. If the shared check fails, the
/// dependent check takes this instance out of rotation, which the shared check alone would not do.
fn critical_on_shared(checks: &[Defined]) -> impl Iterator<Item = (&Name, &Name)> {
    let ids = by_name(checks);
    let is = |definition: &Definition, criticality| definition.policy.criticality == criticality;
    checks.iter().filter_map(move |Defined { definition, .. }| {
        let is_shared = |root: &&Name| {
            let root = ids.get(*root).and_then(|id| checks.get(id.position()));
            root.is_some_and(|root| is(&root.definition, Criticality::Shared))
        };
        let is_critical = is(definition, Criticality::Critical);
        let root = definition
            .depends_on
            .iter()
            .filter(|_| is_critical)
            .find(is_shared)?;
        Some((&definition.name, root))
    })
}

/// Validates a check whose result the application reports (push), and returns its definition.
pub(super) fn define_pushed(
    name: &str,
    policy: Policy,
    component_type: ComponentType,
    runbook: Option<String>,
    pushed: Arc<Pushed>,
) -> Result<Definition, Vec<ConfigError>> {
    let mut problems = Vec::new();
    if let Some(problem) = runbook.as_deref().and_then(runbook_problem) {
        let check = name.chars().take(Name::MAX_LEN).collect();
        problems.push(ConfigError::Setting { check, problem });
    }
    let name = Name::new(name).map_err(ConfigError::CheckName);
    let name = name.map_err(|problem| problems.push(problem)).ok();
    let Some(name) = name.filter(|_| problems.is_empty()) else {
        return Err(problems);
    };
    Ok(Definition {
        name,
        component_type,
        runbook: runbook.map(Into::into),
        policy,
        depends_on: Vec::new(),
        pushed: Some(pushed),
    })
}

/// Returns the problem of a runbook's URL, if there is one. The URL is shown unchanged, so it must
/// not contain anything that redaction would remove.
fn runbook_problem(url: &str) -> Option<String> {
    let uri = Uri::try_from(url).ok();
    let page = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if url.len() > Cause::MAX_LEN {
        return Some(format!(
            "`runbook` is longer than {} bytes: shorten it",
            Cause::MAX_LEN
        ));
    }
    let has_secret = |uri: Uri| {
        uri.authority().is_some_and(|at| at.as_str().contains('@'))
            || Cause::new(url).redacted() != url
    };
    match page.map(has_secret) {
        Some(false) => None,
        Some(true) => Some(
            "`runbook` contains a user, a password or a token, or something that looks like one: it would be shown, so remove it"
                .to_owned(),
        ),
        None => Some(
            "`runbook` is not an absolute `http` or `https` URL: write it in full, percent-encoded"
                .to_owned(),
        ),
    }
}

/// Returns the runtime that the caller runs on.
fn current_runtime() -> Result<Handle, ConfigError> {
    Handle::try_current().map_err(|_| ConfigError::NoRuntime)
}

/// Returns the runtime if it has timers. A runtime without timers reveals that only by a panic.
fn with_timers(runtime: Handle) -> Result<Handle, ConfigError> {
    let timer = guard(|| {
        let _entered = runtime.enter();
        drop(tokio::time::sleep(Duration::ZERO));
    });
    match timer {
        Ok(()) => Ok(runtime),
        Err(_) => Err(ConfigError::NoTimers),
    }
}
