//! One event for each transition.

use std::collections::BTreeSet;

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
pub(crate) fn disabled(checks: &BTreeSet<String>) {
    shielded(|| {
        tracing::warn!(
            target: TARGET,
            ?checks,
            "health checks are disabled by configuration"
        );
    });
}
