//! The results of a check for each fault of its dependency.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tower_health::{
    Cause, Check, ComponentType, Failure, Health, HealthCheck, Outcome, Reason, Status,
    async_trait, outcome::Value,
};

pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// More than a working server takes on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(1_500);
/// Slower responses count as slow. The delay of a response is more than this. Even the delay of two
/// responses is less than the timeout.
pub(crate) const SLOW: Duration = Duration::from_millis(250);
pub(crate) const DELAY: Duration = Duration::from_millis(300);
/// The state of a slow check, which can also occur on a busy machine.
const SLOWLY: &str = "warn: slow";

/// A limit for everything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row of the table in `docs/checks.md`: one check, and its result for each fault.
pub(crate) struct Row {
    check: &'static str,
    health: Health,
    runs: Runs,
    cells: Vec<(&'static str, String, Duration)>,
}

/// The runs of a check: when each began, and its outcome. The outcome of a cancelled run is a
/// timeout.
type Runs = Arc<Mutex<Vec<(Instant, Outcome)>>>;

impl Row {
    /// A service with this check alone. Returns once the check passes.
    pub(crate) async fn of(check: &'static str, code: impl HealthCheck) -> Self {
        let row = Self::starting(check, code);
        row.passes("to begin with").await;
        row
    }

    /// The same for a check that cannot pass yet.
    pub(crate) fn starting(check: &'static str, code: impl HealthCheck) -> Self {
        let runs = Runs::default();
        let seen = Seen {
            code,
            runs: Arc::clone(&runs),
        };
        let health = Health::builder("orders")
            .check(
                Check::new(check, seen)
                    .period(PERIOD)
                    .retry_period(PERIOD / 4)
                    .timeout(TIMEOUT)
                    .warn_above(SLOW),
            )
            .start()
            .unwrap();
        Self {
            check,
            health,
            runs,
            cells: Vec::new(),
        }
    }

