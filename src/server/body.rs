use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{activity::Busy, events::Events};
use crate::endpoint::ProbeBody;

pin_project! {
    /// What is answered on a management port.
    #[project = BodyProj]
    #[derive(Debug)]
    pub(super) enum ManagementBody {
        Probe { body: ProbeBody },
        Events { #[pin] events: Events },
    }
}

impl Body for ManagementBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.project() {
            BodyProj::Probe { body } => Pin::new(body).poll_frame(cx),
            BodyProj::Events { events } => {
                let event = events.poll_next(cx);
                event.map(|event| event.map(|text| Ok(Frame::data(text.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Probe { body } => body.is_end_stream(),
            Self::Events { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Probe { body } => body.size_hint(),
            Self::Events { .. } => SizeHint::default(),
        }
    }
}

pin_project! {
    /// The body of an answer. Its connection is busy until it has ended or was dropped.
    #[derive(Debug)]
    pub(super) struct BusyBody<B> {
        #[pin]
        body: B,
        busy: Option<Busy>,
    }
}

impl<B> BusyBody<B> {
    pub(super) fn new(body: B, busy: Busy) -> Self {
        Self {
            body,
            busy: Some(busy),
        }
    }
}

impl<B: Body> Body for BusyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            *this.busy = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
