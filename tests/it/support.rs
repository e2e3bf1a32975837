//! Shared test utilities: scripted checks, and functions that send requests.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Condvar, Mutex},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_health::{
    Check, Endpoints, Health, HealthCheck, Probe, Reason, Status,
    endpoint::{EndpointsBuilder, Exposure},
    error::ServerError,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) use tower_health::testing::ScriptedCheck as Scripted;

/// A gate. Blocking runs wait at it while it is shut.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn set(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.0.0.lock().unwrap();
        while *shut {
            shut = self.0.1.wait(shut).unwrap();
        }
    }

    /// A check that passes once it has passed the gate.
    pub(crate) fn check(&self, name: &str) -> Check {
        let gate = self.clone();
        Check::blocking(name, move || {
            gate.pass();
            Status::Pass
        })
    }
}

/// Advances the paused clock, so that everything that is due in that time is done.
pub(crate) async fn after(duration: Duration) {
    tokio::time::sleep(duration).await;
}

pub(crate) fn ready(health: &Health) -> Status {
    health.verdict(Probe::Readiness).status
}

pub(crate) fn reason(health: &Health, check: &str) -> Option<Reason> {
    health.check(check).unwrap().reason
}

/// Asserts that each of a thousand runs passes, and that a run passes after runs that were dropped.
pub(crate) async fn thousand_runs(check: &impl HealthCheck) {
    for run in 0..1_000 {
        let outcome = check.check().await.unwrap();
        assert_eq!(outcome.status(), Status::Pass, "run {run}: {outcome:?}");
    }
    for run in 0..100 {
        // Each run is dropped at another point, some before the first poll ends, some near the end.
        let time = Duration::from_micros(run * 20);
        drop(tokio::time::timeout(time, check.check()).await);
    }
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass, "{outcome:?}");
}

/// Returns the number of requests that a server cut.
pub(crate) fn cut<T: std::fmt::Debug>(ended: Result<T, ServerError>) -> usize {
    match ended {
        Err(ServerError::DrainTimeout(timeout)) => timeout.in_flight,
        other => panic!("nothing was cut: {other:?}"),
    }
}

/// Returns endpoints with [`Exposure::Status`] for all callers.
pub(crate) fn status_only() -> EndpointsBuilder {
    Endpoints::builder().exposure(Exposure::Status)
}

/// A response with its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

/// Removes the values of a timestamp member from the text.
fn without(text: &str, member: &str) -> String {
    let begin = format!("\"{member}\":\"");
    let mut parts = text.split(&begin);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (time, rest) = part.split_once('"').unwrap();
        assert!(
            time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000Z".len(),
            "{time}"
        );
        format!("{text}\"{member}\":\"[time]\"{rest}")
    })
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the body without timestamps of the wall clock.
    pub(crate) fn timeless(&self) -> String {
        ["time", "asOf", "since", "lastSuccess"]
            .iter()
            .fold(self.body.clone(), |text, member| without(&text, member))
    }
}

/// Sends a request with any method and path to any service.
pub(crate) async fn ask_with<S, B>(service: &S, method: &str, path: &str) -> Answer
where
    S: Service<Request<axum::body::Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let request = Request::builder().method(method).uri(path);
    send(service, request.body(axum::body::Body::empty()).unwrap()).await
}

/// Sends a request with a header.
pub(crate) async fn ask_saying<S, B>(service: &S, path: &str, header: &str, value: &str) -> Answer
where
    S: Service<Request<axum::body::Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let request = Request::get(path).header(header, value);
    send(service, request.body(axum::body::Body::empty()).unwrap()).await
}

pub(crate) async fn send<S, B>(service: &S, request: Request<axum::body::Body>) -> Answer
where
    S: Service<Request<axum::body::Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

pub(crate) async fn ask<S, B>(service: &S, path: &str) -> Answer
where
    S: Service<Request<axum::body::Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    ask_with(service, "GET", path).await
}

/// A service whose response identifies it.
pub(crate) async fn inner(
    request: Request<axum::body::Body>,
) -> Result<Response<axum::body::Body>, Infallible> {
    let body = format!("inner {}", request.uri().path());
    Ok(Response::new(body.into()))
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// An executor that is independent of tokio.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
