//! What the tests share: checks that do as they are told, and a way to ask.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_health::{Failure, Health, HealthCheck, Outcome, Probe, Reason, Status, async_trait};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A check that says what it was last told to say, and tells how it was run.
#[derive(Clone)]
pub(crate) struct Scripted(Arc<Script>);

struct Script {
    says: Mutex<Says>,
    takes: Mutex<Duration>,
    runs: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

#[derive(Clone)]
pub(crate) enum Says {
    Outcome(Outcome),
    Panic(&'static str),
    Nothing,
}

impl From<Status> for Says {
    fn from(status: Status) -> Self {
        Self::Outcome(status.into())
    }
}

impl From<Outcome> for Says {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

impl Scripted {
    pub(crate) fn new(says: impl Into<Says>) -> Self {
        Self(Arc::new(Script {
            says: Mutex::new(says.into()),
            takes: Mutex::default(),
            runs: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn taking(self, duration: Duration) -> Self {
        self.take(duration);
        self
    }

    pub(crate) fn take(&self, duration: Duration) {
        *self.0.takes.lock().unwrap() = duration;
    }

    pub(crate) fn say(&self, says: impl Into<Says>) {
        *self.0.says.lock().unwrap() = says.into();
    }

    /// How many runs were started.
    pub(crate) fn runs(&self) -> usize {
        self.0.runs.load(Ordering::SeqCst)
    }

    /// How many runs are under way.
    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// How many runs were ever under way at once.
    pub(crate) fn most_running(&self) -> usize {
        self.0.most_running.load(Ordering::SeqCst)
    }
}

/// Notes the end of a run, however it ends.
struct Ends(Arc<Script>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl HealthCheck for Scripted {
    async fn check(&self) -> Result<Outcome, Failure> {
        let script = Arc::clone(&self.0);
        script.runs.fetch_add(1, Ordering::SeqCst);
        let running = script.running.fetch_add(1, Ordering::SeqCst) + 1;
        script.most_running.fetch_max(running, Ordering::SeqCst);
        let _ends = Ends(Arc::clone(&script));
        let takes = *script.takes.lock().unwrap();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let says = script.says.lock().unwrap().clone();
        match says {
            Says::Outcome(outcome) => Ok(outcome),
            Says::Panic(payload) => panic!("{payload}"),
            Says::Nothing => pending().await,
        }
    }
}

/// Lets the paused clock run, so that whatever is due in that time is done.
pub(crate) async fn after(duration: Duration) {
    tokio::time::sleep(duration).await;
}

pub(crate) fn ready(health: &Health) -> Status {
    health.verdict(Probe::Readiness).status
}

pub(crate) fn reason(health: &Health, check: &str) -> Option<Reason> {
    health.check(check).unwrap().reason
}

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body with moments of the wall clock taken out.
    pub(crate) fn timeless(&self) -> String {
        let mut parts = self.body.split("\"time\":\"");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let (time, rest) = part.split_once('"').unwrap();
            assert!(
                time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000Z".len(),
                "{time}"
            );
            format!("{text}\"time\":\"[time]\"{rest}")
        })
    }
}

/// Asks any service with any method and path.
pub(crate) async fn ask_with<S, B>(service: &S, method: &str, path: &str) -> Answer
where
    S: Service<Request<axum::body::Body>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(axum::body::Body::empty())
        .unwrap();
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

/// A service that says who answered.
pub(crate) async fn inner(
    request: Request<axum::body::Body>,
) -> Result<Response<axum::body::Body>, Infallible> {
    let body = format!("inner {}", request.uri().path());
    Ok(Response::new(body.into()))
}
