//! The dedicated connection of a check.
//!
//! A check that borrows its connection from the service's pool takes a slot from the service,
//! queues when no slot is free, and cannot distinguish an exhausted pool from a database that is
//! down. A check therefore has a dedicated connection. It is opened with the options of the pool
//! when it is first needed, and kept between runs while the check does not fail, up to a maximum
//! lifetime. The lifetime is limited because an open connection does not reveal a changed password,
//! or a name that now resolves to another server.
//!
//! [`DedicatedConnection::ask`] is one run:
//!
//! 1. The kept connection is taken out, so that a dropped run does not leave it in an unknown
//!    state.
//! 2. The server is queried over it. If it was lost, a new one is opened and queried once more.
//! 3. The connection is put back if the outcome does not fail and its lifetime is not over.
//!
//! Concurrent runs do not wait for each other. The one that finds no kept connection opens another.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    time::{Instant, sleep, timeout},
};

use tower_health::{Failure, Outcome, Reason, Status};

use crate::refusal::{Refusal, closed};

/// How to open a connection, how to probe over it, and how to close it. Each driver implements it,
/// usually on the check itself.
pub(crate) trait Connector: Send + Sync {
    /// The connection of the driver. It is not shared between runs.
    type Connection: Send + 'static;
    /// The answer of the server, which the check judges.
    type Answer: Send;

    /// Whether the pool was closed, so that the service gets no connection from it any more.
    /// Defaults to `false`.
    fn is_closed(&self) -> bool {
        false
    }

    /// The maximum lifetime of a connection that works. Defaults to [`LIFETIME`].
    fn keeps(&self) -> Duration {
        LIFETIME
    }

    /// Opens a connection. The future is `'static` because it may outlive the run that started it.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Refusal>> + Send + 'static;

    /// Probes the server over the connection.
    fn ask(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;

    /// Closes a connection as its protocol requires. Servers count and log connections that are
    /// dropped without it.
    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send + 'static;
}

/// Keeps the connection between runs. A connection that is not kept is closed as its protocol
/// requires, also if its run was dropped.
pub(crate) struct DedicatedConnection<C: Send + 'static> {
    /// The connection between two runs. `None` during a run, and after a failure.
    kept: Mutex<Option<OpenConnection<C>>>,
    /// Closes a connection of type `C`. A function pointer, because [`OpenConnection`] does not
    /// know its [`Connector`].
    close: Close<C>,
    /// One permit for each handshake that may outlive its run.
    handshakes: Arc<Semaphore>,
}

/// [`Connector::close`] with a boxed future.
type Close<C> = fn(C) -> Closing;
/// The future of a [`Close`].
type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The default maximum lifetime of a kept connection. With it, this connection is opened six times
/// as often as a pooled connection with a lifetime of 30 minutes.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);

/// No limit of the lifetime, for drivers that drop a connection without closing it in the protocol.
/// Servers count such connections, so the check keeps one for as long as it works.
#[cfg(any(feature = "deadpool", all(feature = "bb8", feature = "diesel-async")))]
pub(crate) const NO_MAX_LIFETIME: Duration = Duration::MAX;

/// The time limit of work that no run waits for: closing a connection, and a handshake whose run
/// was dropped.
const DETACHED_TIMEOUT: Duration = Duration::from_secs(10);

/// How many handshakes at a time may outlive their run. Runs that are a few seconds apart never
/// need more within [`DETACHED_TIMEOUT`]. A further handshake ends with its run, so that runs that
/// are dropped in quick succession do not use up the server's connections.
const MAX_DETACHED_HANDSHAKES: usize = 3;

