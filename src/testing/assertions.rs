use std::{fmt::Write, future::Future, panic::Location, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    Health,
    model::{Probe, Status, Verdict},
};

/// Asserts that a verdict has this status now.
///
/// # Panics
///
/// If it has another, with its reason and the checks that do not pass.
#[track_caller]
pub fn assert_verdict(health: &Health, probe: Probe, status: Status) {
    let verdict = health.verdict(probe);
    assert!(verdict.status == status, "{}, not {status}", told(&verdict));
}

/// Asserts that a verdict has this status within `time`, and tells how long that took. On a paused clock no real
/// time passes.
///
/// # Panics
///
/// When polled, if the time is over, or nothing runs checks any more; with the verdict as it is then.
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
            let now = told(&watch.current());
            panic!("at {caller}: {now}, and did not become {status} within {time:?}");
        }
        took
    }
}

/// Asserts that a verdict has this status now, and for `time` from now on. On a paused clock no real time passes.
///
/// As a [watch](crate::Health::watch) it runs nothing; that a check on demand which nobody reads has become too old,
/// it may notice at the end only.
///
/// # Panics
///
/// When polled, at the first change to another status, or if nothing runs checks any more.
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
                    let (now, after) = (told(&watch.current()), began.elapsed());
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

/// A verdict in words.
fn told(verdict: &Verdict) -> String {
    let mut told = format!("{} is {}", verdict.probe, verdict.status);
    let mut tell = |text: std::fmt::Arguments<'_>| {
        // A text takes whatever is written to it.
        _ = told.write_fmt(text);
    };
    if let Some(reason) = verdict.reason {
        tell(format_args!(" ({reason}"));
        for check in verdict.checks.iter() {
            let reason = check.why().unwrap_or("no reason".into());
            tell(format_args!("; {} {}, {reason}", check.name, check.status));
            if let Some(cause) = &check.cause {
                tell(format_args!(": {}", cause.redacted()));
            }
        }
        tell(format_args!(")"));
    }
    told
}
