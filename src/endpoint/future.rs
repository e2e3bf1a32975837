use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;

use super::ProbeBody;

/// The future of [`ProbeService`](super::ProbeService).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    response: Option<Response<ProbeBody>>,
}

impl ResponseFuture {
    pub(super) fn new(response: Response<ProbeBody>) -> Self {
        Self {
            response: Some(response),
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ProbeBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // Polled again after it was ready, it has nothing to say.
        self.response
            .take()
            .map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
    }
}
