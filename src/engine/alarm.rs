use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::clock::Clock;

pin_project! {
    /// A timer that is set again and again. Setting it to the same time costs nothing.
    pub(super) struct Alarm {
        clock: Clock,
        at: Option<Duration>,
        #[pin]
        timer: Sleep,
    }
}

impl Alarm {
    /// A timer that is not set.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            at: None,
            timer: sleep_until(clock.instant(Duration::ZERO)),
        }
    }

    pub(super) fn set_to(self: Pin<&mut Self>, at: Option<Duration>) {
        let this = self.project();
        if let Some(at) = at.filter(|at| *this.at != Some(*at)) {
            this.timer.reset(this.clock.instant(at));
        }
        *this.at = at;
    }
}

impl Future for Alarm {
    type Output = ();

    /// Resolves once when the time has come.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.at.is_none() {
            return Poll::Pending;
        }
        ready!(this.timer.poll(cx));
        *this.at = None;
        Poll::Ready(())
    }
}