    /// Injects a fault, and waits for a run that begins after it and does not pass.
    pub(crate) async fn when(&mut self, fault: &'static str, breaks: impl Future<Output = ()>) {
        let began = Instant::now();
        breaks.await;
        let broken = SystemTime::now();
        let told = loop {
            let took = self.run_since(broken);
            let told = self.now();
            let is_delayed = fault == "slow" && took >= Some(DELAY);
            if took.is_some() && told != "pass" && (told != SLOWLY || is_delayed) {
                break told;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{} is not noticed: {fault}",
                self.check
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        self.cells.push((fault, told, began.elapsed()));
    }

    /// Returns the duration of the last run if it began after this moment.
    fn run_since(&self, moment: SystemTime) -> Option<Duration> {
        let last = self.health.check(self.check).unwrap().last_run;
        let later = last.filter(|run| run.time - run.duration >= moment)?;
        Some(later.duration)
    }

    /// Injects a fault that the check cannot detect. The first run that begins after it passes.
    pub(crate) async fn passes_when(
        &mut self,
        fault: &'static str,
        breaks: impl Future<Output = ()>,
    ) {
        breaks.await;
        let broken = Instant::now();
        let is_after = |run: &(Instant, Outcome)| run.0 > broken;
        while !self.runs.lock().unwrap().iter().any(is_after) {
            assert!(broken.elapsed() < PATIENCE, "{} does not run", self.check);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let runs = self.runs.lock().unwrap();
        let first = runs
            .iter()
            .filter(|run| is_after(run))
            .min_by_key(|run| run.0);
        assert!(first.is_some_and(|(_, outcome)| outcome.status() == Status::Pass));
        drop(runs);
        self.cells.push((fault, "pass".to_owned(), Duration::ZERO));
    }

    /// Repairs the fault. The first run that begins afterwards passes. When that run begins is a
    /// matter of the engine's own tests: within a period.
    pub(crate) async fn over(&mut self, mends: impl Future<Output = ()>) {
        mends.await;
        let mended = Instant::now();
        let fault = self.cells.last().map_or("nothing", |cell| cell.0);
        self.passes(fault).await;
        // A run that began before the repair, and was delayed, may have passed earlier.
        let (_, first) = loop {
            if let Some(first) = self.first_since(mended) {
                break first;
            }
            assert!(mended.elapsed() < PATIENCE, "{} does not run", self.check);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(
            first.status() == Status::Pass,
            "{} does not pass at once after {fault}: {first:?}",
            self.check
        );
    }

    /// Returns the first run that began after this moment, once it has ended.
    fn first_since(&self, mended: Instant) -> Option<(Instant, Outcome)> {
        let runs = self.runs.lock().unwrap();
        let later = runs.iter().filter(|(began, _)| *began > mended);
        later.min_by_key(|(began, _)| *began).cloned()
    }

    /// Adds the cells of another row of the same check, for example without the proxy.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.runs
            .lock()
            .unwrap()
            .append(&mut other.runs.lock().unwrap());
        self.cells.extend(other.cells);
        self
    }

    async fn passes(&self, after: &str) {
        let began = Instant::now();
        while !matches!(&*self.now(), "pass" | SLOWLY) {
            let runs = self.runs.lock().unwrap().len();
            assert!(
                began.elapsed() < PATIENCE,
                "{} after {after}, for long: {}, {runs} runs",
                self.check,
                self.told(),
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the status and the reason.
    pub(crate) fn now(&self) -> String {
        let report = self.health.check(self.check).unwrap();
        match report.reason {
            Some(reason) if report.status != Status::Pass => {
                format!("{}: {reason}", report.status)
            }
            _ => report.status.to_string(),
        }
    }

    /// Returns the same, with the cause.
    pub(crate) fn told(&self) -> String {
        let report = self.health.check(self.check).unwrap();
        let cause = report.cause.as_ref().map_or("", Cause::redacted);
        format!("{}, {cause}", self.now())
    }

    /// Prints the row, and compares it with the documentation. Asserts that no run contains any of
    /// the secrets.
    pub(crate) fn assert_documented(self, secrets: &[&str]) {
        for (_, outcome) in self.runs.lock().unwrap().iter() {
            let told = told_by(outcome);
            let secret = secrets.iter().find(|secret| told.contains(**secret));
            assert_eq!(secret, None, "{} tells it: {told}", self.check);
        }
        let documented = include_str!("../../docs/checks.md");
        let cells = |line: &'static str| line.split('|').map(str::trim);
        let faults: Vec<&str> = documented
            .lines()
            .find(|line| line.starts_with("| check |"))
            .map(|line| cells(line).collect())
            .unwrap();
        let start = format!("| {} |", self.check);
        let row: Vec<&str> = documented
            .lines()
            .find(|line| line.starts_with(&start))
            .map(|line| cells(line).collect())
            .unwrap_or_default();
        let mut printed = format!("| {} |", self.check);
        let mut wrong = Vec::new();
        for (column, fault) in faults
            .iter()
            .enumerate()
            .filter(|(_, f)| !f.is_empty())
            .skip(1)
        {
            let seen = self.cells.iter().find(|cell| cell.0 == *fault);
            let said = row.get(column).copied().unwrap_or_default();
            let (told, took) = match seen {
                Some((_, told, _)) if told == "pass" => (told.as_str(), String::new()),
                Some((_, told, took)) => (told.as_str(), format!(" ({:.1} s)", took.as_secs_f32())),
                None => ("–", String::new()),
            };
            printed += &format!(" {told}{took} |");
            if said.split(" (").next() != Some(told) {
                wrong.push(format!("{fault}: {told}, documented as {said:?}"));
            }
        }
        for (fault, ..) in &self.cells {
            assert!(faults.contains(fault), "no column for {fault:?}");
        }
        println!("{printed}");
        assert!(wrong.is_empty(), "{}: {wrong:#?}\n{printed}", self.check);
    }
}

/// Opens connections until the server refuses them.
pub(crate) async fn until_refused<T>(
    taken: &mut Vec<T>,
    mut connect: impl AsyncFnMut() -> Option<T>,
) {
    // A run of the check may have taken the last connection when the first one was refused.
    let mut refused = 0;
    while refused < 5 {
        if let Some(connection) = connect().await {
            taken.push(connection);
            refused = 0;
        } else {
            refused += 1;
            tokio::time::sleep(PERIOD / 10).await;
        }
    }
}

fn told_by(outcome: &Outcome) -> String {
    let mut told = outcome.cause().map_or("", Cause::redacted).to_owned();
    for measurement in outcome.measurements() {
        told += &measurement.name;
        if let Value::Text(text) = &measurement.value {
            told += text;
        }
    }
    told
}

/// A run that is recorded when it ends, for any reason.
struct Noted<'a> {
    runs: &'a Runs,
    began: Instant,
    outcome: Outcome,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let run = (self.began, self.outcome.clone());
        self.runs.lock().unwrap().push(run);
    }
}

/// A check whose runs are recorded.
struct Seen<C> {
    code: C,
    runs: Runs,
}

#[async_trait]
impl<C: HealthCheck> HealthCheck for Seen<C> {
    async fn check(&self) -> Result<Outcome, Failure> {
        // The outcome of a run that is dropped before its end.
        let mut run = Noted {
            runs: &self.runs,
            began: Instant::now(),
            outcome: Outcome::fail(Reason::TimedOut),
        };
        run.outcome = self.code.check().await.unwrap_or_else(Outcome::from);
        Ok(run.outcome.clone())
    }

    fn component_type(&self) -> ComponentType {
        self.code.component_type()
    }
}
