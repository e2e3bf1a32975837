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

/// How often a check is run, and how many polls it is cancelled after at most.
const RUNS: usize = 16;
const POLLS: usize = 32;

/// What the engine relies on in a [`HealthCheck`], as a suite of tests for one.
///
/// 1. Each run ends, within the timeout.
/// 2. Sixteen runs in a row have the same status, so nothing is used up: no place in a pool, no file handle.
/// 3. A run that is dropped, after however many polls, leaves nothing behind: the next has the same status.
/// 4. Nothing panics, not even while a run or the check itself is dropped.
/// 5. No single poll takes half of the timeout, or more: such code blocks its thread, and belongs into
///    [`Check::blocking`](crate::Check::blocking).
/// 6. Measurements have names, each another, without `:` and control characters, and numbers are finite.
/// 7. The reason is none of those that are the engine's to give: pending, still running, panicked, stale, blocked,
///    engine stopped.
/// 8. No [secret](Self::secret) is in anything that an outcome holds.
///
/// It is for a clock that is not paused: on one that is, a check that waits for a socket seems to take for ever. Put the same check through it once with its dependency healthy and
/// once for each way in which that may fail.
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
    /// The contract of the check that `make` makes; it may make several.
    pub fn new(make: F) -> Self {
        Self {
            make,
            expected: None,
            timeout: Duration::from_secs(2),
            secrets: Vec::new(),
        }
    }

    /// The status that every run is to have. Defaults to that of the first.
    pub fn expect(mut self, status: Status) -> Self {
        self.expected = Some(status);
        self
    }

    /// How long a run may take. Defaults to 2 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A password, token or the like that the check knows of, and that nobody else may; an empty one is none.
    /// Defaults to none.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Puts the check through the suite.
    ///
    /// # Panics
    ///
    /// If it breaks the contract, with every clause that it breaks.
    pub async fn assert(self) {
        if let Err(error) = self.verify().await {
            panic!("{error}");
        }
    }

    /// Puts the check through the suite.
    ///
    /// # Errors
    ///
    /// [`ContractError`] lists every clause that it breaks.
    pub async fn verify(mut self) -> Result<(), ContractError> {
        guard_panics();
        let mut breaches = Breaches::default();
        let check = (self.make)();
        for _ in 0..RUNS {
            if !self.run(&check, &mut breaches).await {
                break;
            }
        }
        breaches.drop(check);
        let check = (self.make)();
        for polls in 1..=POLLS {
            // Once a run ends within so many polls, or not at all, there is no more to be learnt.
            if self.cancel(&check, polls, &mut breaches).await
                || !self.run(&check, &mut breaches).await
            {
                break;
            }
        }
        breaches.drop(check);
        match breaches.0.is_empty() {
            true => Ok(()),
            false => Err(ContractError {
                breaches: breaches.0,
            }),
        }
    }

    /// A run to its end. Whether it came to one.
    async fn run(&mut self, check: &C, breaches: &mut Breaches) -> bool {
        let mut run = Run::new(check, usize::MAX);
        let ended = timeout(self.timeout, &mut run).await;
        let long = self.timeout / 2;
        if run.longest_poll >= long {
            breaches.add(format!(
                "a single poll took {long:?} or more: code that blocks its thread belongs into `Check::blocking`"
            ));
        }
        if let Some(place) = run.end() {
            breaches.add(format!("it panicked while it was dropped: {place}"));
        }
        match &ended {
            Err(_) => breaches.add(format!("a run did not end within {:?}", self.timeout)),
            Ok(None) => {}
            Ok(Some(Err(place))) => breaches.add(format!("it panicked: {place}")),
            Ok(Some(Ok(outcome))) => self.judge(outcome, breaches),
        }
        ended.is_ok()
    }

    /// A run that is dropped after so many polls. Whether it had ended by then, or did not come to so many.
    async fn cancel(&self, check: &C, polls: usize, breaches: &mut Breaches) -> bool {
        let mut run = Run::new(check, polls);
        let ended = timeout(self.timeout, &mut run).await;
        if let Some(place) = run.end() {
            breaches.add(format!("it panicked while it was dropped: {place}"));
        }
        !matches!(ended, Ok(None))
    }

    fn judge(&mut self, outcome: &Outcome, breaches: &mut Breaches) {
        let expected = *self.expected.get_or_insert(outcome.status());
        if outcome.status() != expected {
            let cause = outcome.cause().map_or("no cause", Cause::redacted);
            let status = outcome.status();
            breaches.add(format!("a run says {status}, not {expected}: {cause}"));
        }
        if let Some(reason) = outcome.reason().filter(|&reason| is_the_engines(reason)) {
            breaches.add(format!("the reason {reason:?} is the engine's to give"));
        }
        let mut names = HashSet::new();
        for measurement in outcome.measurements() {
            let name = &*measurement.name;
            if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
                breaches.add(format!("{name:?} is no name of a measurement"));
            }
            if !names.insert(name) {
                breaches.add(format!("two measurements are named {name:?}"));
            }
            if matches!(measurement.value, Value::Float(value) if !value.is_finite()) {
                breaches.add(format!("the measurement {name:?} is not finite"));
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
            breaches.add("an outcome holds a secret".to_owned());
        }
    }
}

fn is_the_engines(reason: Reason) -> bool {
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

/// What was found, each once.
#[derive(Default)]
struct Breaches(Vec<String>);

impl Breaches {
    /// Drops a check, which is foreign code as well.
    fn drop(&mut self, check: impl HealthCheck) {
        if let Err(panicked) = guard(|| drop(check)) {
            self.add(format!(
                "it panicked while it was dropped: {}",
                place(&panicked)
            ));
        }
    }

    fn add(&mut self, breach: String) {
        if !self.0.contains(&breach) {
            self.0.push(breach);
        }
    }
}

/// One run, which is polled so often at most. It ends with an outcome, with the place of a panic, or with nothing
/// once it was polled often enough.
struct Run<'a> {
    future: Option<Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>>,
    polls_left: usize,
    longest_poll: Duration,
}

impl<'a> Run<'a> {
    fn new(check: &'a impl HealthCheck, polls: usize) -> Self {
        Self {
            future: Some(Box::pin(async {
                check.check().await.unwrap_or_else(Outcome::from)
            })),
            polls_left: polls,
            longest_poll: Duration::ZERO,
        }
    }

    /// Drops the run, and says where it panicked if it does.
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

/// Where it panicked; the payload may hold a secret.
fn place(panicked: &Failure) -> String {
    let place = panicked.cause().map(Cause::redacted);
    place.unwrap_or("at an unknown place").to_owned()
}

/// The clauses of the [`Contract`] that a check breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractError {
    breaches: Vec<String>,
}

impl ContractError {
    /// What was found, each once.
    #[must_use]
    pub fn breaches(&self) -> &[String] {
        &self.breaches
    }
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the check breaks the contract of `HealthCheck`:")?;
        self.breaches
            .iter()
            .try_for_each(|breach| write!(f, "\n  - {breach}"))
    }
}

impl Error for ContractError {}
