//! Checks that run when they are read, on a paused clock.

use std::{sync::Arc, task::Poll, thread, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, timeout};
use tower::{Service, ServiceExt};
use tower_health::{
    Check, Failure, Health, HealthCheck, Outcome, Probe, Reason, Status, async_trait,
    endpoint::ProbeService, event::Event,
};

use crate::support::{
    SECOND, Scripted, after, ask, ask_with, block_on, ms, poll_once, ready, reason, status_only,
};

const TTL: Duration = Duration::from_secs(10);

fn start(db: &Scripted) -> Health {
    start_with(Check::new("db", db.clone()).on_demand(TTL))
}

fn start_with(check: Check) -> Health {
    Health::builder("orders").check(check).start().unwrap()
}

/// Returns the status code of a response, and how long it took.
async fn timed(service: &ProbeService, path: &str) -> (u16, Duration) {
    let began = Instant::now();
    let status = ask(service, path).await.status.as_u16();
    (status, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_share_one_run() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = start(&db);
    let reader = |index: usize| {
        let service = health.service();
        let path = ["/ready", "/health", "/health/db", "/startup"][index % 4];
        async move { timed(&service, path).await }
    };
    let readers: Vec<_> = (0..1_000)
        .map(|index| tokio::spawn(reader(index)))
        .collect();
    for reader in readers {
        let (status, took) = reader.await.unwrap();
        assert_eq!(status, 200);
        assert!(took >= ms(50) && took < ms(60), "{took:?}");
    }
    assert_eq!((db.runs(), db.max_running()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn other_readers_get_the_result_after_the_first_reader_disconnects() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = start(&db);
    let mut first = Box::pin(
        health
            .service()
            .oneshot(Request::get("/ready").body(()).unwrap()),
    );
    assert!(poll_once(&mut first).is_pending());
    let service = health.service();
    let second = tokio::spawn(async move { timed(&service, "/ready").await });
    after(ms(20)).await;
    assert_eq!(db.running(), 1);
    drop(first);
    assert_eq!(second.await.unwrap().0, 200);
    assert_eq!(db.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_completes_and_counts_after_all_its_readers_disconnected() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = start(&db);
    let mut only = Box::pin(
        health
            .service()
            .oneshot(Request::get("/ready").body(()).unwrap()),
    );
    assert!(poll_once(&mut only).is_pending());
    drop(only);
    after(ms(60)).await;
    assert_eq!((db.runs(), ready(&health)), (1, Status::Pass));
    assert_eq!(
        timed(&health.service(), "/ready").await,
        (200, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn unread_checks_do_not_run_and_in_process_readers_start_no_run() {
    let db = Scripted::new(Status::Pass);
    let health = start(&db);
    after(3_600 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Pending));
    for probe in [
        Probe::Readiness,
        Probe::Health,
        Probe::Startup,
        Probe::Liveness,
    ] {
        _ = health.verdict(probe);
    }
    _ = health.report();
    assert_eq!(ask(&health.service(), "/live").await.status, 200);
    assert_eq!(
        ask_with(&health.service(), "POST", "/ready").await.status,
        405
    );
    let secretive = health.service().endpoints(status_only().build().unwrap());
    assert_eq!(ask(&secretive, "/health/db").await.status, 404);
    after(SECOND).await;
    assert_eq!(db.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn within_max_age_no_reader_waits_and_past_the_ttl_one_background_run_starts() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = start(&db);
    let service = health.service();
    assert_eq!(timed(&service, "/ready").await.0, 200);
    // Fresh: no run.
    after(TTL - ms(100)).await;
    assert_eq!(timed(&service, "/ready").await, (200, Duration::ZERO));
    after(ms(90)).await;
    assert_eq!(db.runs(), 1);
    // Older than its ttl: the old response immediately, and one run for all readers.
    after(SECOND).await;
    db.set_outcome(Status::Fail);
    for path in ["/ready", "/health", "/ready", "/health/db"] {
        assert_eq!(timed(&service, path).await, (200, Duration::ZERO), "{path}");
    }
    after(ms(60)).await;
    assert_eq!(db.runs(), 2);
    assert_eq!(timed(&service, "/ready").await, (503, Duration::ZERO));
    // While it fails, the retry period applies instead of the ttl.
    db.set_outcome(Status::Pass);
    after(2 * SECOND).await;
    assert_eq!(timed(&service, "/ready").await, (503, Duration::ZERO));
    after(ms(60)).await;
    assert_eq!((db.runs(), ready(&health)), (3, Status::Pass));
    // Past its max age, which is 3 × ttl + timeout, the result is no longer valid: readers wait.
    after(32 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Stale));
    assert_eq!(ready(&health), Status::Fail);
    let (status, took) = timed(&service, "/ready").await;
    assert_eq!(
        (status, took >= ms(50) && took < ms(60)),
        (200, true),
        "{took:?}"
    );
    assert_eq!((db.runs(), db.max_running()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_at_most_for_the_configured_wait() {
    for (check, least, most) in [
        (Check::new("db", Scripted::hanging()), ms(500), ms(510)),
        (
            Check::new("db", Scripted::hanging()).wait(ms(20)),
            ms(20),
            ms(30),
        ),
        (
            Check::new("db", Scripted::hanging()).wait(Duration::ZERO),
            ms(0),
            ms(0),
        ),
    ] {
        let health = start_with(check.on_demand(TTL));
        let began = Instant::now();
        let answer = ask(&health.service(), "/health/db").await;
        let took = began.elapsed();
        assert!(took >= least && took <= most, "{took:?}");
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["output"], "pending");
        // The run times out, and the next reader starts another run.
        after(3 * SECOND).await;
        assert_eq!(reason(&health, "db"), Some(Reason::TimedOut));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_outcome_and_later_readers_are_answered() {
    let db = Scripted::panicking("password=hunter2").duration(ms(50));
    let health = start(&db);
    let readers: Vec<_> = (0..10)
        .map(|_| {
            let service = health.service();
            tokio::spawn(async move { ask(&service, "/health/db").await })
        })
        .collect();
    for reader in readers {
        let answer = reader.await.unwrap();
        assert_eq!((answer.status.as_u16(), db.runs()), (503, 1));
        assert_eq!(answer.json()["output"], "panicked");
    }
    db.set_outcome(Status::Pass);
    after(2 * SECOND).await;
    assert_eq!(ask(&health.service(), "/health/db").await.status, 503);
    after(ms(60)).await;
    assert_eq!(ask(&health.service(), "/health/db").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_an_engine_that_ends_is_answered() {
    let db = Scripted::new(Status::Pass).duration(SECOND);
    let health = start(&db);
    let service = health.service();
    let mut waiting = Box::pin(
        service
            .clone()
            .oneshot(Request::get("/ready").body(()).unwrap()),
    );
    assert!(poll_once(&mut waiting).is_pending());
    let removed = health.remove("db");
    assert!(
        waiting.await.unwrap().status().is_success(),
        "without checks it is ready"
    );
    removed.await.unwrap();
    assert_eq!(ask(&service, "/health/db").await.status, 404);
}

#[test]
fn a_runtime_that_ends_leaves_no_reader_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let db = Scripted::hanging();
    let check = Check::new("db", db.clone())
        .on_demand(TTL)
        .wait(3_600 * SECOND);
    let health = Health::builder("orders")
        .check(check)
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    let service = health.service();
    // There is no tokio runtime on this thread. The future works nevertheless.
    let waiting = thread::spawn(move || block_on(ask(&service, "/health/db")));
    while db.running() == 0 {
        runtime.block_on(async { tokio::time::sleep(ms(1)).await });
    }
    drop(runtime);
    let answer = waiting.join().unwrap();
    assert_eq!(answer.json()["output"], "engine stopped");
    assert_eq!(block_on(ask(&health.service(), "/health/db")).status, 503);
}

#[test]
fn a_reader_on_a_runtime_without_timers_uses_the_timers_of_the_engine() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let check = Check::new("db", Scripted::hanging())
        .on_demand(TTL)
        .wait(ms(50));
    let health = Health::builder("orders")
        .check(check)
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let answer = bare.block_on(ask(&health.service(), "/health/db"));
    assert_eq!(answer.json()["output"], "pending");
}

/// Queries the readiness of another service directly.
struct Upstream(Arc<std::sync::OnceLock<ProbeService>>);

#[async_trait]
impl HealthCheck for Upstream {
    async fn check(&self) -> Result<Outcome, Failure> {
        let service = self.0.get().unwrap();
        if ask(service, "/ready").await.status.is_success() {
            Ok(Outcome::pass())
        } else {
            Err(Failure::new(Reason::UnexpectedAnswer))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_services_that_check_each_other_never_deadlock() {
    let (a, b) = (Arc::default(), Arc::default());
    let service = |name: &str, other: &Arc<_>| {
        let check = Check::new("other", Upstream(Arc::clone(other)));
        Health::builder(name)
            .check(check.on_demand(TTL).non_critical())
            .start()
            .unwrap()
    };
    let (first, second) = (service("a", &b), service("b", &a));
    _ = a.set(first.service());
    _ = b.set(second.service());
    // Nothing is known yet. The services wait for each other until they time out.
    let (_, took) = timed(&first.service(), "/ready").await;
    assert!(took <= ms(510), "{took:?}");
    after(SECOND).await;
    for round in 0..1_000 {
        for health in [&first, &second] {
            let (status, took) = timed(&health.service(), "/ready").await;
            assert_eq!((status, took), (200, Duration::ZERO), "round {round}");
        }
        after(ms(1_700)).await;
    }
    assert_eq!(
        (ready(&first), ready(&second)),
        (Status::Pass, Status::Pass)
    );
}

#[tokio::test(start_paused = true)]
async fn readers_wait_for_shared_and_non_critical_checks_too() {
    let db = Scripted::new(Status::Fail).duration(ms(50));
    let health = start_with(Check::new("db", db.clone()).on_demand(TTL).non_critical());
    assert_eq!(ready(&health), Status::Fail, "startup is not over");
    let answer = ask(&health.service(), "/ready").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["status"].as_str()),
        (200, Some("warn"))
    );
    let health = start_with(Check::new("db", db.clone()).on_demand(TTL).shared());
    assert_eq!(ask(&health.service(), "/ready").await.status, 503);
    assert_eq!(ask(&health.service(), "/startup").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn contradicting_settings_are_errors() {
    let check = || Check::new("db", || async { Status::Pass });
    let error = Health::builder("orders")
        .checks([
            check().on_demand(TTL).period(SECOND),
            check().wait(SECOND),
            check().on_demand(TTL).max_age(9 * SECOND),
            check().on_demand(Duration::ZERO),
            check().on_demand(TTL).retry_period(11 * SECOND),
            check().on_demand(TTL).wait(Duration::MAX),
        ])
        .start()
        .unwrap_err()
        .to_string();
    for part in [
        "`period` is set on a check that runs on demand",
        "`wait` is set on a check that does not run on demand",
        "`max_age` (9s) is shorter than `on_demand` (10s)",
        "`on_demand` is 0s",
        "`retry_period` (11s) is longer than `on_demand` (10s)",
        "`wait` is ",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(
        start_with(check().on_demand(TTL).max_age(TTL))
            .check("db")
            .is_ok()
    );
}

/// The layer waits like the service.
#[tokio::test(start_paused = true)]
async fn a_probe_through_the_layer_waits_and_other_requests_do_not() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = start(&db);
    let mut app = health.wrap(tower::service_fn(crate::support::inner));
    let request = |path| Request::get(path).body(axum::body::Body::empty()).unwrap();
    let mut probe = Box::pin(app.call(request("/ready")));
    assert!(poll_once(&mut probe).is_pending());
    let mut other = Box::pin(app.call(request("/orders")));
    assert!(poll_once(&mut other).is_ready());
    let response: Response<_> = probe.await.unwrap();
    assert_eq!(response.status(), 200);
}

/// `respond` waits like the service.
#[tokio::test(start_paused = true)]
async fn respond_waits_for_a_run_on_demand() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let service = start(&db).service();
    let answer: Response<Bytes> = service.respond("GET", "/ready", None, []).unwrap().await;
    assert_eq!((answer.status().as_u16(), db.runs()), (200, 1));
}

/// The reader ends together with the checks.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_does_not_keep_the_checks_running() {
    let db = Scripted::hanging();
    let check = Check::new("db", db.clone())
        .on_demand(TTL)
        .timeout(3_600 * SECOND)
        .wait(3_600 * SECOND);
    let health = Health::builder("orders").check(check).start().unwrap();
    let mut waiting = Box::pin(
        health
            .service()
            .oneshot(Request::get("/ready").body(()).unwrap()),
    );
    assert!(poll_once(&mut waiting).is_pending());
    after(ms(10)).await;
    assert_eq!(db.running(), 1);
    drop(health);
    after(ms(10)).await;
    let answered = timeout(SECOND, waiting).await;
    assert!(answered.is_ok(), "it ends with the engine");
    assert_eq!(db.running(), 0);
}

/// A reader outside tokio waits no longer than `wait`, even while the runtime of the engine is
/// stalled.
#[test]
fn a_reader_without_timers_is_answered_while_the_engine_is_stalled() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = Check::new("db", Scripted::new(Status::Pass))
        .on_demand(TTL)
        .wait(ms(50));
    let health = Health::builder("orders")
        .check(check)
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    // From here on nothing drives `runtime`.
    let service = health.service();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        block_on(service.respond("GET", "/ready", None, []).unwrap());
        _ = tell.send(());
    });
    assert!(told.recv_timeout(Duration::from_secs(3)).is_ok());
}

/// A stale check on a schedule is replaced by a check on demand. Its reader waits for the run in
/// progress.
#[tokio::test(start_paused = true)]
async fn a_reader_of_a_stale_check_waits_after_its_replacement() {
    let health = Health::builder("orders")
        .concurrency(1)
        .check(
            Check::new("db", Scripted::new(Status::Pass))
                .period(SECOND)
                .timeout(SECOND),
        )
        .start()
        .unwrap();
    after(ms(300)).await;
    let hog = Check::new("hog", Scripted::hanging())
        .timeout(60 * SECOND)
        .non_critical();
    drop(health.add(hog));
    after(30 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Stale));
    drop(
        health.replace(
            Check::new("db", Scripted::new(Status::Pass))
                .on_demand(TTL)
                .wait(60 * SECOND),
        ),
    );
    after(ms(1)).await;
    let answer = ask(&health.service(), "/health/db").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.contains("stale")),
        (200, false)
    );
}

#[test]
fn a_reader_inside_an_undriven_runtime_is_answered() {
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let health = Health::builder("orders")
            .check(Check::new("db", Scripted::new(Status::Pass)).on_demand(SECOND))
            .start()
            .unwrap();
        let answer = block_on(ask(&health.service(), "/ready"));
        done.send(answer.status.as_u16()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(5 * SECOND), Ok(503));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_becomes_stale_although_it_is_read_is_an_event() {
    let db = Scripted::new(Status::Pass);
    let hog = Scripted::hanging();
    let health = Health::builder("orders")
        .concurrency(1)
        .check(Check::new("db", db.clone()).on_demand(SECOND))
        .start()
        .unwrap();
    health.run_now("db").await.unwrap();
    drop(health.add(Check::new("hog", hog).timeout(600 * SECOND).non_critical()));
    let mut events = health.subscribe();
    let mut last = 0;
    for _ in 0..60 {
        last = ask(&health.service(), "/ready").await.status.as_u16();
        after(SECOND).await;
    }
    assert_eq!(last, 503);
    let events = std::iter::from_fn(|| match poll_once(&mut Box::pin(events.next())) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    });
    let told: Vec<_> = events.collect();
    assert!(
        matches!(&told[..], [Event::Check(check), Event::Verdict(_), Event::Verdict(_)]
            if check.reason == Some(Reason::Stale)),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stale_check_that_does_not_recover_when_read_is_an_event() {
    let health = start_with(
        Check::new("db", Scripted::new(Status::Pass))
            .on_demand(SECOND)
            .pass_after(2),
    );
    for _ in 0..2 {
        health.run_now("db").await.unwrap();
    }
    let mut events = health.subscribe();
    after(100 * SECOND).await;
    assert_eq!(ask(&health.service(), "/health/db").await.status, 503);
    let told = timeout(SECOND, events.next()).await.unwrap();
    assert!(
        matches!(&told, Some(Event::Check(check)) if check.to == Status::Fail),
        "{told:?}"
    );
}
