use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;

use super::{Endpoints, ProbeBody, question::OwnedQuestion};
use crate::engine::{Awaited, Board};

/// A reader that waits for checks that run on demand, and then answers with what is known. It does not keep the
/// checks running.
pub(super) struct Waiting {
    runs: Vec<Pin<Box<Awaited>>>,
    board: Arc<Board>,
    endpoints: Arc<Endpoints>,
    question: OwnedQuestion,
}

impl Waiting {
    pub(super) fn new(
        board: &Arc<Board>,
        endpoints: Arc<Endpoints>,
        question: OwnedQuestion,
        runs: Vec<Awaited>,
    ) -> Self {
        Self {
            runs: runs.into_iter().map(Box::pin).collect(),
            board: Arc::clone(board),
            endpoints,
            question,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ProbeBody>> {
        // All have to end: the last is as good as any to wait for first.
        while let Some(run) = self.runs.last_mut() {
            ready!(run.as_mut().poll(cx));
            self.runs.pop();
        }
        let (board, question) = (&self.board, self.question.borrowed());
        Poll::Ready(question.answer(board, &board.published(), &self.endpoints))
    }
}
