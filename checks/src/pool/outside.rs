//! A dedicated connection that is opened by the manager of a pool but is not part of the pool.
//!
//! It is the common part of bb8 and deadpool. Each of them implements [`ConnectOutsidePool`] for
//! its pool type. [`OutsidePool`] combines such a pool with the ping of the user and a
//! [`DedicatedConnection`], and is the source of the check.

use std::{future::Future, pin::Pin, time::Duration};

use super::{Usage, refusal::of_boxed, source::Source};
use tower_health::{BoxError, Outcome, async_trait};

#[cfg(any(feature = "deadpool", all(feature = "bb8", feature = "diesel-async")))]
use crate::dedicated::NO_MAX_LIFETIME;
use crate::{
    dedicated::{Connector, DedicatedConnection, LIFETIME},
    refusal::Refusal,
};

/// A pool implementation that can open a connection outside the pool. A clone is a handle to the
/// same pool.
pub(super) trait ConnectOutsidePool: Clone + Send + Sync + 'static {
    /// The connection of the driver.
    type Connection: Send + 'static;

    /// Returns the usage of the pool, without the dedicated connection.
    fn usage(&self) -> Usage;

    /// Whether the pool was closed. Defaults to `false`, for pools that cannot be closed.
    fn is_closed(&self) -> bool {
        false
    }

    /// Opens a connection that is not part of the pool.
    fn connect(self) -> impl Future<Output = Result<Self::Connection, BoxError>> + Send + 'static;
}

/// The future of a ping. It borrows the connection.
pub(super) type PingFuture<'c, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'c>>;

/// The ping of the user, with its error converted.
type Ping<C> = dyn for<'c> Fn(&'c mut C) -> PingFuture<'c, Refusal> + Send + Sync;

/// The source for a pool whose manager opens a connection for the check.
pub(super) struct OutsidePool<M: ConnectOutsidePool> {
    /// Opens the connection, and reports the usage.
    pool: M,
    ping: Box<Ping<M::Connection>>,
    /// The connection of the check.
    own: DedicatedConnection<M::Connection>,
    /// The maximum lifetime of the connection.
    keeps: Duration,
}

impl<M: ConnectOutsidePool> OutsidePool<M> {
    /// Creates a source with the default [lifetime](LIFETIME).
    pub(super) fn new<P, E>(pool: M, ping: P) -> Self
    where
        P: for<'c> Fn(&'c mut M::Connection) -> PingFuture<'c, E> + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        Self {
            pool,
            ping: Box::new(move |connection| {
                let pinged = ping(connection);
                Box::pin(async move { pinged.await.map_err(|error| of_boxed(error.into())) })
            }),
            own: DedicatedConnection::new::<Self>(),
            keeps: LIFETIME,
        }
    }

    /// Keeps the connection for as long as it works, for drivers that drop a connection without
    /// closing it in the protocol.
    #[cfg(any(feature = "deadpool", all(feature = "bb8", feature = "diesel-async")))]
    pub(super) fn without_max_lifetime(mut self) -> Self {
        self.keeps = NO_MAX_LIFETIME;
        self
    }
}

#[async_trait]
impl<M: ConnectOutsidePool> Source for OutsidePool<M> {
    async fn ask(&self) -> Outcome {
        let outcome = self.own.ask(self, |()| Outcome::pass()).await;
        outcome.merge(self.pool.usage().judge())
    }
}

impl<M: ConnectOutsidePool> Connector for OutsidePool<M> {
    type Connection = M::Connection;
    type Answer = ();

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    fn keeps(&self) -> Duration {
        self.keeps
    }

    fn connect(&self) -> impl Future<Output = Result<M::Connection, Refusal>> + Send + 'static {
        let connect = self.pool.clone().connect();
        async move { connect.await.map_err(of_boxed) }
    }

    async fn ask(&self, connection: &mut M::Connection) -> Result<(), Refusal> {
        (self.ping)(connection).await
    }

    /// Drops the connection. A driver either closes it in the protocol when it is dropped, or never
    /// does.
    async fn close(connection: M::Connection) {
        drop(connection);
    }
}
