//! The response future of the middleware. It waits for the inner service if necessary, and moves
//! the guards of a request to its response.

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
use crate::endpoint::{DrainHeaders, InFlight, ProbeAnswer};

pin_project! {
    /// Response future of [`Probes`](super::Probes).
    ///
    /// For a probe it resolves on its first poll, unless it waits for a check that runs [on
    /// demand](crate::Check::on_demand). For any other request it resolves when the inner service
    /// responds, or fails.
    ///
    /// Dropping it cancels the request. The request is then no longer in flight.
    ///
    /// ```
    /// use std::{convert::Infallible, future::pending};
    ///
    /// use http::{Request, Response};
    /// use tower::{Service, service_fn};
    /// use tower_health::{Health, Status};
    ///
    /// let mut app = Health::fixed(Status::Pass).wrap(service_fn(|_: Request<()>| {
    ///     pending::<Result<Response<()>, Infallible>>() // hangs
    /// }));
    /// let mut call = |path| {
    ///     let request = Request::get(path).body(()).expect("a valid request");
    ///     tokio_test::task::spawn(app.call(request))
    /// };
    /// assert!(call("/orders").poll().is_pending());
    /// assert!(call("/ready").poll().is_ready());
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody>,
        // `None` for a probe, and once the guard has moved to the response body.
        guards: Option<(InFlight, DrainHeaders)>,
        // Whether the handler waited for the drain at its last poll. The request is not in flight
        // then.
        waits_for_drain: bool,
    }
}

pin_project! {
    /// Where the response comes from.
    #[project = StateProj]
    enum State<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        /// A probe, answered by the endpoint.
        Answered { answer: ProbeAnswer },
        /// The inner service was ready and has been called.
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
    /// Returns the future of a probe. It holds no guard, because a probe is not in flight.
    pub(super) fn answered(answer: ProbeAnswer) -> Self {
        Self {
            state: State::Answered { answer },
            guards: None,
            waits_for_drain: false,
        }
    }

    /// Returns the future of a request that the inner service has received.
    pub(super) fn called(future: S::Future, guards: (InFlight, DrainHeaders)) -> Self {
        Self {
            state: State::Called { future },
            guards: Some(guards),
            waits_for_drain: false,
        }
    }

    /// Returns the future of a request that waits until `service` is ready. It is in flight
    /// meanwhile.
    pub(super) fn waiting(
        service: S,
        request: Request<ReqBody>,
        guards: (InFlight, DrainHeaders),
    ) -> Self {
        let request = Some(request);
        Self {
            state: State::Waiting { service, request },
            guards: Some(guards),
            waits_for_drain: false,
        }
    }

    /// Returns the future of a request whose inner service cannot become ready.
    pub(super) fn failed(error: S::Error) -> Self {
        Self {
            state: State::Failed { error: Some(error) },
            guards: None,
            waits_for_drain: false,
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
                    let polled = match this.guards {
                        Some((in_flight, _)) if in_flight.is_draining() => {
                            in_flight.poll_draining(this.waits_for_drain, || future.poll(cx))
                        }
                        _ => future.poll(cx),
                    };
                    let mut response = ready!(polled)?.map(ResponseBody::inner);
                    if let Some(guards) = this.guards.take() {
                        finish(&mut response, guards);
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

/// Keeps the request in flight until the body of its response has ended, unless the body is
/// endless.
#[inline]
fn finish<B>(
    response: &mut Response<ResponseBody<B>>,
    (in_flight, headers): (InFlight, DrainHeaders),
) {
    if in_flight.is_draining() {
        headers.add_to(response);
    }
    // An upgraded connection is no longer HTTP, so it is not counted.
    let ends = response.status() != StatusCode::SWITCHING_PROTOCOLS
        && response.extensions().get::<Endless>().is_none();
    if ends {
        response.body_mut().keep_in_flight(in_flight);
    }
}

/// Returns pending if the future is polled again after completion.
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
