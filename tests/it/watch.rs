//! Waiting for health, watches, and subscriptions.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::time::timeout;

use tower_health::{
    Check, Health, Outcome, Probe, Reason, Status,
    error::Stopped,
    event::{CheckTransition, Event, Subscription, VerdictTransition},
    report::VerdictReason,
};

use crate::support::{SECOND, Scripted, after, ask, ms, poll_once, ready, reason};

const TTL: Duration = Duration::from_secs(10);

fn start(db: &Scripted) -> Health {
    let check = Check::new("db", db.clone()).period(SECOND);
    Health::builder("orders")
        .seed(7)
        .check(check)
        .start()
        .unwrap()
}

/// Returns the events so far as text.
async fn told(events: &mut Subscription) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = tokio::time::timeout(ms(1), events.next()).await {
        told.push(match event {
            None => "the end".to_owned(),
            Some(Event::Check(CheckTransition {
                name,
                from,
                to,
                reason,
                ..
            })) => {
                let from = from.map_or("nothing", Status::as_str);
                let reason = reason.map_or(String::new(), |reason| format!(", {reason}"));
                format!("{name}: {from} → {to}{reason}")
            }
            Some(Event::Verdict(VerdictTransition {
                probe, from, to, ..
            })) => {
                format!("{probe}: {from} → {to}")
            }
            Some(Event::CheckReason(change)) => {
                let reason = |reason: Option<Reason>| reason.map_or("nothing", Reason::as_str);
                let (from, to) = (reason(change.from), reason(change.to));
                format!("{}: still fails, {from} → {to}", change.name)
            }
            Some(Event::VerdictReason(change)) => {
                let reason =
                    |reason: Option<VerdictReason>| reason.map_or("nothing", VerdictReason::as_str);
                let (from, to) = (reason(change.from), reason(change.to));
                format!("{}: still {}, {from} → {to}", change.probe, change.status)
            }
            Some(Event::Added(name)) => format!("{name} added"),
            Some(Event::Removed(name)) => format!("{name} removed"),
            Some(Event::Missed(count)) => format!("{count} missed"),
            Some(other) => format!("{other:?}"),
        });
        if event_ended(&told) {
            break;
        }
    }
    told
}

fn event_ended(told: &[String]) -> bool {
    told.last().is_some_and(|last| last == "the end")
}

