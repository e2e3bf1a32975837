use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;

use super::Drained;
use crate::Health;

impl Health {
    /// Runs a server to its end, and no longer than a [drain](Self::drain) may take: at the
    /// [cap](crate::HealthBuilder::drain_cap) it is dropped, whatever it does, and what was in flight is reported.
    ///
    /// The server has to know by itself when to stop accepting:
    ///
    /// ```no_run
    /// # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// # let health = tower_health::Health::builder("orders").start()?;
    /// let server = axum::serve(listener, app).with_graceful_shutdown(health.drained());
    /// health.run(server).await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If the last [`Health`], layer and service was dropped before that, or the runtime of the checks has ended, it is told to stop
    /// accepting, and waited for without limit.
    ///
    /// Tasks that the server spawned, such as those of its connections, end with their runtime: let `main` return.
    ///
    /// # Errors
    ///
    /// The future's error is [`Unfinished`] if the server did not end by itself in time.
    pub fn run<S: IntoFuture>(&self, server: S) -> Run<S::IntoFuture> {
        let drained = self.drained();
        Run {
            bell: drained.board().change(),
            server: server.into_future(),
            drained,
            over: false,
        }
    }
}

pin_project! {
    /// Runs a server: the future of [`Health::run`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<F> {
        #[pin]
        server: F,
        #[pin]
        drained: Drained,
        over: bool,
        #[pin]
        bell: OwnedNotified,
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Unfinished>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.over {
            *this.over = this.drained.as_mut().poll(cx).is_ready();
        }
        // It is asked last, so that one that ends by itself, however late, has ended by itself.
        loop {
            this.bell.as_mut().enable();
            let departure = &this.drained.board().departure;
            let (cut, in_flight) = (departure.is_cut(), departure.in_flight());
            if let Poll::Ready(output) = this.server.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if cut {
                return Poll::Ready(Err(Unfinished { in_flight }));
            }
            if this.bell.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let bell = this.drained.board().change();
            this.bell.set(bell);
        }
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// A server did not end by itself in the time that a drain may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// How many requests were in flight. None, if connections alone were open.
    pub in_flight: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_flight {
            0 => f.write_str("the server did not end in the time that a drain may take, though nothing was in flight"),
            1 => f.write_str("the server was ended with 1 request in flight"),
            n => write!(f, "the server was ended with {n} requests in flight"),
        }
    }
}

impl Error for Unfinished {}
