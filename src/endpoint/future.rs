use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;

use super::{ProbeBody, waiting::Waiting};

/// Future of the response of a [`ProbeService`](super::ProbeService). It resolves on its first
/// poll, unless it waits for a check that runs [on demand](crate::Check::on_demand).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    answer: Answer,
}

/// Future of the response of [`ProbeService::respond`](super::ProbeService::respond). It resolves
/// on its first poll, unless it waits for a check that runs [on demand](crate::Check::on_demand).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Respond {
    answer: Answer,
}

/// Future of the response to a request for a probe.
pub(crate) struct Answer {
    state: State,
}

enum State {
    /// `None` once it was taken.
    Ready(Option<Response<ProbeBody>>),
    /// Waits for checks that run on demand.
    Waiting(Box<Waiting>),
}

impl Answer {
    #[inline]
    pub(super) fn ready(response: Response<ProbeBody>) -> Self {
        Self {
            state: State::Ready(Some(response)),
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

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            // Pending if it is polled again after completion.
            State::Ready(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            State::Waiting(waiting) => {
                let response = ready!(waiting.poll(cx));
                self.state = State::Ready(None);
                Poll::Ready(response)
            }
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Ready(Some(_)) => "Ready",
            State::Ready(None) => "Taken",
            State::Waiting(_) => "Waiting",
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
