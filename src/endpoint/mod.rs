//! From a method and a path to a probe, its verdict and a response.
//!
//! | path | probe |
//! | --- | --- |
//! | `/health` | [`Probe::Health`]: every check |
//! | `/ready` | [`Probe::Readiness`], and the checks that do not pass |
//! | `/live` | [`Probe::Liveness`] |
//! | `/startup` | [`Probe::Startup`], and the checks that hold it |
//! | `/health/{check}` | one check |
//!
//! A path matches whole, with or without one trailing slash; `/health/a/b` is not ours. What is answered:
//!
//! * a pass or a warning is **200**, a fail is **503**, an unknown check **404**, another method **405**;
//! * `HEAD` gets the status and the headers of `GET`; so does `OPTIONS`, with its body and an `Allow`: HAProxy
//!   probes with a bare `OPTIONS`, and neither a 405 nor a fixed 204 would tell it the truth;
//! * the body is [health+json], a problem ([RFC 9457]) for 404 and 405; `Accept` and the query change nothing;
//! * an answer is given at once, from what is known; only one that depends on a check that runs
//!   [on demand](crate::Check::on_demand) waits for it, a while;
//! * every answer carries `Content-Type`, `Content-Length`, `Cache-Control: no-store` and
//!   `X-Content-Type-Options: nosniff`, and a 503 other than that of `/live` carries `Retry-After`.
//!
//! [health+json]: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

mod body;
mod dialect;
mod exposure;
mod future;
mod path;
mod response;
mod waiting;

use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
};

use http::{Method, Request, Response, header::ALLOW};
use tower_service::Service;

pub use self::{
    body::ProbeBody,
    exposure::Exposure,
    future::{Respond, ResponseFuture},
};
use self::{
    dialect::health_json,
    response::{METHODS, Retry, no_such_check, no_such_path, refuses, wrong_method},
    waiting::Waiting,
};
pub(crate) use self::{
    future::Answer as ProbeAnswer,
    path::{Target, target},
};
use crate::{
    Health,
    engine::{Awaited, Board, Published},
    model::{Probe, Reason},
    telemetry::Asked,
};

/// Answers probes: a [`Service`] of its own, made by [`Health::service`].
///
/// It is always ready, never fails, and keeps the checks running. A request for a path that is no probe's gets
/// a 404.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_health::{Exposure, Health};
///
/// let health = Health::builder("orders").start()?;
/// let service = health.service().exposure(Exposure::Status);
/// let response = service.oneshot(Request::get("/ready").body(())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct ProbeService {
    health: Health,
    exposure: Exposure,
}

impl Health {
    /// A service that answers probes, and 404 to everything else, for a port of its own: with axum,
    /// `axum::serve(listener, Router::new().fallback_service(health.service()))`.
    ///
    /// Nested under a prefix, it answers below it: `nest_service("/internal", health.service())` has
    /// `/internal/ready`.
    pub fn service(&self) -> ProbeService {
        ProbeService {
            health: self.clone(),
            exposure: Exposure::default(),
        }
    }
}

