use std::{collections::HashMap, io, sync::Arc, time::Duration};

use http::Uri;
use tokio::runtime::Handle;

use super::{
    ConfigError, Health, StartError,
    config::{self, HealthConfig},
};
use crate::{
    check::{Check, Code, Policy, guard, guard_panics},
    engine::{Board, Definition, DrainPolicy, Engine, Id, Pushed, Roots, Service, Settings},
    lifecycle::watchdog::{self, Runtime},
    model::{Cause, ComponentType, Criticality, Name, UnknownCheck},
    telemetry,
};

/// The shortest time that a runtime may be given: some looks of the watchdog, and what a busy machine takes.
const LEAST_BOUND: Duration = Duration::from_secs(1);

/// How many runs may be under way at a time, unless told otherwise.
const CONCURRENCY: usize = 64;

/// Builds a [`Health`]: made by [`Health::builder`].
///
/// The chain never fails; [`start`](Self::start) reports every problem at once.
#[derive(Debug)]
#[must_use = "nothing runs until `start()`"]
pub struct HealthBuilder {
    service: String,
    release: Option<String>,
    version: Option<String>,
    description: Option<String>,
    checks: Vec<Check>,
    settings: Settings,
    runtime: Option<Handle>,
    configs: Vec<HealthConfig>,
    pub(crate) watchdog: Watching,
    signals: Option<HandleSignals>,
    /// What is done once it has started.
    then: Vec<fn(&Health)>,
}

/// What runtimes are to be watched.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    /// That of the checks is, if this is set.
    pub(crate) bound: Option<Duration>,
    pub(crate) others: Vec<(String, Handle)>,
}

/// What has signals begin a drain.
type HandleSignals = fn(&Arc<Board>) -> io::Result<()>;

