use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tonic::{Status, codegen::tokio_stream::Stream};

use super::Services;
use crate::{
    engine::Board,
    proto::{HealthCheckResponse, ServingStatus},
};

pin_project! {
    /// Stream of the status of one service: the current status, and each change. It does not keep
    /// the checks running, and ends with them.
    pub(super) struct Watch {
        board: Arc<Board>,
        services: Arc<Services>,
        service: String,
        told: Option<ServingStatus>,
        #[pin]
        bell: OwnedNotified,
    }
}

impl Watch {
    pub(super) fn new(board: &Arc<Board>, services: Arc<Services>, service: String) -> Self {
        Self {
            bell: board.change(),
            board: Arc::clone(board),
            services,
            service,
            told: None,
        }
    }
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            // The stream ends once nothing can change any more. It also ends when servers are to
            // stop accepting, so that a client that stays does not delay them.
            let over = this.board.is_stopped() || this.board.departure.is_over();
            let status = this.services.status(this.board, this.service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if this.told.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(status.into())));
            }
            if over {
                return Poll::Ready(None);
            }
            ready!(this.bell.as_mut().poll(cx));
            // The new future covers changes from now on. Changes until now are read next.
            this.bell.set(this.board.change());
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