impl<C: Send + 'static> DedicatedConnection<C> {
    /// Creates a holder without a connection. The first run opens one.
    pub(crate) fn new<L: Connector<Connection = C>>() -> Self {
        Self {
            kept: Mutex::new(None),
            close: |connection| Box::pin(L::close(connection)),
            handshakes: Arc::new(Semaphore::new(MAX_DETACHED_HANDSHAKES)),
        }
    }

    /// Probes once, unless the pool is closed. If the kept connection was lost since the last run,
    /// a new one is opened immediately and probed. The connection is kept unless the outcome fails.
    pub(crate) async fn ask<L: Connector<Connection = C>>(
        &self,
        link: &L,
        judge: impl FnOnce(L::Answer) -> Outcome + Send,
    ) -> Outcome {
        let kept = self.lock().take();
        if link.is_closed() {
            return closed();
        }
        if let Some(mut held) = kept {
            match held.ask(link).await {
                Err(refusal) if refusal.is_lost() => {}
                answer => return self.ended(link, held, answer.map(judge)),
            }
        }
        let mut held = match self.connect(link).await {
            Ok(held) => held,
            Err(refusal) => return refusal.outcome(),
        };
        let answer = held.ask(link).await;
        self.ended(link, held, answer.map(judge))
    }

    /// Opens a connection. The handshake continues for up to [`DETACHED_TIMEOUT`] after its run was
    /// dropped, because a server may count an aborted handshake as an error of the host, and block
    /// the host.
    async fn connect<L: Connector<Connection = C>>(
        &self,
        link: &L,
    ) -> Result<OpenConnection<C>, Refusal> {
        let close = self.close;
        let held = move |connection| OpenConnection::new(connection, close);
        let Ok(runtime) = Handle::try_current() else {
            // A run on a blocking thread is never dropped before it ends.
            return link.connect().await.map(held);
        };
        let (mut sender, receiver) = oneshot::channel();
        let connect = link.connect();
        let permit = Arc::clone(&self.handshakes).try_acquire_owned();
        runtime.spawn(async move {
            let grace = permit.as_ref().map_or(Duration::ZERO, |_| DETACHED_TIMEOUT);
            let connected = {
                let mut connect = pin!(connect);
                let mut given_up = pin!(async {
                    sender.closed().await;
                    sleep(grace).await;
                });
                poll_fn(|cx| match connect.as_mut().poll(cx) {
                    Poll::Ready(connected) => Poll::Ready(Some(connected)),
                    Poll::Pending => given_up.as_mut().poll(cx).map(|()| None),
                })
                .await
            };
            if let Some(connected) = connected {
                // If the run was dropped, this closes the connection.
                _ = sender.send(connected.map(held));
            }
        });
        let lost = |_| Err(Refusal::lost(Failure::new(Reason::Panicked)));
        receiver.await.unwrap_or_else(lost)
    }

    /// Ends a run: keeps the connection, or drops and thereby closes it, and returns the outcome.
    fn ended<L: Connector<Connection = C>>(
        &self,
        link: &L,
        held: OpenConnection<C>,
        judged: Result<Outcome, Refusal>,
    ) -> Outcome {
        let is_good = matches!(&judged, Ok(outcome) if outcome.status() != Status::Fail);
        if is_good && held.since.elapsed() < link.keeps() {
            let other = self.lock().replace(held);
            // A concurrent run may have kept its connection.
            drop(other);
        }
        judged.unwrap_or_else(Refusal::outcome)
    }

    /// Locks the kept connection. The lock is never held across an `await`.
    fn lock(&self) -> MutexGuard<'_, Option<OpenConnection<C>>> {
        // No code panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is closed as its protocol requires when this is dropped, by a separate task.
struct OpenConnection<C: Send + 'static> {
    /// `None` while it is being closed.
    connection: Option<C>,
    /// Closes the connection when this is dropped.
    close: Close<C>,
    /// When the connection was opened, for its maximum lifetime.
    since: Instant,
}

impl<C: Send + 'static> OpenConnection<C> {
    fn new(connection: C, close: Close<C>) -> Self {
        Self {
            connection: Some(connection),
            close,
            since: Instant::now(),
        }
    }

    /// Probes the server over this connection.
    async fn ask<L: Connector<Connection = C>>(&mut self, link: &L) -> Result<L::Answer, Refusal> {
        match &mut self.connection {
            Some(connection) => link.ask(connection).await,
            None => Err(Refusal::lost(Failure::new(Reason::ConnectionLost))),
        }
    }
}

impl<C: Send + 'static> Drop for OpenConnection<C> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        // Without a runtime the connection is only dropped.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(DETACHED_TIMEOUT, (self.close)(connection)));
        }
    }
}
