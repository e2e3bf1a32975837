//! Pools of deadpool. Their manager is public, so it opens the dedicated connection without the
//! pool.
//!
//! The check of PostgreSQL over deadpool uses [`create`] and [`usage`] as well.

use std::ops::{Deref, DerefMut};

use deadpool::managed::{Manager, Object, Pool};

use super::{
    Pooled, Usage,
    outside::{ConnectOutsidePool, OutsidePool, PingFuture},
};
use tower_health::BoxError;

impl Pooled {
    /// Creates a check for a deadpool pool. The `ping` queries the server over a dedicated
    /// connection, which is not part of the pool. It is replaced only after a failure. The hooks
    /// and the timeouts of the pool do not apply to it.
    ///
    /// ```
    /// use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
    /// use tower_health::{HealthCheck, Outcome};
    /// use tower_health_checks::pool::Pooled;
    /// # use std::io;
    /// # struct Connection;
    /// # impl Connection { async fn ping(&mut self) -> io::Result<()> { Ok(()) } }
    /// # struct Connections;
    /// # impl Manager for Connections {
    /// #     type Type = Connection;
    /// #     type Error = io::Error;
    /// #     async fn create(&self) -> io::Result<Connection> { Ok(Connection) }
    /// #     async fn recycle(&self, _: &mut Connection, _: &Metrics) -> RecycleResult<io::Error> { Ok(()) }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool: Pool<Connections> = Pool::builder(Connections).max_size(5).build()?;
    /// let check = Pooled::deadpool(pool.clone(), |connection| Box::pin(connection.ping()));
    /// assert_eq!(check.check().await.unwrap().status(), Outcome::pass().status());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "deadpool")))]
    pub fn deadpool<M, W, P, E>(pool: Pool<M, W>, ping: P) -> Self
    where
        M: Manager + 'static,
        M::Type: Send,
        M::Error: Into<BoxError>,
        W: From<Object<M>> + 'static,
        Pool<M, W>: Send + Sync,
        P: for<'c> Fn(&'c mut M::Type) -> PingFuture<'c, E> + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::of(OutsidePool::new(pool, move |created| ping(created)).without_max_lifetime())
    }
}

/// A connection outside the pool. When it is dropped, it is detached from the manager, which may
/// hold state for it until then.
pub(crate) struct Created<M: Manager, W: From<Object<M>>> {
    /// The connection, which the pool has never seen.
    connection: M::Type,
    /// Keeps the manager alive.
    pool: Pool<M, W>,
}

impl<M: Manager, W: From<Object<M>>> Deref for Created<M, W> {
    type Target = M::Type;

    fn deref(&self) -> &M::Type {
        &self.connection
    }
}

impl<M: Manager, W: From<Object<M>>> DerefMut for Created<M, W> {
    fn deref_mut(&mut self) -> &mut M::Type {
        &mut self.connection
    }
}

impl<M: Manager, W: From<Object<M>>> Drop for Created<M, W> {
    fn drop(&mut self) {
        self.pool.manager().detach(&mut self.connection);
    }
}

/// Opens a connection with the manager of a pool. The pool does not count it, and no hook runs.
pub(crate) async fn create<M, W>(pool: Pool<M, W>) -> Result<Created<M, W>, M::Error>
where
    M: Manager,
    W: From<Object<M>>,
{
    Ok(Created {
        connection: pool.manager().create().await?,
        pool,
    })
}

/// Returns the usage of a pool.
pub(crate) fn usage<M: Manager, W: From<Object<M>>>(pool: &Pool<M, W>) -> Usage {
    let status = pool.status();
    let used = status.size.saturating_sub(status.available);
    Usage::new(used, status.max_size)
}

impl<M, W> ConnectOutsidePool for Pool<M, W>
where
    M: Manager + 'static,
    M::Type: Send,
    M::Error: Into<BoxError>,
    W: From<Object<M>> + 'static,
    Self: Send + Sync,
{
    type Connection = Created<M, W>;

    fn usage(&self) -> Usage {
        usage(self)
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }

    async fn connect(self) -> Result<Created<M, W>, BoxError> {
        create(self).await.map_err(Into::into)
    }
}
