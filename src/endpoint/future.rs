use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;

use super::{ProbeBody, waiting::Waiting};

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
pub(crate) struct Answer {
    state: State,
}

enum State {
    Ready(Response<ProbeBody>),
    /// For checks that run on demand.
    Waiting(Box<Waiting>),
    Taken,
}

impl Answer {
    pub(super) fn ready(response: Response<ProbeBody>) -> Self {
        Self {
            state: State::Ready(response),
        }
    }

    pub(super) fn waiting(waiting: Waiting) -> Self {
        Self {
            state: State::Waiting(Box::new(waiting)),
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(waiting) = &mut self.state {
            return match waiting.poll(cx) {
                Poll::Ready(response) => {
                    self.state = State::Taken;
                    Poll::Ready(response)
                }
                Poll::Pending => Poll::Pending,
            };
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(response) => Poll::Ready(response),
            // Polled again after it was ready, it has nothing to say.
            State::Waiting(_) | State::Taken => Poll::Pending,
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Ready(_) => "Ready",
            State::Waiting(_) => "Waiting",
            State::Taken => "Taken",
        })
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
