//! Signals that begin a drain, and what ends the process where nobody waits for one.

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
    /// Begins a [drain](Health::drain) when the process is told to end, by `SIGTERM` or `SIGINT` (Ctrl-C). Defaults to touching
    /// no signal.
    ///
    /// The handlers are installed at [`start`](Self::start), so a signal that comes during start-up is not lost. After
    /// `SIGINT` there is no [delay](Self::drain_delay). A second signal ends the delay, or the wait for what is in flight
    /// where there is none; one after the drain does what it would do without this.
    ///
    /// A process that takes no future of the drain, such as [`Health::drained`], still ends: when the drain is over the
    /// default action is restored, and the signal raised again. So it does if its runtime stands still, when the time that
    /// a drain may take is over.
    ///
    /// Handlers stay until the process ends, also when the last [`Health`] has gone; a signal then does what it would do
    /// without them. Where there are no Unix signals, nothing is installed.
    #[cfg_attr(docsrs, doc(cfg(feature = "signals")))]
    pub fn handle_signals(self) -> Self {
        self.signals(handle)
    }
}

impl Health {
    /// As [`HealthBuilder::handle_signals`], for a builder that did not: handles signals from now on, and waits for the end
    /// of the [drain](Self::drain).
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
    /// That of the operating system, which refuses to have the signals handled or has no thread to do it.
    #[cfg_attr(docsrs, doc(cfg(feature = "signals")))]
    pub fn drain_on_signal(&self) -> io::Result<Drained> {
        handle(self.board())?;
        Ok(self.drained())
    }
}

/// Has signals begin the drain of a service.
fn handle(board: &Arc<Board>) -> io::Result<()> {
    platform::handle(board)
}
