//! The bodies of responses on ports of this crate.
//!
//! hyper drops a body when it has read it, and may write it later. A drain must not count such a
//! response as complete. Each frame therefore carries a share of what the response holds, and hyper
//! drops the frame once it is written.

use std::{
    convert::Infallible,
    io::IoSlice,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    activity::{Busy, Owed},
    events::Events,
};
use crate::{
    endpoint::{InFlight, ProbeBody},
    engine::Board,
};

pin_project! {
    /// The response body of a management port.
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

/// The state that a response keeps until all of it is written.
///
/// The body and its unwritten pieces share it. It is dropped with the last of them.
struct Held {
    busy: Busy,
    /// The instance whose drain waits for the response, and the request that is in flight for it
    /// once its body has ended.
    board: Arc<Board>,
    in_flight: OnceLock<InFlight>,
}

impl Held {
    /// Records that the body has ended. For the service the request is complete. For its client it
    /// is not, while pieces are unwritten.
    fn end(self: &Arc<Self>) {
        if Arc::strong_count(self) > 1 {
            self.in_flight.get_or_init(|| InFlight::new(&self.board));
        }
    }
}

pin_project! {
    /// A response body. Until all of it is written, its connection is busy and its request is in
    /// flight.
    pub(super) struct BusyBody<B> {
        #[pin]
        body: B,
        held: Option<Arc<Held>>,
    }

    impl<B> PinnedDrop for BusyBody<B> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(held) = this.project().held {
                held.end();
            }
        }
    }
}

impl<B> BusyBody<B> {
    /// Wraps the body of a response. `busy` is the request that it answers.
    pub(super) fn new(body: B, busy: Busy, board: &Arc<Board>) -> Self {
        let held = Held {
            busy,
            board: Arc::clone(board),
            in_flight: OnceLock::new(),
        };
        Self {
            body,
            held: Some(Arc::new(held)),
        }
    }
}

impl<B: Body> Body for BusyBody<B> {
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        Poll::Ready(match (frame, &*this.held) {
            (Some(Ok(frame)), Some(held)) => Some(Ok(frame.map_data(|data| Piece {
                data,
                owed: Owed::new(held.busy.activity()),
                held: Arc::clone(held),
            }))),
            // Polled again after its end, it returns nothing.
            (Some(Ok(_)), None) => None,
            (Some(Err(error)), _) => Some(Err(error)),
            (None, _) => {
                if let Some(held) = this.held.take() {
                    held.end();
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of a response. It is dropped once it is written.
///
/// It reads as the data that it contains.
pub(super) struct Piece<D> {
    data: D,
    #[expect(dead_code, reason = "dropping it is what counts")]
    owed: Owed,
    #[expect(dead_code, reason = "dropping it is what counts")]
    held: Arc<Held>,
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}
