//! Stalls of a process or a runtime, on a paused clock that is advanced in one step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::advance;
use tower_health::{
    Check, Health, Probe, Reason, Status,
    event::{Event, Subscription},
};

use crate::support::{Gate, SECOND, Scripted, after, ask, ms, ready, reason};

fn start(db: &Scripted) -> Health {
    let check = Check::new("db", db.clone())
        .timeout(2 * SECOND)
        .period(20 * SECOND);
    Health::builder("orders")
        .seed(7)
        .check(check)
        .start()
        .unwrap()
}

async fn events(subscription: &mut Subscription) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(ms(1), subscription.next()).await {
        events.push(event);
    }
    events
}

#[tokio::test(start_paused = true)]
async fn a_run_interrupted_by_a_suspension_is_repeated_and_does_not_fail() {
    let db = Scripted::new(Status::Pass).duration(SECOND);
    let health = start(&db);
    after(5 * SECOND).await;
    while db.running() == 0 {
        after(ms(100)).await;
    }
    let (runs, mut subscription) = (db.runs(), health.subscribe());
    // The stall is shorter than the validity of a result.
    advance(30 * SECOND).await;
    after(3 * SECOND).await;
    assert_eq!((ready(&health), db.runs()), (Status::Pass, runs + 1));
    assert_eq!(db.max_running(), 1);
    assert!(events(&mut subscription).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_suspension_every_check_runs_again_once() {
    let db = Scripted::new(Status::Pass);
    let check = |name: &'static str| Check::new(name, db.clone()).period(600 * SECOND);
    let health = Health::builder("orders")
        .checks(["a", "b", "c", "d"].map(check))
        .check(Check::new("on-demand", db.clone()).on_demand(SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(db.runs(), 4);
    advance(60 * SECOND).await;
    after(ms(300)).await;
    assert_eq!(db.runs(), 8, "one round, of those that run by themselves");
    after(30 * SECOND).await;
    assert_eq!(db.runs(), 8);
    drop(health);
}

#[tokio::test(start_paused = true)]
async fn a_short_stall_repeats_no_run() {
    let db = Scripted::new(Status::Pass);
    let check = Check::new("db", db.clone()).period(600 * SECOND);
    let _health = Health::builder("orders").check(check).start().unwrap();
    after(SECOND).await;
    for _ in 0..10 {
        advance(3 * SECOND).await;
        after(ms(300)).await;
    }
    assert_eq!(db.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_dependency_is_not_forgiven_because_of_a_stall() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(5 * SECOND).await;
    db.set_duration(3_600 * SECOND);
    while db.running() == 0 {
        after(ms(100)).await;
    }
    advance(10 * SECOND).await;
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass, "it is asked again first");
    after(3 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_run_on_demand_is_repeated_for_its_readers() {
    for takes in [SECOND, 3_600 * SECOND] {
        let db = Scripted::new(Status::Pass).duration(takes);
        let check = Check::new("db", db.clone())
            .on_demand(SECOND)
            .wait(60 * SECOND);
        let health = Health::builder("orders")
            .check(check)
            .check(Check::new("other", Scripted::new(Status::Pass)))
            .start()
            .unwrap();
        after(SECOND).await;
        let service = health.service();
        let reader = tokio::spawn(async move { ask(&service, "/ready").await });
        while db.running() == 0 {
            after(ms(10)).await;
        }
        advance(30 * SECOND).await;
        db.set_duration(SECOND);
        let answer = tokio::time::timeout(10 * SECOND, reader).await.unwrap();
        assert_eq!((answer.unwrap().status.as_u16(), db.runs()), (200, 2));
        after(10 * SECOND).await;
        assert_eq!(ask(&health.service(), "/ready").await.status, 200);
        after(2 * SECOND).await;
        assert_eq!((db.runs(), db.max_running()), (3, 1));
    }
}

/// Code that blocks the thread of its runtime stalls its own run.
#[tokio::test]
async fn a_check_that_blocks_its_runtime_is_forgiven_only_once() {
    let runs = Arc::new(AtomicUsize::new(0));
    let check = Check::with("db", Arc::clone(&runs), |runs| async move {
        runs.fetch_add(1, Ordering::SeqCst);
        thread::sleep(ms(1_800));
        Status::Pass
    });
    let check = check.timeout(ms(100)).period(ms(200));
    let health = Health::builder("orders").check(check).start().unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while reason(&health, "db") == Some(Reason::Pending) {
            after(ms(10)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(reason(&health, "db"), Some(Reason::TimedOut));
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// A run exceeds its timeout, and then the process is suspended. The suspension does not count as a
/// second failure.
#[tokio::test(start_paused = true)]
async fn a_suspension_adds_no_failure_to_a_run_that_has_not_ended() {
    let gate = Gate::default();
    let check = gate
        .check("mount")
        .timeout(SECOND)
        .fail_after(2)
        .retry_period(10 * SECOND);
    let health = Health::builder("orders").check(check).start().unwrap();
    health
        .wait_until(Probe::Readiness, Status::Pass)
        .await
        .unwrap();
    gate.set(true);
    let report = health.run_now("mount").await.unwrap();
    assert_eq!((report.status, report.streak), (Status::Pass, 1));
    // The process is suspended shortly afterwards, with all its threads.
    tokio::time::advance(8 * SECOND).await;
    after(ms(300)).await;
    let status = health.check("mount").unwrap().status;
    gate.set(false);
    assert_eq!(status, Status::Pass);
}

/// A runtime that the application blocks from time to time does not count as a suspended process.
#[tokio::test(start_paused = true)]
async fn a_shared_check_keeps_its_period_on_a_runtime_that_stalls() {
    let db = Scripted::new(Status::Pass);
    let check = Check::new("db", db.clone()).shared().period(600 * SECOND);
    let _health = Health::builder("orders").check(check).start().unwrap();
    after(SECOND).await;
    for _ in 0..20 {
        tokio::time::advance(7 * SECOND).await;
        after(ms(300)).await;
    }
    assert!(db.runs() <= 3, "{} runs in 146 s", db.runs());
}

/// A stalled run that ended in time does not use up the forgiveness of the next run.
#[tokio::test(start_paused = true)]
async fn a_second_suspension_does_not_fail_a_check_either() {
    let db = Scripted::new(Status::Pass).duration(SECOND);
    let health = start(&db);
    after(5 * SECOND).await;
    for stands_still in [3 * SECOND / 2, 30 * SECOND] {
        while db.running() == 0 {
            after(ms(100)).await;
        }
        advance(stands_still).await;
        after(3 * SECOND).await;
        assert_eq!(reason(&health, "db"), None, "{stands_still:?}");
        assert_eq!(ready(&health), Status::Pass, "{stands_still:?}");
    }
}

#[tokio::test]
async fn a_check_that_blocks_its_runtime_still_counts_as_slow() {
    let blocks = || async {
        // Longer than the engine sleeps, so that the engine detects the stall.
        thread::sleep(ms(2_300));
        Status::Pass
    };
    let health = Health::builder("orders")
        .check(
            Check::new("db", blocks)
                .timeout(5 * SECOND)
                .warn_above(ms(100)),
        )
        .start()
        .unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(health.run_now("db").await.unwrap().reason);
    }
    assert!(told.contains(&Some(Reason::Slow)), "{told:?}");
}
