use std::{collections::HashSet, sync::Arc, time::Duration};

use http::Uri;
use tokio::runtime::Handle;

use super::{
    Health, Mistake, StartError,
    config::{self, HealthConfig},
};
use crate::{
    check::{Check, Code, guard, guard_panics},
    engine::{Definition, Engine, Service},
    model::{Cause, Name},
};

/// How many runs may be under way at a time, unless told otherwise.
const CONCURRENCY: usize = 64;

/// Builds a [`Health`]: made by [`Health::builder`].
///
/// The chain never fails; [`start`](Self::start) reports every mistake at once.
#[derive(Debug)]
#[must_use = "nothing runs until `start()`"]
pub struct HealthBuilder {
    service: String,
    release: Option<String>,
    version: Option<String>,
    description: Option<String>,
    checks: Vec<Check>,
    concurrency: usize,
    seed: Option<u64>,
    runtime: Option<Handle>,
    configs: Vec<HealthConfig>,
}

impl HealthBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            release: None,
            version: None,
            description: None,
            checks: Vec::new(),
            concurrency: CONCURRENCY,
            seed: None,
            runtime: None,
            configs: Vec::new(),
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

    /// Registers several checks.
    pub fn checks(mut self, checks: impl IntoIterator<Item = Check>) -> Self {
        self.checks.extend(checks);
        self
    }

    /// How many runs may be under way at a time; more wait for their turn. One that outlasted its timeout does
    /// not count. Defaults to 64.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.concurrency = runs;
        self
    }

    /// What an operator sets, on top of what the code says about the checks that are registered by now or until
    /// [`start`](Self::start); a later one on top of an earlier one. Settings for a check that is not
    /// registered, and values that cannot be, are mistakes. A disabled check is not registered, and that is
    /// logged. Defaults to nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, HealthConfig, Status};
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

    /// What the jitter of the schedule is drawn from, so that a test sees the same delays each time. Defaults
    /// to a seed of this process's own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The runtime to run on. Defaults to the one that is current at [`start`](Self::start).
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
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
    /// [`StartError`] lists every mistake, and then nothing was started.
    pub fn start(self) -> Result<Health, StartError> {
        guard_panics();
        let mut mistakes = Vec::new();
        if let Err(error) = valid_service_name(&self.service) {
            mistakes.push(error);
        }
        let (mut checks, mut concurrency) = (self.checks, self.concurrency);
        config::apply(&self.configs, &mut checks, &mut concurrency, &mut mistakes);
        let checks = define(checks, &mut mistakes);
        if concurrency == 0 {
            mistakes.push(Mistake::NoConcurrency);
        }
        let runtime = match self
            .runtime
            .map_or_else(current_runtime, Ok)
            .and_then(with_timers)
        {
            Ok(runtime) if mistakes.is_empty() => runtime,
            Ok(_) => return Err(StartError::new(mistakes)),
            Err(mistake) => {
                mistakes.push(mistake);
                return Err(StartError::new(mistakes));
            }
        };
        let service = Service {
            name: self.service.into(),
            release: self.release.map(Into::into),
            version: self.version.map(Into::into),
            description: self.description.map(Into::into),
        };
        let engine = Engine::new(&runtime, service, checks, concurrency, self.seed);
        let board = Arc::clone(engine.board());
        Ok(Health::new(board, engine.spawn()))
    }
}

fn valid_service_name(name: &str) -> Result<(), Mistake> {
    match Name::new(name) {
        Err(error) if !error.is_reserved() => Err(Mistake::ServiceName(error)),
        _ => Ok(()),
    }
}

/// What the checks are, each with its code.
pub(super) fn define(checks: Vec<Check>, mistakes: &mut Vec<Mistake>) -> Vec<(Definition, Code)> {
    let mut seen = HashSet::new();
    let mut defined = Vec::with_capacity(checks.len());
    for check in checks {
        let policy = check.policy.faults().into_iter();
        let faults = policy.chain(check.runbook.as_deref().and_then(runbook_fault));
        mistakes.extend(faults.map(|fault| Mistake::Setting {
            check: check.name.chars().take(Name::MAX_LEN).collect(),
            fault,
        }));
        match Name::new(&check.name) {
            Err(error) => mistakes.push(Mistake::CheckName(error)),
            Ok(name) if !seen.insert(name.clone()) => mistakes.push(Mistake::DuplicateName(name)),
            Ok(name) => defined.push((
                Definition {
                    name,
                    component_type: check.component_type,
                    runbook: check.runbook.map(Into::into),
                    policy: check.policy,
                },
                check.code,
            )),
        }
    }
    defined
}

fn runbook_fault(url: &str) -> Option<String> {
    let uri = Uri::try_from(url).ok();
    let page = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    let has_secret = |uri: Uri| {
        uri.authority().is_some_and(|at| at.as_str().contains('@'))
            || Cause::new(url).redacted() != url
    };
    match page.map(has_secret) {
        Some(false) => None,
        Some(true) => Some(
            "`runbook` holds a user, a password or a token: it would be shown, so leave it out"
                .to_owned(),
        ),
        None => Some(
            "`runbook` is not the `http` or `https` URL of a page: write it in full, percent-encoded"
                .to_owned(),
        ),
    }
}

fn current_runtime() -> Result<Handle, Mistake> {
    Handle::try_current().map_err(|_| Mistake::NoRuntime)
}

/// A runtime without timers says so by a panic alone.
fn with_timers(runtime: Handle) -> Result<Handle, Mistake> {
    let timer = guard(|| {
        let _entered = runtime.enter();
        drop(tokio::time::sleep(Duration::ZERO));
    });
    match timer {
        Ok(()) => Ok(runtime),
        Err(_) => Err(Mistake::NoTimers),
    }
}
