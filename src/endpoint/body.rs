use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a response to a probe. It has at most one frame.
#[derive(Clone, Debug, Default)]
pub struct ProbeBody {
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
