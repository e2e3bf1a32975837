//! A connection beside those of a pool, made by the pool's own manager.

use std::{future::Future, pin::Pin, time::Duration};

use super::{Usage, pooled::Source, refusal::of_boxed};
use tower_health::{BoxError, Outcome, async_trait};

#[cfg(any(feature = "deadpool", all(feature = "bb8", feature = "diesel-async")))]
use crate::own::WHILE_IT_WORKS;
use crate::{
    own::{LIFETIME, Link, Own},
    refusal::Refusal,
};

/// A make of pools.
pub(super) trait Make: Clone + Send + Sync + 'static {
    type Connection: Send + 'static;

    fn usage(&self) -> Usage;

    fn is_closed(&self) -> bool {
        false
    }

    /// A connection of which the pool does not know.
    fn connect(self) -> impl Future<Output = Result<Self::Connection, BoxError>> + Send + 'static;
}

/// What a ping returns.
pub(super) type Pinged<'c, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'c>>;

type Ping<C> = dyn for<'c> Fn(&'c mut C) -> Pinged<'c, Refusal> + Send + Sync;

pub(super) struct Beside<M: Make> {
    pool: M,
    ping: Box<Ping<M::Connection>>,
    own: Own<M::Connection>,
    keeps: Duration,
}

impl<M: Make> Beside<M> {
    pub(super) fn new<P, E>(pool: M, ping: P) -> Self
    where
        P: for<'c> Fn(&'c mut M::Connection) -> Pinged<'c, E> + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        Self {
            pool,
            ping: Box::new(move |connection| {
                let pinged = ping(connection);
                Box::pin(async move { pinged.await.map_err(|error| of_boxed(error.into())) })
            }),
            own: Own::new::<Self>(),
            keeps: LIFETIME,
        }
    }

    /// For drivers that end a connection without a goodbye.
    #[cfg(any(feature = "deadpool", all(feature = "bb8", feature = "diesel-async")))]
    pub(super) fn while_it_works(mut self) -> Self {
        self.keeps = WHILE_IT_WORKS;
        self
    }
}

#[async_trait]
impl<M: Make> Source for Beside<M> {
    async fn ask(&self) -> Outcome {
        let outcome = self.own.ask(self, |()| Outcome::pass()).await;
        outcome.merge(self.pool.usage().judge())
    }
}

impl<M: Make> Link for Beside<M> {
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

    /// A driver says goodbye when its connection is dropped, or never.
    async fn close(connection: M::Connection) {
        drop(connection);
    }
}
