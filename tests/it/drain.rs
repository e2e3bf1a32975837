//! Drains and maintenance: their duration, what they wait for, and who is notified.

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

/// Returns how long a future takes, on a paused clock.
async fn takes<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let output = future.await;
    (began.elapsed(), output)
}

/// Compares durations with a tolerance, because timers have a resolution of milliseconds.
#[track_caller]
fn is_about(took: Duration, expected: Duration) {
    let off = took.abs_diff(expected);
    assert!(off < ms(10), "{took:?} and not {expected:?}");
}

/// A service whose requests end when they are released. `/body` responds immediately, with a body
/// that ends on release. `/endless` responds with a body that a drain does not wait for.
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

/// Returns a stream of the output of a future.
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
async fn an_idle_service_serves_during_the_delay_and_then_closes() {
    let health = service();
    let before = health.drained();
    let (took, ()) = takes(health.drain()).await;
    is_about(took, 5 * SECOND);
    // Callers that wait before, during and after the drain are notified at the same time.
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
async fn the_drain_continues_without_being_polled() {
    let health = service();
    drop(health.drain());
    after(5 * SECOND + ms(10)).await;
    let (took, ()) = takes(health.drained()).await;
    is_about(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_until_its_response_body_has_ended() {
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
async fn a_request_is_over_when_its_client_disconnects() {
    // While it waits for the response, and while it reads the body.
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
async fn probes_endless_responses_and_errors_do_not_delay_a_drain() {
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
async fn an_upgraded_connection_does_not_delay_a_drain() {
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
async fn a_stuck_request_is_waited_for_until_the_time_limit() {
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
async fn run_cuts_a_stuck_server_and_reports_what_was_in_flight() {
    let health = service();
    let app = health.wrap(Slow(Arc::default()));
    let mut stuck = Box::pin(app.oneshot(request("/slow")));
    assert!(poll_once(&mut stuck).is_pending());
    // A server that waits for it without limit, as graceful servers do.
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
        "the server was stopped with 1 request in flight"
    );
    assert_eq!(cut(ended), 1);
}

#[tokio::test(start_paused = true)]
async fn run_returns_the_result_of_a_server_that_ends_by_itself() {
    let health = service();
    let failed = || Err::<(), _>("no");
    let ended = health.run(async { failed() }).await;
    assert_eq!(ended.unwrap_err().to_string(), "no");
    // Nothing is in flight, and the connections have some time to end.
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
    // A server that does not end by itself has still ended well, because only connections were
    // open.
    let (took, ended) = takes(health.run(std::future::pending::<Result<(), &str>>())).await;
    is_about(took, SECOND);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_while_servers_close_is_not_cut() {
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
    // The full delay, the full time to finish, and part of the time to close.
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
                if begins {
                    health.drain().await
                } else {
                    health.drained().await
                }
                Ok::<_, Infallible>(Response::new(Body::from("drained")))
            }
        }));
        // Together with another request, which the drain does wait for.
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
        // The number of requests in flight is still correct.
        let late = health.wrap(Slow(Arc::default()));
        let mut stuck = Box::pin(late.oneshot(request("/slow")));
        assert!(poll_once(&mut stuck).is_pending());
        let ended = health.run(std::future::pending::<()>()).await;
        assert_eq!(cut(ended), 1);
    }
}

/// A handler that observes the drain, or waits for it, and then continues its work.
#[tokio::test(start_paused = true)]
async fn a_handler_that_continues_after_waiting_for_the_drain_is_waited_for() {
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
                if waits {
                    drained.await
                } else {
                    drop(tokio::time::timeout(SECOND, drained).await)
                }
                tokio::time::sleep(4 * SECOND).await;
                Ok::<_, Infallible>(Response::new(Body::from("flushed")))
            }
        }));
        let answered = tokio::spawn(takes(async {
            let response = app.oneshot(request("/flush")).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        }));
        // One handler waits until servers close. The other observes for a second. Both then
        // continue for 4 s.
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
        // Once nothing is in flight, a server has 2 s to end.
        assert!(took >= 4 * SECOND && took < 7 * SECOND, "{waits}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_in_flight_guards_and_draining_resolves_at_its_start() {
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
    // No drain can begin any more.
    Health::fixed(Status::Pass).draining().await;
    let ended = health.draining();
    drop(health);
    ended.await;
}

#[tokio::test(start_paused = true)]
async fn liveness_passes_and_probes_are_answered_until_the_end_of_a_drain() {
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
async fn checks_continue_to_run_during_a_drain() {
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
async fn a_drain_that_begins_during_startup_ends_like_any_other() {
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
async fn drained_resolves_when_no_drain_can_begin_any_more() {
    let health = service();
    let mut drained = Box::pin(health.drained());
    assert!(poll_once(&mut drained).is_pending());
    drop(health);
    let (took, ()) = takes(drained).await;
    is_about(took, Duration::ZERO);
    // A fixed health runs nothing, so there is nothing to wait for.
    let fixed = Health::fixed(Status::Pass);
    let mut drained = Box::pin(fixed.drained());
    assert!(poll_once(&mut drained).is_pending());
    drop(fixed.drain());
    drained.await;
}

#[tokio::test(start_paused = true)]
async fn excessive_durations_are_errors() {
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
async fn maintenance_applies_immediately_until_it_is_ended_or_expires() {
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
    // The maintenance ends by itself. Waiters are notified, and readers see it.
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
async fn maintenance_sets_retry_after_and_shows_its_reason_to_authorized_callers() {
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
async fn draining_overrides_maintenance_permanently() {
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
fn maintenance_applies_to_a_fixed_health() {
    let health = Health::fixed(Status::Warn);
    health.maintenance("reindexing", Duration::MAX);
    assert_eq!(ready(&health), Status::Fail);
    assert!(health.end_maintenance());
    assert_eq!(ready(&health), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn connection_headers_of_responses_are_kept_during_a_drain() {
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
