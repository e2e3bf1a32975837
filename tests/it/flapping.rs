//! Checks that flap, as readers, subscribers and operators see them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_health::{
    Check, Health, Outcome, Reason, Status,
    event::{Event, FlappingPhase, Subscription},
};
use tracing::Level;

use crate::{
    support::{SECOND, Scripted, after, ask, ms},
    telemetry::{Log, builder, install, timeless},
};

/// Returns a check that calls `outcome` with the number of the run.
fn numbered(
    name: impl Into<String>,
    outcome: impl Fn(u64) -> Outcome + Send + Sync + 'static,
) -> Check {
    let runs = AtomicU64::new(0);
    Check::new(name, move || {
        let outcome = outcome(runs.fetch_add(1, Ordering::Relaxed));
        async move { outcome }
    })
}

/// The same, every second.
fn every_second(
    name: impl Into<String>,
    outcome: impl Fn(u64) -> Outcome + Send + Sync + 'static,
) -> Check {
    numbered(name, outcome).period(SECOND).retry_period(SECOND)
}

fn alternating(run: u64) -> Outcome {
    match run % 2 {
        0 => Outcome::pass(),
        _ => Outcome::fail(Reason::TimedOut),
    }
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_check_that_alternates_for_ten_minutes_has_four_lines_and_the_verdict_stays_quiet() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let metrics = install();
    let health = builder()
        .check(every_second("db", alternating).runbook("https://runbooks.example/db"))
        .start()
        .unwrap();
    let mut events = health.subscribe();
    after(TEN_MINUTES).await;
    let lines = timeless(&log.lines());
    assert_eq!(
        lines,
        [
            r#"DEBUG tower_health: health check passes service="orders" check="db" to="pass" criticality="critical" runbook="https://runbooks.example/db""#,
            r#"INFO tower_health: health verdict is pass service="orders" probe="startup" from="fail" to="pass""#,
            r#"INFO tower_health: health verdict is pass service="orders" probe="readiness" from="fail" to="pass""#,
            r#"WARN tower_health: health check fails service="orders" check="db" from="pass" to="fail" reason="timed out" criticality="critical" effect="not ready" runbook="https://runbooks.example/db""#,
            r#"ERROR tower_health: health verdict is fail service="orders" probe="readiness" from="pass" to="fail" checks="db timed out (critical)""#,
            r#"INFO tower_health: health check passes service="orders" check="db" from="fail" to="pass" criticality="critical" runbook="https://runbooks.example/db""#,
            r#"INFO tower_health: health verdict is pass service="orders" probe="readiness" from="fail" to="pass""#,
            r#"WARN tower_health: health check is flapping: its changes are not logged until it no longer does; probers see them unless `fail_after` or `pass_after` is raised service="orders" check="db" changes=3 status="fail" reason="timed out" criticality="critical" effect="not ready" runbook="https://runbooks.example/db" fail_after=1 pass_after=1"#,
        ]
    );
    assert_eq!(
        metrics.value("health_check_flapping", r#"check="db""#),
        Some(1.0)
    );
    // Every change is counted.
    assert!(metrics.transitions("db", "fail").unwrap() > 250.0);
    let (mut changes, mut verdicts) = (0, 0);
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        match event {
            Event::Check(_) | Event::Flapping(_) => changes += 1,
            Event::Verdict(_) => verdicts += 1,
            Event::Missed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(changes <= 4 && verdicts > 100, "{changes} {verdicts}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_checks_that_alternate_have_at_most_four_lines_each() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let checks = (0..1_000).map(|n| every_second(format!("c{n}"), alternating).non_critical());
    let health = builder().checks(checks).start().unwrap();
    after(TEN_MINUTES / 10).await;
    let mut lines = log.lines();
    lines.retain(|line| line.contains(" check="));
    assert!(lines.len() <= 4_000, "{}", lines.len());
    assert!(health.report().checks.iter().all(|check| check.flapping));
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_alternates_flaps_and_has_a_summary_every_ten_minutes() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let reasons = [Reason::TimedOut, Reason::ConnectionRefused];
    let check = every_second("db", move |run| Outcome::fail(reasons[(run % 2) as usize]));
    let health = builder().check(check.non_critical()).start().unwrap();
    after(TEN_MINUTES).await;
    let of_db = |lines: Vec<String>| -> Vec<String> {
        let of_db = lines.into_iter();
        of_db.filter(|line| line.contains("check=\"db\"")).collect()
    };
    let lines = of_db(log.lines());
    assert!(lines.len() <= 4, "{lines:#?}");
    assert!(lines.last().unwrap().contains("is flapping"), "{lines:#?}");
    assert!(health.check("db").unwrap().flapping);
    after(3 * TEN_MINUTES).await;
    let lines = of_db(log.lines());
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("is still flapping")),
        "{lines:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn probers_see_each_change_of_a_check_that_flaps() {
    let answers = |check: Check| async move {
        let health = builder().check(check).start().unwrap();
        let service = health.service();
        let mut answers = Vec::new();
        for _ in 0..240 {
            after(ms(500)).await;
            answers.push(ask(&service, "/ready").await.status.as_u16());
        }
        answers
    };
    let with = answers(every_second("db", alternating)).await;
    let without = answers(every_second("db", alternating).flapping(0, 100)).await;
    assert_eq!(with, without);
    assert!(with.contains(&200) && with.contains(&503));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_no_longer_flaps_says_so_and_the_verdict_is_logged_again() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let metrics = install();
    let check = every_second("db", |run| match run {
        0..20 => alternating(run),
        _ => Outcome::fail(Reason::ConnectionRefused),
    });
    let cache = Scripted::new(Status::Pass);
    let _health = builder()
        .check(check)
        .check(Check::new("cache", cache.clone()).period(SECOND))
        .start()
        .unwrap();
    after(15 * SECOND).await;
    log.lines();
    // Another check fails meanwhile. The verdict is no longer decided by the flapping one alone.
    cache.set_outcome(Status::Fail);
    after(2 * SECOND).await;
    let lines = log.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("health check fails") && line.contains("cache"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("verdict is fail") && line.contains("cache failed"))
    );
    cache.set_outcome(Status::Pass);
    after(2 * SECOND).await;
    log.lines();
    after(60 * SECOND).await;
    let lines = timeless(&log.lines());
    let ended = r#"WARN tower_health: health check is no longer flapping service="orders" check="db" changes=19 status="fail" reason="connection refused" criticality="critical" effect="not ready" fail_after=1 pass_after=1"#;
    assert!(lines.iter().any(|line| line == ended), "{lines:#?}");
    let fails = lines.iter().filter(|line| line.contains("verdict is fail"));
    assert_eq!(fails.count(), 1, "{lines:#?}");
    assert_eq!(
        metrics.value("health_check_flapping", r#"check="db""#),
        Some(0.0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_reporter_without_a_change_for_ten_minutes_no_longer_flaps() {
    let health = builder().start().unwrap();
    let leader = health
        .reporter("leader", 7 * TEN_MINUTES)
        .non_critical()
        .await
        .unwrap();
    let mut events = health.subscribe();
    for status in [Status::Pass, Status::Fail, Status::Pass, Status::Fail] {
        leader.report(status);
        after(ms(10)).await;
    }
    assert!(health.check("leader").unwrap().flapping);
    after(TEN_MINUTES - SECOND).await;
    assert!(health.check("leader").unwrap().flapping);
    after(2 * SECOND).await;
    assert!(!health.check("leader").unwrap().flapping);
    let mut phases = Vec::new();
    while phases.len() < 2 {
        if let Event::Flapping(flapping) = events.next().await.unwrap() {
            phases.push((flapping.phase, flapping.changes, flapping.status));
        }
    }
    assert_eq!(
        phases,
        [
            (FlappingPhase::Began, 3, Status::Fail),
            (FlappingPhase::Ended, 3, Status::Fail),
        ]
    );
}

/// Returns what was announced of a check that flaps, from the events until now.
async fn phases(events: &mut Subscription) -> Vec<(FlappingPhase, Status)> {
    let mut phases = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
        if let Event::Flapping(flapping) = event {
            phases.push((flapping.phase, flapping.status));
        }
    }
    phases
}

/// Returns the lines that contain each of these words.
fn with<'a>(lines: &'a [String], words: &[&str]) -> Vec<&'a String> {
    let contains = |line: &&String| words.iter().all(|word| line.contains(word));
    lines.iter().filter(contains).collect()
}

const NOT_READY: [&str; 3] = ["ERROR", "verdict is fail", "readiness"];

#[tokio::test(start_paused = true)]
async fn liveness_that_fails_while_its_worker_flaps_is_logged_at_first_and_after_ten_seconds() {
    let (log, _guard) = Log::listen(Level::INFO);
    let health = builder().start().unwrap();
    let worker = health.heartbeat("worker", SECOND).liveness().await.unwrap();
    for _ in 0..20 {
        worker.tick();
        // It is missing for half a second each time.
        after(ms(1_500)).await;
    }
    let not_alive = ["ERROR", "verdict is fail", "liveness", "worker stale"];
    let lines = log.lines();
    assert_eq!(with(&lines, &not_alive).len(), 1, "{lines:#?}");
    assert_eq!(with(&lines, &["is flapping", "not alive"]).len(), 1);
    worker.tick();
    after(ms(10_900)).await;
    let lines = log.lines();
    assert_eq!(with(&lines, &not_alive).len(), 0, "{lines:#?}");
    after(ms(200)).await;
    let lines = log.lines();
    assert_eq!(with(&lines, &not_alive).len(), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_check_that_flapped_between_pass_and_warning_is_logged_at_once() {
    let (log, _guard) = Log::listen(Level::INFO);
    let check = every_second("db", |run| match run {
        30.. => Outcome::fail(Reason::ConnectionRefused),
        run if run % 2 == 0 => Outcome::pass(),
        _ => Outcome::warn(Reason::Busy),
    });
    let health = builder().check(check).start().unwrap();
    let mut events = health.subscribe();
    after(25 * SECOND).await;
    assert!(health.check("db").unwrap().flapping);
    log.lines();
    while health.check("db").unwrap().status != Status::Fail {
        after(ms(10)).await;
    }
    let lines = log.lines();
    let refused = "connection refused";
    assert_eq!(
        with(&lines, &["no longer flapping", refused]).len(),
        1,
        "{lines:#?}"
    );
    assert_eq!(with(&lines, &NOT_READY).len(), 1, "{lines:#?}");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(
        phases(&mut events).await,
        [
            (FlappingPhase::Began, Status::Warn),
            (FlappingPhase::Ended, Status::Fail),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_shared_check_that_flaps_and_exceeds_its_grace_is_logged_at_once() {
    let (log, _guard) = Log::listen(Level::INFO);
    let check = every_second("db", |run| match run {
        0..30 => alternating(run),
        _ => Outcome::fail(Reason::ConnectionRefused),
    });
    let check = check.shared().shared_grace(3 * SECOND);
    let health = builder().check(check).start().unwrap();
    after(30 * SECOND).await;
    assert_eq!(with(&log.lines(), &NOT_READY).len(), 0);
    after(5 * SECOND).await;
    let report = health.check("db").unwrap();
    assert!(report.flapping, "{report:?}");
    let lines = log.lines();
    assert_eq!(with(&lines, &NOT_READY).len(), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_dependent_that_flapped_and_stays_blocked_is_logged_as_not_ready_within_a_minute() {
    let (log, _guard) = Log::listen(Level::INFO);
    let network = every_second("network", |run| match run {
        0..40 if run % 4 < 2 => Outcome::pass(),
        _ => Outcome::fail(Reason::TimedOut),
    });
    let db = every_second("db", |_| Outcome::pass()).depends_on("network");
    let health = builder()
        .check(network.non_critical())
        .check(db)
        .start()
        .unwrap();
    after(45 * SECOND).await;
    assert!(health.check("db").unwrap().flapping);
    log.lines();
    after(60 * SECOND).await;
    let report = health.check("db").unwrap();
    assert!(report.flapping, "it is not run while it is blocked");
    let lines = log.lines();
    let lines = with(&lines, &NOT_READY);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    // It has failed for a minute by then, after it had passed for a second or two.
    let since = humantime::format_rfc3339_millis(report.since).to_string();
    assert!(lines[0].contains(&format!("since={since}")), "{lines:#?}");
    let (_, lasted) = lines[0].split_once("lasted_seconds=").unwrap();
    assert!(lasted.parse::<f64>().unwrap() < 5.0, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn roots_that_block_by_turns_are_few_lines_and_the_last_one_is_named() {
    let (log, _guard) = Log::listen(Level::INFO);
    let turn = |parity: u64| {
        move |run: u64| match run {
            600.. if parity == 0 => Outcome::pass(),
            0 => Outcome::pass(),
            run if run % 2 == parity || run >= 600 => Outcome::fail(Reason::TimedOut),
            _ => Outcome::pass(),
        }
    };
    let root = |name: &str, parity| every_second(name, turn(parity)).non_critical();
    let both = Check::new("both", Scripted::new(Status::Pass)).depends_on("a");
    let _health = builder()
        .check(root("a", 0))
        .check(root("b", 1))
        .check(both.depends_on("b").non_critical())
        .start()
        .unwrap();
    after(TEN_MINUTES).await;
    let lines = log.lines();
    let of_both = with(&lines, &["check=\"both\""]);
    assert!(of_both.len() <= 4, "{of_both:#?}");
    // Now one of them fails for good.
    after(2 * TEN_MINUTES).await;
    let lines = log.lines();
    let named = with(&lines, &["check=\"both\"", "blocked_by=\"b\""]);
    assert_eq!(named.len(), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_on_demand_that_nobody_reads_no_longer_flaps_and_says_so() {
    let (log, _guard) = Log::listen(Level::INFO);
    let check = numbered("db", alternating).on_demand(ms(500));
    let health = Health::builder("orders")
        .check(check.retry_period(ms(500)).non_critical())
        .start()
        .unwrap();
    let service = health.service();
    let mut events = health.subscribe();
    for _ in 0..20 {
        ask(&service, "/health/db").await;
        after(SECOND).await;
    }
    after(2 * TEN_MINUTES).await;
    assert!(!health.check("db").unwrap().flapping);
    let ended: Vec<_> = phases(&mut events).await;
    assert_eq!(ended.last().unwrap().0, FlappingPhase::Ended, "{ended:?}");
    assert_eq!(ended.len(), 2, "{ended:?}");
    let lines = log.lines();
    assert_eq!(with(&lines, &["no longer flapping"]).len(), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_on_demand_that_is_read_rarely_does_not_flap() {
    let check = numbered("db", |_| Outcome::pass()).on_demand(SECOND);
    let health = builder().check(check).start().unwrap();
    let service = health.service();
    for _ in 0..20 {
        assert_eq!(ask(&service, "/health/db").await.status, 200);
        after(20 * SECOND).await;
    }
    assert!(!health.check("db").unwrap().flapping);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_has_stopped_changing_has_no_summary() {
    let health = builder().start().unwrap();
    let leader = health.reporter("leader", 7 * TEN_MINUTES);
    let leader = leader.non_critical().await.unwrap();
    let mut events = health.subscribe();
    let report = async |status, for_how_long| {
        leader.report(status);
        after(for_how_long).await;
    };
    for _ in 0..5 {
        report(Status::Pass, SECOND).await;
        report(Status::Fail, TEN_MINUTES / 10).await;
    }
    // The last change was not announced. These are none.
    for _ in 0..6 {
        report(Status::Fail, TEN_MINUTES / 10).await;
    }
    assert!(health.check("leader").unwrap().flapping);
    let phases = phases(&mut events).await;
    assert_eq!(phases, [(FlappingPhase::Began, Status::Fail)]);
}

#[tokio::test(start_paused = true)]
async fn a_startup_task_that_is_done_does_not_flap() {
    let metrics = install();
    let runs = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&runs);
    let health = builder()
        .startup_task("migrate", move || {
            let run = seen.fetch_add(1, Ordering::Relaxed);
            let reasons = [Reason::TimedOut, Reason::ConnectionRefused];
            let outcome = match run {
                12.. => Outcome::pass(),
                run => Outcome::fail(reasons[(run % 2) as usize]),
            };
            async move { outcome }
        })
        .start()
        .unwrap();
    while runs.load(Ordering::Relaxed) < 12 {
        after(SECOND).await;
    }
    assert!(health.check("migrate").unwrap().flapping);
    after(TEN_MINUTES / 10).await;
    assert!(!health.check("migrate").unwrap().flapping);
    assert_eq!(
        metrics.value("health_check_flapping", r#"check="migrate""#),
        Some(0.0)
    );
}

#[test]
fn a_check_of_an_engine_that_has_stopped_does_not_flap() {
    let metrics = install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let health = runtime.block_on(async {
        let check = every_second("db", alternating);
        let health = builder().check(check).start().unwrap();
        after(20 * SECOND).await;
        health
    });
    assert!(health.check("db").unwrap().flapping);
    drop(runtime);
    let report = health.check("db").unwrap();
    assert_eq!(
        (report.flapping, report.reason),
        (false, Some(Reason::EngineStopped))
    );
    let flapping = metrics.value("health_check_flapping", r#"check="db""#);
    assert_eq!(flapping, Some(0.0));
}
