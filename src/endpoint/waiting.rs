//! A probe that waits for checks that run on demand. Every other probe is answered without this.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;

use super::{Endpoints, ProbeBody, question::OwnedProbeQuery};
use crate::engine::{Awaited, Board};

/// A request that waits for runs on demand, and then responds with the latest results. It does not
/// keep the checks running.
pub(super) struct Waiting {
    runs: Vec<Pin<Box<Awaited>>>,
    board: Arc<Board>,
    endpoints: Arc<Endpoints>,
    question: OwnedProbeQuery,
}

impl Waiting {
    /// `runs` are the runs that the question needs. They were started already, and other readers
    /// may wait for the same runs.
    pub(super) fn new(
        board: &Arc<Board>,
        endpoints: Arc<Endpoints>,
        question: OwnedProbeQuery,
        runs: Vec<Awaited>,
    ) -> Self {
        Self {
            runs: runs.into_iter().map(Box::pin).collect(),
            board: Arc::clone(board),
            endpoints,
            question,
        }
    }

    /// Resolves once all runs have ended or their wait is over. Each run limits its own wait, so
    /// this needs no timer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ProbeBody>> {
        // All runs must end, so the order does not matter.
        while let Some(run) = self.runs.last_mut() {
            ready!(run.as_mut().poll(cx));
            self.runs.pop();
        }
        let (board, question) = (&self.board, self.question.borrowed());
        Poll::Ready(question.answer(board, &board.published(), &self.endpoints))
    }
}
