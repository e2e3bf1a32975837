use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Response};

use super::{ProbeBody, ProbeService, path::Target};
use crate::{engine::Awaited, model::Probe};

/// A reader that waits for checks that run on demand, and then answers with what is known.
pub(super) struct Waiting {
    runs: Vec<Pin<Box<Awaited>>>,
    service: ProbeService,
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
        service: ProbeService,
        method: Method,
        target: Target<'_>,
        runs: Vec<Awaited>,
    ) -> Self {
        Self {
            runs: runs.into_iter().map(Box::pin).collect(),
            service,
            method,
            asked: match target {
                Target::Probe(probe) => Asked::Probe(probe),
                Target::Check(name) => Asked::Check(name.to_owned()),
            },
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ProbeBody>> {
        self.runs
            .retain_mut(|run| run.as_mut().poll(cx).is_pending());
        if !self.runs.is_empty() {
            return Poll::Pending;
        }
        let target = match &self.asked {
            Asked::Probe(probe) => Target::Probe(*probe),
            Asked::Check(name) => Target::Check(name),
        };
        Poll::Ready(self.service.reply(target).into_response(&self.method))
    }
}
