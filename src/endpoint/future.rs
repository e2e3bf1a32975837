//! The futures that resolve to the response to a probe. They do not borrow the request or the
//! service.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;

use super::{ProbeBody, waiting::Waiting};

/// Future of the response of a [`ProbeService`](super::ProbeService). It resolves on its first
/// poll, unless it waits for a check that runs [on demand](crate::Check::on_demand).
///
/// ```
/// use http::{Request, StatusCode};
/// use tower::Service;
/// use tower_health::{Health, Status};
///
/// let mut service = Health::fixed(Status::Pass).service();
/// let request = Request::get("/ready").body(()).expect("a valid request");
/// let mut response = tokio_test::task::spawn(service.call(request));
/// let response = tokio_test::assert_ready_ok!(response.poll(), "it needs no second poll");
/// assert_eq!(response.status(), StatusCode::OK);
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    answer: Answer,
}

/// Future of the response of [`ProbeService::respond`](super::ProbeService::respond). It resolves
/// on its first poll, unless it waits for a check that runs [on demand](crate::Check::on_demand).
///
/// Its output contains the whole body as [`Bytes`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use http::StatusCode;
/// use tower_health::{Check, Health, Status, endpoint::Respond};
///
/// let slow = || async {
///     tokio::time::sleep(Duration::from_millis(300)).await;
///     Status::Pass
/// };
/// let on_demand = Check::new("db", slow).on_demand(Duration::from_secs(10));
/// let health = Health::builder("orders").check(on_demand).start()?;
///
/// // No result exists yet, so the future waits for a run.
/// let probes = health.service();
/// let response: Respond = probes.respond("GET", "/ready", None, []).expect("a probe path");
/// assert_eq!(response.await.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Respond {
    answer: Answer,
}

/// Future of the response to a request for a probe.
///
/// The public futures wrap it, each with the output that its caller needs. A
/// [layer](crate::layer::probes) polls it directly.
pub(crate) struct Answer {
    state: State,
}

/// The state of an [`Answer`]. The waiting state is boxed, because it is rare and large.
enum State {
    /// `None` once it was taken.
    Ready(Option<Response<ProbeBody>>),
    /// Waits for checks that run on demand.
    Waiting(Box<Waiting>),
}

impl Answer {
    #[inline]
    pub(super) fn ready(response: Response<ProbeBody>) -> Self {
        Self {
            state: State::Ready(Some(response)),
        }
    }

    pub(super) fn waiting(waiting: Waiting) -> Self {
        Self {
            state: State::Waiting(Box::new(waiting)),
        }
    }

    pub(super) fn into_response_future(self) -> ResponseFuture {
        ResponseFuture { answer: self }
    }

    pub(super) fn into_respond(self) -> Respond {
        Respond { answer: self }
    }
}

impl Future for Answer {
    type Output = Response<ProbeBody>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            // Pending if it is polled again after completion.
            State::Ready(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            State::Waiting(waiting) => {
                let response = ready!(waiting.poll(cx));
                self.state = State::Ready(None);
                Poll::Ready(response)
            }
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Ready(Some(_)) => "Ready",
            State::Ready(None) => "Taken",
            State::Waiting(_) => "Waiting",
        })
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ProbeBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(Ok)
    }
}

impl Future for Respond {
    type Output = Response<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(cx);
        answer.map(|response| response.map(ProbeBody::into_bytes))
    }
}
