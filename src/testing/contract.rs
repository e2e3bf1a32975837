//! A test suite for implementations of `HealthCheck`. It calls the check directly, without an
//! engine.

use std::{
    collections::HashSet,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    check::{HealthCheck, guard, guard_panics},
    model::{Cause, Failure, Outcome, Reason, Status, Value},
};

/// How often a check is run to its end.
const RUNS: usize = 16;
/// The maximum number of polls after which a run is cancelled.
const POLLS: usize = 32;

/// A test suite for the contract that the engine expects of a [`HealthCheck`].
///
/// 1. Each run ends within the timeout.
/// 2. Sixteen runs in a row have the same status. A run thus uses up nothing, such as a slot in a
///    pool or a file handle.
/// 3. A run that is dropped after any number of polls, up to 32, leaves nothing behind: the next
///    run has the same status.
/// 4. Nothing panics, not even while a run or the check itself is dropped.
/// 5. No single poll takes half of the timeout or longer. Code that does blocks its thread, and
///    belongs in [`Check::blocking`](crate::Check::blocking).
/// 6. The names of measurements are unique and not empty, and do not contain `:` or control
///    characters. Numbers are finite.
/// 7. The reason is not one that is reserved for the engine: pending, still running, panicked,
///    stale, blocked, engine stopped.
/// 8. No part of an outcome contains a [secret](Self::secret).
///
/// Use it on a clock that is not paused. On a paused clock, a check that waits for a socket appears
/// to take forever. Test the check once with a healthy dependency, and once for each way in which
/// the dependency may fail.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{Failure, HealthCheck, Outcome, Status, async_trait, testing::Contract};
///
/// struct Spool(std::path::PathBuf);
///
/// #[async_trait]
/// impl HealthCheck for Spool {
///     async fn check(&self) -> Result<Outcome, Failure> {
///         tokio::fs::metadata(&self.0).await?;
///         Ok(Outcome::pass())
///     }
/// }
///
/// Contract::new(|| Spool("/".into())).expect(Status::Pass).assert().await;
/// Contract::new(|| Spool("/nowhere".into())).expect(Status::Fail).assert().await;
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is tested until `verify` or `assert`"]
pub struct Contract<F> {
    make: F,
    expected: Option<Status>,
    timeout: Duration,
    secrets: Vec<String>,
}

