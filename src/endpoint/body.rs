//! The body of a response to a probe. It is complete when the response is created.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a response to a probe. It has at most one frame.
///
/// Its size is known in advance. It never fails and is never pending. It is empty in a response to
/// `HEAD`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::Request;
/// use http_body::Body;
/// use http_body_util::BodyExt;
/// use tower::ServiceExt;
/// use tower_health::{Endpoints, Health, Status};
///
/// let endpoints = Endpoints::kubernetes().build()?;
/// let service = Health::fixed(Status::Pass).service().endpoints(endpoints);
/// let response = service.oneshot(Request::get("/readyz").body(())?).await?;
/// let body = response.into_body();
/// assert_eq!(body.size_hint().exact(), Some(2));
/// assert_eq!(body.collect().await?.to_bytes(), "ok");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProbeBody {
    /// Never an empty buffer, because that would be an empty frame.
    data: Option<Bytes>,
}

impl ProbeBody {
    pub(super) fn new(data: Bytes) -> Self {
        Self {
            data: Some(data).filter(|data| !data.is_empty()),
        }
    }

    pub(super) fn empty() -> Self {
        Self::default()
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.data.unwrap_or_default()
    }
}

impl Body for ProbeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
