//! Log events: one for each transition, for each phase of a drain, and for each problem that an
//! operator has to solve.
//!
//! The callers decide when something is logged. Each function here decides the level, the fields
//! and the message, and catches the panic of a subscriber. A field that is `None` is omitted. The
//! causes of checks and of a maintenance are redacted.

use std::time::Duration;

use super::catch_panic;
use crate::model::{
    Cause, CheckEffect, CheckFlapping, CheckReasonChange, CheckReport, CheckSettings,
    CheckTransition, Criticality, Event, FlappingPhase, Name, Probe, Reason, Status, Timestamp,
    VerdictReason, VerdictReasonChange, VerdictTransition,
};

/// The target of all events, for filters.
const TARGET: &str = "tower_health";

/// Logs a transition, a change of a reason, or the flapping of a check. The verdict of health is not
/// logged, because it is the worst of two other verdicts and adds no information.
pub(crate) fn transition(service: &str, event: &Event) {
    match event {
        Event::Check(transition) => catch_panic(|| check(service, transition)),
        Event::Verdict(transition) if transition.probe != Probe::Health => {
            catch_panic(|| verdict(service, transition));
        }
        Event::CheckReason(change) => catch_panic(|| check_reason(service, change)),
        Event::Flapping(flapping) => catch_panic(|| check_flapping(service, flapping)),
        Event::VerdictReason(change) if change.probe != Probe::Health => {
            catch_panic(|| verdict_reason(service, change));
        }
        _ => {}
    }
}

/// Rounds a duration: to milliseconds if it is shorter than 1 s, else to hundredths of a second.
fn rounded(duration: Duration) -> f64 {
    let millis = duration.as_millis() as f64;
    if millis < 1e3 {
        millis / 1e3
    } else {
        (millis / 10.0).round() / 1e2
    }
}

/// The effect of a check, unless it has none.
fn effect(effect: CheckEffect) -> Option<&'static str> {
    (effect != CheckEffect::None).then_some(effect.as_str())
}

/// The checks that decide a verdict, each with its reason and criticality, and the number of the
/// others. `None` if there are none.
fn checks(checks: &[CheckReport], more: usize) -> Option<String> {
    let described = checks.iter().map(|check| {
        let (name, criticality) = (&check.name, check.criticality.as_str());
        match check.why() {
            Some(why) => format!("{name} {why} ({criticality})"),
            None => format!("{name} ({criticality})"),
        }
    });
    let more = (more > 0).then(|| format!("{more} more"));
    let described: Vec<String> = described.chain(more).collect();
    (!described.is_empty()).then(|| described.join(", "))
}

/// The reason of a verdict, unless it is its checks, which are named instead.
fn reason(reason: Option<VerdictReason>) -> Option<&'static str> {
    let reason = reason.filter(|&reason| reason != VerdictReason::Checks);
    reason.map(VerdictReason::as_str)
}

/// Whether somebody wants the verdict to fail, or it will not fail for long.
fn is_planned(reason: Option<VerdictReason>) -> bool {
    matches!(
        reason,
        Some(VerdictReason::Draining | VerdictReason::Maintenance | VerdictReason::Returning)
    )
}

/// Logs that a check still fails, for another reason.
fn check_reason(service: &str, change: &CheckReasonChange) {
    tracing::warn!(
        target: TARGET,
        service,
        check = change.name.as_str(),
        from_reason = change.from.map(Reason::as_str),
        reason = change.to.map(Reason::as_str),
        blocked_by = change.blocked_by.as_ref().map(Name::as_str),
        cause = change.cause.as_ref().map(Cause::redacted),
        criticality = change.criticality.as_str(),
        effect = effect(change.effect),
        runbook = change.runbook.as_deref(),
        since = %Timestamp(change.since),
        failing_seconds = rounded(change.failing),
        "health check still fails"
    );
}

