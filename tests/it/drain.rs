//! Leaving: how long, for whom, and who is told.

use std::{convert::Infallible, pin::Pin, sync::Arc, task::Poll, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use tokio::{sync::Notify, time::Instant};
use tokio_stream::StreamExt;
use tower::{Service, ServiceExt};
use tower_health::{
    Health, Probe, Status,
    error::ConfigError,
    layer::probes::Endless,
    report::{Stage, VerdictReason},
};

use crate::support::{SECOND, after, ask, cut, ms, poll_once, ready};

fn service() -> Health {
    Health::builder("orders").start().unwrap()
}

/// How long a future takes, on a paused clock.
async fn takes<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let output = future.await;
    (began.elapsed(), output)
}

/// About so long: timers resolve milliseconds.
#[track_caller]
fn is_about(took: Duration, expected: Duration) {
    let off = took.abs_diff(expected);
    assert!(off < ms(10), "{took:?} and not {expected:?}");
}

/// A service whose requests end when they are let go; `/body` responds at once, with a body that ends then, and
/// `/endless` with one that nobody is to wait for.
#[derive(Clone)]
struct Slow(Arc<Notify>);

type SlowBody = UnsyncBoxBody<Bytes, Infallible>;

impl Service<Request<Body>> for Slow {
    type Response = Response<SlowBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gate = Arc::clone(&self.0);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            if path == "/slow" {
                gate.notified().await;
            }
            let first = tokio_stream::once(Ok(Frame::data(Bytes::from_static(b"first"))));
            let waits = matches!(&*path, "/body" | "/endless");
            let rest = async move {
                if waits {
                    gate.notified().await;
                }
                Ok(Frame::data(Bytes::from_static(b"last")))
            };
            let rest = stream_of(rest);
            let body = StreamBody::new(first.chain(rest));
            let mut response = Response::new(UnsyncBoxBody::new(body));
            if path == "/endless" {
                response.extensions_mut().insert(Endless);
            }
            Ok(response)
        })
    }
}

/// A stream of what a future comes to.
fn stream_of<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl tokio_stream::Stream<Item = T> + Send {
    let (tell, told) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move { _ = tell.send(future.await).await });
    tokio_stream::wrappers::ReceiverStream::new(told)
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_service_serves_on_for_the_delay_and_then_closes() {
    let health = service();
    let before = health.drained();
    let (took, ()) = takes(health.drain()).await;
    is_about(took, 5 * SECOND);
    // Whoever asks before, during and after is told at the same time.
    let (took, ()) = takes(async {
        before.await;
        health.drained().await;
        health.drain().await;
    })
    .await;
    is_about(took, Duration::ZERO);
    assert_eq!(health.stage(), Stage::Draining);
}

