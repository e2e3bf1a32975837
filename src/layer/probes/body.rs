//! The response body of the middleware. Its only task besides passing frames on is to end the count
//! of its request in time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::endpoint::{InFlight, ProbeBody};

pin_project! {
    /// Response body of [`Probes`](super::Probes): the body of the inner service, or that of a
    /// response to a probe.
    ///
    /// A request is in flight until the body of the inner service has ended, has failed or was
    /// dropped.
    ///
    /// It implements [`Body`] if `B` is a body whose data is [`Bytes`], as in axum, hyper and
    /// tonic.
    ///
    /// The body of a probe is complete, and is not in flight. Frames, trailers and the size hint of
    /// an inner body are passed on unchanged.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::convert::Infallible;
    ///
    /// use http::{Request, Response};
    /// use http_body_util::BodyExt;
    /// use tower::{ServiceExt, service_fn};
    /// use tower_health::{Health, Status, layer::probes::ResponseBody};
    ///
    /// let app = Health::fixed(Status::Pass).wrap(service_fn(|_: Request<()>| async {
    ///     Ok::<_, Infallible>(Response::new("no orders".to_owned()))
    /// }));
    /// let response = app.oneshot(Request::get("/orders").body(())?).await?;
    /// let body: ResponseBody<String> = response.into_body();
    /// assert_eq!(body.collect().await?.to_bytes(), "no orders");
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
        in_flight: Option<InFlight>,
    }
}

pin_project! {
    /// The body that is sent. Only the inner body is pinned.
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Probe { body: ProbeBody },
        Inner { #[pin] body: B },
    }
}

impl<B> ResponseBody<B> {
    /// Returns the body of a probe.
    pub(super) fn probe(body: ProbeBody) -> Self {
        Self {
            kind: Kind::Probe { body },
            in_flight: None,
        }
    }

    /// Returns the body of an ordinary response, which is not in flight yet.
    pub(super) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
            in_flight: None,
        }
    }
}

impl<B> ResponseBody<B> {
    /// Keeps the request in flight until this body has ended.
    ///
    /// The guard is dropped at the end of the body, and not only with the body. A server may keep a
    /// body that has ended.
    #[inline]
    pub(super) fn keep_in_flight(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.kind.project() {
            KindProj::Inner { body } => {
                let frame = ready!(body.poll_frame(cx));
                if !matches!(frame, Some(Ok(_))) {
                    *this.in_flight = None;
                }
                Poll::Ready(frame)
            }
            KindProj::Probe { body } => Pin::new(body)
                .poll_frame(cx)
                .map_err(|infallible| match infallible {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Probe { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Probe { body } => body.size_hint(),
        }
    }
}
