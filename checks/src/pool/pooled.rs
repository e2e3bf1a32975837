//! The check of a connection pool.
//!
//! [`Pooled`] has no logic of its own. A [`Source`] for each kind of pool queries the server: over
//! a connection that the pool lends ([`borrowed`](super::borrowed)), over one outside the pool
//! (`outside`), or on a blocking thread (`r2d2`).

use std::fmt;

use super::{
    borrowed::{Borrowed, Pool},
    source::Source,
};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, async_trait};

/// Checks whether the server of a connection pool answers, and whether the pool has a free
/// connection.
///
/// | finding | outcome |
/// | --- | --- |
/// | the ping succeeds | pass |
/// | the pool has no free connection, and the server answers | warn, busy |
/// | the server is at its connection limit | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | no connection can be opened, or the ping fails | fail, with the reason of the error |
///
/// The check measures `pool_used` and `pool_utilization` (in percent).
///
/// # Connections
///
/// With [`bb8`](Self::bb8), [`deadpool`](Self::deadpool) and [`r2d2`](Self::r2d2) the check has one
/// dedicated connection, which is opened like the connections of the pool. The check therefore
/// takes no slot of the pool, does not queue with the service, and distinguishes a full pool from a
/// server that is down.
///
/// The dedicated connection is kept between runs. It is replaced after a failure, and once it is
/// 5 minutes old. With deadpool and diesel-async it is replaced only after a failure, because these
/// drop a connection without closing it in the protocol, and PostgreSQL counts that as an abandoned
/// session. If the connection was lost between two runs, the next run replaces it immediately and
/// does not fail for that.
///
/// The hooks of deadpool (`post_create`) and of r2d2 (`connection_customizer`) do not run for the
/// dedicated connection. The hook of bb8 (`connection_customizer`) does.
///
/// A server that refuses new connections but serves open ones is detected only when the dedicated
/// connection is replaced. The checks for a specific database detect it immediately.
///
/// A pool that implements [`Pool`] [lends](Self::new) a connection for the duration of a ping.
/// While such a pool is full, there is no ping, and the check warns with *busy* even if the server
/// is down.
///
/// # Reasons
///
/// An error of the operating system determines the reason. So does an error of tokio-postgres if
/// the feature `tokio-postgres` is enabled, and an error of redis if the feature `redis` is
/// enabled. Other drivers keep only the text of an error. The reason is then derived from the
/// English messages of PostgreSQL, MySQL and Redis, and is
/// [`Reason::Failed`](tower_health::Reason::Failed) if the text is not recognized. For PostgreSQL,
/// diesel-async does not keep the cause of a connection that cannot be opened. The reason is then
/// [`Reason::Unreachable`](tower_health::Reason::Unreachable), unless the server reported one.
///
/// # Example
///
/// ```
/// # #[cfg(feature = "deadpool-postgres")]
/// # fn check(pool: deadpool_postgres::Pool) -> tower_health::Check {
/// use tower_health::Check;
/// use tower_health_checks::pool::Pooled;
///
/// let ping = Pooled::deadpool(pool, |client| {
///     Box::pin(async move { client.simple_query("SELECT 1").await.map(drop) })
/// });
/// Check::new("postgres", ping).shared()
/// # }
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Pooled {
    /// The kind of pool.
    source: Box<dyn Source>,
}

impl Pooled {
    /// Creates a check for any pool that implements [`Pool`]. The pool lends a connection for each
    /// ping.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use tower_health::{BoxError, HealthCheck, Reason, Status};
    /// use tower_health_checks::pool::{Pool, Pooled, Unavailable, Usage};
    ///
    /// /// A pool whose 8 connections are all in use.
    /// struct Full;
    ///
    /// impl Pool for Full {
    ///     type Connection = ();
    ///
    ///     fn usage(&self) -> Usage {
    ///         Usage::new(8, 8)
    ///     }
    ///     async fn get(&self, _: Duration) -> Result<(), Unavailable> {
    ///         unreachable!("the check does not queue with the service")
    ///     }
    ///     async fn ping(&self, _: &mut ()) -> Result<(), BoxError> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let outcome = Pooled::new(Full).check().await.unwrap();
    /// assert_eq!((outcome.status(), outcome.reason()), (Status::Warn, Some(Reason::Busy)));
    /// # }
    /// ```
    pub fn new(pool: impl Pool) -> Self {
        Self::of(Borrowed(pool))
    }

    /// Creates a check from the source of a kind of pool.
    pub(super) fn of(source: impl Source) -> Self {
        Self {
            source: Box::new(source),
        }
    }
}

#[async_trait]
impl HealthCheck for Pooled {
    async fn check(&self) -> Result<Outcome, Failure> {
        Ok(self.source.ask().await)
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").finish_non_exhaustive()
    }
}
