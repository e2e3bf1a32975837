use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Method, Response};

use super::{Exposure, ProbeBody, path::Target, reply};
use crate::{
    engine::{Awaited, Board},
    model::Probe,
};

/// A reader that waits for checks that run on demand, and then answers with what is known. It does not keep the
/// checks running.
pub(super) struct Waiting {
    runs: Vec<Pin<Box<Awaited>>>,
    board: Arc<Board>,
    exposure: Exposure,
    method: Method,
    asked: Asked,
}

/// A [`Target`] that outlives its request.
enum Asked {
    Probe(Probe),
    Check(String),
}

impl Waiting {
    pub(super) fn new(
        board: &Arc<Board>,
        exposure: Exposure,
        method: &Method,
        target: Target<'_>,
        runs: Vec<Awaited>,
    ) -> Self {
        Self {
            runs: runs.into_iter().map(Box::pin).collect(),
            board: Arc::clone(board),
            exposure,
            method: method.clone(),
            asked: match target {
                Target::Probe(probe) => Asked::Probe(probe),
                Target::Check(name) => Asked::Check(name.to_owned()),
            },
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ProbeBody>> {
        // All have to end: the last is as good as any to wait for first.
        while let Some(run) = self.runs.last_mut() {
            ready!(run.as_mut().poll(cx));
            self.runs.pop();
        }
        let target = match &self.asked {
            Asked::Probe(probe) => Target::Probe(*probe),
            Asked::Check(name) => Target::Check(name),
        };
        let reply = reply(&self.board, self.exposure, target);
        Poll::Ready(reply.into_response(&self.method))
    }
}
