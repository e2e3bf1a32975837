//! Assertions on the verdicts of a service. Their messages contain what a failed test needs: the
//! verdict, its reason, the checks that do not pass, and the line of the caller.

use std::{fmt::Write, future::Future, panic::Location, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    Health,
    model::{Probe, Status, Verdict},
};

/// Asserts that a verdict currently has this status.
///
/// ```
/// use tower_health::{Health, Probe, Status, testing::assert_verdict};
///
/// assert_verdict(&Health::fixed(Status::Warn), Probe::Readiness, Status::Warn);
/// ```
///
/// # Panics
///
/// Panics if the verdict has another status. The message contains the reason and the checks that do
/// not pass.
///
/// ```should_panic
/// use tower_health::{Health, Probe, Status, testing::assert_verdict};
///
/// // The message is "readiness is fail (checks; fixed fail, failed), not pass".
/// assert_verdict(&Health::fixed(Status::Fail), Probe::Readiness, Status::Pass);
/// ```
#[track_caller]
pub fn assert_verdict(health: &Health, probe: Probe, status: Status) {
    let verdict = health.verdict(probe);
    assert!(
        verdict.status == status,
        "{}, not {status}",
        describe(&verdict)
    );
}

/// Asserts that a verdict has this status within `time`. The future resolves as soon as it does,
/// and returns how long that took. On a paused clock no real time passes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_health::{Check, Health, Probe, Status, testing::assert_becomes};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// let limit = Duration::from_secs(1);
/// let took = assert_becomes(&health, Probe::Readiness, Status::Pass, limit).await;
/// assert!(took <= limit);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// The future panics if the verdict does not have the status when `time` is over, or when no checks
/// run any more. The message contains the verdict at that moment.
#[track_caller]
pub fn assert_becomes(
    health: &Health,
    probe: Probe,
    status: Status,
    time: Duration,
) -> impl Future<Output = Duration> + Send + use<> {
    let (caller, wait) = (Location::caller(), health.wait_until(probe, status));
    let watch = health.watch(probe);
    async move {
        let began = Instant::now();
        let ended = timeout(time, wait).await;
        let took = began.elapsed();
        if !matches!(ended, Ok(Ok(_))) && watch.current().status != status {
            let now = describe(&watch.current());
            panic!("at {caller}: {now}, and did not become {status} within {time:?}");
        }
        took
    }
}

/// Asserts that a verdict has this status now and for `time` from now on. The future resolves when
/// `time` is over. On a paused clock no real time passes.
///
/// Like a [watch](crate::Health::watch), it runs no check. If a check on demand is not read, its
/// result may become too old. The future may notice that only when `time` is over.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_health::{Check, Health, Probe, Status, testing::assert_stays};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// health.wait_until(Probe::Readiness, Status::Pass).await?;
/// assert_stays(&health, Probe::Readiness, Status::Pass, Duration::from_secs(60)).await;
/// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// The future panics at the first change to another status, or if no checks run any more.
#[track_caller]
pub fn assert_stays(
    health: &Health,
    probe: Probe,
    status: Status,
    time: Duration,
) -> impl Future<Output = ()> + Send + use<> {
    let (caller, mut watch) = (Location::caller(), health.watch(probe));
    async move {
        let began = Instant::now();
        let mut verdict = Ok(watch.current());
        loop {
            match verdict {
                Ok(verdict) if verdict.status == status => {}
                _ => {
                    let (now, after) = (describe(&watch.current()), began.elapsed());
                    panic!(
                        "at {caller}: {now}, and did not stay {status}: after {after:?} of {time:?}"
                    );
                }
            }
            let left = time.saturating_sub(began.elapsed());
            verdict = match timeout(left, watch.changed()).await {
                Ok(changed) => changed,
                Err(_) if watch.current().status == status => return,
                Err(_) => Ok(watch.current()),
            };
        }
    }
}

/// Describes a verdict in one line, with the private causes, because a test may show them.
fn describe(verdict: &Verdict) -> String {
    let mut text = format!("{} is {}", verdict.probe, verdict.status);
    let mut push = |part: std::fmt::Arguments<'_>| {
        // Writing to a `String` cannot fail.
        _ = text.write_fmt(part);
    };
    if let Some(reason) = verdict.reason {
        push(format_args!(" ({reason}"));
        for check in verdict.checks.iter() {
            let reason = check.why().unwrap_or("no reason".into());
            push(format_args!("; {} {}, {reason}", check.name, check.status));
            if let Some(cause) = &check.cause {
                push(format_args!(": {}", cause.redacted()));
            }
        }
        push(format_args!(")"));
    }
    text
}
