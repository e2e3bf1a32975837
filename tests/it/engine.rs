//! The engine, on a paused clock except in tests of real threads.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;
use tower_health::{
    Check, Health, HealthBuilder, Outcome, Probe, Reason, Status,
    report::{Stage, VerdictReason},
};

use crate::support::{SECOND, Scripted, after, ms, ready, reason};

fn builder() -> HealthBuilder {
    Health::builder("orders").seed(7)
}

fn start(checks: impl IntoIterator<Item = Check>) -> Health {
    builder().checks(checks).start().unwrap()
}

fn startup(health: &Health) -> Status {
    health.verdict(Probe::Startup).status
}

// States and verdicts

#[tokio::test(start_paused = true)]
async fn nothing_passes_before_its_first_success() {
    let db = Scripted::new(Status::Pass).duration(SECOND);
    let health = start([Check::new("db", db.clone())]);
    assert_eq!(
        (ready(&health), reason(&health, "db")),
        (Status::Fail, Some(Reason::Pending))
    );
    assert_eq!(
        health.verdict(Probe::Readiness).reason,
        Some(VerdictReason::Starting)
    );
    after(ms(900)).await;
    assert_eq!(db.runs(), 1);
    assert_eq!(
        (ready(&health), startup(&health)),
        (Status::Fail, Status::Fail)
    );
    after(ms(400)).await;
    assert_eq!(
        (ready(&health), startup(&health)),
        (Status::Pass, Status::Pass)
    );
    assert_eq!(health.check("db").unwrap().reason, None);
}

