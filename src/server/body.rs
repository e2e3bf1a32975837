use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::events::Events;
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
