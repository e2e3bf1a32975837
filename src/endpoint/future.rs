use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;

use super::ProbeBody;

/// The future of [`ProbeService`](super::ProbeService).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    answer: Answer,
}

/// The future of [`ProbeService::respond`](super::ProbeService::respond).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Respond {
    answer: Answer,
}

/// The answer to a request for a probe.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Option<Response<ProbeBody>>,
}

impl Answer {
    pub(super) fn new(response: Response<ProbeBody>) -> Self {
        Self {
            response: Some(response),
        }
    }

    pub(super) fn into_response_future(self) -> ResponseFuture {
        ResponseFuture { answer: self }
    }

    pub(super) fn into_respond(self) -> Respond {
        Respond { answer: self }
    }
}

impl Future for Answer {
    type Output = Response<ProbeBody>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // Polled again after it was ready, it has nothing to say.
        self.response.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ProbeBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(Ok)
    }
}

impl Future for Respond {
    type Output = Response<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(cx);
        answer.map(|response| response.map(ProbeBody::into_bytes))
    }
}
