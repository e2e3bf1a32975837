//! State that the application reports: reporters, heartbeats, startup tasks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tower_health::{
    Check, Health, Outcome, Probe, Reason, Status,
    config::CheckDefaults,
    error::{ChangeError, ConfigError},
    event::Event,
    report::{Stage, VerdictReason},
};

use crate::support::{SECOND, Scripted, after, ask, ms, ready, reason};

const TTL: Duration = Duration::from_secs(30);

fn service() -> Health {
    Health::builder("orders").start().unwrap()
}

fn alive(health: &Health) -> Status {
    health.verdict(Probe::Liveness).status
}

#[tokio::test(start_paused = true)]
async fn a_report_is_visible_immediately_and_valid_for_its_ttl() {
    let health = service();
    let leader = health.reporter("leader", TTL).await.unwrap();
    assert_eq!(reason(&health, "leader"), Some(Reason::Pending));
    assert_eq!(ready(&health), Status::Pass, "it holds nobody up");
    for status in [Status::Pass, Status::Warn, Status::Fail, Status::Pass] {
        leader.report(status);
        // No time passes, and the engine does not run.
        assert_eq!(ready(&health), status);
        assert_eq!(health.check("leader").unwrap().status, status);
        assert_eq!(health.report().status, status);
    }
    after(TTL - ms(10)).await;
    assert_eq!(ready(&health), Status::Pass);
    after(ms(20)).await;
    assert_eq!(ready(&health), Status::Fail);
    assert_eq!(reason(&health, "leader"), Some(Reason::Stale));
    leader.clone().report(Ok::<(), std::io::Error>(()));
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_reporter_without_reports_is_stale_and_does_not_delay_startup() {
    let health = service();
    let reporter = health.reporter("leader", TTL).await.unwrap();
    assert_eq!(health.verdict(Probe::Startup).status, Status::Pass);
    after(TTL + ms(10)).await;
    assert_eq!(reason(&health, "leader"), Some(Reason::Stale));
    assert_eq!(ready(&health), Status::Fail);
    drop(reporter);
    health.remove("leader").await.unwrap();
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn each_report_that_changes_the_state_is_one_event() {
    let never = CheckDefaults::default().flapping(0, 100);
    let health = Health::builder("orders").defaults(never).start().unwrap();
    let mut events = health.subscribe();
    let leader = health.reporter("leader", TTL).non_critical().await.unwrap();
    for status in [
        Status::Pass,
        Status::Pass,
        Status::Fail,
        Status::Fail,
        Status::Pass,
    ] {
        leader.report(status);
    }
    after(ms(1)).await;
    leader.report(Status::Warn);
    let mut told = Vec::new();
    while told.len() < 4 {
        if let Some(Event::Check(transition)) = events.next().await {
            told.push(transition.to);
        }
    }
    use Status::{Fail, Pass, Warn};
    assert_eq!(told, [Pass, Fail, Pass, Warn]);
    let report = health.check("leader").unwrap();
    assert_eq!(
        report.streak, 2,
        "a repeat that nobody recorded does not count"
    );
}

#[tokio::test(start_paused = true)]
async fn after_many_reports_the_last_one_wins() {
    let health = service();
    let leader = health.reporter("leader", TTL).await.unwrap();
    for n in 0..100_000_u64 {
        let outcome = match n % 2 {
            0 => Outcome::pass(),
            _ => Outcome::fail(Reason::Busy),
        };
        leader.report(outcome.measure("n", n, ""));
    }
    let seen = health.check("leader").unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Fail, Some(Reason::Busy))
    );
    after(ms(1)).await;
    let recorded = health.check("leader").unwrap();
    assert_eq!(
        recorded.measurements[0].value,
        tower_health::outcome::Value::Integer(99_999)
    );
    assert!(recorded.streak < 10);
}