impl ProbeService {
    /// How much callers may see. Defaults to [`Exposure::Checks`].
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = exposure;
        self
    }

    /// The complete answer to a request, for a framework that is not tower; none if the path is no probe's.
    ///
    /// `method` and `path` are those of the request line, the path as it came and without its query. What is
    /// no method is answered 405. The response has every header that belongs to it. For `HEAD` its body is empty
    /// and its `Content-Length` that of `GET`; a framework that counts the length itself, and leaves out the body
    /// of `HEAD`, is to ask with `GET`. `query` and `headers` are part of a request, and change nothing yet.
    ///
    /// The future is ready at once, unless it waits for a check that runs [on demand](crate::Check::on_demand).
    /// It works on any executor, and outside tokio.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::{HeaderMap, StatusCode};
    /// use tower_health::Health;
    ///
    /// let probes = Health::builder("orders").start()?.service();
    /// let headers = HeaderMap::new();
    /// let pairs = || headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    ///
    /// let answer = probes.respond("GET", "/ready", None, pairs()).expect("a probe");
    /// assert_eq!(answer.await.status(), StatusCode::OK);
    /// assert!(probes.respond("GET", "/orders", None, pairs()).is_none(), "for the application");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "what is not sent answers nobody"]
    pub fn respond<'r>(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        headers: impl IntoIterator<Item = (&'r str, &'r [u8])>,
    ) -> Option<Respond> {
        // They belong to the signature: what is negotiated must not break its callers.
        let _ = (query, headers);
        // Any other is no method of ours either.
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT);
        self.answer(&method, path).map(ProbeAnswer::into_respond)
    }

    /// The answer to a request, if its path is a probe's.
    #[inline]
    pub(crate) fn answer(&self, method: &Method, path: &str) -> Option<ProbeAnswer> {
        target(path).map(|target| self.answer_for(method, target))
    }

    pub(crate) fn answer_for(&self, method: &Method, target: Target<'_>) -> ProbeAnswer {
        let (board, exposure) = (self.health.board(), self.exposure);
        let published = board.published();
        let runs = demand(board, &published, exposure, method, target);
        if runs.is_empty() {
            ProbeAnswer::ready(respond(board, &published, exposure, method, target))
        } else {
            ProbeAnswer::waiting(Waiting::new(board, exposure, method, target, runs))
        }
    }
}

/// Runs what is to be run on demand, and says what has to be waited for.
fn demand(
    board: &Board,
    published: &Published,
    exposure: Exposure,
    method: &Method,
    target: Target<'_>,
) -> Vec<Awaited> {
    match (target, exposure) {
        _ if refuses(method) => Vec::new(),
        (Target::Probe(probe), _) => board.demand(probe, published),
        (Target::Check(_), Exposure::Status) => Vec::new(),
        (Target::Check(name), Exposure::Checks) => board.demand_check(name).into_iter().collect(),
    }
}

/// The response to a request for a target, as it reads now.
fn respond(
    board: &Board,
    published: &Published,
    exposure: Exposure,
    method: &Method,
    target: Target<'_>,
) -> Response<ProbeBody> {
    let mut response = match target {
        _ if refuses(method) => wrong_method(method),
        Target::Probe(probe) => verdict(board, published, exposure, method, probe),
        Target::Check(name) => check(board, exposure, method, name),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        response.headers_mut().insert(ALLOW, METHODS);
    }
    let asked = match target {
        Target::Probe(probe) => Asked::Probe(probe),
        Target::Check(_) => Asked::Check,
    };
    board.requests.count(asked, response.status().as_u16());
    response
}

fn verdict(
    board: &Board,
    published: &Published,
    exposure: Exposure,
    method: &Method,
    probe: Probe,
) -> Response<ProbeBody> {
    let face = published.view.face(probe);
    let make = || match (probe, exposure) {
        (Probe::Health, Exposure::Checks) => {
            let (report, retry_after) = board.report();
            health_json::report(&board.service, &report, retry_after)
        }
        _ => health_json::verdict(&board.service, &face.verdict, exposure),
    };
    face.memo.with(exposure.form(), make, |answer| {
        let retry = match probe {
            // Asking again later is no cure.
            Probe::Liveness => Retry::Never,
            _ => Retry::after(answer.retry_after),
        };
        response::answer(answer, retry, method)
    })
}

fn check(board: &Board, exposure: Exposure, method: &Method, name: &str) -> Response<ProbeBody> {
    let known = match exposure {
        // Whether there is such a check is for nobody to know.
        Exposure::Status => None,
        Exposure::Checks => board.check(name),
    };
    let Some((report, retry_in, memo)) = known else {
        return no_such_check(method);
    };
    let runs_again = report.reason != Some(Reason::EngineStopped);
    let make = || health_json::check(&board.service, &report);
    memo.with(exposure.form(), make, |answer| {
        let retry = Retry::after(runs_again.then_some(retry_in));
        response::answer(answer, retry, method)
    })
}

impl<B> Service<Request<B>> for ProbeService {
    type Response = Response<ProbeBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request.method(), request.uri().path())
            .unwrap_or_else(|| ProbeAnswer::ready(no_such_path(request.method())))
            .into_response_future()
    }
}

impl fmt::Debug for ProbeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeService")
            .field("service", &self.health.board().service.name)
            .field("exposure", &self.exposure)
            .finish()
    }
}
