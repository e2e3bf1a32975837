//! Pools of bb8. Its `dedicated_connection` opens a connection that the pool does not count.

use bb8::ManageConnection;

use super::{
    Pooled, Usage,
    outside::{ConnectOutsidePool, OutsidePool, PingFuture},
};
use tower_health::BoxError;

impl Pooled {
    /// Creates a check for a bb8 pool. The `ping` queries the server over a dedicated connection,
    /// which is not part of the pool. The pool's `connection_customizer` runs for that connection,
    /// and its `connection_timeout` does not limit it: the timeout of the check does.
    ///
    /// ```
    /// use bb8::ManageConnection;
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::pool::Pooled;
    /// # use std::io;
    /// # struct Connection;
    /// # impl Connection { async fn ping(&mut self) -> io::Result<()> { Ok(()) } }
    /// # struct Manager;
    /// # impl ManageConnection for Manager {
    /// #     type Connection = Connection;
    /// #     type Error = io::Error;
    /// #     async fn connect(&self) -> io::Result<Connection> { Ok(Connection) }
    /// #     async fn is_valid(&self, _: &mut Connection) -> io::Result<()> { Ok(()) }
    /// #     fn has_broken(&self, _: &mut Connection) -> bool { false }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> io::Result<()> {
    /// let pool = bb8::Pool::builder().max_size(5).build(Manager).await?;
    /// let check = Pooled::bb8(pool, |connection| Box::pin(connection.ping()));
    /// assert!(check.check().await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "bb8")))]
    pub fn bb8<M, P, E>(pool: bb8::Pool<M>, ping: P) -> Self
    where
        M: ManageConnection,
        M::Error: Into<BoxError>,
        P: for<'c> Fn(&'c mut M::Connection) -> PingFuture<'c, E> + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::of(OutsidePool::new(pool, ping))
    }
}

impl<M> ConnectOutsidePool for bb8::Pool<M>
where
    M: ManageConnection,
    M::Error: Into<BoxError>,
{
    type Connection = M::Connection;

    fn usage(&self) -> Usage {
        let state = self.state();
        let used = state.connections.saturating_sub(state.idle_connections);
        Usage::new(used as usize, self.config().max_size as usize)
    }

    async fn connect(self) -> Result<M::Connection, BoxError> {
        self.dedicated_connection().await.map_err(Into::into)
    }
}
