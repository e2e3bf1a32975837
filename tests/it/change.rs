//! Checks that are added, removed, replaced or run immediately while the service runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use proptest::prelude::*;
use tokio::{runtime::Handle, time::timeout};
use tower_health::{
    Check, Criticality, Failure, Health, HealthCheck, Outcome, Probe, Reason, Status, async_trait,
    error::{ChangeError, ConfigError, RunError},
    future::Change,
};

use crate::support::{Gate, SECOND, Scripted, after, ask, ms, poll_once, ready, reason};

fn start() -> Health {
    Health::builder("orders").seed(7).start().unwrap()
}

fn names(health: &Health) -> Vec<String> {
    let report = health.report();
    report
        .checks
        .iter()
        .map(|check| check.name.to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_critical_check_added_to_a_serving_instance_takes_it_out_only_if_its_first_run_failed() {
    for (says, pass_after, expected) in [
        (Status::Pass, 1, Status::Pass),
        (Status::Warn, 1, Status::Warn),
        (Status::Fail, 1, Status::Fail),
        // The check is pending after its first run, which does not affect the verdict.
        (Status::Pass, 3, Status::Pass),
    ] {
        let health = start();
        let service = health.service();
        let db = Scripted::new(says).duration(SECOND);
        let adding = tokio::spawn(health.add(Check::new("db", db.clone()).pass_after(pass_after)));
        while !adding.is_finished() {
            assert_eq!(ask(&service, "/ready").await.status, 200);
            assert!(
                names(&health).is_empty(),
                "it does not count before it has run"
            );
            after(ms(10)).await;
        }
        let report = adding.await.unwrap().unwrap();
        assert_eq!(report.is_pending(), pass_after > 1);
        assert_eq!((ready(&health), db.runs()), (expected, 1));
        after(20 * SECOND).await;
        assert_eq!(health.check("db").unwrap().status, says);
        assert_eq!(health.verdict(Probe::Startup).status, Status::Pass);
    }
}

#[tokio::test(start_paused = true)]
async fn an_added_check_that_hangs_counts_once_it_timed_out() {
    let health = start();
    let adding = health.add(Check::new("db", Scripted::hanging()));
    after(SECOND).await;
    assert_eq!((ready(&health), names(&health).len()), (Status::Pass, 0));
    assert_eq!(adding.await.unwrap().reason, Some(Reason::TimedOut));
    assert_eq!(ready(&health), Status::Fail);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_change_future_still_takes_effect() {
    let health = start();
    let db = Scripted::new(Status::Pass);
    drop(health.add(Check::new("db", db.clone())));
    drop(health.add(Check::new("cache", db.clone())));
    drop(health.run_now("db"));
    after(SECOND).await;
    assert_eq!(names(&health), ["db", "cache"]);
    drop(health.remove("db"));
    drop(health.replace(Check::new("cache", Scripted::new(Status::Warn))));
    after(SECOND).await;
    assert_eq!(names(&health), ["cache"]);
    assert_eq!(ready(&health), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn an_added_check_runs_on_its_schedule_until_it_is_removed() {
    let health = start();
    let db = Scripted::new(Status::Pass);
    health
        .add(Check::new("db", db.clone()).period(SECOND))
        .await
        .unwrap();
    after(10 * SECOND).await;
    assert!((9..=12).contains(&db.runs()), "{}", db.runs());
    db.set_outcome(Status::Fail);
    after(2 * SECOND).await;
    assert_eq!(ready(&health), Status::Fail);
    assert_eq!(health.remove("db").await.unwrap().status, Status::Fail);
    let runs = db.runs();
    assert_eq!(ready(&health), Status::Pass);
    after(60 * SECOND).await;
    assert_eq!(db.runs(), runs, "a removed check runs no more");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_an_error() {
    let health = start();
    let check = |says| Check::new("db", Scripted::new(says).duration(ms(50)));
    let first = health.add(check(Status::Fail));
    // The name is taken as soon as `add` is called.
    let error = health.add(check(Status::Pass)).await.unwrap_err();
    let ChangeError::Config(problems) = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(problems.as_slice(), [ConfigError::DuplicateName(name)] if *name == "db"));
    assert!(error.to_string().contains("rename one of them"), "{error}");
    assert_eq!(first.await.unwrap().status, Status::Fail);
    assert_eq!(health.check("db").unwrap().status, Status::Fail);
    // The name is free again once the check is removed.
    health.remove("db").await.unwrap();
    health.add(check(Status::Pass)).await.unwrap();
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn invalid_changes_are_errors_and_have_no_effect() {
    let health = start();
    let check = Check::new("Data Base", Scripted::new(Status::Pass)).timeout(Duration::ZERO);
    let error = health.add(check).await.unwrap_err().to_string();
    assert!(
        error.contains("for 2 reasons") && error.contains("try `data-base`"),
        "{error}"
    );
    let unknown = |error: ChangeError| matches!(error, ChangeError::Unknown(_));
    assert!(unknown(health.remove("db").await.unwrap_err()));
    let check = Check::new("db", Scripted::new(Status::Pass));
    assert!(unknown(health.replace(check).await.unwrap_err()));
    let error = health.run_now("db").await.unwrap_err();
    assert!(matches!(error, RunError::Unknown(_)), "{error}");
    assert!(names(&health).is_empty());
}

#[tokio::test(start_paused = true)]
async fn replace_keeps_the_state_until_the_new_code_has_run() {
    let old = Scripted::new(Status::Pass);
    let health = start();
    health.add(Check::new("db", old.clone())).await.unwrap();
    let since = health.check("db").unwrap().since;
    let new = Scripted::new(Status::Fail).duration(SECOND);
    let replacing = health.replace(Check::new("db", new.clone()).fail_after(2).non_critical());
    after(ms(500)).await;
    let report = health.check("db").unwrap();
    assert_eq!((report.status, report.since), (Status::Pass, since));
    assert_eq!(
        report.criticality,
        Criticality::NonCritical,
        "its policy is the new one at once"
    );
    // One failure is below the threshold, so the check continues to pass.
    assert_eq!(replacing.await.unwrap().status, Status::Pass);
    assert_eq!((ready(&health), new.runs()), (Status::Pass, 1));
    after(5 * SECOND).await;
    assert_eq!((ready(&health), old.runs()), (Status::Warn, 1));
    let report = health.check("db").unwrap();
    assert_eq!(
        (report.status, report.last_success.is_some()),
        (Status::Fail, true)
    );
}

#[tokio::test(start_paused = true)]
async fn replace_cancels_a_run_of_the_old_code() {
    let old = Scripted::hanging();
    let health = Health::builder("orders")
        .concurrency(1)
        .check(Check::new("db", old.clone()).timeout(3_600 * SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!((old.running(), ready(&health)), (1, Status::Fail));
    let asked = health.run_now("db");
    let new = Scripted::new(Status::Pass).duration(ms(50));
    let report = health.replace(Check::new("db", new.clone())).await.unwrap();
    assert_eq!((report.status, old.running()), (Status::Pass, 0));
    assert_eq!(
        asked.await.unwrap().status,
        Status::Pass,
        "who asked is told of the new run"
    );
    // The check was registered before the start, so startup waited for its first run.
    assert_eq!(
        (ready(&health), health.verdict(Probe::Startup).status),
        (Status::Pass, Status::Pass)
    );
    after(60 * SECOND).await;
    assert!(
        new.runs() > 3,
        "its place among the concurrent runs is free again"
    );
}

#[tokio::test(start_paused = true)]
async fn replace_applies_the_new_max_age_to_the_last_result() {
    let health = start();
    let check =
        |code: Scripted, period: u64| Check::new("db", code).period(Duration::from_secs(period));
    health
        .add(check(Scripted::new(Status::Pass), 3_600))
        .await
        .unwrap();
    after(60 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    drop(health.replace(check(Scripted::hanging(), 1)));
    after(ms(1)).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Stale));
    let verdict = health.verdict(Probe::Readiness);
    assert_eq!(verdict.status, Status::Fail);
    let listed = &verdict.checks[0];
    assert_eq!(
        (listed.status, listed.reason),
        (Status::Fail, Some(Reason::Stale))
    );
}

#[tokio::test(start_paused = true)]
async fn remove_cancels_the_run_and_releases_its_permit() {
    let hung = Scripted::hanging();
    let health = Health::builder("orders")
        .concurrency(1)
        .checks(["a", "b"].map(|name| Check::new(name, hung.clone()).timeout(3_600 * SECOND)))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(hung.running(), 1);
    for removed in [health.remove("a"), health.remove("b")] {
        assert!(removed.await.unwrap().is_pending());
    }
    after(ms(1)).await;
    assert_eq!((hung.running(), ready(&health)), (0, Status::Pass));
    assert_eq!(
        health.verdict(Probe::Startup).status,
        Status::Pass,
        "nothing is left to wait for"
    );
    health
        .add(Check::new("c", Scripted::new(Status::Pass)))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn run_now_shares_a_run_in_progress() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(3_600 * SECOND))
        .start()
        .unwrap();
    let all: Vec<_> = (0..100)
        .map(|_| tokio::spawn(health.run_now("db")))
        .collect();
    after(ms(10)).await;
    let late = health.run_now("db");
    for run in all {
        assert_eq!(run.await.unwrap().unwrap().status, Status::Pass);
    }
    assert_eq!((late.await.unwrap().status, db.runs()), (Status::Pass, 1));
    // The run at start was this run. The next scheduled run begins at least a tenth of a period
    // after its end.
    after(350 * SECOND).await;
    assert_eq!(db.runs(), 1);
    db.set_outcome(Status::Fail);
    assert_eq!(health.run_now("db").await.unwrap().status, Status::Fail);
    assert_eq!((db.runs(), ready(&health)), (2, Status::Fail));
    after(3 * SECOND).await;
    assert_eq!(db.runs(), 3, "retried as after any failing run");
}

#[tokio::test(start_paused = true)]
async fn run_now_reports_a_run_that_does_not_end() {
    let gate = Gate::default();
    gate.set(true);
    let check = gate.check("mount");
    let health = start();
    let report = health
        .add(check.timeout(ms(100)).period(3_600 * SECOND))
        .await
        .unwrap();
    assert_eq!(report.reason, Some(Reason::TimedOut));
    let report = health.run_now("mount").await.unwrap();
    assert_eq!(
        report.reason,
        Some(Reason::TimedOut),
        "it is not run on top of itself"
    );
    after(3 * SECOND).await;
    let report = health.run_now("mount").await.unwrap();
    assert_eq!(report.reason, Some(Reason::StillRunning));
    gate.set(false);
}

#[tokio::test(start_paused = true)]
async fn run_now_goes_before_runs_that_are_merely_due() {
    let slow = Scripted::new(Status::Pass).duration(SECOND);
    let db = Scripted::new(Status::Pass);
    let slow_ones = (0..20).map(|index| Check::new(format!("slow-{index}"), slow.clone()));
    let health = Health::builder("orders")
        .concurrency(1)
        .check(Check::new("db", db.clone()))
        .checks(slow_ones)
        .start()
        .unwrap();
    after(ms(1_500)).await;
    let began = tokio::time::Instant::now();
    health.run_now("db").await.unwrap();
    assert!(began.elapsed() <= ms(1_010), "{:?}", began.elapsed());
}

#[test]
fn after_the_engine_has_ended_every_change_returns_stopped() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = || Check::new("db", Scripted::hanging()).timeout(3_600 * SECOND);
    let (health, adding, running) = runtime.block_on(async {
        let health = Health::builder("orders").check(check()).start().unwrap();
        let adding = health.add(Check::new("cache", Scripted::hanging()));
        let running = health.run_now("db");
        after(ms(10)).await;
        (health, adding, running)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    other.block_on(async {
        let stopped =
            |change: Result<_, ChangeError>| matches!(change, Err(ChangeError::Stopped(_)));
        assert!(stopped(adding.await));
        assert!(matches!(running.await, Err(RunError::Stopped(_))));
        assert!(stopped(health.add(check()).await));
        assert!(stopped(health.replace(check()).await));
        assert!(stopped(health.remove("db").await));
        let error = health.run_now("db").await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("start a new one on a runtime that lives"),
            "{error}"
        );
    });
}

#[test]
fn the_futures_do_not_keep_the_checks_running() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let health = start();
        let db = Scripted::hanging();
        let adding: Change = health.add(Check::new("db", db.clone()));
        while db.running() == 0 {
            after(ms(1)).await;
        }
        drop(health);
        assert!(matches!(adding.await, Err(ChangeError::Stopped(_))));
        while db.running() > 0 {
            after(ms(1)).await;
        }
    });
}

/// Several runtimes change and read the same `Health` from their threads.
#[test]
fn several_runtimes_share_one_health() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let health = health.clone();
            thread::spawn(move || {
                let own = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                own.block_on(async {
                    for round in 0..50 {
                        let name = format!("c{thread}-{round}");
                        let check = Check::new(&*name, || async { Status::Pass }).on_demand(SECOND);
                        health.add(check).await.unwrap();
                        assert_eq!(health.run_now(&name).await.unwrap().status, Status::Pass);
                        assert_eq!(ask(&health.service(), "/ready").await.status, 200);
                        health.remove(&name).await.unwrap();
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(names(&health).is_empty());
}

/// A change of the checks by the application.
#[derive(Clone, Debug)]
enum Step {
    Add(u8, Criticality, Status),
    Remove(u8),
    Replace(u8, Criticality, Status),
    Run(u8, Status),
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0_u8..6;
    let criticality = prop::sample::select(vec![
        Criticality::Critical,
        Criticality::Shared,
        Criticality::NonCritical,
    ]);
    let status = prop::sample::select(vec![Status::Pass, Status::Warn, Status::Fail]);
    let three = (name.clone(), criticality, status.clone());
    prop_oneof![
        three
            .clone()
            .prop_map(|(name, criticality, status)| Step::Add(name, criticality, status)),
        name.clone().prop_map(Step::Remove),
        three.prop_map(|(name, criticality, status)| Step::Replace(name, criticality, status)),
        (name, status).prop_map(|(name, status)| Step::Run(name, status)),
    ]
}

/// The state of a check in the model, without an engine.
struct Model {
    order: usize,
    criticality: Criticality,
    status: Status,
    was_good: bool,
    script: Scripted,
}

fn model_verdict(checks: &BTreeMap<u8, Model>) -> Status {
    let effect = |check: &Model| match (check.status, check.criticality) {
        (Status::Pass, _) => Status::Pass,
        (Status::Fail, Criticality::Critical) => Status::Fail,
        (Status::Fail, Criticality::Shared) if !check.was_good => Status::Fail,
        _ => Status::Warn,
    };
    checks.values().map(effect).max().unwrap_or(Status::Pass)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_verdict_matches_a_model_under_random_changes(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(follow(steps));
    }
}

async fn follow(steps: Vec<Step>) {
    let health = start();
    let service = health.service();
    let mut model: BTreeMap<u8, Model> = BTreeMap::new();
    // Checks run only on request.
    let check = |name: u8, criticality, script: &Scripted| {
        Check::new(format!("c{name}"), script.clone())
            .period(3_600 * SECOND)
            .retry_period(3_600 * SECOND)
            .criticality(criticality)
    };
    for (order, step) in steps.into_iter().enumerate() {
        match step {
            Step::Add(name, criticality, status) => {
                let script = Scripted::new(status);
                let added = health.add(check(name, criticality, &script)).await;
                assert_eq!(added.is_ok(), !model.contains_key(&name));
                let was_good = status.is_good();
                model.entry(name).or_insert(Model {
                    order,
                    criticality,
                    status,
                    was_good,
                    script,
                });
            }
            Step::Remove(name) => {
                let removed = health.remove(&format!("c{name}")).await;
                assert_eq!(removed.is_ok(), model.remove(&name).is_some());
            }
            Step::Replace(name, criticality, status) => {
                let script = Scripted::new(status);
                let replaced = health.replace(check(name, criticality, &script)).await;
                assert_eq!(replaced.is_ok(), model.contains_key(&name));
                if let Some(naive) = model.get_mut(&name) {
                    let was_good = naive.was_good || status.is_good();
                    *naive = Model {
                        order: naive.order,
                        criticality,
                        status,
                        was_good,
                        script,
                    };
                }
            }
            Step::Run(name, status) => {
                if let Some(naive) = model.get_mut(&name) {
                    naive.script.set_outcome(status);
                    naive.status = status;
                    naive.was_good |= status.is_good();
                }
                let run = health.run_now(&format!("c{name}")).await;
                assert_eq!(run.is_ok(), model.contains_key(&name));
            }
        }
        let expected = model_verdict(&model);
        assert_eq!(ready(&health), expected);
        let code = if expected.is_good() { 200 } else { 503 };
        assert_eq!(ask(&service, "/ready").await.status, code);
        let mut in_order: Vec<_> = model
            .iter()
            .map(|(name, naive)| (naive.order, format!("c{name}")))
            .collect();
        in_order.sort();
        let in_order: Vec<_> = in_order.into_iter().map(|(_, name)| name).collect();
        assert_eq!(names(&health), in_order);
        let body = ask(&service, "/health").await.json();
        let listed = body
            .get("checks")
            .map_or(0, |checks| checks.as_object().unwrap().len());
        assert_eq!(listed, in_order.len());
    }
}

/// Adds and removes ten thousand checks in random order while the service is probed. No memory and
/// no tasks are leaked.
#[test]
fn adding_and_removing_ten_thousand_checks_leaks_nothing() {
    const CHECKS: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (mut kept, mut tasks) = (0, 0);
    // Two rounds, because threads keep some allocations permanently after the first round.
    for _ in 0..2 {
        let info = allocation_counter::measure(|| {
            runtime.block_on(async {
                let health = start();
                come_and_go(&health, CHECKS).await;
                tasks = Handle::current().metrics().num_alive_tasks();
                drop(health);
                after(ms(10)).await;
            });
        });
        kept = info.bytes_current;
    }
    assert_eq!(tasks, 1);
    assert!(
        kept.abs() < 64 * 1024,
        "{kept} bytes of {CHECKS} checks are left"
    );
}

async fn come_and_go(health: &Health, checks: usize) {
    let mut random = numbers(11);
    let service = health.service();
    let mut present: Vec<String> = Vec::new();
    let mut next = 0;
    while next < checks || !present.is_empty() {
        // Changes are made in batches, because concurrent changes are published together.
        let adds = (1 + random(100)).min(checks - next);
        let changes: Vec<Change> = (next..next + adds)
            .map(|number| {
                let name = format!("tenant-{number}");
                present.push(name.clone());
                health.add(Check::new(name, || async { Status::Pass }))
            })
            .collect();
        next += adds;
        for change in changes {
            assert_eq!(change.await.unwrap().status, Status::Pass);
        }
        let gone: Vec<Change> = (0..random(100).min(present.len()))
            .map(|_| {
                let name = present.swap_remove(random(present.len()));
                health.remove(&name)
            })
            .collect();
        for change in gone {
            assert!(change.await.is_ok());
        }
        assert_eq!(ask(&service, "/ready").await.status, 200);
        assert_eq!(health.report().checks.len(), present.len());
    }
    assert_eq!(ready(health), Status::Pass);
}

/// Returns a reproducible sequence of numbers below a bound.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    }
}

// Waiting for a permit

/// With all defaults, a serving instance gets many tenants at the same time while their hosts hang.
#[tokio::test(start_paused = true)]
async fn adding_many_hanging_checks_keeps_a_serving_instance_ready() {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .seed(1)
        .check(Check::new("db", db.clone()))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    for number in 0..1_300 {
        let tenant = Check::new(format!("tenant-{number}"), Scripted::hanging()).non_critical();
        drop(health.add(tenant));
    }
    for second in 0..45 {
        after(SECOND).await;
        assert_ne!(
            ready(&health),
            Status::Fail,
            "after {second} s: db is {:?}, {} runs",
            reason(&health, "db"),
            db.runs()
        );
    }
}

/// Requests for runs are served in order of arrival, however often other requests are made.
#[tokio::test(start_paused = true)]
async fn run_now_requests_are_served_in_order() {
    let code = || Scripted::new(Status::Pass).duration(ms(50));
    let health = Health::builder("orders")
        .concurrency(1)
        .checks(["a", "b", "c"].map(|name| Check::new(name, code()).period(3_600 * SECOND)))
        .start()
        .unwrap();
    after(SECOND).await;
    let ask_on = |name: &'static str| {
        let health = health.clone();
        tokio::spawn(async move {
            loop {
                health.run_now(name).await.unwrap();
            }
        })
    };
    ask_on("a");
    after(ms(10)).await;
    let first = health.run_now("c");
    after(ms(10)).await;
    ask_on("b");
    let asked = timeout(60 * SECOND, first).await;
    assert!(
        asked.is_ok(),
        "it waited for a minute, behind runs of 50 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn due_runs_are_not_starved_by_requested_runs() {
    let code = || Scripted::new(Status::Pass).duration(ms(50));
    let due = code();
    let health = Health::builder("orders")
        .concurrency(1)
        .checks(["a", "b"].map(|name| Check::new(name, code()).period(3_600 * SECOND)))
        .check(
            Check::new("due", due.clone())
                .period(SECOND)
                .timeout(SECOND),
        )
        .start()
        .unwrap();
    after(SECOND).await;
    for name in ["a", "b"] {
        let health = health.clone();
        tokio::spawn(async move {
            loop {
                health.run_now(name).await.unwrap();
            }
        });
    }
    let runs = due.runs();
    after(60 * SECOND).await;
    assert!(
        due.runs() > runs,
        "it never ran again: {:?}",
        reason(&health, "due")
    );
}

// Panics in user code, and changed decisions

/// The code of a check is user code even while it is dropped, and may hold anything.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("password=hunter2");
    }
}

#[async_trait]
impl HealthCheck for PanicsWhenDropped {
    async fn check(&self) -> Result<Outcome, Failure> {
        Ok(Outcome::pass())
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_when_it_is_dropped_does_not_end_the_engine() {
    let health = start();
    health
        .add(Check::new("db", PanicsWhenDropped))
        .await
        .unwrap();
    let removed = health.remove("db").await;
    after(SECOND).await;
    assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    removed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_when_it_is_replaced_does_not_end_the_engine() {
    let health = start();
    health
        .add(Check::new("db", PanicsWhenDropped))
        .await
        .unwrap();
    _ = health
        .replace(Check::new("db", Scripted::new(Status::Pass)))
        .await;
    assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_when_it_is_rejected_does_not_end_the_engine() {
    let health = start();
    health
        .add(Check::new("db", Scripted::new(Status::Pass)))
        .await
        .unwrap();
    _ = health.add(Check::new("db", PanicsWhenDropped)).await;
    assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
}

/// A realistic case: a blocking check whose client has its own runtime, as `reqwest::blocking` and
/// `postgres` have. Such a runtime must not be dropped on a worker thread of another runtime.
#[tokio::test]
async fn a_blocking_check_that_holds_a_runtime_can_be_removed() {
    let health = start();
    let client = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let check = Check::blocking("client", move || client.block_on(async { Status::Pass }));
    health.add(check).await.unwrap();
    after(ms(50)).await;
    let removed = health.remove("client").await;
    assert_eq!(
        health.verdict(Probe::Liveness).status,
        Status::Pass,
        "{removed:?}"
    );
}

/// A check can be removed as soon as `add` was called.
#[tokio::test(start_paused = true)]
async fn a_check_that_was_just_added_can_be_removed() {
    let health = start();
    drop(health.add(Check::new("tenant", Scripted::hanging())));
    let removed = health.remove("tenant").await;
    after(10 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass, "{removed:?}");
    assert!(health.check("tenant").is_err());
}

/// A shared check that waits before it returns is replaced by a check that is not critical.
#[tokio::test(start_paused = true)]
async fn a_non_critical_check_never_blocks_whatever_it_was_before() {
    let db = Scripted::new(Status::Pass);
    let check = || Check::new("db", db.clone()).period(3_600 * SECOND);
    let health = Health::builder("orders")
        .seed(7)
        .check(check().shared().shared_grace(SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    db.set_outcome(Status::Fail);
    health.run_now("db").await.unwrap();
    after(2 * SECOND).await;
    assert_eq!(ready(&health), Status::Fail);
    db.set_outcome(Status::Pass);
    health.run_now("db").await.unwrap();
    assert_eq!(ready(&health), Status::Fail, "it waits before it returns");
    health.replace(check().non_critical()).await.unwrap();
    assert_eq!(ready(&health), Status::Pass);
}

/// Requests for a run do not increase the failures: one more failure per retry period. Threads do
/// not follow a paused clock, so this test uses real time.
#[tokio::test]
async fn run_now_of_a_run_that_does_not_end_adds_no_failures() {
    let gate = Gate::default();
    let check = gate.check("mount");
    let health = start();
    health
        .add(check.timeout(ms(100)).fail_after(5).period(3_600 * SECOND))
        .await
        .unwrap();
    gate.set(true);
    for _ in 0..6 {
        health.run_now("mount").await.unwrap();
    }
    let status = health.check("mount").unwrap().status;
    gate.set(false);
    assert_eq!(status, Status::Pass, "one run failed, and five are needed");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_polled_again_does_not_panic() {
    let health = start();
    let mut change = health.add(Check::new("db", Scripted::new(Status::Pass)));
    (&mut change).await.unwrap();
    assert!(poll_once(&mut change).is_pending());
}

/// Returns how long a check waits for its next run among many checks, if a run is requested at that
/// time.
async fn wait_for_next_run(seed: u64, ask_at: Option<Duration>) -> Duration {
    let make = || Scripted::new(Status::Pass).duration(SECOND);
    let x = make();
    let health = Health::builder("orders")
        .concurrency(1)
        .seed(seed)
        .start()
        .unwrap();
    let adds: Vec<_> = (0..30)
        .map(|i| health.add(Check::new(format!("n{i}"), make()).period(36000 * SECOND)))
        .collect();
    for add in adds {
        add.await.unwrap();
    }
    health
        .add(
            Check::new("x", x.clone())
                .period(10 * SECOND)
                .max_age(3600 * SECOND),
        )
        .await
        .unwrap();
    let began = tokio::time::Instant::now();
    let _asked: Vec<_> = (0..30).map(|i| health.run_now(&format!("n{i}"))).collect();
    let mut ask_at = ask_at;
    while x.runs() == 1 {
        after(ms(10)).await;
        if ask_at.is_some_and(|at| began.elapsed() >= at) {
            drop(health.run_now("x"));
            ask_at = None;
        }
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn requesting_a_run_never_delays_it() {
    let alone = wait_for_next_run(7, None).await;
    let asked = wait_for_next_run(7, Some(alone - ms(30))).await;
    assert!(asked <= alone + ms(20), "{alone:?} {asked:?}");
}

async fn random_events(seed: u64) {
    let mut rng = numbers(seed);
    let gate = Gate::default();
    let mut scripts: BTreeMap<String, (Scripted, bool)> = BTreeMap::new();
    let health = Health::builder("orders")
        .concurrency(2)
        .seed(seed)
        .start()
        .unwrap();
    let mut blocking = BTreeSet::new();
    let mut log = Vec::new();
    for _ in 0..150 {
        let name = format!("c{}", rng(5));
        let op = rng(12);
        log.push((op, name.clone()));
        match op {
            0..=2 => {
                let script = Scripted::new(Status::Pass);
                let demand = rng(3) == 0;
                let is_blocking = rng(3) == 0;
                script.set_duration(ms(rng(4) as u64 * 700));
                let check = if is_blocking {
                    gate.check(&name)
                } else {
                    Check::new(&name, script.clone())
                };
                let check = if demand {
                    check.on_demand(5 * SECOND)
                } else {
                    check.period(5 * SECOND)
                };
                if scripts.contains_key(&name) {
                    drop(health.replace(check));
                } else {
                    drop(health.add(check));
                }
                scripts.insert(name.clone(), (script, demand));
                if is_blocking {
                    blocking.insert(name);
                } else {
                    blocking.remove(&name);
                }
            }
            3 => {
                drop(health.remove(&name));
                scripts.remove(&name);
                blocking.remove(&name);
            }
            4 => drop(health.run_now(&name)),
            5 => {
                let service = health.service();
                let path = format!("/health/{name}");
                drop(tokio::spawn(async move { ask(&service, &path).await }));
            }
            6 => {
                let service = health.service();
                drop(tokio::spawn(async move { ask(&service, "/ready").await }));
            }
            7 => tokio::time::advance(Duration::from_millis(700 + 500 * rng(20) as u64)).await,
            8 => after(ms(rng(3000) as u64)).await,
            9 => {
                if let Some((script, _)) = scripts.get(&name) {
                    match rng(3) {
                        0 => script.hang(),
                        1 => script.set_outcome(Status::Fail),
                        _ => script.set_outcome(Status::Pass),
                    }
                }
            }
            10 => gate.set(rng(2) == 0),
            _ => tokio::task::yield_now().await,
        }
    }
    gate.set(false);
    thread::sleep(ms(2));
    for (script, _) in scripts.values() {
        script.set_outcome(Status::Pass);
        script.set_duration(ms(10));
    }
    // Threads do not follow a paused clock. On a busy machine a blocking run takes more time, and
    // holds a permit during that time.
    for name in &blocking {
        let recovers = || {
            let check = health.check(name);
            check.is_ok_and(|check| scripts[name].1 || check.reason.is_none())
        };
        for _ in 0..5_000 {
            if recovers() {
                break;
            }
            thread::sleep(ms(1));
            after(SECOND).await;
        }
        assert!(recovers(), "{seed} {name} {log:?}");
    }
    for name in blocking {
        health.remove(&name).await.unwrap();
        scripts.remove(&name);
    }
    after(90 * SECOND).await;
    for round in 0..3 {
        let before: BTreeMap<_, _> = scripts.iter().map(|(n, (s, _))| (n, s.runs())).collect();
        // A period and its jitter.
        after(8 * SECOND).await;
        for (name, (script, demand)) in &scripts {
            let ran = script.runs() - before[name];
            match demand {
                true => assert_eq!(ran, 0, "{seed} {round} {name} on demand {log:?}"),
                false => assert!(
                    (1..=2).contains(&ran),
                    "{seed} {round} {name} {ran} {log:?}"
                ),
            }
            assert!(script.max_running() <= 2, "{seed} {name}");
            if !demand {
                assert_eq!(reason(&health, name), None, "{seed} {name}");
            }
        }
    }
    for (name, (script, demand)) in &scripts {
        if *demand {
            after(20 * SECOND).await;
            let before = script.runs();
            let a = ask(&health.service(), &format!("/health/{name}")).await;
            assert_eq!(
                (a.status.as_u16(), script.runs()),
                (200, before + 1),
                "{seed} {name} {log:?}"
            );
        }
    }
    assert_eq!(scripts.len(), health.report().checks.len());
}

/// Changes, hanging checks, stalls and readers in random order. Afterwards every check is on its
/// schedule.
#[test]
fn every_check_stays_on_its_schedule_under_random_events() {
    for seed in 0..40 {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(random_events(seed));
    }
}
