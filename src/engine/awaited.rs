use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_timer::Delay;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use super::{clock, flight::Completion};

pin_project! {
    /// Future that resolves like [`Completion`], or when the time limit is over.
    #[derive(Debug)]
    pub(crate) struct Awaited {
        #[pin]
        completion: Completion,
        #[pin]
        limit: Limit,
    }
}

pin_project! {
    #[project = LimitProj]
    #[derive(Debug)]
    enum Limit {
        Engine { #[pin] sleep: Sleep },
        Thread { #[pin] delay: Delay },
    }
}

impl Awaited {
    /// Within the engine's runtime, while its clock is paused, that clock limits the wait.
    /// Otherwise a thread does, because a runtime may be stalled or have no timers.
    pub(super) fn new(completion: Completion, limit: Duration, engine: &Handle) -> Self {
        let here = Handle::try_current().ok();
        let here = here.is_some_and(|here| here.id() == engine.id());
        let limit = if here && clock::is_paused() {
            Limit::Engine {
                sleep: sleep(limit),
            }
        } else {
            Limit::Thread {
                delay: Delay::new(limit),
            }
        };
        Self { completion, limit }
    }
}

impl Future for Awaited {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // Polled first: an engine that has ended has abandoned its flights, and its timers may be
        // gone.
        if this.completion.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match this.limit.project() {
            LimitProj::Engine { sleep } => sleep.poll(cx),
            LimitProj::Thread { delay } => delay.poll(cx),
        }
    }
}
