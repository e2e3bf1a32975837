use std::fmt;

use super::lent::{Lent, Pool};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, async_trait};

/// Whether the server behind a pool of connections answers, and whether the pool has a free connection.
///
/// | finding | outcome |
/// | --- | --- |
/// | the ping is answered | pass |
/// | the pool has no free connection, and the server answers | warn, busy |
/// | the server has no room for one more connection | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | no connection can be made, or the ping fails | fail, with the reason of the error |
///
/// # What a run takes
///
/// With [`bb8`](Self::bb8), [`deadpool`](Self::deadpool) and [`r2d2`](Self::r2d2) the check has one connection of its own, made as those of the pool
/// are. So it takes no slot of the pool, does not queue behind the service, and tells a full pool from a server that is down. The check keeps
/// that connection while all is well, and makes it again after a failure: for five minutes at most, or with deadpool and diesel-async for as long as it works, because these end a
/// connection without a goodbye, and PostgreSQL counts that as an abandoned session. One that was lost between two runs is replaced at once, within the same run.
/// The hooks of deadpool (`post_create`) and of r2d2 (`connection_customizer`) do not run for this one; that of bb8 does.
///
/// A server that refuses new connections and serves those that are open is noticed when that connection is made again. The checks of a database
/// notice it at once.
///
/// A pool that implements [`Pool`] [lends](Self::new) a connection for the time of a ping. While it is full, it is not asked, and the check says
/// *busy*, even if the server is down.
///
/// # Reasons
///
/// An error of the operating system gives its own reason. So does an error of tokio-postgres where the feature `tokio-postgres` is enabled, and one
/// of redis with `redis`. Other drivers keep the text alone, and the reason is read from it as PostgreSQL, MySQL and Redis write it in English.
/// What cannot be read is [`Reason::Failed`](tower_health::Reason::Failed). Of a connection that cannot be made, diesel-async says no more than that for
/// PostgreSQL: it is [`Reason::Unreachable`](tower_health::Reason::Unreachable), unless the server gave a reason.
///
/// It measures `pool_used` and `pool_utilization`.
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
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Pooled {
    source: Box<dyn Source>,
}

/// Where an answer comes from.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// What the server answers, and how full the pool is.
    async fn ask(&self) -> Outcome;
}

impl Pooled {
    /// A check of a pool of any make, which lends a connection for each ping.
    pub fn new(pool: impl Pool) -> Self {
        Self::of(Lent(pool))
    }

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
