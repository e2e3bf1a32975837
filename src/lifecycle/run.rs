//! Running a server until it ends, but no longer than a drain may take.

use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::Drained;
use crate::{BoxError, Health, engine::Wait};

impl Health {
    /// Runs a server until it ends, but no longer than a [drain](Self::drain) may take. When the
    /// drain is over, the server is dropped in any case, and requests that were in flight are
    /// reported.
    ///
    /// The server must know by itself when to stop accepting:
    ///
    /// ```no_run
    /// # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// # let health = tower_health::Health::builder("orders").start()?;
    /// let server = axum::serve(listener, app).with_graceful_shutdown(health.drained());
    /// health.run(server).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The drain may become impossible because the last [`Health`], layer and service was dropped,
    /// or because the runtime of the checks has ended. In that case the server is notified to stop
    /// accepting, and is awaited without limit.
    ///
    /// A connection that is idle, silent or in the middle of a request's head delays nothing. In
    /// the phase *close*, a server that still waits for such a connection when nothing has been in
    /// flight for 2 s is dropped as well, and `Ok` is returned.
    ///
    /// Bytes that a server has taken from a body and not yet written are not visible here. They
    /// have those 2 s, so a long response to a slow client may be cut. `Health::run_http` waits for
    /// it.
    ///
    /// A server that closes its listener resets the connections in its accept queue. Some servers,
    /// such as those of axum and tonic, also drop a connection whose first bytes they have not
    /// read. A client that connects at that moment may therefore be reset. `Health::run_http`
    /// answers it.
    ///
    /// Tasks that the server spawned, such as those of its connections, end with their runtime: let
    /// `main` return.
    ///
    /// Any future of `()` or of a `Result` is a server:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let drained = health.drained();
    /// let server = async move {
    ///     // It accepts connections until the drain ends them.
    ///     drained.await;
    ///     std::io::Result::Ok(())
    /// };
    /// health.drain();
    /// assert!(health.run(server).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Several servers drain together. Await all of them:
    ///
    /// ```no_run
    /// # async fn serve(http: tokio::net::TcpListener, grpc: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// # let health = tower_health::Health::builder("orders").start()?;
    /// # let (admin, listener) = (app.clone(), grpc);
    /// let http = axum::serve(http, app).with_graceful_shutdown(health.drained());
    /// let admin = axum::serve(listener, admin).with_graceful_shutdown(health.drained());
    /// tokio::try_join!(health.run(http), health.run(admin))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ServerError::Server`]: the server itself failed.
    /// - [`ServerError::DrainTimeout`]: requests were in flight when the server was dropped. It
    ///   contains their number.
    pub fn run<S>(&self, server: S) -> Run<S::IntoFuture>
    where
        S: IntoFuture<Output: ServerOutput>,
    {
        let drained = Drained::new(self.board(), true);
        Run {
            wait: drained.board().wait(),
            server: server.into_future(),
            drained,
            over: false,
        }
    }
}

pin_project! {
    /// Future that runs a server. Returned by [`Health::run`].
    ///
    /// Its output is `Ok` if the server ended by itself without an error, or was dropped with
    /// nothing in flight. Dropping this future drops the server.
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<F> {
        #[pin]
        server: F,
        #[pin]
        drained: Drained,
        // Whether `drained` has resolved. It is not polled again after that.
        over: bool,
        #[pin]
        wait: Wait,
    }
}

/// The output of a server's future: `()`, or a `Result` such as the `io::Result<()>` of axum.
///
/// ```
/// use std::io;
///
/// use tower_health::drain::ServerOutput;
///
/// assert!(ServerOutput::into_result(()).is_ok());
/// let refused: io::Result<()> = Err(io::ErrorKind::ConnectionRefused.into());
/// assert!(refused.into_result().is_err());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the output of a server",
    note = "`Health::run` takes a future of `()`, or of a `Result` whose value is `()`: map the output, or implement `ServerOutput`"
)]
pub trait ServerOutput {
    /// Converts the output to a result.
    ///
    /// # Errors
    ///
    /// Returns the server's error.
    fn into_result(self) -> Result<(), BoxError>;
}

impl ServerOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T: ServerOutput, E: Into<BoxError>> ServerOutput for Result<T, E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)?.into_result()
    }
}

impl<F: Future<Output: ServerOutput>> Future for Run<F> {
    type Output = Result<(), ServerError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.over {
            *this.over = this.drained.as_mut().poll(cx).is_ready();
        }
        let (drained, mut server) = (this.drained.as_ref(), this.server);
        let control = &drained.board().control;
        this.wait.poll_until(cx, |cx| {
            // The cut is read before the server is polled. A server that ends by itself, however
            // late, counts as ended by itself.
            let cut = control.was_cut();
            if let Poll::Ready(output) = server.as_mut().poll(cx) {
                return Some(output.into_result().map_err(ServerError::Server));
            }
            cut?;
            Some(match control.in_flight.count() {
                0 => Ok(()),
                in_flight => Err(DrainTimeout { in_flight }.into()),
            })
        })
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// The error of [`Health::run`]. The message of the server's own error is unchanged.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, error::ServerError};
///
/// let health = Health::builder("orders").start()?;
/// let server = async { Err::<(), _>(std::io::Error::other("the address is in use")) };
/// let error = health.run(server).await.unwrap_err();
/// assert!(matches!(error, ServerError::Server(_)));
/// assert_eq!(error.to_string(), "the address is in use");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// The server itself failed, with this error.
    Server(BoxError),
    /// Requests were still in flight when the time limit of the drain was over.
    DrainTimeout(DrainTimeout),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::DrainTimeout(error) => error.fmt(f),
        }
    }
}

impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The message of that error is the message of this one.
            Self::Server(error) => error.source(),
            Self::DrainTimeout(_) => None,
        }
    }
}

impl From<DrainTimeout> for ServerError {
    fn from(error: DrainTimeout) -> Self {
        Self::DrainTimeout(error)
    }
}

/// The time limit of a drain was over while requests were still in flight. By default that is 25 s
/// after the drain began.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::future;
/// use tokio::time::Instant;
/// use tower_health::{Health, error::ServerError};
///
/// let health = Health::builder("orders").start()?;
/// let stuck = [health.in_flight(), health.in_flight()];
/// let began = Instant::now();
/// health.drain();
/// let error = health.run(future::pending::<()>()).await.unwrap_err();
/// let ServerError::DrainTimeout(cut) = error else { panic!() };
/// assert_eq!((cut.in_flight, began.elapsed().as_secs()), (2, 25));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainTimeout {
    /// The number of requests that were cut. It is at least 1.
    pub in_flight: usize,
}

impl fmt::Display for DrainTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_flight {
            1 => f.write_str("the server was stopped with 1 request in flight"),
            n => write!(f, "the server was stopped with {n} requests in flight"),
        }
    }
}

impl Error for DrainTimeout {}
