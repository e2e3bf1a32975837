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
    /// `SIGINT` there is no [delay](Self::drain_delay). A second signal ends the part of the drain that is under way, as does each
    /// after it. A `SIGTERM` within a second of another signal is the same one, as supervisors forward it to a whole group, and a
    /// `SIGINT` within 200 ms. A signal after a drain that a signal began does what it would do without this.
    ///
    /// No process becomes unkillable. It ends:
    ///
    /// | who waits for the drain | it ends |
    /// | --- | --- |
    /// | [`Health::run`], or `Health::run_http` | by itself, when `main` returns, or else a minute after the longest drain |
    /// | [`Health::drained`] alone, which a server of yours may wait for, or a worker | by itself, or else 3 s after the longest drain, 28 s after the signal |
    /// | nobody | when nothing has been in flight for 2 s, or the drain is over |
    /// | any of these, on a runtime that stands still | 2 s after the longest drain |
    ///
    /// Where it does not end by itself, the default action is restored and the signal raised again. The first process of a container,
    /// for which the kernel ignores that, exits with 128 and the number of the signal, as a shell would report it.
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
