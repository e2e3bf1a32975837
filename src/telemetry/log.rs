//! One event for each transition.

use std::time::Duration;

use super::shielded;
use crate::model::{
    Cause, CheckTransition, Event, Name, Probe, Reason, Status, VerdictReason, VerdictTransition,
};

/// What filters know all of it by.
const TARGET: &str = "tower_health";

/// Logs a transition. Of the verdicts, that of health is the worst of two others, and says nothing new.
pub(crate) fn transition(service: &str, event: &Event) {
    match event {
        Event::Check(transition) => shielded(|| check(service, transition)),
        Event::Verdict(transition) if transition.probe != Probe::Health => {
            shielded(|| verdict(service, transition));
        }
        _ => {}
    }
}

fn check(service: &str, transition: &CheckTransition) {
    macro_rules! log {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                target: TARGET,
                service,
                check = transition.name.as_str(),
                from = transition.from.map(Status::as_str),
                to = transition.to.as_str(),
                reason = transition.reason.map(Reason::as_str),
                blocked_by = transition.blocked_by.as_ref().map(Name::as_str),
                cause = transition.cause.as_ref().map(Cause::redacted),
                lasted_seconds = transition.lasted.as_secs_f64(),
                $message
            )
        };
    }
    match transition.to {
        Status::Pass if transition.from.is_none() => log!(debug, "health check passes"),
        Status::Pass => log!(info, "health check passes"),
        Status::Warn => log!(warn, "health check warns"),
        Status::Fail => log!(warn, "health check fails"),
    }
}

fn verdict(service: &str, transition: &VerdictTransition) {
    macro_rules! log {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                target: TARGET,
                service,
                probe = transition.probe.as_str(),
                from = transition.from.as_str(),
                to = transition.to.as_str(),
                reason = transition.reason.map(VerdictReason::as_str),
                cause = transition.cause.as_ref().map(Cause::redacted),
                lasted_seconds = transition.lasted.as_secs_f64(),
                $message
            )
        };
    }
    match transition.to {
        Status::Pass => log!(info, "health verdict is pass"),
        Status::Warn => log!(warn, "health verdict is warn"),
        Status::Fail => log!(error, "health verdict is fail"),
    }
}

/// Logs that the instance leaves.
pub(crate) fn drain_began(service: &str, cause: &'static str, in_flight: usize) {
    shielded(|| {
        tracing::info!(target: TARGET, service, cause, in_flight, "drain begins");
    });
}

/// Logs that servers are to stop accepting, though requests are in flight.
pub(crate) fn drain_closes(service: &str, in_flight: usize, left: Duration) {
    let seconds_left = left.as_secs_f64();
    shielded(|| {
        tracing::info!(
            target: TARGET,
            service,
            in_flight,
            seconds_left,
            "servers close, and finish what is in flight"
        );
    });
}

/// Logs that nothing is in flight any more, or that what is will be cut.
pub(crate) fn drain_ended(service: &str, in_flight: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    shielded(|| match in_flight {
        0 => {
            tracing::info!(target: TARGET, service, seconds, "drain ends, and nothing is in flight")
        }
        _ => tracing::warn!(
            target: TARGET,
            service,
            seconds,
            in_flight,
            "drain ends, and requests in flight are cut"
        ),
    });
}

/// Logs that a runtime that is watched does not poll, or has ended.
pub(crate) fn runtime_fails(service: &str, runtime: &str, cause: Option<String>) {
    shielded(
        || tracing::error!(target: TARGET, service, runtime, cause, "runtime stalls, or has ended"),
    );
}

/// Logs that nobody watches whether runtimes poll.
pub(crate) fn no_watchdog(service: &str) {
    shielded(|| {
        tracing::error!(
            target: TARGET,
            service,
            "runtimes are not watched, for no thread could be started"
        );
    });
}

/// Logs that systemd is not told.
#[cfg(all(unix, feature = "systemd"))]
pub(crate) fn systemd_untold(service: &str, error: std::io::ErrorKind) {
    shielded(|| {
        let error = error.to_string();
        tracing::error!(target: TARGET, service, error, "systemd cannot be told");
    });
}

/// Logs that a drain may take longer than the orchestrator waits.
pub(crate) fn long_drain(service: &str, longest: Duration) {
    let seconds = longest.as_secs_f64();
    shielded(|| {
        tracing::warn!(
            target: TARGET,
            service,
            seconds,
            "a drain may take as long as Kubernetes waits before it kills, which is 30 s: shorten `drain_delay`, \
             `drain_finish` or `drain_close`, or lengthen `terminationGracePeriodSeconds`",
        );
    });
}

/// Logs that a check takes this instance out when what it stands behind fails, though that would not.
pub(crate) fn harsh_echo(service: &str, check: &Name, root: &Name) {
    let (check, root) = (check.as_str(), root.as_str());
    shielded(|| {
        tracing::warn!(
            target: TARGET,
            service,
            check,
            root,
            "a critical check depends on one that is shared: when that fails, every replica is not ready at once; make it \
             `.shared()`, too",
        );
    });
}

/// Logs that checks wait longer for room than they should.
pub(crate) fn crowded(service: &str, check: &Name, waiting: usize) {
    shielded(|| {
        tracing::warn!(
            target: TARGET,
            service,
            check = check.as_str(),
            waiting,
            "health checks wait longer than their period for room to run: raise the concurrency, lengthen their \
             periods or shorten their timeouts",
        );
    });
}

/// Logs that nothing runs checks any more, though somebody still answers for them.
pub(crate) fn engine_stopped(service: &str) {
    shielded(|| {
        tracing::warn!(
            target: TARGET,
            service,
            "health checks have stopped, for their runtime has ended"
        );
    });
}

/// Logs which checks a service is started without.
pub(crate) fn disabled(checks: &[String]) {
    shielded(|| {
        tracing::warn!(
            target: TARGET,
            ?checks,
            "health checks are disabled by configuration"
        );
    });
}
