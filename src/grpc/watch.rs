//! The stream of `Watch`. It follows the board, and never runs a check, because a client may watch
//! for days.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tonic::{Status, codegen::tokio_stream::Stream};

use super::services::Services;
use crate::{
    engine::{Board, Wait},
    proto::{HealthCheckResponse, ServingStatus},
};

pin_project! {
    /// Stream of the status of one service: the current status, and each change. It does not keep
    /// the checks running, and ends with them.
    pub(super) struct Watch {
        board: Arc<Board>,
        services: Arc<Services>,
        service: String,
        sent: Option<ServingStatus>,
        #[pin]
        wait: Wait,
    }
}

impl Watch {
    /// Starts a stream. Its first item is the current status, and is ready immediately.
    pub(super) fn new(board: &Arc<Board>, services: Arc<Services>, service: String) -> Self {
        Self {
            wait: board.wait(),
            board: Arc::clone(board),
            services,
            service,
            sent: None,
        }
    }
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let (board, services, service, sent) =
            (&*this.board, &*this.services, &*this.service, this.sent);
        this.wait.poll_until(cx, |_| {
            // The stream ends once nothing can change any more. It also ends when servers are to
            // stop accepting, so that a client that stays does not delay them.
            let over = board.is_stopped() || board.control.is_closing();
            let status = services.status(board, service);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if sent.replace(status) != Some(status) {
                return Some(Some(Ok(status.into())));
            }
            over.then_some(None)
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
