//! Waiting for health, watching it, and being told of each change.

use std::time::Duration;

use tower_health::{
    Check, CheckTransition, Event, Health, Outcome, Probe, Reason, Status, Stopped, Subscription,
    VerdictReason, VerdictTransition,
};

use crate::support::{SECOND, Scripted, after, ask, ms, ready};

fn start(db: &Scripted) -> Health {
    let check = Check::new("db", db.clone()).period(SECOND);
    Health::builder("orders")
        .seed(7)
        .check(check)
        .start()
        .unwrap()
}

/// What was told so far, in words.
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
async fn each_transition_is_told_once_and_repeats_are_not() {
    let db = Scripted::new(Status::Fail);
    let health = start(&db);
    let mut events = health.subscribe();
    after(10 * SECOND).await;
    assert!(db.runs() > 5);
    // The first failure is told, though the status was a fail before.
    assert_eq!(
        told(&mut events).await,
        ["db: nothing → fail, failed", "startup: fail → pass"]
    );
    db.say(Status::Pass);
    after(10 * SECOND).await;
    assert_eq!(
        told(&mut events).await,
        [
            "db: fail → pass",
            "readiness: fail → pass",
            "health: fail → pass"
        ]
    );
    db.say(Status::Warn);
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
async fn a_transition_tells_since_when_why_and_how_long_it_was_otherwise() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(SECOND).await;
    let mut events = health.subscribe();
    after(60 * SECOND).await;
    db.say(Outcome::fail(Reason::Busy).with_cause("password=hunter2 is wrong"));
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
            r#"{"check":{"name":"db","from":"pass","to":"fail","reason":"busy","at":""#
        ),
        "{json}"
    );
    assert!(!json.contains("is wrong"), "a cause is withheld: {json}");
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_told_and_that_of_an_unread_check_is_not() {
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

    // Its one place for a run is taken, so that nothing can be learnt of the other.
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
async fn pitfall_14_a_slow_subscriber_loses_the_oldest_and_slows_nobody() {
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
async fn wait_until_waits_for_the_very_status_and_wait_until_good_for_either() {
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
    db.say(Status::Warn);
    assert_eq!(good.await.unwrap().unwrap().status, Status::Warn);
    after(10 * SECOND).await;
    assert!(!pass.is_finished());
    db.say(Status::Pass);
    assert_eq!(pass.await.unwrap().unwrap().status, Status::Pass);
    // What is so already is no wait.
    let now = health.wait_until(Probe::Readiness, Status::Pass);
    assert!(tokio::time::timeout(Duration::ZERO, now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_of_each_change_that_it_was_there_for() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    let mut watch = health.watch(Probe::Readiness);
    assert_eq!(watch.current().reason, Some(VerdictReason::Starting));
    assert_eq!(watch.changed().await.unwrap().status, Status::Pass);
    let quiet = tokio::time::timeout(60 * SECOND, watch.changed()).await;
    assert!(quiet.is_err(), "runs that say the same are no change");
    db.say(Status::Fail);
    after(2 * SECOND).await;
    db.say(Outcome::fail(Reason::Busy));
    after(2 * SECOND).await;
    let verdict = watch.changed().await.unwrap();
    assert_eq!(verdict.checks[0].reason, Some(Reason::Busy), "the last one");
    assert_eq!(watch.current().status, Status::Fail);
}

#[test]
fn whatever_waits_ends_with_the_engine_and_does_not_keep_it() {
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
