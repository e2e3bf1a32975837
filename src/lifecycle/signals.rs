//! Signals that begin a drain, and how the process ends if nothing waits for the drain.
//!
//! Handlers belong to the process and not to a service. They are installed once, for all services
//! of the process that ask for them.

use std::{io, sync::Arc};

use super::Drained;
use crate::{Health, HealthBuilder, engine::Board};

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other as platform;
#[cfg(unix)]
use unix as platform;

impl HealthBuilder {
    /// Begins a [drain](Health::drain) when the process receives `SIGTERM` or `SIGINT` (Ctrl-C).
    /// Defaults to handling no signal.
    ///
    /// The handlers are installed at [`start`](Self::start), so a signal during startup is not
    /// lost. After `SIGINT`, whoever sends it, there is no [delay](Self::drain_delay). A second
    /// signal ends the current phase of the drain, and so does each further one. A `SIGTERM` within
    /// 1 s of another signal counts as the same signal, because supervisors forward it to a whole
    /// process group. So does a `SIGINT` within 200 ms. Once a drain that a signal began has ended,
    /// a further signal acts as if there were no handler.
    ///
    /// The process never becomes unkillable. It ends as follows, where *the longest drain* is the
    /// longest time that the phases may take together, by default 25 s, or 20 s after `SIGINT`:
    ///
    /// | what waits for the drain | when the process ends |
    /// | --- | --- |
    /// | [`Health::run`], or `Health::run_http` | by itself, when `main` returns, or else 1 minute after the longest drain |
    /// | [`Health::drained`] alone, in a server of yours or a worker | by itself, or else 3 s after the longest drain, which by default is 28 s after the signal |
    /// | nothing | when nothing has been in flight for 2 s in the phase *close*, or else when the drain is over |
    /// | any of these, on a runtime that is stalled | 2 s after the longest drain |
    ///
    /// If the process does not end by itself, the default action is restored and the signal is
    /// raised again. The kernel ignores that for the first process of a container (PID 1). Such a
    /// process exits with 128 plus the number of the signal, as a shell would report it.
    ///
    /// Handlers stay installed until the process ends, even after the last [`Health`] was dropped.
    /// A signal then has the effect that it has without them. On platforms without Unix signals,
    /// nothing is installed.
    ///
    /// ```no_run
    /// # async fn serve(
    /// #     listener: tokio::net::TcpListener,
    /// #     app: axum::Router,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").handle_signals().start()?;
    /// let app = app.layer(health.layer());
    /// let server = axum::serve(listener, app).with_graceful_shutdown(health.drained());
    /// // It ends after `SIGTERM`, at the latest when the drain is over.
    /// health.run(server).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "signals")))]
    pub fn handle_signals(self) -> Self {
        self.signals(handle)
    }
}

impl Health {
    /// Handles signals from now on, as [`HealthBuilder::handle_signals`] does, and returns a future
    /// that resolves when servers are to stop accepting in the [drain](Self::drain). Use it if the
    /// builder did not set that.
    ///
    /// ```no_run
    /// # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// # let health = tower_health::Health::builder("orders").start()?;
    /// axum::serve(listener, app).with_graceful_shutdown(health.drain_on_signal()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system if the handlers cannot be installed or if no
    /// thread can be started for them.
    #[cfg_attr(docsrs, doc(cfg(feature = "signals")))]
    pub fn drain_on_signal(&self) -> io::Result<Drained> {
        handle(self.board())?;
        Ok(self.drained())
    }
}

/// Lets signals begin the drain of a service.
fn handle(board: &Arc<Board>) -> io::Result<()> {
    platform::handle(board)
}