#[tokio::test(start_paused = true)]
async fn each_transition_is_one_event_and_repeats_are_none() {
    let db = Scripted::new(Status::Fail);
    let health = start(&db);
    let mut events = health.subscribe();
    after(10 * SECOND).await;
    assert!(db.runs() > 5);
    // The first failure is an event, although the status was a fail before.
    assert_eq!(
        told(&mut events).await,
        [
            "db: nothing → fail, failed",
            "startup: fail → pass",
            "readiness: still fail, starting → checks",
            "health: still fail, starting → checks"
        ]
    );
    db.set_outcome(Status::Pass);
    after(10 * SECOND).await;
    assert_eq!(
        told(&mut events).await,
        [
            "db: fail → pass",
            "readiness: fail → pass",
            "health: fail → pass"
        ]
    );
    db.set_outcome(Status::Warn);
    after(10 * SECOND).await;
    assert_eq!(
        told(&mut events).await,
        [
            "db: pass → warn, degraded",
            "readiness: pass → warn",
            "health: pass → warn"
        ]
    );
    health
        .add(Check::new("cache", Scripted::new(Status::Pass)))
        .await
        .unwrap();
    health.remove("db").await.unwrap();
    assert_eq!(
        told(&mut events).await,
        [
            "cache added",
            "cache: nothing → pass",
            "db removed",
            "readiness: warn → pass",
            "health: warn → pass"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_transition_contains_its_time_its_reason_and_the_previous_duration() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(SECOND).await;
    let mut events = health.subscribe();
    after(60 * SECOND).await;
    db.set_outcome(Outcome::fail(Reason::Busy).with_cause("password=hunter2 is wrong"));
    let Some(Event::Check(transition)) = events.next().await else {
        panic!();
    };
    assert_eq!(transition.reason, Some(Reason::Busy));
    assert_eq!(
        transition.at,
        health.check("db").unwrap().since,
        "readers see what is told"
    );
    assert_eq!(ready(&health), Status::Fail);
    assert!(transition.lasted >= 60 * SECOND && transition.lasted < 64 * SECOND);
    let cause = transition.cause.as_ref().unwrap().redacted();
    assert!(
        cause.contains("is wrong") && !cause.contains("hunter2"),
        "{cause}"
    );
    let Some(Event::Verdict(verdict)) = events.next().await else {
        panic!();
    };
    assert_eq!(
        (verdict.probe, verdict.reason),
        (Probe::Readiness, Some(VerdictReason::Checks))
    );
    assert!(verdict.lasted >= 60 * SECOND && verdict.lasted < 64 * SECOND);
    let json = serde_json::to_string(&Event::Check(transition)).unwrap();
    assert!(
        json.starts_with(
            r#"{"check":{"name":"db","from":"pass","to":"fail","reason":"busy","criticality":"critical","effect":"not ready","at":""#
        ),
        "{json}"
    );
    assert!(!json.contains("is wrong"), "a cause is withheld: {json}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_for_another_reason_is_one_event_and_its_cause_is_none() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(SECOND).await;
    let mut events = health.subscribe();
    let fails = |reason, cause| db.set_outcome(Outcome::fail(reason).with_cause(cause));
    fails(Reason::TimedOut, "at 10:00");
    after(3 * SECOND).await;
    let began = health.check("db").unwrap().since;
    fails(Reason::TimedOut, "at 10:01");
    after(3 * SECOND).await;
    fails(Reason::AuthenticationFailed, "role app");
    after(3 * SECOND).await;
    assert_eq!(
        health.check("db").unwrap().since,
        began,
        "it fails since then"
    );
    db.set_outcome(Status::Pass);
    after(3 * SECOND).await;
    assert_eq!(
        told(&mut events).await,
        [
            "db: pass → fail, timed out",
            "readiness: pass → fail",
            "health: pass → fail",
            "db: still fails, timed out → authentication failed",
            "db: fail → pass",
            "readiness: fail → pass",
            "health: fail → pass"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_alternates_is_one_event() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(SECOND).await;
    let mut events = health.subscribe();
    for _ in 0..600 {
        for reason in [Reason::TimedOut, Reason::ConnectionRefused] {
            db.set_outcome(Outcome::fail(reason));
            health.run_now("db").await.unwrap();
            assert_eq!(
                health.check("db").unwrap().reason,
                Some(reason),
                "readers see it at once"
            );
            after(SECOND).await;
        }
    }
    let told = told(&mut events).await;
    let reasons = told.iter().filter(|told| told.contains("still fails"));
    assert_eq!(reasons.count(), 1, "{told:#?}");
}

/// The reason that stays is not withheld for ever, although it was announced before.
#[tokio::test(start_paused = true)]
async fn a_reason_that_returns_and_stays_is_an_event_after_a_minute() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(SECOND).await;
    let mut events = health.subscribe();
    for reason in [Reason::TimedOut, Reason::Busy, Reason::TimedOut] {
        db.set_outcome(Outcome::fail(reason));
        after(5 * SECOND).await;
    }
    after(65 * SECOND).await;
    let told = told(&mut events).await;
    let reasons: Vec<&String> = told
        .iter()
        .filter(|it| it.contains("still fails"))
        .collect();
    assert_eq!(
        reasons,
        [
            "db: still fails, timed out → busy",
            "db: still fails, busy → timed out"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_blocked_check_tells_who_blocks_it_and_is_not_pending_in_between() {
    let (network, db) = (Scripted::new(Status::Pass), Scripted::new(Status::Fail));
    let health = Health::builder("orders")
        .check(Check::new("network", network.clone()).non_critical())
        .check(Check::new("db", db.clone()).depends_on("network"))
        .start()
        .unwrap();
    after(SECOND).await;
    let mut events = health.subscribe();
    network.set_outcome(Outcome::fail(Reason::Unreachable));
    after(15 * SECOND).await;
    network.set_outcome(Status::Pass);
    after(90 * SECOND).await;
    let told = told(&mut events).await;
    let db: Vec<&String> = told.iter().filter(|it| it.starts_with("db")).collect();
    assert_eq!(
        db,
        [
            "db: still fails, failed → blocked",
            "db: still fails, blocked → failed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_verdict_lists_three_checks_that_decide_it_and_counts_the_others() {
    let shard = |number| Check::new(format!("shard-{number}"), Scripted::new(Status::Fail));
    let health = Health::builder("orders")
        .checks((0..5).map(shard))
        .check(Check::new("search", Scripted::new(Status::Fail)).non_critical())
        .start()
        .unwrap();
    let mut events = health.subscribe();
    let change = loop {
        match events.next().await.unwrap() {
            Event::VerdictReason(change) if change.probe == Probe::Readiness => break change,
            _ => {}
        }
    };
    assert_eq!(change.to, Some(VerdictReason::Checks));
    let names: Vec<&str> = change.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(
        (names, change.more),
        (vec!["shard-0", "shard-1", "shard-2"], 2)
    );
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_an_event_unless_the_check_is_unread() {
    let health = Health::builder("orders")
        .check(Check::new("once", Scripted::new(Status::Pass)).on_demand(SECOND))
        .start()
        .unwrap();
    let mut events = health.subscribe();
    assert_eq!(ask(&health.service(), "/ready").await.status, 200);
    assert_eq!(
        told(&mut events).await,
        [
            "once: nothing → pass",
            "startup: fail → pass",
            "readiness: fail → pass",
            "health: fail → pass"
        ]
    );
    after(3_600 * SECOND).await;
    assert_eq!(ready(&health), Status::Fail, "stale");
    assert_eq!(ask(&health.service(), "/ready").await.status, 200);
    assert_eq!(told(&mut events).await, [""; 0]);

    // The only permit is taken, so nothing new is known of the other check.
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .concurrency(1)
        .check(
            Check::new("db", db.clone())
                .period(SECOND)
                .timeout(3_600 * SECOND)
                .max_age(3_602 * SECOND),
        )
        .check(Check::new("cache", Scripted::new(Status::Pass)).period(SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    let mut events = health.subscribe();
    db.hang();
    after(10 * SECOND).await;
    assert_eq!(
        told(&mut events).await,
        [
            "cache: pass → fail, stale",
            "readiness: pass → fail",
            "health: pass → fail"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_loses_the_oldest_events_and_delays_no_other() {
    let health = Health::builder("orders").start().unwrap();
    let (mut slow, mut quick) = (health.subscribe(), health.subscribe());
    for number in 0..200 {
        let check = Check::new(format!("c{number}"), Scripted::new(Status::Pass));
        health.add(check).await.unwrap();
        let events = [quick.next().await, quick.next().await];
        assert!(
            matches!(events, [Some(Event::Added(_)), Some(Event::Check(_))]),
            "{events:?}"
        );
    }
    let first = slow.next().await;
    assert!(matches!(first, Some(Event::Missed(144))), "{first:?}");
    let rest = told(&mut slow).await;
    assert_eq!(
        (rest.len(), rest[0].as_str()),
        (Subscription::CAPACITY, "c72 added")
    );
    assert_eq!(rest[255], "c199: nothing → pass");
}

#[tokio::test(start_paused = true)]
async fn wait_until_waits_for_one_status_and_wait_until_good_for_pass_or_warn() {
    let db = Scripted::new(Status::Fail);
    let health = start(&db);
    let good = tokio::spawn(health.wait_until_good(Probe::Readiness));
    let pass = tokio::spawn(health.wait_until(Probe::Readiness, Status::Pass));
    let startup = health
        .wait_until(Probe::Startup, Status::Pass)
        .await
        .unwrap();
    assert_eq!(startup.probe, Probe::Startup);
    assert!(!good.is_finished());
    db.set_outcome(Status::Warn);
    assert_eq!(good.await.unwrap().unwrap().status, Status::Warn);
    after(10 * SECOND).await;
    assert!(!pass.is_finished());
    db.set_outcome(Status::Pass);
    assert_eq!(pass.await.unwrap().unwrap().status, Status::Pass);
    // A status that is already reached needs no wait.
    let now = health.wait_until(Probe::Readiness, Status::Pass);
    assert!(tokio::time::timeout(Duration::ZERO, now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_watch_reports_each_change_after_its_creation() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    let mut watch = health.watch(Probe::Readiness);
    assert_eq!(watch.current().reason, Some(VerdictReason::Starting));
    assert_eq!(watch.changed().await.unwrap().status, Status::Pass);
    let quiet = tokio::time::timeout(60 * SECOND, watch.changed()).await;
    assert!(quiet.is_err(), "runs that say the same are no change");
    db.set_outcome(Status::Fail);
    after(2 * SECOND).await;
    db.set_outcome(Outcome::fail(Reason::Busy));
    after(2 * SECOND).await;
    let verdict = watch.changed().await.unwrap();
    assert_eq!(verdict.checks[0].reason, Some(Reason::Busy), "the last one");
    assert_eq!(watch.current().status, Status::Fail);
}

#[test]
fn waiters_end_with_the_engine_and_do_not_keep_it_running() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    for by_runtime in [false, true] {
        let (engine, own) = (runtime(), runtime());
        let db = Scripted::hanging();
        let check = Check::new("db", db.clone()).timeout(3_600 * SECOND);
        let health = Health::builder("orders")
            .check(check)
            .runtime(engine.handle().clone())
            .start()
            .unwrap();
        let mut events = health.subscribe();
        let mut watch = health.watch(Probe::Liveness);
        let pass = health.wait_until(Probe::Readiness, Status::Pass);
        let fail = health.wait_until(Probe::Liveness, Status::Fail);
        let kept = by_runtime.then(|| health.clone());
        drop(health);
        engine.block_on(async { after(ms(300)).await });
        assert_eq!(db.running(), usize::from(by_runtime));
        drop(engine);
        own.block_on(async {
            assert_eq!(pass.await.unwrap_err(), Stopped);
            assert_eq!(
                fail.await.unwrap().reason,
                Some(VerdictReason::EngineStopped)
            );
            assert_eq!(watch.changed().await.unwrap().status, Status::Fail);
            assert_eq!(watch.changed().await.unwrap_err(), Stopped);
            assert_eq!(told(&mut events).await, ["the end"]);
            assert!(events.next().await.is_none());
            if let Some(health) = kept {
                assert!(health.subscribe().next().await.is_none());
                let late = health.wait_until(Probe::Readiness, Status::Pass);
                assert_eq!(late.await.unwrap_err(), Stopped);
            }
        });
    }
}

/// A waiter that has read a stale state is woken when the state is over, even if the engine has not
/// recorded that state yet.
#[tokio::test(start_paused = true)]
async fn wait_until_wakes_when_a_stale_check_on_demand_passes_again() {
    let check = Check::new("db", Scripted::new(Status::Pass)).on_demand(TTL);
    let health = Health::builder("orders").check(check).start().unwrap();
    assert_eq!(ask(&health.service(), "/ready").await.status, 200);
    after(60 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Stale));
    let waiting = tokio::spawn(health.wait_until(Probe::Readiness, Status::Pass));
    after(ms(1)).await;
    assert!(!waiting.is_finished());
    assert_eq!(ask(&health.service(), "/ready").await.status, 200);
    assert_eq!(ready(&health), Status::Pass);
    let verdict = timeout(5 * SECOND, waiting)
        .await
        .expect("it is a pass by now");
    assert_eq!(verdict.unwrap().unwrap().status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_watch_created_while_a_check_on_demand_is_stale_reports_that_it_passes() {
    let check = Check::new("db", Scripted::new(Status::Pass)).on_demand(TTL);
    let health = Health::builder("orders").check(check).start().unwrap();
    assert_eq!(ask(&health.service(), "/ready").await.status, 200);
    after(60 * SECOND).await;
    let mut watch = health.watch(Probe::Readiness);
    assert_eq!(watch.current().status, Status::Fail);
    let told = tokio::spawn(async move { watch.changed().await });
    after(ms(1)).await;
    assert_eq!(ask(&health.service(), "/ready").await.status, 200);
    let verdict = timeout(5 * SECOND, told)
        .await
        .expect("it changed")
        .unwrap();
    assert_eq!(verdict.unwrap().status, Status::Pass);
}

/// The same for a scheduled check. The runtime of the engine stalls past an expiry, and the passing
/// outcome of that time is the first thing that the engine sees.
#[test]
fn wait_until_wakes_when_an_expiry_that_the_engine_never_saw_is_over() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&ended);
    // The first run is quick. The second run ends while the runtime is stalled.
    let check = Check::blocking("db", move || {
        thread::sleep(ms(if says.swap(true, Ordering::SeqCst) {
            1_500
        } else {
            0
        }));
        Status::Pass
    });
    let check = check.period(ms(300)).timeout(ms(1_600)).max_age(ms(2_000));
    let health = Health::builder("orders")
        .check(check)
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    runtime.block_on(async {
        health
            .wait_until(Probe::Readiness, Status::Pass)
            .await
            .unwrap();
        // By now the second run is in progress, and has not ended.
        after(ms(700)).await;
    });
    thread::sleep(ms(1_500));
    struct Bell(AtomicBool);
    impl std::task::Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let bell = Arc::new(Bell(AtomicBool::new(false)));
    let mut waiting = pin!(health.wait_until(Probe::Readiness, Status::Pass));
    let waker = Waker::from(Arc::clone(&bell));
    let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending(), "stale");
    runtime.block_on(async {
        after(ms(500)).await;
        assert_eq!(ready(&health), Status::Pass);
    });
    assert!(bell.0.load(Ordering::SeqCst), "it is a pass by now");
}

/// This holds also while a check on demand is stale that nobody reads.
#[tokio::test(start_paused = true)]
async fn a_reported_verdict_equals_the_verdict_of_readers() {
    let other = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(Status::Pass)).on_demand(TTL))
        .check(Check::new("other", other.clone()))
        .start()
        .unwrap();
    assert_eq!(ask(&health.service(), "/health/db").await.status, 200);
    after(SECOND).await;
    other.set_outcome(Status::Fail);
    after(60 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Stale));
    let mut events = health.subscribe();
    other.set_outcome(Status::Pass);
    health.run_now("other").await.unwrap();
    while let Ok(Some(event)) = timeout(SECOND, events.next()).await {
        if let Event::Verdict(told) = event {
            assert_eq!(
                told.to,
                health.verdict(told.probe).status,
                "{:?}: told, and seen",
                told.probe
            );
        }
    }
}

/// `retry_after` alone does not count as a change.
#[tokio::test(start_paused = true)]
async fn a_watch_does_not_report_the_same_verdict_twice() {
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(Status::Fail)))
        .start()
        .unwrap();
    after(SECOND).await;
    let mut watch = health.watch(Probe::Readiness);
    let seen = watch.current();
    if let Ok(Ok(next)) = timeout(30 * SECOND, watch.changed()).await {
        assert_eq!((next.status, next.reason), (seen.status, seen.reason));
        let told = |verdict: &tower_health::report::Verdict| {
            let check = |check: &tower_health::report::CheckReport| {
                (check.name.clone(), check.status, check.reason)
            };
            verdict.checks.iter().map(check).collect::<Vec<_>>()
        };
        assert_ne!(
            told(&next),
            told(&seen),
            "nothing that the docs name is another"
        );
    }
}

/// The check returns because of time, without a new outcome.
#[tokio::test(start_paused = true)]
async fn wait_until_wakes_when_a_shared_check_on_demand_has_returned() {
    let db = Scripted::new(Status::Pass);
    let check = Check::new("db", db.clone())
        .on_demand(TTL)
        .shared()
        .shared_grace(SECOND);
    let health = Health::builder("orders")
        .seed(7)
        .check(check)
        .start()
        .unwrap();
    for (status, wait) in [(Status::Pass, 0), (Status::Fail, 2), (Status::Pass, 0)] {
        db.set_outcome(status);
        health.run_now("db").await.unwrap();
        after(wait * SECOND).await;
    }
    assert_eq!(ready(&health), Status::Fail, "it waits before it returns");
    let waiting = tokio::spawn(health.wait_until(Probe::Readiness, Status::Pass));
    after(TTL + SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    assert!(waiting.is_finished());
}

/// This holds however long it takes to compute the last verdicts.
#[test]
fn a_watch_reports_the_last_verdict_before_it_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = |n: usize| Check::new(format!("c{n}"), Scripted::new(Status::Pass)).non_critical();
    let health = Health::builder("orders")
        .checks((0..20_000).map(check))
        .concurrency(1)
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    let mut watch = health.watch(Probe::Liveness);
    let reader = thread::spawn(move || {
        let mut last = None;
        loop {
            match poll_once(&mut pin!(watch.changed())) {
                Poll::Pending => {}
                Poll::Ready(Ok(verdict)) => last = Some(verdict.status),
                Poll::Ready(Err(Stopped)) => return last,
            }
        }
    });
    thread::sleep(ms(100));
    drop(runtime);
    drop(health);
    assert_eq!(reader.join().unwrap(), Some(Status::Fail));
}
