use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Method, Response};

use super::{Exposure, ProbeBody, path::Target, respond};
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
    target: OwnedTarget,
}

/// A [`Target`] that outlives its request.
enum OwnedTarget {
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
            target: match target {
                Target::Probe(probe) => OwnedTarget::Probe(probe),
                Target::Check(name) => OwnedTarget::Check(name.to_owned()),
            },
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ProbeBody>> {
        // All have to end: the last is as good as any to wait for first.
        while let Some(run) = self.runs.last_mut() {
            ready!(run.as_mut().poll(cx));
            self.runs.pop();
        }
        let target = match &self.target {
            OwnedTarget::Probe(probe) => Target::Probe(*probe),
            OwnedTarget::Check(name) => Target::Check(name),
        };
        let published = self.board.published();
        Poll::Ready(respond(
            &self.board,
            &published,
            self.exposure,
            &self.method,
            target,
        ))
    }
}