impl HealthBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            release: None,
            version: None,
            description: None,
            checks: Vec::new(),
            settings: Settings {
                room: CONCURRENCY,
                ..Settings::default()
            },
            runtime: None,
            configs: Vec::new(),
            watchdog: Watching::default(),
            signals: None,
            then: Vec::new(),
        }
    }

    /// The release that runs, such as `env!("CARGO_PKG_VERSION")`; `releaseId` in health+json. Defaults to
    /// none.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.release = Some(release.into());
        self
    }

    /// The public version of the service's interface, such as `1`; `version` in health+json. Defaults to none.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What the service is, for people; `description` in health+json. Defaults to none.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Registers a check. Defaults to none, and a service without checks is ready at once.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Registers several checks. Defaults to none.
    pub fn checks(mut self, checks: impl IntoIterator<Item = Check>) -> Self {
        self.checks.extend(checks);
        self
    }

    /// How many runs may be under way at a time; more wait for their turn. One that outlasted its timeout does
    /// not count. Defaults to 64.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.settings.room = runs;
        self
    }

    /// What an operator sets, on top of what the code says about the checks that are registered by now or until
    /// [`start`](Self::start); a later one on top of an earlier one. Settings for a check that is not
    /// registered, and values that cannot be, are problems. A disabled check is not registered, and that is
    /// logged. Defaults to nothing.
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
    /// assert!(error.to_string().contains(r#"no check is named "clok": registered are clock"#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(mut self, config: HealthConfig) -> Self {
        self.configs.push(config);
        self
    }

    /// For how long the service serves on, not ready, when it [leaves](Health::drain): load balancers and proxies need
    /// a while to learn of it. After an interrupt from a terminal there is none. Defaults to 5 s.
    ///
    /// Who learns of it by probes needs as many of their intervals as probes have to fail. Kubernetes takes a pod that is
    /// deleted out by itself; what it takes is the time until every node has been told.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.settings.drain.delay = delay;
        self
    }

    /// How long the service then waits, still accepting, until nothing is in flight. Defaults to 15 s.
    ///
    /// Where requests keep coming, as from a client that has not noticed, all of it passes.
    pub fn drain_finish(mut self, finish: Duration) -> Self {
        self.settings.drain.finish = finish;
        self
    }

    /// How long servers then have, once they have stopped accepting and said goodbye to their connections, to finish what is on
    /// them; what is left after that is cut. Defaults to 5 s.
    ///
    /// A request that begins while servers close has no more time than this.
    ///
    /// The [delay](Self::drain_delay), the time to [finish](Self::drain_finish) and this are 25 s together. They are to stay below
    /// what the orchestrator waits before it kills (`terminationGracePeriodSeconds`, 30 s unless set); 30 s or more are warned of
    /// at the start.
    pub fn drain_close(mut self, close: Duration) -> Self {
        self.settings.drain.close = close;
        self
    }

    /// What the jitter of the schedule is drawn from, so that a test sees the same delays each time. Defaults
    /// to a seed of this process's own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// The runtime to run on. Defaults to the one that is current at [`start`](Self::start).
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) fn then(mut self, then: fn(&Health)) -> Self {
        self.then.push(then);
        self
    }

    #[cfg(feature = "signals")]
    pub(crate) fn signals(mut self, handle: HandleSignals) -> Self {
        self.signals = Some(handle);
        self
    }

    /// Starts running the checks.
    ///
    /// The first start in a process wraps its panic hook, so that the payload of a panic in the code of a
    /// check, which may hold a secret, is not printed; such a panic is a failing outcome whose private cause
    /// names the place. Any other panic goes to the hook that was set before. A hook that is set later sees
    /// the payload, unless it passes on to the one it replaces. Where panics abort (`panic = "abort"`), a
    /// check that panics ends the process like any other code; the place is printed then.
    ///
    /// # Errors
    ///
    /// [`StartError`] lists every problem, and then nothing was started.
    pub fn start(self) -> Result<Health, StartError> {
        guard_panics();
        let mut problems = Vec::new();
        if let Err(error) = valid_service_name(&self.service) {
            problems.push(error);
        }
        let (mut checks, mut settings) = (self.checks, self.settings);
        config::apply(&self.configs, &mut checks, &mut settings, &mut problems);
        let mut checks = define(checks, &mut problems);
        if settings.room == 0 {
            problems.push(ConfigError::NoConcurrency);
        }
        problems.extend(settings.drain.faults().map(ConfigError::Drain));
        check_dependencies(&checks, &mut problems);
        let runtime = self.runtime.map_or_else(current_runtime, Ok);
        let runtime = runtime.and_then(with_timers);
        let runtime = runtime.map_err(|problem| problems.push(problem)).ok();
        let own = self.watchdog.bound.is_some();
        let runtimes = self
            .watchdog
            .define(runtime.as_ref(), &mut checks, &mut problems);
        let Some(runtime) = runtime.filter(|_| problems.is_empty()) else {
            return Err(StartError::new(problems));
        };
        let service = Service {
            name: self.service.into(),
            release: self.release.map(Into::into),
            version: self.version.map(Into::into),
            description: self.description.map(Into::into),
        };
        if settings.drain.longest() >= DrainPolicy::GRACE_PERIOD {
            telemetry::long_drain(&service.name, settings.drain.longest());
        }
        for (check, root) in harsher_than_roots(&checks) {
            telemetry::harsh_echo(&service.name, check, root);
        }
        let engine = Engine::new(&runtime, service, checks, settings);
        let board = Arc::clone(engine.board());
        if let Some(Err(error)) = self.signals.map(|handle| handle(&board)) {
            return Err(StartError::new(vec![ConfigError::Signals(error.kind())]));
        }
        let health = Health::new(board, engine.spawn());
        if !runtimes.is_empty() {
            health.watchdog().watch(health.board(), runtimes, own);
        }
        self.then.iter().for_each(|then| then(&health));
        Ok(health)
    }
}

