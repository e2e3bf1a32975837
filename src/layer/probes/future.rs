use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Endless, ResponseBody};
use crate::endpoint::{InFlight, Leaving, ProbeAnswer};

pin_project! {
    /// The future of [`Probes`](super::Probes).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody>,
        // None for a probe, and once the response has it.
        entered: Option<(InFlight, Leaving)>,
        // Whether the handler waits for the drain, as far as is known of its last poll: then the request is not in flight.
        waits: bool,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        /// A probe is answered.
        Answered { answer: ProbeAnswer },
        /// The inner service was ready and has the request.
        Called { #[pin] future: S::Future },
        /// The request waits until the inner service is ready.
        Waiting { service: S, request: Option<Request<ReqBody>> },
        /// The inner service failed to become ready.
        Failed { error: Option<S::Error> },
    }
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn answered(answer: ProbeAnswer) -> Self {
        Self {
            state: State::Answered { answer },
            entered: None,
            waits: false,
        }
    }

    pub(super) fn called(future: S::Future, entered: (InFlight, Leaving)) -> Self {
        Self {
            state: State::Called { future },
            entered: Some(entered),
            waits: false,
        }
    }

    pub(super) fn waiting(
        service: S,
        request: Request<ReqBody>,
        entered: (InFlight, Leaving),
    ) -> Self {
        let request = Some(request);
        Self {
            state: State::Waiting { service, request },
            entered: Some(entered),
            waits: false,
        }
    }

    pub(super) fn failed(error: S::Error) -> Self {
        Self {
            state: State::Failed { error: Some(error) },
            entered: None,
            waits: false,
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut state = this.state;
        loop {
            match state.as_mut().project() {
                StateProj::Called { future } => {
                    let polled = match this.entered {
                        Some((in_flight, _)) if in_flight.is_leaving() => {
                            in_flight.poll_leaving(this.waits, || future.poll(cx))
                        }
                        _ => future.poll(cx),
                    };
                    let mut response = ready!(polled)?.map(ResponseBody::inner);
                    if let Some(entered) = this.entered.take() {
                        settle(&mut response, entered);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Answered { answer } => {
                    let response = ready!(Pin::new(answer).poll(cx));
                    return Poll::Ready(Ok(response.map(ResponseBody::probe)));
                }
                StateProj::Failed { error } => return once(error.take().map(Err)),
                StateProj::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    let future = service.call(request);
                    state.set(State::Called { future });
                }
            }
        }
    }
}

/// The request is in flight until the body of its response has ended, unless that never does.
#[inline]
fn settle<B>(response: &mut Response<ResponseBody<B>>, (in_flight, leaving): (InFlight, Leaving)) {
    if in_flight.is_leaving() {
        leaving.tell(response);
    }
    // What is upgraded is no longer HTTP's to end.
    let ends = response.status() != StatusCode::SWITCHING_PROTOCOLS
        && response.extensions().get::<Endless>().is_none();
    if ends {
        response.body_mut().hold(in_flight);
    }
}

/// Polled again after it was ready, a future has nothing to say.
fn once<T>(value: Option<T>) -> Poll<T> {
    value.map_or(Poll::Pending, Poll::Ready)
}

impl<S, ReqBody> fmt::Debug for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Answered { .. } => "ResponseFuture::Answered",
            State::Called { .. } => "ResponseFuture::Called",
            State::Waiting { .. } => "ResponseFuture::Waiting",
            State::Failed { .. } => "ResponseFuture::Failed",
        })
    }
}