#[tokio::test(start_paused = true)]
async fn the_drain_goes_on_though_nobody_polls_it() {
    let health = service();
    drop(health.drain());
    after(5 * SECOND + ms(10)).await;
    let (took, ()) = takes(health.drained()).await;
    is_about(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_until_it_is_answered_and_its_body_has_ended() {
    for path in ["/slow", "/body"] {
        let health = service();
        let gate = Arc::new(Notify::new());
        let app = health.wrap(Slow(Arc::clone(&gate)));
        let answered = tokio::spawn(async move {
            let response = app.oneshot(request(path)).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
        tokio::task::yield_now().await;
        let mut drained = Box::pin(health.drain());
        after(12 * SECOND).await;
        assert!(poll_once(&mut drained).is_pending(), "{path}");
        gate.notify_one();
        let (took, ()) = takes(drained).await;
        is_about(took, Duration::ZERO);
        assert_eq!(answered.await.unwrap(), "firstlast");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_over_when_its_client_goes() {
    // While it is answered, and while it is read.
    for path in ["/slow", "/body"] {
        let health = service();
        let app = health.wrap(Slow(Arc::default()));
        let mut future = Box::pin(app.oneshot(request(path)));
        let response = match poll_once(&mut future) {
            Poll::Ready(response) => Some(response.unwrap()),
            Poll::Pending => None,
        };
        let mut drained = Box::pin(health.drain());
        after(6 * SECOND).await;
        assert!(poll_once(&mut drained).is_pending(), "{path}");
        drop((future, response));
        let (took, ()) = takes(drained).await;
        is_about(took, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_endless_responses_and_errors_hold_nobody_up() {
    let health = service();
    let app = health.wrap(Slow(Arc::default()));
    let endless = app.clone().oneshot(request("/endless")).await.unwrap();
    let probe = app.clone().oneshot(request("/ready")).await.unwrap();
    let failing = health.wrap(tower::service_fn(|_: Request<Body>| async {
        Err::<Response<Body>, _>("no")
    }));
    failing.oneshot(request("/orders")).await.unwrap_err();
    let (took, ()) = takes(health.drain()).await;
    is_about(took, 5 * SECOND);
    drop((endless, probe));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_upgraded_holds_nobody_up() {
    let health = service();
    let app = health.wrap(tower::service_fn(|_: Request<Body>| async {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        Ok::<_, Infallible>(response)
    }));
    let upgraded = app.oneshot(request("/socket")).await.unwrap();
    let (took, ()) = takes(health.drain()).await;
    is_about(took, 5 * SECOND);
    drop(upgraded);
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_is_waited_for_until_its_time_is_over() {
    let health = Health::builder("orders")
        .drain_delay(SECOND)
        .drain_finish(3 * SECOND)
        .start()
        .unwrap();
    let app = health.wrap(Slow(Arc::default()));
    let mut stuck = Box::pin(app.oneshot(request("/slow")));
    assert!(poll_once(&mut stuck).is_pending());
    let (took, ()) = takes(health.drain()).await;
    is_about(took, 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_run_is_cut_and_says_what_was_in_flight() {
    let health = service();
    let app = health.wrap(Slow(Arc::default()));
    let mut stuck = Box::pin(app.oneshot(request("/slow")));
    assert!(poll_once(&mut stuck).is_pending());
    // One that waits for it without limit, as those do that are told to be graceful.
    let drained = health.drained();
    let server = health.run(async move {
        drained.await;
        _ = stuck.await;
    });
    after(SECOND).await;
    drop(health.drain());
    let (took, ended) = takes(server).await;
    is_about(took, 25 * SECOND);
    let error = ended.as_ref().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server was ended with 1 request in flight"
    );
    assert_eq!(cut(ended), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_run_may_end_by_itself() {
    let health = service();
    let failed = || Err::<(), _>("no");
    let ended = health.run(async { failed() }).await;
    assert_eq!(ended.unwrap_err().to_string(), "no");
    // Nothing is in flight, and its connections have a while to end.
    let drained = health.drained();
    let server = health.run(async move {
        drained.await;
        after(SECOND).await;
        failed()
    });
    drop(health.drain());
    let (took, ended) = takes(server).await;
    is_about(took, 6 * SECOND);
    assert_eq!(ended.unwrap_err().to_string(), "no");
    // One that does not has ended well: connections alone were open.
    let (took, ended) = takes(health.run(std::future::pending::<Result<(), &str>>())).await;
    is_about(took, SECOND);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_ends_while_servers_close_is_not_cut() {
    let health = service();
    let gate = Arc::new(Notify::new());
    let app = health.wrap(Slow(Arc::clone(&gate)));
    let drained = health.drained();
    let mut slow = Box::pin(app.oneshot(request("/slow")));
    assert!(poll_once(&mut slow).is_pending());
    let server = health.run(async move {
        drained.await;
        let response = slow.await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    drop(health.drain());
    let server = tokio::spawn(takes(server));
    // The delay, all of the time to finish, and some of the time to close.
    after(24 * SECOND).await;
    gate.notify_one();
    let (took, ended) = server.await.unwrap();
    is_about(took, 24 * SECOND);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_the_drain_does_not_wait_for_itself() {
    for begins in [true, false] {
        let health = service();
        let hook = health.clone();
        let app = health.wrap(tower::service_fn(move |_: Request<Body>| {
            let health = hook.clone();
            async move {
                match begins {
                    true => health.drain().await,
                    false => health.drained().await,
                }
                Ok::<_, Infallible>(Response::new(Body::from("drained")))
            }
        }));
        // Beside another, which it does wait for.
        let gate = Arc::new(Notify::new());
        let other = health.wrap(Slow(Arc::clone(&gate)));
        let other = tokio::spawn(async move { drop(other.oneshot(request("/slow")).await) });
        let answered = tokio::spawn(takes(async {
            let response = app.oneshot(request("/pre-stop")).await.unwrap();
            let leaving = response.headers().get(http::header::CONNECTION).cloned();
            (
                leaving,
                response.into_body().collect().await.unwrap().to_bytes(),
            )
        }));
        after(SECOND).await;
        if !begins {
            drop(health.drain());
        }
        after(9 * SECOND).await;
        assert!(!answered.is_finished());
        gate.notify_one();
        let (took, (leaving, body)) = answered.await.unwrap();
        is_about(took, 10 * SECOND);
        assert_eq!(body, "drained");
        assert_eq!(leaving.unwrap(), "close");
        other.await.unwrap();
        // What was counted is, all the same, as much as before.
        let late = health.wrap(Slow(Arc::default()));
        let mut stuck = Box::pin(late.oneshot(request("/slow")));
        assert!(poll_once(&mut stuck).is_pending());
        let ended = health.run(std::future::pending::<()>()).await;
        assert_eq!(cut(ended), 1);
    }
}

/// It looks at the drain, or waits for it, and then goes on with what it does.
#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_on_after_it_waited_for_the_drain_is_waited_for() {
    for waits in [true, false] {
        let health = Health::builder("orders")
            .drain_delay(Duration::ZERO)
            .drain_close(10 * SECOND)
            .start()
            .unwrap();
        let hook = health.clone();
        let app = health.wrap(tower::service_fn(move |_: Request<Body>| {
            let drained = hook.drained();
            async move {
                match waits {
                    true => drained.await,
                    false => drop(tokio::time::timeout(SECOND, drained).await),
                }
                tokio::time::sleep(4 * SECOND).await;
                Ok::<_, Infallible>(Response::new(Body::from("flushed")))
            }
        }));
        let answered = tokio::spawn(takes(async {
            let response = app.oneshot(request("/flush")).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        }));
        // The one waits until servers close, the other looks for a second; both go on for four.
        let other = health.wrap(Slow(Arc::default()));
        let mut other = Box::pin(other.oneshot(request("/slow")));
        assert!(poll_once(&mut other).is_pending());
        drop(health.drain());
        after(2 * SECOND).await;
        drop(other);
        let server = health.drained();
        let server = health.run(async move {
            server.await;
            std::future::pending::<()>().await;
        });
        let (took, ended) = takes(server).await;
        let (_, body) = answered.await.unwrap();
        assert_eq!(body, "flushed");
        ended.unwrap();
        // Once nothing is in flight a server has 2 s to end.
        assert!(took >= 4 * SECOND && took < 7 * SECOND, "{waits}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_waited_for_and_a_stream_ends_when_the_drain_begins() {
    let health = service();
    let draining = health.draining();
    let mut early = Box::pin(health.draining());
    assert!(poll_once(&mut early).is_pending());
    let stream = tokio::spawn(takes(draining));
    let message = health.in_flight();
    after(3 * SECOND).await;
    let drained = tokio::spawn(takes(health.drain()));
    let (took, ()) = stream.await.unwrap();
    is_about(took, 3 * SECOND);
    early.await;
    health.draining().await;
    after(12 * SECOND).await;
    assert!(!drained.is_finished());
    drop(message);
    let (took, ()) = drained.await.unwrap();
    is_about(took, 12 * SECOND);
    // Nothing can begin any more.
    Health::fixed(Status::Pass).draining().await;
    let ended = health.draining();
    drop(health);
    ended.await;
}

#[tokio::test(start_paused = true)]
async fn liveness_passes_and_probes_are_answered_to_the_end() {
    let health = service();
    let app = health.wrap(Slow(Arc::default()));
    let mut stuck = Box::pin(app.clone().oneshot(request("/slow")));
    assert!(poll_once(&mut stuck).is_pending());
    let probes = health.service();
    let mut drained = Box::pin(health.drain());
    let mut seconds = 0;
    while poll_once(&mut drained).is_pending() {
        for (path, code) in [
            ("/live", 200),
            ("/startup", 200),
            ("/ready", 503),
            ("/health", 503),
        ] {
            assert_eq!(
                ask(&probes, path).await.status.as_u16(),
                code,
                "{path}, {seconds} s"
            );
        }
        after(SECOND).await;
        seconds += 1;
    }
    assert_eq!(seconds, 21);
    assert_eq!(ask(&probes, "/live").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn checks_run_on_while_the_instance_leaves() {
    let check = tower_health::testing::ScriptedCheck::new(Status::Pass);
    let health = Health::builder("orders")
        .check(tower_health::Check::new("db", check.clone()).period(SECOND))
        .start()
        .unwrap();
    health.wait_until_good(Probe::Readiness).await.unwrap();
    let before = check.runs();
    let drained = health.drain();
    drained.await;
    assert!(check.runs() >= before + 4);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_begins_during_start_up_ends_like_any_other() {
    let check = tower_health::testing::ScriptedCheck::new(Status::Pass);
    check.hang();
    let health = Health::builder("orders")
        .check(
            tower_health::Check::new("db", check)
                .timeout(3600 * SECOND)
                .max_age(7200 * SECOND),
        )
        .start()
        .unwrap();
    assert_eq!(health.stage(), Stage::Starting);
    let drained = health.drain();
    assert_eq!(health.stage(), Stage::Draining);
    assert_eq!(health.verdict(Probe::Startup).status, Status::Fail);
    assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    let (took, ()) = takes(drained).await;
    is_about(took, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_drain_is_let_go_when_there_can_be_none() {
    let health = service();
    let mut drained = Box::pin(health.drained());
    assert!(poll_once(&mut drained).is_pending());
    drop(health);
    let (took, ()) = takes(drained).await;
    is_about(took, Duration::ZERO);
    // Where nothing runs, nothing is waited for.
    let fixed = Health::fixed(Status::Pass);
    let mut drained = Box::pin(fixed.drained());
    assert!(poll_once(&mut drained).is_pending());
    drop(fixed.drain());
    drained.await;
}

#[tokio::test(start_paused = true)]
async fn absurd_times_are_mistakes() {
    let error = Health::builder("orders")
        .drain_delay(Duration::MAX)
        .drain_finish(Duration::MAX)
        .drain_close(Duration::MAX)
        .start()
        .unwrap_err();
    assert_eq!(
        error.problems(),
        ["drain_delay", "drain_finish", "drain_close"].map(ConfigError::Drain)
    );
    let config = serde_json::from_str(r#"{"drain_delay": "0s", "drain_finish": "1h"}"#).unwrap();
    let health = Health::builder("orders").config(config).start().unwrap();
    let (took, ()) = takes(health.drain()).await;
    is_about(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn maintenance_holds_at_once_until_it_is_lifted_or_over() {
    let health = service();
    let mut waits = health.watch(Probe::Readiness);
    assert_eq!(ready(&health), Status::Pass);
    health.maintenance("reindexing", 90 * SECOND);
    let verdict = health.verdict(Probe::Readiness);
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Fail, Some(VerdictReason::Maintenance))
    );
    assert_eq!(health.stage(), Stage::Maintenance);
    assert_eq!(
        waits.changed().await.unwrap().reason,
        Some(VerdictReason::Maintenance)
    );
    for probe in [Probe::Liveness, Probe::Startup] {
        assert_eq!(health.verdict(probe).status, Status::Pass);
    }
    assert!(health.end_maintenance());
    assert!(!health.end_maintenance());
    assert_eq!(ready(&health), Status::Pass);
    // Over by itself: who waits is told, and whoever reads sees it.
    health.maintenance("again", 30 * SECOND);
    health.maintenance("longer", 60 * SECOND);
    after(59 * SECOND).await;
    assert_eq!(ready(&health), Status::Fail);
    let (took, verdict) = takes(health.wait_until_good(Probe::Readiness)).await;
    is_about(took, SECOND);
    assert_eq!(verdict.unwrap().status, Status::Pass);
    assert!(!health.end_maintenance(), "it is over");
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_says_when_to_ask_again_and_to_whom_what_it_is_for() {
    let health = service();
    let probes = health.service();
    let endpoints = tower_health::Endpoints::builder().authorize(|_| true);
    let full = health.service().endpoints(endpoints.build().unwrap());
    health.maintenance("move to postgres://app:hunter2@db2", 90 * SECOND);
    for (wait, retry) in [(0, "60"), (40, "50"), (48, "2")] {
        after(wait * SECOND).await;
        for path in ["/ready", "/health"] {
            let answer = ask(&probes, path).await;
            assert_eq!(answer.header("retry-after"), Some(retry), "{path}");
            assert_eq!(answer.json()["output"], "maintenance");
        }
    }
    for path in ["/live", "/startup"] {
        assert_eq!(ask(&probes, path).await.status, StatusCode::OK);
    }
    let told = ask(&full, "/ready").await.json();
    assert_eq!(told["output"], "maintenance (move to postgres://***@db2)");
    let actuator = health
        .service()
        .endpoints(tower_health::Endpoints::actuator().build().unwrap());
    let answer = ask(&actuator, "/actuator/health").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["status"], "OUT_OF_SERVICE");
}

#[tokio::test(start_paused = true)]
async fn draining_hides_maintenance_and_stays() {
    let health = service();
    health.maintenance("reindexing", SECOND);
    let drained = health.drain();
    assert_eq!(health.stage(), Stage::Draining);
    after(2 * SECOND).await;
    assert_eq!(health.stage(), Stage::Draining);
    assert_eq!(
        health.verdict(Probe::Readiness).reason,
        Some(VerdictReason::Draining)
    );
    drained.await;
}

#[test]
fn maintenance_holds_where_nothing_runs() {
    let health = Health::fixed(Status::Warn);
    health.maintenance("reindexing", Duration::MAX);
    assert_eq!(ready(&health), Status::Fail);
    assert!(health.end_maintenance());
    assert_eq!(ready(&health), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn what_a_response_says_of_its_connection_stays() {
    let health = service();
    drop(health.drain());
    for (own, told) in [
        ("x-hop", &["x-hop", "close"][..]),
        ("Close", &["Close"]),
        ("x-hop , close", &["x-hop , close"]),
        ("close-at-will", &["close-at-will", "close"]),
    ] {
        let app = health.wrap(tower::service_fn(move |_: Request<Body>| async move {
            let response = Response::builder().header(http::header::CONNECTION, own);
            Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
        }));
        let response = app.oneshot(request("/orders")).await.unwrap();
        let said = response.headers().get_all(http::header::CONNECTION);
        assert!(said.iter().eq(told), "{own}: {response:?}");
    }
}