/// Logs that a check begins to flap, still flaps, or no longer does.
fn check_flapping(service: &str, flapping: &CheckFlapping) {
    macro_rules! log {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                target: TARGET,
                service,
                check = flapping.name.as_str(),
                changes = flapping.changes,
                within_seconds = rounded(flapping.within),
                status = flapping.status.as_str(),
                reason = flapping.reason.map(Reason::as_str),
                blocked_by = flapping.blocked_by.as_ref().map(Name::as_str),
                cause = flapping.cause.as_ref().map(Cause::redacted),
                criticality = flapping.criticality.as_str(),
                effect = effect(flapping.effect),
                runbook = flapping.runbook.as_deref(),
                fail_after = flapping.fail_after,
                pass_after = flapping.pass_after,
                since = %Timestamp(flapping.since),
                $message
            )
        };
    }
    match (flapping.phase, flapping.status) {
        (FlappingPhase::Began, _) => log!(
            warn,
            "health check is flapping: its changes are not logged until it no longer does; probers see them unless \
             `fail_after` or `pass_after` is raised"
        ),
        (FlappingPhase::Continues, _) => log!(warn, "health check is still flapping"),
        (FlappingPhase::Ended, Status::Pass) => log!(info, "health check is no longer flapping"),
        (FlappingPhase::Ended, _) => log!(warn, "health check is no longer flapping"),
    }
}

/// Logs the settings of a check that are in effect at the start.
pub(crate) fn registered(
    service: &str,
    check: &Name,
    criticality: Criticality,
    settings: &CheckSettings,
) {
    let seconds = |duration: Option<Duration>| duration.map(rounded);
    catch_panic(|| {
        tracing::debug!(
            target: TARGET,
            service,
            check = check.as_str(),
            criticality = criticality.as_str(),
            period_seconds = seconds(settings.period),
            on_demand_seconds = seconds(settings.on_demand),
            retry_period_seconds = seconds(settings.retry_period),
            timeout_seconds = seconds(settings.timeout),
            max_age_seconds = seconds(settings.max_age),
            fail_after = settings.fail_after,
            pass_after = settings.pass_after,
            flapping_low = settings.flapping_low,
            flapping_high = settings.flapping_high,
            "health check is registered"
        );
    });
}

/// Logs that a verdict still is no pass, for another reason.
fn verdict_reason(service: &str, change: &VerdictReasonChange) {
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                target: TARGET,
                service,
                probe = change.probe.as_str(),
                status = change.status.as_str(),
                from_reason = change.from.map(VerdictReason::as_str),
                reason = reason(change.to),
                checks = checks(&change.checks, change.more),
                cause = change.cause.as_ref().map(Cause::redacted),
                since = %Timestamp(change.since),
                lasted_seconds = rounded(change.lasted),
                "health verdict has another reason"
            )
        };
    }
    match change.status {
        Status::Fail if !is_planned(change.to) => log!(error),
        Status::Fail => log!(info),
        Status::Warn | Status::Pass => log!(warn),
    }
}

/// Logs a transition of a check. A failing check is a warning, and not an error, because the
/// verdict decides what it means for the service.
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
                criticality = transition.criticality.as_str(),
                effect = effect(transition.effect),
                runbook = transition.runbook.as_deref(),
                lasted_seconds = rounded(transition.lasted),
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

/// Logs a transition of a verdict. A failing verdict is an error, because the instance loses its
/// traffic or is restarted. A drain or a maintenance is not, because somebody wants it.
fn verdict(service: &str, transition: &VerdictTransition) {
    macro_rules! log {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                target: TARGET,
                service,
                probe = transition.probe.as_str(),
                from = transition.from.as_str(),
                to = transition.to.as_str(),
                reason = reason(transition.reason),
                checks = checks(&transition.checks, transition.more),
                cause = transition.cause.as_ref().map(Cause::redacted),
                since = %Timestamp(transition.at),
                lasted_seconds = rounded(transition.lasted),
                $message
            )
        };
    }
    match transition.to {
        Status::Pass => log!(info, "health verdict is pass"),
        Status::Warn => log!(warn, "health verdict is warn"),
        Status::Fail if is_planned(transition.reason) => log!(info, "health verdict is fail"),
        Status::Fail => log!(error, "health verdict is fail"),
    }
}

/// Logs that the instance begins to drain, what caused it, and how many requests are in flight.
pub(crate) fn drain_began(service: &str, cause: &'static str, in_flight: usize) {
    catch_panic(|| {
        tracing::info!(target: TARGET, service, cause, in_flight, "drain begins");
    });
}

