//! Pools of diesel-async, which are pools of bb8 or deadpool with the manager of diesel-async. The
//! check keeps its connection for as long as it works, because these drop a connection without
//! closing it in the protocol.

use diesel_async::{
    AsyncConnection,
    pooled_connection::{AsyncDieselConnectionManager, PoolError},
};

use super::Pooled;
#[cfg(feature = "bb8")]
use super::outside::OutsidePool;

/// A query that every database supported by diesel answers.
const PING: &str = "SELECT 1";

impl Pooled {
    /// Creates a check for a bb8 pool of diesel-async. A run executes `SELECT 1`.
    ///
    /// ```no_run
    /// # type Pool = diesel_async::pooled_connection::bb8::Pool<diesel_async::AsyncPgConnection>;
    /// # fn check(pool: Pool) -> tower_health::Check {
    /// use tower_health::Check;
    /// use tower_health_checks::pool::Pooled;
    ///
    /// Check::new("postgres", Pooled::diesel_bb8(pool)).shared()
    /// # }
    /// ```
    #[cfg(feature = "bb8")]
    #[cfg_attr(docsrs, doc(cfg(all(feature = "diesel-async", feature = "bb8"))))]
    pub fn diesel_bb8<C>(pool: bb8::Pool<AsyncDieselConnectionManager<C>>) -> Self
    where
        C: AsyncConnection + 'static,
        AsyncDieselConnectionManager<C>: bb8::ManageConnection<Connection = C, Error = PoolError>,
    {
        let ping = OutsidePool::new(pool, |connection: &mut C| {
            Box::pin(connection.batch_execute(PING))
        });
        Self::of(ping.without_max_lifetime())
    }

    /// Creates a check for a deadpool pool of diesel-async. A run executes `SELECT 1`.
    ///
    /// ```no_run
    /// # type Pool = diesel_async::pooled_connection::deadpool::Pool<diesel_async::AsyncPgConnection>;
    /// # fn check(pool: Pool) -> tower_health::Check {
    /// use tower_health::Check;
    /// use tower_health_checks::pool::Pooled;
    ///
    /// Check::new("postgres", Pooled::diesel_deadpool(pool)).shared()
    /// # }
    /// ```
    #[cfg(feature = "deadpool")]
    #[cfg_attr(docsrs, doc(cfg(all(feature = "diesel-async", feature = "deadpool"))))]
    pub fn diesel_deadpool<C>(
        pool: deadpool::managed::Pool<AsyncDieselConnectionManager<C>>,
    ) -> Self
    where
        C: AsyncConnection + 'static,
        AsyncDieselConnectionManager<C>: deadpool::managed::Manager<Type = C, Error = PoolError>,
        deadpool::managed::Pool<AsyncDieselConnectionManager<C>>: Send + Sync,
    {
        Self::deadpool(pool, |connection| Box::pin(connection.batch_execute(PING)))
    }
}
