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
//! * every answer carries `Content-Type`, `Content-Length`, `Cache-Control: no-store` and
//!   `X-Content-Type-Options: nosniff`, and a 503 other than that of `/live` carries `Retry-After`.
//!
//! [health+json]: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

mod body;
mod dialect;
mod exposure;
mod path;
mod response;

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use tower_service::Service;

pub use self::{body::ProbeBody, exposure::Exposure};
use self::{dialect::health_json, path::Target, response::Reply};
use crate::{
    Health,
    engine::{Answer, Board},
    model::Probe,
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
pub struct Endpoint {
    health: Health,
    exposure: Exposure,
}

impl Health {
    /// A service that answers probes, and 404 to everything else, for a port or a route of its own.
    pub fn service(&self) -> Endpoint {
        Endpoint {
            health: self.clone(),
            exposure: Exposure::default(),
        }
    }
}

impl Endpoint {
    /// How much callers may see. Defaults to [`Exposure::Checks`].
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = exposure;
        self
    }

    /// The answer to a request, if its path is a probe's.
    pub(crate) fn answer(&self, method: &Method, path: &str) -> Option<Response<ProbeBody>> {
        let target = path::target(path)?;
        Some(self.reply(&target).into_response(method))
    }

    fn reply(&self, target: &Target<'_>) -> Reply {
        let board = self.health.board();
        match target {
            Target::Probe(probe) => {
                let answer = self.verdict(board, *probe);
                match probe {
                    Probe::Liveness => Reply::without_retry(answer),
                    _ => Reply::verdict(answer),
                }
            }
            Target::Check(name) => match self.exposure {
                // Whether there is such a check is for nobody to know.
                Exposure::Status => Reply::NoSuchCheck,
                Exposure::Checks => self
                    .check(board, name)
                    .map_or(Reply::NoSuchCheck, Reply::verdict),
            },
        }
    }

    fn verdict(&self, board: &Board, probe: Probe) -> Answer {
        let published = board.published();
        let face = published.view.face(probe);
        face.memo
            .get_or_make(self.exposure.form(), || match (probe, self.exposure) {
                (Probe::Health, Exposure::Checks) => {
                    let (report, retry_after) = board.report();
                    health_json::report(&board.service, &report, retry_after)
                }
                (_, exposure) => health_json::verdict(&board.service, &face.verdict, exposure),
            })
    }

    fn check(&self, board: &Board, name: &str) -> Option<Answer> {
        let (report, retry_in, memo) = board.check(name)?;
        let answer = memo.get_or_make(self.exposure.form(), || {
            health_json::check(&board.service, &report)
        });
        Some(Answer {
            retry_after: Some(retry_in),
            ..answer
        })
    }
}

impl<B> Service<Request<B>> for Endpoint {
    type Response = Response<ProbeBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.answer(request.method(), request.uri().path());
        ready(Ok(response.unwrap_or_else(|| {
            Reply::NoSuchPath.into_response(request.method())
        })))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("service", &self.health.board().service.name)
            .field("exposure", &self.exposure)
            .finish()
    }
}
