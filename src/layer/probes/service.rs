//! The middleware itself: it decides between a probe and the inner service. See the [module](super)
//! for the rules that it implements.

use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseBody, ResponseFuture};
use crate::endpoint::{Endpoints, ProbeService};

/// Middleware that answers probes in front of the service `S`. Returned by
/// [`ProbesLayer`](super::ProbesLayer) and [`Health::wrap`](crate::Health::wrap).
///
/// See the [module](super) for its rules, and for where to put it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::convert::Infallible;
///
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceExt, service_fn};
/// use tower_health::{Health, Status, layer::probes::Probes};
///
/// let teapot = service_fn(|_: Request<()>| async {
///     let response = Response::builder().status(StatusCode::IM_A_TEAPOT).body(String::new());
///     Ok::<_, Infallible>(response.expect("a valid response"))
/// });
/// let app: Probes<_> = Health::fixed(Status::Pass).wrap(teapot);
/// let ask = |path| app.clone().oneshot(Request::get(path).body(()).expect("a valid request"));
/// assert_eq!(ask("/ready").await?.status(), StatusCode::OK);
/// assert_eq!(ask("/orders").await?.status(), StatusCode::IM_A_TEAPOT);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "services do nothing unless called"]
pub struct Probes<S> {
    inner: S,
    /// Whether the readiness of this clone of the inner service was ever polled.
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

    /// Sets the paths, their responses and their callers. Defaults to [`Endpoints::default`].
    ///
    /// They replace the previous endpoints.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::convert::Infallible;
    ///
    /// use http::{Request, Response, StatusCode};
    /// use tower::{ServiceExt, service_fn};
    /// use tower_health::{Endpoints, Health, Probe, Status};
    ///
    /// let orders = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    /// let endpoints = Endpoints::none().probe("/up", Probe::Readiness).build()?;
    /// let app = Health::fixed(Status::Fail).wrap(orders).endpoints(endpoints);
    /// let ask = |path| app.clone().oneshot(Request::get(path).body(()).expect("a valid request"));
    /// assert_eq!(ask("/up").await?.status(), StatusCode::SERVICE_UNAVAILABLE);
    /// assert_eq!(ask("/ready").await?.status(), StatusCode::OK, "from the inner service");
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints(self, endpoints: Endpoints) -> Self {
        let endpoint = self.endpoint.endpoints(endpoints);
        Self::new(self.inner, endpoint)
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone> Probes<S> {
    /// Releases what the inner service may hold for a request. A service that is always ready, such
    /// as one that sheds load, may keep a place in a queue after it has shed a request. On a
    /// connection that only receives probes from now on, nothing else would release it.
    fn release(&mut self) {
        if self.asked {
            self.inner = self.inner.clone();
            self.asked = false;
        }
    }
}

/// A clone starts with a fresh clone of the inner service, whose readiness was not polled.
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

    /// Returns ready, always. The readiness of the inner service is not polled here, because it may
    /// then hold a permit, or a place in a queue, for a request that turns out to be a probe, or
    /// that an idle connection never sends.
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
        let guards = self.endpoint.enter(&request);
        // The future polls again with its own waker before it waits.
        let mut cx = Context::from_waker(Waker::noop());
        match self.inner.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => ResponseFuture::called(self.inner.call(request), guards),
            Poll::Ready(Err(error)) => ResponseFuture::failed(error),
            Poll::Pending => {
                let fresh = self.inner.clone();
                let asked = std::mem::replace(&mut self.inner, fresh);
                ResponseFuture::waiting(asked, request, guards)
            }
        }
    }
}
