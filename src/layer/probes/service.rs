use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseBody, ResponseFuture};
use crate::endpoint::Endpoint;

/// Answers probes in front of the service `S`: made by [`ProbesLayer`](super::ProbesLayer) and
/// [`Health::wrap`](crate::Health::wrap).
///
/// See the [module](super) for its rules and its place.
#[derive(Clone, Debug)]
#[must_use = "services do nothing unless called"]
pub struct Probes<S> {
    inner: S,
    endpoint: Endpoint,
}

impl<S> Probes<S> {
    pub(super) fn new(inner: S, endpoint: Endpoint) -> Self {
        Self { inner, endpoint }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Probes<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    /// Always ready. The inner service is not even asked: one that was asked may hold a permit, or a place in a
    /// queue, for a request that turns out to be a probe, or that an idle connection never sends.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let path = request.uri().path();
        if let Some(answer) = self.endpoint.answer(request.method(), path) {
            return ResponseFuture::answered(answer);
        }
        // The future asks again, with its own waker, before it waits.
        match self
            .inner
            .poll_ready(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Ok(())) => ResponseFuture::called(self.inner.call(request)),
            Poll::Ready(Err(error)) => ResponseFuture::failed(error),
            Poll::Pending => {
                let fresh = self.inner.clone();
                let asked = std::mem::replace(&mut self.inner, fresh);
                ResponseFuture::waiting(asked, request)
            }
        }
    }
}