impl Watching {
    /// What is told of each runtime is a check like any other.
    fn define(
        self,
        own: Option<&Handle>,
        checks: &mut Vec<(Definition, Option<Code>)>,
        problems: &mut Vec<ConfigError>,
    ) -> Vec<Runtime> {
        let bound = self.bound.unwrap_or(watchdog::BOUND);
        if !(LEAST_BOUND..=watchdog::HOLDS).contains(&bound) {
            problems.push(ConfigError::Watchdog(bound));
        }
        let first = self.bound.map(|_| (watchdog::OWN.to_owned(), own.cloned()));
        let others = self.others.into_iter();
        let others = others.map(|(name, handle)| (name, Some(handle)));
        let mut runtimes = Vec::new();
        for (name, handle) in first.into_iter().chain(others) {
            let pushed = Arc::new(Pushed::lasting());
            let spoken = Arc::clone(&pushed);
            let system = ComponentType::System;
            let definition =
                define_pushed(&name, watchdog::policy(), system, None, spoken, problems);
            let Some(definition) = definition else {
                continue;
            };
            if checks
                .iter()
                .any(|(known, _)| known.name == definition.name)
            {
                problems.push(ConfigError::DuplicateName(definition.name));
                continue;
            }
            checks.push((definition, None));
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

fn valid_service_name(name: &str) -> Result<(), ConfigError> {
    match Name::new(name) {
        Err(error) if !error.is_reserved() => Err(ConfigError::ServiceName(error)),
        _ => Ok(()),
    }
}

/// What the checks are, each with its code.
pub(super) fn define(
    checks: Vec<Check>,
    problems: &mut Vec<ConfigError>,
) -> Vec<(Definition, Option<Code>)> {
    let mut seen = HashMap::new();
    let mut defined = Vec::with_capacity(checks.len());
    for check in checks {
        let policy = check.policy.faults().into_iter();
        let faults = policy
            .chain(check.runbook.as_deref().and_then(runbook_fault))
            .chain(check.code.problems());
        problems.extend(faults.map(|fault| ConfigError::Setting {
            check: check.name.chars().take(Name::MAX_LEN).collect(),
            fault,
        }));
        let roots = check.depends_on.iter().map(Name::new);
        let (roots, wrong): (Vec<_>, Vec<_>) = roots.partition(Result::is_ok);
        let wrong = wrong.into_iter().filter_map(Result::err);
        problems.extend(wrong.map(ConfigError::DependencyName));
        match Name::new(&check.name) {
            Err(error) => problems.push(ConfigError::CheckName(error)),
            Ok(name) if seen.contains_key(&name) => problems.push(ConfigError::DuplicateName(name)),
            Ok(name) => {
                seen.insert(name.clone(), Id::at(defined.len()));
                let definition = Definition {
                    name,
                    component_type: check.component_type,
                    runbook: check.runbook.map(Into::into),
                    policy: check.policy,
                    depends_on: roots.into_iter().flatten().collect(),
                    pushed: None,
                };
                defined.push((definition, Some(check.code)));
            }
        }
    }
    defined
}

/// Whether what checks depend on is there, and they go round in no circle.
fn check_dependencies(checks: &[(Definition, Option<Code>)], problems: &mut Vec<ConfigError>) {
    let named = || checks.iter().map(|(definition, _)| definition.name.clone());
    let ids = by_name(checks);
    let mut graph = Roots::default();
    for (place, (definition, _)) in checks.iter().enumerate() {
        let mut roots = Vec::new();
        for name in &definition.depends_on {
            match ids.get(name) {
                Some(&root) => roots.push(root),
                None => problems.push(ConfigError::UnknownDependency(UnknownCheck::new(
                    name,
                    named().collect(),
                ))),
            }
        }
        if let Err(round) = graph.set(Id::at(place), roots) {
            let name = |id: &Id| Some(checks.get(id.place())?.0.name.clone());
            problems.push(ConfigError::Circle(round.iter().filter_map(name).collect()));
        }
    }
}

fn by_name(checks: &[(Definition, Option<Code>)]) -> HashMap<Name, Id> {
    let named = checks.iter().map(|(definition, _)| definition.name.clone());
    named.zip((0..).map(Id::at)).collect()
}

/// Each critical check that depends on a shared one: it takes this instance out when that fails, which alone would not.
fn harsher_than_roots(
    checks: &[(Definition, Option<Code>)],
) -> impl Iterator<Item = (&Name, &Name)> {
    let ids = by_name(checks);
    let is = |definition: &Definition, criticality| definition.policy.criticality == criticality;
    checks.iter().filter_map(move |(definition, _)| {
        let is_shared = |root: &&Name| {
            let root = ids.get(*root).and_then(|id| checks.get(id.place()));
            root.is_some_and(|(root, _)| is(root, Criticality::Shared))
        };
        let harsh = is(definition, Criticality::Critical);
        let root = definition
            .depends_on
            .iter()
            .filter(|_| harsh)
            .find(is_shared)?;
        Some((&definition.name, root))
    })
}

/// What the application speaks of itself.
pub(super) fn define_pushed(
    name: &str,
    policy: Policy,
    component_type: ComponentType,
    runbook: Option<String>,
    pushed: Arc<Pushed>,
    problems: &mut Vec<ConfigError>,
) -> Option<Definition> {
    if let Some(fault) = runbook.as_deref().and_then(runbook_fault) {
        let check = name.chars().take(Name::MAX_LEN).collect();
        problems.push(ConfigError::Setting { check, fault });
    }
    let name = Name::new(name).map_err(ConfigError::CheckName);
    let name = name.map_err(|problem| problems.push(problem)).ok()?;
    Some(Definition {
        name,
        component_type,
        runbook: runbook.map(Into::into),
        policy,
        depends_on: Vec::new(),
        pushed: Some(pushed),
    })
}

fn runbook_fault(url: &str) -> Option<String> {
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
            "`runbook` holds a user, a password or a token, or what looks like one: it would be shown, so leave it out"
                .to_owned(),
        ),
        None => Some(
            "`runbook` is not the `http` or `https` URL of a page: write it in full, percent-encoded"
                .to_owned(),
        ),
    }
}

fn current_runtime() -> Result<Handle, ConfigError> {
    Handle::try_current().map_err(|_| ConfigError::NoRuntime)
}

/// A runtime without timers says so by a panic alone.
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