impl<F, C> Contract<F>
where
    F: Fn() -> C,
    C: HealthCheck,
{
    /// Creates the contract of the check that `make` returns. `make` may be called several times,
    /// so it must not have side effects that a second check could not bear, such as a lock.
    pub fn new(make: F) -> Self {
        Self {
            make,
            expected: None,
            timeout: Duration::from_secs(2),
            secrets: Vec::new(),
        }
    }

    /// Sets the status that every run must have. Without it, a check that always fails meets the
    /// contract. Defaults to the status of the first run.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Status, testing::{Contract, ScriptedCheck}};
    ///
    /// let always_fails = || ScriptedCheck::new(Status::Fail);
    /// assert!(Contract::new(always_fails).verify().await.is_ok());
    ///
    /// let error = Contract::new(always_fails).expect(Status::Pass).verify().await.unwrap_err();
    /// assert_eq!(error.violations(), ["a run returned fail instead of pass: no cause"]);
    /// # }
    /// ```
    pub fn expect(mut self, status: Status) -> Self {
        self.expected = Some(status);
        self
    }

    /// Sets the time limit of a run. Use that of the [`Check`](crate::Check::timeout) in the
    /// service. Defaults to 2 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use tower_health::testing::{Contract, ScriptedCheck};
    ///
    /// let contract = Contract::new(ScriptedCheck::hanging).timeout(Duration::from_millis(200));
    /// let error = contract.verify().await.unwrap_err();
    /// assert_eq!(error.violations(), ["a run did not end within 200ms"]);
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Adds a secret, such as a password or a token, that the check knows and must not reveal. An
    /// empty secret is ignored. Defaults to no secrets.
    ///
    /// The texts of causes and of measurements are searched for it. They are redacted already, so
    /// this finds what redaction cannot recognize.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Outcome, Reason, testing::{Contract, ScriptedCheck}};
    ///
    /// let outcome = Outcome::fail(Reason::NotFound).with_cause("no key k-7f3a");
    /// let leaks = move || ScriptedCheck::new(outcome.clone());
    /// let error = Contract::new(leaks).secret("k-7f3a").verify().await.unwrap_err();
    /// assert_eq!(error.violations(), ["an outcome contains a secret"]);
    /// # }
    /// ```
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Tests the check. Use it at the end of a test. It takes at most about as long as 80 runs, and
    /// stops earlier at a run that does not end.
    ///
    /// # Panics
    ///
    /// Panics if the check breaks the contract. The message contains every violation.
    pub async fn assert(self) {
        if let Err(error) = self.verify().await {
            panic!("{error}");
        }
    }

    /// Tests the check, and returns what [`assert`](Self::assert) would panic with.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Status, testing::{Contract, ScriptedCheck}};
    ///
    /// let panics = || ScriptedCheck::panicking("password=hunter2");
    /// let error = Contract::new(panics).expect(Status::Pass).verify().await.unwrap_err();
    /// let [violation] = error.violations() else { panic!("{error}") };
    /// assert!(violation.starts_with("it panicked: "));
    /// assert!(!violation.contains("hunter2"), "the payload is withheld");
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ContractError`], which contains every violation, if the check breaks the contract.
    pub async fn verify(mut self) -> Result<(), ContractError> {
        guard_panics();
        let mut violations = Violations::default();
        let check = (self.make)();
        for _ in 0..RUNS {
            if !self.run(&check, &mut violations).await {
                break;
            }
        }
        violations.drop(check);
        let check = (self.make)();
        for polls in 1..=POLLS {
            // If a run ends within this number of polls, or never ends, more polls would add
            // nothing.
            if self.cancel(&check, polls, &mut violations).await
                || !self.run(&check, &mut violations).await
            {
                break;
            }
        }
        violations.drop(check);
        if violations.0.is_empty() {
            Ok(())
        } else {
            Err(ContractError {
                violations: violations.0,
            })
        }
    }

    /// Runs the check to its end. Returns whether the run ended.
    async fn run(&mut self, check: &C, violations: &mut Violations) -> bool {
        let mut run = Run::new(check, usize::MAX);
        let ended = timeout(self.timeout, &mut run).await;
        let long = self.timeout / 2;
        if run.longest_poll >= long {
            violations.add(format!(
                "a single poll took {long:?} or more: code that blocks its thread belongs in `Check::blocking`"
            ));
        }
        if let Some(place) = run.end() {
            violations.add(format!("it panicked while it was dropped: {place}"));
        }
        match &ended {
            Err(_) => violations.add(format!("a run did not end within {:?}", self.timeout)),
            Ok(None) => {}
            Ok(Some(Err(place))) => violations.add(format!("it panicked: {place}")),
            Ok(Some(Ok(outcome))) => self.judge(outcome, violations),
        }
        ended.is_ok()
    }

    /// Drops a run after this number of polls. Returns whether it ended before, or was not polled
    /// that often.
    async fn cancel(&self, check: &C, polls: usize, violations: &mut Violations) -> bool {
        let mut run = Run::new(check, polls);
        let ended = timeout(self.timeout, &mut run).await;
        if let Some(place) = run.end() {
            violations.add(format!("it panicked while it was dropped: {place}"));
        }
        !matches!(ended, Ok(None))
    }

    /// Tests the outcome of a run against the rules for its contents.
    fn judge(&mut self, outcome: &Outcome, violations: &mut Violations) {
        let expected = *self.expected.get_or_insert(outcome.status());
        if outcome.status() != expected {
            let cause = outcome.cause().map_or("no cause", Cause::redacted);
            let status = outcome.status();
            violations.add(format!(
                "a run returned {status} instead of {expected}: {cause}"
            ));
        }
        if let Some(reason) = outcome.reason().filter(|&reason| is_reserved(reason)) {
            violations.add(format!("the reason {reason:?} is reserved for the engine"));
        }
        let mut names = HashSet::new();
        for measurement in outcome.measurements() {
            let name = &*measurement.name;
            if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
                violations.add(format!("{name:?} is not a valid name of a measurement"));
            }
            if !names.insert(name) {
                violations.add(format!("two measurements are named {name:?}"));
            }
            if matches!(measurement.value, Value::Float(value) if !value.is_finite()) {
                violations.add(format!("the measurement {name:?} is not finite"));
            }
        }
        let cause = outcome.cause().map(Cause::redacted);
        let measured = outcome.measurements().iter().flat_map(|measurement| {
            let text = match &measurement.value {
                Value::Text(text) => &**text,
                _ => "",
            };
            [&*measurement.name, text, &*measurement.unit]
        });
        let mut texts = cause.into_iter().chain(measured);
        let secrets = self.secrets.iter().filter(|secret| !secret.is_empty());
        if texts.any(|text| secrets.clone().any(|secret| text.contains(&**secret))) {
            violations.add("an outcome contains a secret".to_owned());
        }
    }
}

/// Whether only the engine may set this reason.
fn is_reserved(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Pending
            | Reason::StillRunning
            | Reason::Panicked
            | Reason::Stale
            | Reason::Blocked
            | Reason::EngineStopped
    )
}

/// The violations that were found, without duplicates.
#[derive(Default)]
struct Violations(Vec<String>);

impl Violations {
    /// Drops a check, which is foreign code as well.
    fn drop(&mut self, check: impl HealthCheck) {
        if let Err(panicked) = guard(|| drop(check)) {
            self.add(format!(
                "it panicked while it was dropped: {}",
                place(&panicked)
            ));
        }
    }

    fn add(&mut self, violation: String) {
        if !self.0.contains(&violation) {
            self.0.push(violation);
        }
    }
}

/// One run with a limited number of polls. It resolves to an outcome, to the location of a panic,
/// or to `None` once the polls are used up.
struct Run<'a> {
    /// None once it was dropped by [`end`](Self::end).
    future: Option<Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>>,
    polls_left: usize,
    /// Measured with the clock of the operating system, which a test cannot pause.
    longest_poll: Duration,
}

impl<'a> Run<'a> {
    /// Begins a run that resolves after at most this number of polls.
    fn new(check: &'a impl HealthCheck, polls: usize) -> Self {
        Self {
            future: Some(Box::pin(async {
                check.check().await.unwrap_or_else(Outcome::from)
            })),
            polls_left: polls,
            longest_poll: Duration::ZERO,
        }
    }

    /// Drops the run. Returns where it panicked, if it did.
    fn end(mut self) -> Option<String> {
        let future = self.future.take();
        guard(|| drop(future)).err().as_ref().map(place)
    }
}

impl Future for Run<'_> {
    type Output = Option<Result<Outcome, String>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == 0 {
            return Poll::Ready(None);
        }
        self.polls_left -= 1;
        let Some(future) = &mut self.future else {
            return Poll::Ready(None);
        };
        let began = Instant::now();
        let polled = guard(|| future.as_mut().poll(cx));
        self.longest_poll = self.longest_poll.max(began.elapsed());
        match polled {
            Ok(Poll::Ready(outcome)) => Poll::Ready(Some(Ok(outcome))),
            Ok(Poll::Pending) if self.polls_left == 0 => Poll::Ready(None),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panicked) => Poll::Ready(Some(Err(place(&panicked)))),
        }
    }
}

/// Returns the location of a panic. The payload is not used, because it may contain a secret.
fn place(panicked: &Failure) -> String {
    let place = panicked.cause().map(Cause::redacted);
    place.unwrap_or("at an unknown location").to_owned()
}

/// The error of [`Contract::verify`]: the ways in which a check breaks the [`Contract`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{Failure, HealthCheck, Outcome, async_trait, testing::Contract};
///
/// struct Backlog;
///
/// #[async_trait]
/// impl HealthCheck for Backlog {
///     async fn check(&self) -> Result<Outcome, Failure> {
///         // Both measurements have the same name.
///         Ok(Outcome::pass().measure("backlog", 12, "").measure("backlog", 3, "s"))
///     }
/// }
///
/// let error = Contract::new(|| Backlog).verify().await.unwrap_err();
/// assert_eq!(error.violations().len(), 1);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractError {
    violations: Vec<String>,
}

impl ContractError {
    /// Returns the violations that were found, in the order in which they were found and without
    /// duplicates. There is at least one. Each is a sentence.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the check breaks the contract of `HealthCheck`:")?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "\n  - {violation}"))
    }
}

impl Error for ContractError {}
