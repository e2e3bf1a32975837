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
    /// Runs a server to its end, and no longer than a [drain](Self::drain) may take: when that is over it is dropped, whatever it
    /// does, and what was in flight is reported.
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
    /// A connection that is idle, silent or in the middle of a request's head holds nobody up: a server that still waits for such
    /// when nothing has been in flight for 2 s is dropped as well, and has [ended](ServerOutput::ended) as if by itself.
    ///
    /// What a server has taken from a body and not written yet is not known here, and has those 2 s: a long answer to a slow client
    /// may be cut. `Health::run_http` waits for it.
    ///
    /// A server that closes its listener resets what is in its queue, and some, as those of axum and tonic, give up a connection whose first
    /// bytes they have not read: a client that connects in that very moment may be reset. `Health::run_http` answers it.
    ///
    /// Tasks that the server spawned, such as those of its connections, end with their runtime: let `main` return.
    ///
    /// # Errors
    ///
    /// The future's error is [`Unfinished`] if requests were in flight when the server was dropped.
    pub fn run<S>(&self, server: S) -> Run<S::IntoFuture>
    where
        S: IntoFuture<Output: ServerOutput>,
    {
        let drained = Drained::new(self.board(), true);
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

/// What a server's future comes to, such as the `io::Result<()>` of axum, and what it would have come to where it is dropped though
/// nothing was in flight.
///
/// ```
/// use tower_health::ServerOutput;
///
/// assert!(<std::io::Result<()> as ServerOutput>::ended().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a server comes to",
    note = "`Health::run` takes a future of `()`, or of a `Result` whose value is `()`: map what it comes to, or implement `ServerOutput`"
)]
pub trait ServerOutput {
    /// That it ended, and all is well.
    fn ended() -> Self;
}

impl ServerOutput for () {
    fn ended() -> Self {}
}

impl<T: ServerOutput, E> ServerOutput for Result<T, E> {
    fn ended() -> Self {
        Ok(T::ended())
    }
}

impl<F: Future<Output: ServerOutput>> Future for Run<F> {
    type Output = Result<F::Output, Unfinished>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.over {
            *this.over = this.drained.as_mut().poll(cx).is_ready();
        }
        // It is asked last, so that one that ends by itself, however late, has ended by itself.
        loop {
            this.bell.as_mut().enable();
            let cut = this.drained.board().departure.was_cut();
            if let Poll::Ready(output) = this.server.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if cut.is_some() {
                return Poll::Ready(match this.drained.board().departure.in_flight() {
                    0 => Ok(F::Output::ended()),
                    in_flight => Err(Unfinished { in_flight }),
                });
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
    /// How many requests were cut; never none.
    pub in_flight: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_flight {
            1 => f.write_str("the server was ended with 1 request in flight"),
            n => write!(f, "the server was ended with {n} requests in flight"),
        }
    }
}

impl Error for Unfinished {}
