//! Building, starting and reading.

use std::{
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use tower_health::{Check, Health, Probe, Reason, Status, error::ConfigError};

use crate::support::{SECOND, Scripted, after, ms, ready};

fn check(name: &str) -> Check {
    Check::new(name, || async { Status::Pass })
}

#[tokio::test]
async fn all_problems_are_reported_at_once_with_their_remedies() {
    let error = Health::builder("Orders Service")
        .check(check("ready"))
        .check(check("db"))
        .check(check("db"))
        .check(check("Cache"))
        .check(check("a").timeout(Duration::ZERO).fail_after(0))
        .check(check("b").period(Duration::MAX))
        .check(check("c").max_age(SECOND).retry_period(60 * SECOND))
        .check(check("d").shared_grace(SECOND))
        .concurrency(0)
        .start()
        .unwrap_err();
    assert_eq!(error.problems().len(), 11);
    let text = error.to_string();
    for cure in [
        "try `orders-service`",
        "try `ready-check`",
        "the name \"db\" is taken by another check: rename one",
        "try `cache`",
        "`timeout` is 0s: give it at least 1 ms",
        "`fail_after` is 0",
        "`period` is",
        "give it at most 365 days",
        "`max_age` (1s) is shorter than 1.1 × `period` + `timeout` (13s)",
        "`retry_period` (1m) is longer than `period` (10s)",
        "add `.shared()`",
        "`concurrency` is 0",
    ] {
        assert!(text.contains(cure), "{cure:?} is not in {text}");
    }
}

/// The messages of a start are read at 3 a.m., so each of them is in the snapshot.
#[test]
fn problems_are_reported_in_the_order_of_the_calls_of_the_builder() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let config = |text: &str| serde_json::from_str(text).unwrap();
    let depends = |name: &str, on: &str| check(name).depends_on(on);
    let error = Health::builder("Orders Service")
        .drain_delay(48 * 3_600 * SECOND)
        .check(depends("a", "b"))
        .watchdog(ms(10))
        .check(depends("b", "a"))
        .config(config(
            r#"{"drain_close": "2days", "checks": {"postgres": {}, "read_db": {}}}"#,
        ))
        .check(check("read-db"))
        .check(check("read.db"))
        .concurrency(0)
        .check(check("a"))
        .check(check("Cache").depends_on("The Network"))
        .runtime(runtime.handle().clone())
        .check(depends("c", "posgres"))
        .watch_runtime("a", runtime.handle())
        .check(check("d").runbook("wiki/d"))
        .check(check("e").timeout(Duration::ZERO).pass_after(0))
        .check(check("f").shared_grace(SECOND))
        .check(check("g").on_demand(SECOND).period(SECOND))
        .start()
        .unwrap_err();
    let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"));
    let text = error.to_string();
    let mut from = 0;
    for problem in &problems {
        let at = text[from..].find(problem.as_str()).expect(problem);
        from += at + problem.len();
    }
}

#[tokio::test]
async fn a_single_problem_is_reported_in_one_line() {
    let error = Health::builder("orders")
        .check(check(""))
        .start()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "health cannot start: invalid check: the name is empty: use 1 to 64 characters of `a-z 0-9 . _ -`"
    );
}

#[test]
fn without_a_runtime_the_error_names_both_remedies() {
    let error = Health::builder("orders").start().unwrap_err();
    assert_eq!(error.problems(), [ConfigError::NoRuntime]);
    let text = error.to_string();
    assert!(
        text.contains("call `start()` within one") && text.contains("`.runtime(handle)`"),
        "{text}"
    );
}

#[test]
fn without_a_runtime_every_other_problem_is_reported_as_well() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = Health::builder("orders")
        .watchdog(Duration::from_millis(1))
        .watch_runtime("a", runtime.handle())
        .watch_runtime("a", runtime.handle())
        .start()
        .unwrap_err();
    assert!(
        matches!(
            error.problems(),
            [
                ConfigError::Watchdog(_),
                ConfigError::DuplicateName(_),
                ConfigError::NoRuntime
            ]
        ),
        "{error}"
    );
}

