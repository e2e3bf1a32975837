use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseBody, ResponseFuture};
use crate::endpoint::{Endpoints, ProbeService};

/// Answers probes in front of the service `S`: made by [`ProbesLayer`](super::ProbesLayer) and
/// [`Health::wrap`](crate::Health::wrap).
///
/// See the [module](super) for its rules and its place.
#[derive(Debug)]
#[must_use = "services do nothing unless called"]
pub struct Probes<S> {
    inner: S,
    /// Whether the inner service was ever asked for its readiness.
    asked: bool,
    endpoint: ProbeService,
}

impl<S> Probes<S> {
    pub(super) fn new(inner: S, endpoint: ProbeService) -> Self {
        Self {
            inner,
            asked: false,
            endpoint,
        }
    }

    /// Sets the paths, and what is answered there to whom. Defaults to [`Endpoints::default`].
    pub fn endpoints(self, endpoints: Endpoints) -> Self {
        let endpoint = self.endpoint.endpoints(endpoints);
        Self::new(self.inner, endpoint)
    }

    /// A reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// A mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone> Probes<S> {
    /// Gives back what the inner service may hold for a request. One that is always ready, such as one that sheds
    /// load, may keep a place in the queue of what it shed. On a connection that only probes from here on, nobody
    /// would give it back.
    fn release(&mut self) {
        if self.asked {
            self.inner = self.inner.clone();
            self.asked = false;
        }
    }
}

/// What a clone of the inner service was asked does not count for the clone's clone.
impl<S: Clone> Clone for Probes<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.endpoint.clone())
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

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (method, path) = (request.method(), request.uri().path());
        if let Some(found) = self.endpoint.find(method, path) {
            let answer = self.endpoint.answer(found, &request);
            self.release();
            return ResponseFuture::answered(answer);
        }
        self.asked = true;
        let entered = self.endpoint.enter(&request);
        // The future asks again, with its own waker, before it waits.
        let mut cx = Context::from_waker(Waker::noop());
        match self.inner.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => ResponseFuture::called(self.inner.call(request), entered),
            Poll::Ready(Err(error)) => ResponseFuture::failed(error),
            Poll::Pending => {
                let fresh = self.inner.clone();
                let asked = std::mem::replace(&mut self.inner, fresh);
                ResponseFuture::waiting(asked, request, entered)
            }
        }
    }
}