#[tokio::test(start_paused = true)]
async fn pass_after_holds_a_new_check_pending() {
    let db = Scripted::new(Status::Pass);
    let health = start([Check::new("db", db.clone()).pass_after(2)]);
    after(ms(300)).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Pending));
    assert_eq!(
        (ready(&health), startup(&health)),
        (Status::Fail, Status::Pass)
    );
    after(3 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn only_failures_in_a_row_count() {
    let db = Scripted::new(Status::Pass);
    let health = start([Check::new("db", db.clone()).fail_after(2).period(SECOND)]);
    after(SECOND).await;
    for _ in 0..50 {
        let runs = db.runs();
        db.set_outcome(Status::Fail);
        while db.runs() == runs {
            after(ms(10)).await;
        }
        db.set_outcome(Status::Pass);
        after(2 * SECOND).await;
        assert_eq!(ready(&health), Status::Pass);
    }
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_ready_and_a_failure_is_not() {
    let db = Scripted::new(Status::Warn);
    let health = start([Check::new("db", db.clone()).period(SECOND)]);
    after(SECOND).await;
    assert_eq!(
        (ready(&health), reason(&health, "db")),
        (Status::Warn, Some(Reason::Degraded))
    );
    db.set_outcome(Status::Fail);
    after(2 * SECOND).await;
    let verdict = health.verdict(Probe::Readiness);
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Fail, Some(VerdictReason::Checks))
    );
    assert_eq!(verdict.checks[0].name, "db");
    db.set_outcome(Status::Pass);
    after(2 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn criticality_decides_what_a_failure_does_to_readiness() {
    for (criticality, never_good, good_once) in [
        ("critical", Status::Fail, Status::Fail),
        ("shared", Status::Fail, Status::Warn),
        ("non-critical", Status::Warn, Status::Warn),
    ] {
        let of = |check: Check| match criticality {
            "shared" => check.shared(),
            "non-critical" => check.non_critical(),
            _ => check.critical(),
        };
        let db = Scripted::new(Status::Fail);
        let health = start([of(Check::new("db", db.clone()).period(SECOND))]);
        after(ms(300)).await;
        assert_eq!(ready(&health), never_good, "{criticality}, never good");
        db.set_outcome(Status::Pass);
        after(2 * SECOND).await;
        assert_eq!(ready(&health), Status::Pass, "{criticality}");
        db.set_outcome(Status::Fail);
        after(2 * SECOND).await;
        assert_eq!(ready(&health), good_once, "{criticality}, good once");
        assert_eq!(
            health.verdict(Probe::Liveness).status,
            Status::Pass,
            "only workers fail liveness"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_check_blocks_readiness_once_its_grace_is_over() {
    let db = Scripted::new(Status::Pass);
    let check = Check::new("db", db.clone())
        .shared()
        .shared_grace(60 * SECOND);
    let health = start([check]);
    after(11 * SECOND).await;
    db.set_outcome(Status::Fail);
    after(30 * SECOND).await;
    assert_eq!(ready(&health), Status::Warn);
    after(60 * SECOND).await;
    assert_eq!(ready(&health), Status::Fail);

    db.set_outcome(Status::Pass);
    while reason(&health, "db").is_some() {
        after(ms(10)).await;
    }
    let verdict = health.verdict(Probe::Readiness);
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Fail, Some(VerdictReason::Returning))
    );
    after(10 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_failing_dependency_never_delays_startup() {
    let health = start([
        Check::new("down", Scripted::new(Status::Fail)),
        Check::new("hung", Scripted::hanging()),
    ]);
    after(SECOND).await;
    let verdict = health.verdict(Probe::Startup);
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Fail, Some(VerdictReason::Starting))
    );
    assert_eq!(verdict.checks.len(), 1, "only the hung one is waited for");
    after(2 * SECOND).await;
    assert_eq!(
        (startup(&health), ready(&health)),
        (Status::Pass, Status::Fail)
    );
}

#[tokio::test(start_paused = true)]
async fn a_verdict_lists_sixteen_checks_and_counts_the_rest() {
    let health = start((0..40).map(|i| Check::new(format!("c{i}"), Scripted::new(Status::Fail))));
    after(SECOND).await;
    let verdict = health.verdict(Probe::Readiness);
    assert_eq!((verdict.checks.len(), verdict.more), (16, 24));
    assert_eq!(verdict.checks[15].name, "c15");
    assert_eq!(health.report().checks.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn checks_that_fail_a_verdict_are_listed_first() {
    let health = start([
        Check::new("warns", Scripted::new(Status::Warn)),
        Check::new("optional", Scripted::new(Status::Fail)).non_critical(),
        Check::new("fails", Scripted::new(Status::Fail)),
    ]);
    after(SECOND).await;
    let checks = health.verdict(Probe::Readiness).checks;
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["fails", "warns", "optional"]);
}

// Schedule

#[tokio::test(start_paused = true)]
async fn runs_keep_to_their_schedule() {
    let db = Scripted::new(Status::Pass);
    let _health = start([Check::new("db", db.clone())]);
    after(ms(200)).await;
    assert_eq!(db.runs(), 1, "the first run starts within 200 ms");
    // The second run starts at a random point within a period. Further runs are a period apart,
    // plus or minus a tenth.
    after(1_000 * SECOND).await;
    assert!((90..=112).contains(&db.runs()), "{}", db.runs());
}

#[tokio::test(start_paused = true)]
async fn a_failing_check_is_retried_sooner_and_then_less_often() {
    let (alone, shared) = (Scripted::new(Status::Fail), Scripted::new(Status::Fail));
    let _health = start([
        Check::new("alone", alone.clone()),
        Check::new("shared", shared.clone()).shared(),
    ]);
    // The retries are 2, 5, 9.5 and 16.25 s after the first run, with jitter. Further runs are
    // every 10 s.
    after(20 * SECOND).await;
    assert_eq!(alone.runs(), 5);
    after(100 * SECOND).await;
    assert!((14..=16).contains(&alone.runs()), "{}", alone.runs());
    assert!(
        (12..=14).contains(&shared.runs()),
        "a shared check keeps its period: {}",
        shared.runs()
    );
}

#[tokio::test(start_paused = true)]
async fn replicas_do_not_run_their_checks_at_the_same_time() {
    let moments: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let began = Instant::now();
    let replicas: Vec<Health> = (0..200)
        .map(|_| {
            let moments = Arc::clone(&moments);
            let check = Check::with("db", moments, move |moments| async move {
                moments.lock().unwrap().push(began.elapsed());
                Status::Pass
            });
            Health::builder("orders")
                .check(check.shared())
                .start()
                .unwrap()
        })
        .collect();
    after(12 * SECOND).await;
    drop(replicas);
    let moments = moments.lock().unwrap();
    let second = |n: u32| {
        let within = |at: &&Duration| **at >= n * SECOND && **at < (n + 1) * SECOND;
        moments.iter().filter(within).count()
    };
    // 200 replicas within a period of 10 s are 20 runs per second on average.
    for n in 2..10 {
        assert!(second(n) <= 45, "{} in second {n}", second(n));
    }
}

#[tokio::test(start_paused = true)]
async fn slow_checks_run_concurrently() {
    let slow = || Scripted::new(Status::Pass).duration(ms(1_500));
    let health = start((0..10).map(|i| Check::new(format!("slow-{i}"), slow())));
    after(ms(1_800)).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_check_never_overlap() {
    let slow = Scripted::new(Status::Pass).duration(ms(1_900));
    let hung = Scripted::hanging();
    let _health = start([
        Check::new("slow", slow.clone()).period(ms(100)),
        Check::new("hung", hung.clone())
            .period(ms(100))
            .timeout(ms(50)),
    ]);
    after(60 * SECOND).await;
    assert!(slow.runs() > 20 && hung.runs() > 20);
    assert_eq!((slow.max_running(), hung.max_running()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_runs_are_in_progress_than_allowed() {
    let busy = Scripted::new(Status::Pass).duration(ms(500));
    let health = builder()
        .checks((0..20).map(|i| Check::new(format!("c{i}"), busy.clone())))
        .concurrency(3)
        .start()
        .unwrap();
    after(ms(250)).await;
    assert_eq!(busy.running(), 3);
    after(20 * SECOND).await;
    assert_eq!(busy.max_running(), 3);
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_times_out_releases_its_permit() {
    let hung = (0..5).map(|i| Check::new(format!("hung-{i}"), Scripted::hanging()));
    let good = Scripted::new(Status::Pass);
    let health = builder()
        .checks(hung)
        .check(Check::new("good", good.clone()))
        .concurrency(1)
        .start()
        .unwrap();
    after(14 * SECOND).await;
    assert_eq!(reason(&health, "good"), None);
}

// Timeouts, panics, blocking code

#[tokio::test(start_paused = true)]
async fn a_hung_check_is_cancelled_and_delays_no_other() {
    let (hung, good) = (Scripted::hanging(), Scripted::new(Status::Pass));
    let health = start([
        Check::new("hung", hung.clone()),
        Check::new("good", good.clone()),
    ]);
    after(SECOND).await;
    assert_eq!(
        (reason(&health, "hung"), reason(&health, "good")),
        (Some(Reason::Pending), None)
    );
    after(ms(1_300)).await;
    assert_eq!(reason(&health, "hung"), Some(Reason::TimedOut));
    assert_eq!(hung.running(), 0, "its future was dropped");
    let run = health.check("hung").unwrap().last_run.unwrap();
    assert!(
        run.duration >= 2 * SECOND && run.duration < ms(2_010),
        "{run:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_the_check_continues_to_run() {
    let db = Scripted::panicking("password=hunter2");
    let health = start([Check::new("db", db.clone())]);
    after(SECOND).await;
    let check = health.check("db").unwrap();
    assert_eq!(
        (check.status, check.reason),
        (Status::Fail, Some(Reason::Panicked))
    );
    let cause = check.cause.unwrap();
    assert!(cause.redacted().contains("script.rs") && !cause.redacted().contains("hunter2"));
    db.set_outcome(Status::Pass);
    after(3 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
}

/// A check that blocks its thread until it receives a message.
fn blocker(name: &str) -> (Check, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let runs = Arc::new(AtomicUsize::new(0));
    let started = Arc::clone(&runs);
    let check = Check::blocking(name, move || {
        started.fetch_add(1, Ordering::SeqCst);
        wait.lock().unwrap().recv().map_err(|_| "gone")
    });
    (check, go, runs)
}

/// Waits in real time until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(ms(5)).await;
    }
    panic!("it did not come true within 10 s");
}

#[tokio::test]
async fn a_hanging_blocking_check_is_still_running_and_is_not_started_again() {
    let (check, go, runs) = blocker("mount");
    let check = check.timeout(ms(20)).retry_period(ms(20)).period(ms(100));
    let health = start([check, Check::new("good", Scripted::new(Status::Pass))]);
    until(|| reason(&health, "mount") == Some(Reason::StillRunning)).await;
    assert_eq!(reason(&health, "good"), None);
    let failures = health.check("mount").unwrap().streak;
    until(|| health.check("mount").unwrap().streak >= failures + 3).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    // The late success is discarded. The next run counts.
    go.send(()).unwrap();
    until(|| runs.load(Ordering::SeqCst) == 2).await;
    assert_eq!(health.check("mount").unwrap().status, Status::Fail);
    go.send(()).unwrap();
    until(|| runs.load(Ordering::SeqCst) == 3).await;
    go.send(()).unwrap();
    until(|| health.check("mount").unwrap().last_success.is_some()).await;
}

/// A check whose period is so short that it could be due again at the moment it is examined.
#[tokio::test(start_paused = true)]
async fn a_check_with_a_short_period_is_run_and_counted_once_per_period() {
    let good = Scripted::new(Status::Pass);
    let (hanging, _go, _) = blocker("mount");
    let brief = |check: Check| check.period(ms(10)).timeout(ms(5));
    let health = start([brief(Check::new("db", good.clone())), brief(hanging)]);
    after(ms(300)).await;
    let before = good.runs();
    after(SECOND).await;
    let runs = good.runs() - before;
    assert!((85..=115).contains(&runs), "{runs}");
    let streak = health.check("mount").unwrap().streak;
    assert!((100..=160).contains(&streak), "{streak}");
}

#[tokio::test]
async fn a_hanging_blocking_check_is_first_reported_as_timed_out() {
    let (check, _go, _) = blocker("mount");
    let health = start([check.timeout(ms(20))]);
    until(|| reason(&health, "mount") == Some(Reason::TimedOut)).await;
    assert_eq!(startup(&health), Status::Pass);
}

#[tokio::test]
async fn a_blocking_check_does_not_use_the_blocking_pool() {
    let names: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&names);
    let health = start([Check::blocking("mount", move || {
        seen.lock()
            .unwrap()
            .push(thread::current().name().unwrap_or_default().to_owned());
        Outcome::warn(Reason::Degraded)
    })]);
    until(|| reason(&health, "mount") == Some(Reason::Degraded)).await;
    assert_eq!(*names.lock().unwrap(), ["health-check"]);
}

#[tokio::test]
async fn a_panic_in_blocking_code_is_a_failure() {
    let health = start([Check::blocking("mount", || -> Status {
        panic!("password=hunter2")
    })]);
    until(|| reason(&health, "mount") == Some(Reason::Panicked)).await;
}

/// Async code that blocks its thread in its first poll occupies one worker, and the board stays
/// correct.
#[test]
fn async_code_that_blocks_its_thread_costs_one_worker_only() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let blocks = Check::with("blocks", wait, |wait| async move {
        _ = wait.lock().unwrap().recv();
        Status::Pass
    });
    let good = Scripted::new(Status::Pass);
    let health = builder()
        .runtime(runtime.handle().clone())
        .check(blocks.timeout(ms(50)).retry_period(ms(50)))
        .check(
            Check::new("good", good.clone())
                .period(ms(20))
                .timeout(ms(20)),
        )
        .start()
        .unwrap();
    let wait_for = |condition: &dyn Fn() -> bool| {
        for _ in 0..4_000 {
            if condition() {
                return;
            }
            thread::sleep(ms(5));
        }
        panic!("it did not come true within 20 s");
    };
    wait_for(&|| reason(&health, "blocks") == Some(Reason::StillRunning));
    let runs = good.runs();
    wait_for(&|| good.runs() > runs + 10);
    assert_eq!(reason(&health, "good"), None);
    drop(go);
    wait_for(&|| reason(&health, "blocks").is_none());
}

/// A stalled runtime sees the end of a run before the end of its timeout.
#[tokio::test]
async fn a_run_that_outlasts_its_timeout_never_passes() {
    let blocks = Check::new("blocks", || async {
        thread::sleep(ms(200));
        Status::Pass
    });
    let health = start([blocks.timeout(ms(50))]);
    until(|| !health.check("blocks").unwrap().is_pending()).await;
    assert_eq!(reason(&health, "blocks"), Some(Reason::TimedOut));
}

#[tokio::test]
async fn a_hanging_blocking_check_releases_its_permit() {
    let (check, _go, _) = blocker("mount");
    let good = Scripted::new(Status::Pass);
    let health = builder()
        .check(check.timeout(ms(20)))
        .check(
            Check::new("good", good.clone())
                .period(ms(20))
                .timeout(ms(20)),
        )
        .concurrency(1)
        .start()
        .unwrap();
    until(|| reason(&health, "mount") == Some(Reason::TimedOut)).await;
    let runs = good.runs();
    until(|| good.runs() > runs + 3).await;
}

/// The panic payload of this check panics when it is dropped.
#[tokio::test(start_paused = true)]
async fn a_panicking_check_stays_on_its_schedule() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            std::panic::panic_any("again");
        }
    }
    let runs = Arc::new(AtomicUsize::new(0));
    let check = Check::with("db", Arc::clone(&runs), |runs| async move {
        if runs.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
            std::panic::panic_any(PanicsWhenDropped);
        }
        let _spiteful = PanicsWhenDropped;
        std::future::pending::<Status>().await
    });
    let health = start([check]);
    after(100 * SECOND).await;
    assert!(runs.load(Ordering::SeqCst) >= 8, "{runs:?}");
    assert!(matches!(
        reason(&health, "db"),
        Some(Reason::Panicked | Reason::TimedOut)
    ));
}

#[tokio::test(start_paused = true)]
async fn the_defaults_match_the_documentation() {
    let all = Scripted::hanging();
    let _health = Health::builder("orders")
        .checks((0..100).map(|i| Check::new(format!("c{i}"), all.clone())))
        .start()
        .unwrap();
    after(ms(1_900)).await;
    assert_eq!(all.running(), 64, "runs at a time");
    after(ms(400)).await;
    assert!(all.runs() > 64, "after a timeout of 2 s");

    let db = Scripted::new(Status::Pass);
    let health = start([Check::new("db", db.clone())]);
    after(SECOND).await;
    db.set_outcome(Status::Fail);
    while reason(&health, "db").is_none() {
        after(ms(10)).await;
    }
    assert_eq!(
        health.check("db").unwrap().streak,
        1,
        "one failure is enough"
    );
    db.set_outcome(Status::Pass);
    while reason(&health, "db").is_some() {
        after(ms(10)).await;
    }
    assert_eq!(
        health.check("db").unwrap().streak,
        1,
        "one good outcome is enough"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_delays() {
    async fn moments(seed: u64) -> Vec<Duration> {
        let (began, moments) = (Instant::now(), Arc::<Mutex<Vec<Duration>>>::default());
        let check = Check::with("db", Arc::clone(&moments), move |moments| async move {
            moments.lock().unwrap().push(began.elapsed());
            Status::Pass
        });
        let _health = Health::builder("orders")
            .seed(seed)
            .check(check)
            .start()
            .unwrap();
        after(60 * SECOND).await;
        moments.lock().unwrap().clone()
    }
    let first = moments(1).await;
    assert_eq!(first, moments(1).await);
    assert_ne!(first, moments(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_age_a_result() {
    let check = Check::new("db", Scripted::new(Status::Pass))
        .period(ms(20))
        .timeout(ms(10));
    let health = start([check]);
    after(SECOND).await;
    // Real time passes, but the clock of the runtime is paused.
    thread::sleep(ms(200));
    assert_eq!(reason(&health, "db"), None);
    assert!(health.check("db").unwrap().last_run.unwrap().age < ms(30));
}

// Expiry

#[test]
fn an_old_success_is_stale_for_a_reader_even_if_nothing_runs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let db = Scripted::new(Status::Pass);
    let check = Check::new("db", db.clone()).period(ms(200)).timeout(ms(20));
    let health = runtime.block_on(async {
        let health = start([check.max_age(ms(300))]);
        until(|| ready(&health) == Status::Pass).await;
        health
    });
    // From here on nothing drives the runtime, but it has not ended.
    thread::sleep(ms(350));
    assert_eq!(
        (ready(&health), reason(&health, "db")),
        (Status::Fail, Some(Reason::Stale))
    );
    let check = health.check("db").unwrap();
    assert!(check.last_run.unwrap().age >= ms(300));
    assert_eq!(health.report().status, Status::Fail);
    assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    assert_eq!(startup(&health), Status::Pass, "latched");

    // Once the runtime is driven again, the check recovers by itself.
    runtime.block_on(until(|| ready(&health) == Status::Pass));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_waits_too_long_for_a_permit_becomes_stale() {
    let slow = || Scripted::new(Status::Pass).duration(ms(1_900));
    let health = builder()
        .checks((0..10).map(|i| Check::new(format!("slow-{i}"), slow()).period(SECOND)))
        .concurrency(1)
        .start()
        .unwrap();
    // Each check runs every 19 s, and a result is valid for 5 s.
    after(60 * SECOND).await;
    let report = health.report();
    let stale = report
        .checks
        .iter()
        .filter(|check| check.reason == Some(Reason::Stale));
    assert!(stale.count() >= 6, "{report:?}");
    assert_eq!(report.status, Status::Fail);
}

// Lifetime

#[tokio::test(start_paused = true)]
async fn the_checks_stop_immediately_when_the_last_handle_is_dropped() {
    let (db, hung) = (Scripted::new(Status::Pass), Scripted::hanging());
    let health = start([
        Check::new("db", db.clone()),
        Check::new("hung", hung.clone()).timeout(60 * SECOND),
    ]);
    let (clone, layer, service) = (health.clone(), health.layer(), health.service());
    let wrapped = health.wrap(());
    let mut runs = 0;
    let handles: [Box<dyn std::any::Any>; 5] = [
        Box::new(health),
        Box::new(clone),
        Box::new(layer),
        Box::new(service),
        Box::new(wrapped),
    ];
    for handle in handles {
        after(30 * SECOND).await;
        assert!(db.runs() > runs, "something keeps it alive");
        runs = db.runs();
        drop(handle);
    }
    after(ms(1)).await;
    assert_eq!(hung.running(), 0, "a run under way is cancelled");
    after(60 * SECOND).await;
    assert_eq!(db.runs(), runs);
}

/// Counts the runs that exist, whatever way they end.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn no_run_outlives_the_last_handle_even_if_it_was_never_polled() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    let checks = (0..60).map(|i| {
        Check::with(format!("c{i}"), Arc::clone(&alive), |alive| async move {
            alive.fetch_add(1, Ordering::SeqCst);
            let _alive = Alive(alive);
            thread::sleep(ms(3));
            std::future::pending::<Status>().await
        })
        .timeout(60 * SECOND)
    });
    let health = builder()
        .runtime(runtime.handle().clone())
        .checks(checks)
        .start()
        .unwrap();
    // All first runs become due while the only worker is busy.
    runtime.spawn(async { thread::sleep(ms(300)) });
    while alive.load(Ordering::SeqCst) < 5 {
        thread::sleep(ms(1));
    }
    drop(health);
    for _ in 0..2_000 {
        if alive.load(Ordering::SeqCst) == 0 {
            // No further run may start, either.
            thread::sleep(ms(300));
            break;
        }
        thread::sleep(ms(5));
    }
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn when_the_runtime_ends_during_startup_startup_reports_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let health = builder()
        .runtime(runtime.handle().clone())
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .start()
        .unwrap();
    drop(runtime);
    let verdict = health.verdict(Probe::Startup);
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Fail, Some(VerdictReason::EngineStopped))
    );
    assert_eq!(verdict.retry_after, None);
}

#[test]
fn when_the_runtime_ends_readers_report_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let health = runtime.block_on(async {
        let health = start([Check::new("db", Scripted::new(Status::Pass))]);
        until(|| ready(&health) == Status::Pass).await;
        health
    });
    let passed_since = health.check("db").unwrap().since;
    thread::sleep(ms(20));
    drop(runtime);
    assert_eq!(reason(&health, "db"), Some(Reason::EngineStopped));
    assert!(
        health.check("db").unwrap().since > passed_since,
        "it fails since then"
    );
    for probe in [Probe::Readiness, Probe::Liveness, Probe::Health] {
        let verdict = health.verdict(probe);
        assert_eq!(
            (verdict.status, verdict.reason),
            (Status::Fail, Some(VerdictReason::EngineStopped)),
            "{probe}"
        );
    }
    assert_eq!(startup(&health), Status::Pass, "latched");
    assert_eq!(
        health.report().checks[0].reason,
        Some(Reason::EngineStopped)
    );
}

/// A process that has drained drops its runtime. A management port with its own thread answers
/// until the process ends.
#[test]
fn liveness_still_passes_when_the_runtime_of_a_drained_instance_ends() {
    for reads_before_the_end in [true, false] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let health = runtime.block_on(async {
            let health = start([Check::new("db", Scripted::new(Status::Pass))]);
            until(|| ready(&health) == Status::Pass).await;
            health
        });
        // The engine no longer runs, so it does not publish this.
        drop(health.drain());
        if reads_before_the_end {
            assert_eq!(ready(&health), Status::Fail);
        }
        drop(runtime);
        assert_eq!(reason(&health, "db"), Some(Reason::EngineStopped));
        assert_eq!(health.stage(), Stage::Draining);
        let told = |probe| {
            let verdict = health.verdict(probe);
            (verdict.status, verdict.reason)
        };
        let draining = (Status::Fail, Some(VerdictReason::Draining));
        assert_eq!(told(Probe::Liveness), (Status::Pass, None));
        assert_eq!(told(Probe::Startup), (Status::Pass, None));
        assert_eq!(told(Probe::Readiness), draining);
        assert_eq!(told(Probe::Health), draining);
    }
}

#[tokio::test(start_paused = true)]
async fn two_healths_in_one_process_are_independent() {
    let good = start([Check::new("db", Scripted::new(Status::Pass))]);
    let bad = start([Check::new("db", Scripted::new(Status::Fail))]);
    after(SECOND).await;
    assert_eq!((ready(&good), ready(&bad)), (Status::Pass, Status::Fail));
}