/// Logs that servers are to stop accepting although requests are in flight. `left` is the time that
/// they have, and `names` what is in flight, as far as it has names. A drain with nothing in flight
/// does not log this.
pub(crate) fn drain_closes(service: &str, in_flight: usize, names: Option<String>, left: Duration) {
    let seconds_left = rounded(left);
    catch_panic(|| {
        tracing::info!(
            target: TARGET,
            service,
            in_flight,
            names,
            seconds_left,
            "servers stop accepting and finish the requests in flight"
        );
    });
}

/// Logs that nothing is in flight any more, or that the requests that are still in flight will be
/// cut, with their names as far as they have some. The latter is a warning, because clients see it.
pub(crate) fn drain_ended(service: &str, in_flight: usize, names: Option<String>, took: Duration) {
    let seconds = rounded(took);
    catch_panic(|| match in_flight {
        0 => {
            tracing::info!(target: TARGET, service, seconds, "drain ended with nothing in flight")
        }
        _ => tracing::warn!(
            target: TARGET,
            service,
            seconds,
            in_flight,
            names,
            "drain ended and requests in flight are cut"
        ),
    });
}

/// Logs that a watched runtime does not poll, or has ended. The watchdog calls this from its own
/// thread, because the runtime that it reports may be the one that logs.
pub(crate) fn runtime_fails(service: &str, runtime: &str, cause: Option<String>) {
    catch_panic(
        || tracing::error!(target: TARGET, service, runtime, cause, "runtime is stalled or has ended"),
    );
}

/// Logs that runtimes are not watched, because the watchdog could not start.
pub(crate) fn no_watchdog(service: &str) {
    catch_panic(|| {
        tracing::error!(
            target: TARGET,
            service,
            "runtimes are not watched because no thread could be started"
        );
    });
}

/// Logs that systemd cannot be notified.
#[cfg(all(unix, feature = "systemd"))]
pub(crate) fn systemd_notify_failed(service: &str, error: std::io::ErrorKind) {
    catch_panic(|| {
        let error = error.to_string();
        tracing::error!(target: TARGET, service, error, "systemd cannot be notified");
    });
}

/// Logs that a drain may take as long as the grace period of the orchestrator, or longer.
pub(crate) fn drain_exceeds_grace_period(service: &str, longest: Duration) {
    let seconds = rounded(longest);
    catch_panic(|| {
        tracing::warn!(
            target: TARGET,
            service,
            seconds,
            "a drain may take as long as the default termination grace period of Kubernetes, 30 s, or longer: shorten `drain_delay`, \
             `drain_finish` or `drain_close`, or lengthen `terminationGracePeriodSeconds`",
        );
    });
}

/// Logs that a critical check depends on a shared one, once at the start. If the shared check
/// fails, the dependent check takes this instance out of rotation, which the shared check alone
/// would not do.
pub(crate) fn critical_depends_on_shared(service: &str, check: &Name, root: &Name) {
    let (check, root) = (check.as_str(), root.as_str());
    catch_panic(|| {
        tracing::warn!(
            target: TARGET,
            service,
            check,
            root,
            "a critical check depends on a shared check: if that fails, no replica is ready; make the critical check \
             `.shared()`, too",
        );
    });
}

/// Logs that checks are queued for a permit for longer than their period, once until the queue is
/// empty again. `check` is the one that has been queued for the longest time, and `waiting` the
/// length of the queue.
pub(crate) fn queue_saturated(service: &str, check: &Name, waiting: usize) {
    catch_panic(|| {
        tracing::warn!(
            target: TARGET,
            service,
            check = check.as_str(),
            waiting,
            "health checks are queued for longer than their period: raise the concurrency, lengthen their \
             periods or shorten their timeouts",
        );
    });
}

/// Logs that no checks run any more although their verdicts are still served. The end of an
/// instance that is draining is expected and is not logged.
pub(crate) fn engine_stopped(service: &str) {
    catch_panic(|| {
        tracing::warn!(
            target: TARGET,
            service,
            "health checks have stopped because their runtime has ended"
        );
    });
}

/// Logs which checks the configuration disables, because a disabled check reports no failure.
pub(crate) fn disabled(checks: &[String]) {
    catch_panic(|| {
        tracing::warn!(
            target: TARGET,
            ?checks,
            "health checks are disabled by configuration"
        );
    });
}