#[test]
fn a_runtime_without_timers_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .start()
        .unwrap_err();
    assert_eq!(error.problems(), [ConfigError::NoTimers]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_configuration_starts_nothing() {
    let scripted = Scripted::new(Status::Pass);
    let result = Health::builder("orders")
        .check(Check::new("db", scripted.clone()))
        .check(check("db"))
        .start();
    assert!(result.is_err());
    after(60 * SECOND).await;
    assert_eq!(scripted.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_or_duplicate_name_is_an_error_and_never_passes() {
    let health = Health::builder("orders")
        .checks([check("db"), check("cache")])
        .start()
        .unwrap();
    after(SECOND).await;
    let error = health.check("bd").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no check is named \"bd\" (registered: db, cache)"
    );
    assert_eq!(error.known(), ["db", "cache"]);

    let failing = Scripted::new(Status::Fail);
    let both = Health::builder("orders")
        .check(Check::new("db", failing))
        .check(check("db"))
        .start();
    assert!(
        both.unwrap_err()
            .to_string()
            .contains("the name \"db\" is taken")
    );
}

#[test]
fn the_checks_can_run_on_another_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let scripted = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", scripted.clone()))
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    while health.verdict(Probe::Readiness).status != Status::Pass {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(scripted.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_checks_is_ready_immediately() {
    let health = Health::builder("orders").start().unwrap();
    for probe in [
        Probe::Liveness,
        Probe::Startup,
        Probe::Readiness,
        Probe::Health,
    ] {
        assert_eq!(health.verdict(probe).status, Status::Pass, "{probe}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_is_complete_and_serializes_without_causes() {
    let failing = Scripted::new(
        tower_health::Outcome::fail(Reason::Busy)
            .with_cause("db.internal has no slot left")
            .measure("connections", 8, ""),
    )
    .duration(ms(50));
    let health = Health::builder("orders")
        .release("1.2.3")
        .check(Check::new("db", failing).shared())
        .check(check("cache").non_critical())
        .start()
        .unwrap();
    after(SECOND).await;
    let report = health.report();
    assert_eq!(report.status, Status::Fail);
    let db = &report.checks[0];
    assert_eq!(
        (db.status, db.reason, db.streak),
        (Status::Fail, Some(Reason::Busy), 1)
    );
    assert_eq!(
        db.cause.as_ref().unwrap().redacted(),
        "db.internal has no slot left"
    );
    assert_eq!(db.last_success, None);
    let run = db.last_run.as_ref().unwrap();
    assert!(run.age <= SECOND);
    assert_eq!(run.duration, ms(50));
    assert!(db.since <= run.time, "{db:?}");
    assert_eq!(db.measurements[0].name, "connections");
    assert!(report.checks[1].last_success.is_some());

    let written = serde_json::to_value(&report).unwrap();
    assert_eq!(written["checks"][0]["criticality"], "shared");
    assert_eq!(written["checks"][0]["reason"], "busy");
    assert_eq!(written["checks"][0]["measurements"][0]["value"], 8);
    for text in [
        written.to_string(),
        format!("{report:?}"),
        format!("{:?}", health.verdict(Probe::Readiness)),
    ] {
        assert!(!text.contains("db.internal"), "{text}");
    }
}

/// A paused clock belongs to its runtime. Other threads read the clock of the system.
#[tokio::test(start_paused = true)]
async fn other_threads_read_the_system_clock_while_the_runtime_clock_is_paused() {
    let health = Health::builder("orders")
        .check(check("db").on_demand(3_600 * SECOND))
        .start()
        .unwrap();
    health.run_now("db").await.unwrap();
    after(600 * SECOND).await;
    let age = |health: &Health| health.check("db").unwrap().last_run.unwrap().age;
    assert!(age(&health) > 590 * SECOND);
    let elsewhere = std::thread::spawn(move || age(&health)).join().unwrap();
    assert!(elsewhere < 60 * SECOND, "{elsewhere:?}");
}

/// As in tests that share a `static`, each on its own runtime.
#[test]
fn a_static_health_ends_with_its_runtime_unless_it_has_its_own() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    static FIRST: OnceLock<Health> = OnceLock::new();
    let first = || FIRST.get_or_init(|| Health::builder("orders").start().unwrap());
    let alive = || first().verdict(Probe::Liveness).status;
    assert_eq!(runtime().block_on(async { alive() }), Status::Pass);
    assert_eq!(runtime().block_on(async { alive() }), Status::Fail);

    static OWN: LazyLock<(tokio::runtime::Runtime, Health)> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let health = Health::builder("orders").runtime(runtime.handle().clone());
        (runtime, health.start().unwrap())
    });
    for _ in 0..2 {
        let alive = runtime().block_on(async { OWN.1.verdict(Probe::Liveness).status });
        assert_eq!(alive, Status::Pass);
    }
}

#[tokio::test(start_paused = true)]
async fn several_healths_in_one_process_are_independent() {
    let check = |status| Check::new("db", Scripted::new(status));
    let orders = Health::builder("orders")
        .check(check(Status::Pass))
        .start()
        .unwrap();
    let billing = Health::builder("billing")
        .check(check(Status::Fail))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(
        (ready(&orders), ready(&billing)),
        (Status::Pass, Status::Fail)
    );
    drop(billing);
    after(60 * SECOND).await;
    assert_eq!(ready(&orders), Status::Pass);
    assert_eq!(orders.verdict(Probe::Liveness).status, Status::Pass);
}