#[tokio::test(start_paused = true)]
async fn criticality_decides_how_a_report_affects_readiness() {
    let health = service();
    let spare = health.reporter("spare", TTL).non_critical().await.unwrap();
    let shared = health.reporter("shared", TTL).shared().await.unwrap();
    shared.report(Status::Fail);
    assert_eq!(ready(&health), Status::Fail, "never good");
    shared.report(Status::Pass);
    after(ms(1)).await;
    shared.report(Status::Fail);
    spare.report(Status::Fail);
    assert_eq!(ready(&health), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn invalid_names_and_durations_are_errors_and_change_nothing() {
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .startup_task("warm-cache", || async { Status::Pass })
        .start()
        .unwrap();
    health.wait_until_good(Probe::Readiness).await.unwrap();
    let problems = |error: ChangeError| match error {
        ChangeError::Config(problems) => problems,
        other => panic!("{other}"),
    };
    let taken = health.heartbeat("db", TTL).await.unwrap_err();
    assert!(matches!(
        problems(taken)[..],
        [ConfigError::DuplicateName(_)]
    ));
    let both = health.reporter("No", Duration::ZERO).runbook("nowhere");
    let problems_of_both = problems(both.await.unwrap_err());
    assert_eq!(problems_of_both.len(), 3, "{problems_of_both:?}");
    assert!(problems_of_both[0].to_string().contains("at least 1 ms"));
    let beat = health.heartbeat("worker", TTL).await.unwrap();
    let taken = health.heartbeat("worker", TTL).await.unwrap_err();
    assert!(matches!(
        problems(taken)[..],
        [ConfigError::DuplicateName(_)]
    ));
    for name in ["worker", "warm-cache"] {
        let other = Check::new(name, Scripted::new(Status::Pass));
        let error = problems(health.replace(other).await.unwrap_err());
        assert!(
            matches!(error[..], [ConfigError::NotReplaceable(_)]),
            "{name}"
        );
    }
    // None of that changed the checks that own the names.
    assert_eq!(health.check("db").unwrap().status, Status::Pass);
    assert_eq!(health.check("worker").unwrap().status, Status::Pass);
    assert_eq!(health.run_now("worker").await.unwrap().status, Status::Pass);
    assert_eq!(
        health.run_now("warm-cache").await.unwrap().status,
        Status::Pass
    );
    beat.stop();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ticks_passes_and_one_that_does_not_is_stale() {
    let health = service();
    let beat = health.heartbeat("consumer", TTL).await.unwrap();
    for _ in 0..10 {
        after(TTL - SECOND).await;
        assert_eq!(ready(&health), Status::Pass);
        beat.tick();
    }
    let report = health.check("consumer").unwrap();
    assert!(report.last_run.unwrap().age < SECOND, "ticks count as runs");
    after(TTL + ms(10)).await;
    assert_eq!(reason(&health, "consumer"), Some(Reason::Stale));
    assert_eq!(
        (ready(&health), alive(&health)),
        (Status::Fail, Status::Pass)
    );
    beat.tick();
    assert_eq!(ready(&health), Status::Pass, "at once");
    after(TTL - SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_stale_liveness_heartbeat_fails_liveness_and_a_dependency_does_not() {
    let database = Scripted::new(Status::Fail);
    let health = Health::builder("orders")
        .check(Check::new("db", database))
        .start()
        .unwrap();
    let probes = health.service();
    let beat = health.heartbeat("consumer", TTL).liveness().await.unwrap();
    after(SECOND).await;
    assert_eq!(
        (ready(&health), alive(&health)),
        (Status::Fail, Status::Pass)
    );
    assert_eq!(ask(&probes, "/live").await.status, StatusCode::OK);
    after(TTL).await;
    assert_eq!(alive(&health), Status::Fail);
    let verdict = health.verdict(Probe::Liveness);
    assert_eq!(verdict.reason, Some(VerdictReason::Checks));
    assert_eq!(&*verdict.checks[0].name, "consumer");
    let answer = ask(&probes, "/live").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["output"], "consumer stale");
    assert_eq!(answer.header("retry-after"), None);
    // The heartbeat does not affect readiness.
    let ready = health.verdict(Probe::Readiness);
    let names: Vec<&str> = ready.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["db"]);
    beat.tick();
    assert_eq!(alive(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_heartbeat_has_died_unless_it_was_stopped() {
    let health = service();
    let beat = health.heartbeat("consumer", TTL).liveness().await.unwrap();
    let worker = tokio::spawn(async move {
        beat.tick();
        panic!("password=hunter2");
    });
    assert!(worker.await.unwrap_err().is_panic());
    assert_eq!(alive(&health), Status::Fail);
    assert_eq!(reason(&health, "consumer"), Some(Reason::Died));
    // `/health` has the shortest delay of the failing checks. `/live` has none, because a retry
    // does not help a process that must be restarted.
    for (path, retry) in [("/health", Some("2")), ("/live", None)] {
        let answer = ask(&health.service(), path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), retry, "{path}");
    }
    let cause = health.check("consumer").unwrap().cause.unwrap();
    assert_eq!(cause.redacted(), "the worker panicked");
    after(ms(1)).await;
    // Another worker takes its place.
    let beat = health.heartbeat("consumer", TTL).liveness().await.unwrap();
    assert_eq!(alive(&health), Status::Pass);
    // The worker is cancelled.
    let worker = tokio::spawn(async move {
        beat.tick();
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    worker.abort();
    _ = worker.await;
    assert_eq!(alive(&health), Status::Fail);
    let cause = health.check("consumer").unwrap().cause.unwrap();
    assert_eq!(cause.redacted(), "the worker ended without being stopped");
    let beat = health.heartbeat("consumer", TTL).liveness().await.unwrap();
    beat.stop();
    after(ms(1)).await;
    assert_eq!(alive(&health), Status::Pass);
    assert!(
        health.check("consumer").is_err(),
        "it is not expected any more"
    );
    // A heartbeat that is dropped before it is registered has no effect.
    drop(health.heartbeat("never", TTL).into_future());
    after(TTL * 2).await;
    assert!(health.check("never").is_err());
    assert_eq!(alive(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn workers_that_end_during_a_drain_do_not_fail_liveness() {
    let health = service();
    let ends = health.heartbeat("ends", TTL).liveness().await.unwrap();
    let _silent = health.heartbeat("silent", SECOND).liveness().await.unwrap();
    let drained = health.drain();
    drop(ends);
    after(4 * SECOND).await;
    assert_eq!(alive(&health), Status::Pass);
    assert!(health.verdict(Probe::Liveness).checks.is_empty());
    drained.await;
    assert_eq!(alive(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn reporters_and_heartbeats_do_not_keep_the_checks_running() {
    let health = service();
    let beat = health.heartbeat("consumer", TTL).await.unwrap();
    let reporter = health.reporter("leader", TTL).await.unwrap();
    let mut events = health.subscribe();
    drop(health);
    while events.next().await.is_some() {}
    beat.tick();
    reporter.report(Status::Pass);
    drop(beat);
}

#[tokio::test(start_paused = true)]
async fn a_failed_startup_task_is_retried_until_it_is_done() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let health = Health::builder("orders")
        .startup_task("warm-cache", move || {
            let attempt = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match attempt {
                    0..4 => Err(std::io::Error::other("no password=hunter2")),
                    4 => panic!("the fifth"),
                    _ => Ok(()),
                }
            }
        })
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .start()
        .unwrap();
    let probes = health.service();
    after(ms(500)).await;
    assert_eq!(health.stage(), Stage::Starting);
    let answer = ask(&probes, "/startup").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["output"], "starting: warm-cache failed");
    assert!(!answer.body.contains("hunter2"));
    for (path, code) in [("/ready", 503), ("/live", 200), ("/health/warm-cache", 503)] {
        assert_eq!(ask(&probes, path).await.status.as_u16(), code, "{path}");
    }
    let before = tokio::time::Instant::now();
    health.wait_until_good(Probe::Startup).await.unwrap();
    // The delays are 1 s, 1.5 s, 2.25 s, 3.4 s and 5.1 s, each with jitter. The first of them has
    // already begun.
    let took = before.elapsed().as_secs_f64() + 0.5;
    assert!((11.5..15.0).contains(&took), "{took}");
    assert_eq!(attempts.load(Ordering::Relaxed), 6);
    assert_eq!(health.stage(), Stage::Ready);
    assert_eq!(health.check("warm-cache").unwrap().status, Status::Pass);
    // It is done permanently.
    after(24 * 3600 * SECOND).await;
    assert_eq!(attempts.load(Ordering::Relaxed), 6);
    assert_eq!(health.check("warm-cache").unwrap().status, Status::Pass);
    assert_eq!(
        health.run_now("warm-cache").await.unwrap().status,
        Status::Pass
    );
    assert_eq!(attempts.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn startup_tasks_run_concurrently_and_delay_no_check() {
    let slow = || async {
        tokio::time::sleep(600 * SECOND).await;
        Status::Pass
    };
    let database = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .concurrency(1)
        .startup_task("migrate", slow)
        .startup_task("warm-cache", slow)
        .check(Check::new("db", database.clone()))
        .start()
        .unwrap();
    after(300 * SECOND).await;
    assert!(database.runs() > 20);
    let startup = health.verdict(Probe::Startup);
    assert_eq!((startup.status, startup.checks.len()), (Status::Fail, 2));
    assert_eq!(health.stage(), Stage::Starting);
    after(301 * SECOND).await;
    assert_eq!(health.stage(), Stage::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_failing_dependency_does_not_delay_startup_and_a_task_blocks_readiness() {
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(Status::Fail)))
        .startup_task("warm-cache", || async { Status::Pass })
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(health.verdict(Probe::Startup).status, Status::Pass);
    assert_eq!(health.stage(), Stage::NotReady);
    // A task that is no longer needed can be removed.
    let health = Health::builder("orders")
        .startup_task("never", std::future::pending::<Status>)
        .start()
        .unwrap();
    after(3600 * SECOND).await;
    assert_eq!(health.stage(), Stage::Starting);
    health.remove("never").await.unwrap();
    assert_eq!(health.stage(), Stage::Ready);
}

#[tokio::test(start_paused = true)]
async fn verbose_liveness_lists_the_liveness_heartbeats() {
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .start()
        .unwrap();
    let one = health.heartbeat("one", TTL).liveness().await.unwrap();
    let _two = health.heartbeat("two", TTL).liveness().await.unwrap();
    health.wait_until_good(Probe::Readiness).await.unwrap();
    let kubernetes = tower_health::Endpoints::kubernetes();
    let probes = health.service().endpoints(kubernetes.build().unwrap());
    let body = async |path| ask(&probes, path).await.body;
    assert_eq!(body("/livez").await, "ok");
    let verbose = "[+]one ok\n[+]two ok\nlivez check passed\n";
    assert_eq!(body("/livez?verbose").await, verbose);
    assert_eq!(
        body("/readyz?verbose").await,
        "[+]db ok\nreadyz check passed\n"
    );
    drop(one);
    let failed = "[-]one failed: reason withheld\n[+]two ok\nlivez check failed\n";
    assert_eq!(body("/livez").await, failed);
    let excluded = body("/livez?exclude=one&verbose").await;
    assert_eq!(
        excluded,
        "[+]two ok\n[+]one excluded: ok\nlivez check passed\n"
    );
    let not_there = body("/livez?exclude=db&exclude=one").await;
    assert_eq!(not_there, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_config_can_tune_a_startup_task_but_not_make_it_on_demand() {
    let config = serde_json::from_str(r#"{"checks": {"migrate": {"on_demand": "10s"}}}"#).unwrap();
    let builder =
        || Health::builder("orders").startup_task("migrate", std::future::pending::<Status>);
    let error = builder().config(config).start().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`on_demand` is set on a start-up task"),
        "{error}"
    );
    let config = serde_json::from_str(r#"{"checks": {"migrate": {"timeout": "1s"}}}"#).unwrap();
    let health = builder().config(config).start().unwrap();
    after(ms(1_010)).await;
    assert_eq!(reason(&health, "migrate"), Some(Reason::TimedOut));
    let config = serde_json::from_str(r#"{"checks": {"migrate": {"enabled": false}}}"#).unwrap();
    let health = builder().config(config).start().unwrap();
    assert_eq!(health.stage(), Stage::Ready);
}

#[tokio::test(start_paused = true)]
async fn stopping_a_heartbeat_removes_no_other_check() {
    let health = service();
    let first = health.heartbeat("consumer", TTL).await.unwrap();
    health.remove("consumer").await.unwrap();
    let second = health.heartbeat("consumer", TTL).await.unwrap();
    first.stop();
    after(ms(1)).await;
    assert_eq!(health.check("consumer").unwrap().status, Status::Pass);
    drop(second);
    assert_eq!(reason(&health, "consumer"), Some(Reason::Died));
}

#[tokio::test(start_paused = true)]
async fn a_died_worker_stays_until_another_takes_its_place() {
    let health = service();
    let heartbeat = || health.heartbeat("consumer", TTL).liveness();
    drop(heartbeat().await.unwrap());
    after(ms(1)).await;
    drop(heartbeat().into_future());
    after(ms(1)).await;
    assert_eq!(alive(&health), Status::Fail);
    assert_eq!(reason(&health, "consumer"), Some(Reason::Died));
    // The state is permanent. It does not become stale, because no further report is expected.
    after(TTL * 3).await;
    assert_eq!(reason(&health, "consumer"), Some(Reason::Died));
    assert!(health.check("consumer").unwrap().cause.is_some());
    let _next = heartbeat().await.unwrap();
    assert_eq!(alive(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_measurement_may_be_nan() {
    let health = service();
    let mut events = health.subscribe();
    let reporter = health.reporter("feed", TTL).await.unwrap();
    reporter.report(Outcome::fail(Reason::Busy).measure("lag", f64::NAN, "s"));
    for _ in 0..4 {
        after(ms(10)).await;
        reporter.report(Status::Pass);
    }
    after(ms(10)).await;
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(ms(1), events.next()).await {
        if let Event::Check(transition) = event {
            told.push(transition.to);
        }
    }
    assert_eq!(told, [Status::Fail, Status::Pass], "each once");
}

#[tokio::test(start_paused = true)]
async fn a_failing_report_does_not_change_the_last_success() {
    let health = service();
    let reporter = health.reporter("feed", TTL).await.unwrap();
    reporter.report(Status::Pass);
    after(10 * SECOND).await;
    let good = health.check("feed").unwrap().last_success;
    reporter.report(Status::Fail);
    for _ in 0..3 {
        let failing = health.check("feed").unwrap();
        assert_eq!((failing.status, failing.last_success), (Status::Fail, good));
        after(SECOND).await;
    }
}

/// A reader that has seen a report never sees the previous one again, whatever the engine does in
/// the meantime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visible_report_is_never_reverted() {
    let health = service();
    let reporter = health.reporter("feed", 3600 * SECOND).await.unwrap();
    let rounds = tokio::task::spawn_blocking(move || {
        for round in 0..5_000 {
            reporter.report(Status::Pass);
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            reporter.report(Status::Fail);
            for _ in 0..100 {
                let status = health.verdict(Probe::Readiness).status;
                assert_eq!(status, Status::Fail, "round {round}");
            }
        }
    });
    rounds.await.unwrap();
}
