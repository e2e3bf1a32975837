//! The check of PostgreSQL, over any of its three drivers.
//!
//! A [`Source`] hides the driver: it opens connections and executes the queries of [`answer`]. The
//! settings, the rules for an answer and the meaning of error codes are common to all drivers.

mod answer;
#[cfg(feature = "tokio-postgres")]
pub(super) mod client;
#[cfg(feature = "deadpool-postgres")]
mod deadpool;
#[cfg(feature = "sqlx-postgres")]
mod sqlx;

use std::{fmt, time::Duration};

use self::answer::Expected;
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

use crate::pool::Usage;

/// Checks whether a PostgreSQL server answers, and what it reports about itself.
///
/// | finding | outcome |
/// | --- | --- |
/// | the server answers | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | connections are near the server's limit ([`warn_connections_above`](Self::warn_connections_above)), or at it | warn, limit near; warn, busy |
/// | the server accepts no writes, and [`primary`](Self::primary) was called | fail, read-only |
/// | a replica lags by more than [`warn_lag_above`](Self::warn_lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, limit exceeded; fail, limit exceeded |
/// | the server is starting up or shutting down | fail, starting up |
/// | wrong password, unknown role | fail, authentication failed |
/// | unknown database | fail, not found |
/// | the server's certificate is not trusted | fail, untrusted |
/// | only one side supports or requires TLS; with tokio-postgres also: no password or no host is set | fail, misconfigured |
/// | the server cannot be reached | fail, with the reason of the network error |
///
/// The check measures `connections` and `connection_utilization` (in percent) of the server,
/// `pool_used` and `pool_utilization` (in percent) of the pool, and the `lag` of a replica in
/// seconds. For a role without `pg_read_all_stats`, `connections` includes the parallel and other
/// workers of other users.
///
/// # Queries and connections
///
/// A run executes one query, which PostgreSQL 10 and newer support. The query needs no permission
/// except to connect, reads no table, and works through PgBouncer. If the server rejects it, the
/// same run queries the writability, the connections and the lag separately. If it rejects the
/// connections or the lag, the check fails only if a bound is set for them.
///
/// The check has a dedicated connection, which is opened like the connections of the pool. The
/// check therefore takes no slot of the pool, and distinguishes an exhausted pool from a database
/// that is down. Each instance of the service has one more connection for it. The connection is
/// kept between runs. It is replaced after each failure and after 5 minutes. With deadpool it is
/// replaced only after a failure, because deadpool drops a connection without closing it in the
/// protocol.
///
/// Hooks of the pool do not run for the dedicated connection: `after_connect` and `before_acquire`
/// of sqlx, and hooks such as `post_create` of deadpool. A pool whose hook always fails is
/// therefore not detected.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "sqlx-postgres")]
/// # fn check(pool: sqlx::PgPool) -> tower_health::Check {
/// use tower_health::Check;
/// use tower_health_checks::Postgres;
///
/// Check::new("postgres", Postgres::sqlx(pool).primary()).shared()
/// # }
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Postgres {
    /// The driver, with the connection of the check.
    source: Box<dyn Source>,
    /// What the check requires.
    expected: Expected,
}

/// A source of outcomes: a pool, or a configuration of tokio-postgres.
#[async_trait]
trait Source: Send + Sync + 'static {
    /// Queries the server and judges its answer.
    async fn ask(&self, expected: &Expected) -> Outcome;

    /// Returns the usage of the pool, or `None` if there is no pool.
    fn pool(&self) -> Option<Usage>;
}

impl Postgres {
    /// Creates a check without requirements.
    fn new(source: impl Source) -> Self {
        Self {
            source: Box::new(source),
            expected: Expected::default(),
        }
    }

    /// Requires that the server accepts writes. A standby, and a server that is set to read-only,
    /// then fail with [`Reason::ReadOnly`]. Defaults to accepting both.
    ///
    /// ```no_run
    /// # async fn run(standby: sqlx::PgPool) {
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Postgres;
    ///
    /// let reads = Postgres::sqlx(standby.clone());
    /// assert_eq!(reads.check().await.unwrap().status(), Status::Pass);
    /// let writes = Postgres::sqlx(standby).primary();
    /// assert_eq!(writes.check().await.unwrap().reason(), Some(Reason::ReadOnly));
    /// # }
    /// ```
    pub fn primary(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// Sets the utilization of the server's connection limit, in percent, above which the check
    /// warns. The connections that are reserved, for superusers and by `reserved_connections`, are
    /// not part of the limit. At the limit the check warns with [`Reason::Busy`], whatever the
    /// bound is. Once this is called, the check fails if the server does not report the
    /// utilization. Defaults to 90 %.
    ///
    /// ```no_run
    /// # async fn run(pool: sqlx::PgPool) {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Postgres;
    ///
    /// let outcome = Postgres::sqlx(pool).warn_connections_above(75.0).check().await.unwrap();
    /// let mut measured = outcome.measurements().iter();
    /// assert!(measured.any(|found| found.name == "connection_utilization"));
    /// # }
    /// ```
    pub fn warn_connections_above(mut self, percent: f64) -> Self {
        self.expected.warn_connections_above = Some(percent);
        self
    }

    /// Sets the lag of a replica above which the check warns.
    ///
    /// The lag is 0 s while the replica is connected to its primary and has replayed everything
    /// that it received. Otherwise the lag is the age of the last replayed commit, or the time
    /// since the replica started if it has replayed none. A server that is not a replica passes and
    /// has no lag.
    ///
    /// Defaults to no bound.
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-postgres")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use sqlx::PgPool;
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Postgres;
    ///
    /// let pool = PgPool::connect_lazy("postgres://app@db.internal/orders")?;
    /// let check = Postgres::sqlx(pool)
    ///     .warn_lag_above(Duration::from_secs(10))
    ///     .fail_lag_above(Duration::from_secs(60));
    /// assert!(check.problems().is_empty());
    /// // A check that would fail before it warns is rejected by `HealthBuilder::start`.
    /// assert_eq!(check.fail_lag_above(Duration::from_secs(5)).problems().len(), 1);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "sqlx-postgres"))]
    /// # fn main() {}
    /// ```
    pub fn warn_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.warn = Some(lag);
        self
    }

    /// Sets the [lag](Self::warn_lag_above) of a replica above which the check fails. Defaults to
    /// no bound.
    pub fn fail_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.fail = Some(lag);
        self
    }
}

#[async_trait]
impl HealthCheck for Postgres {
    async fn check(&self) -> Result<Outcome, Failure> {
        let outcome = self.source.ask(&self.expected).await;
        Ok(match self.source.pool() {
            Some(pool) => outcome.merge(pool.judge()),
            None => outcome,
        })
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }

    fn problems(&self) -> Vec<String> {
        let invalid = crate::not_a_percentage(
            "warn_connections_above",
            self.expected.warn_connections_above,
        );
        let lag = self.expected.lag.problems().into_iter();
        lag.chain(invalid).collect()
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Returns the reason for an error code, or `None` if the server closes the connection with it.
///
/// Source: [PostgreSQL, appendix
/// A](https://www.postgresql.org/docs/current/errcodes-appendix.html).
pub(super) fn reason(code: &str, message: &str) -> Option<Reason> {
    Some(match code {
        code if code.starts_with("08") => return of_pooler(message),
        // The server shuts down, the database was dropped, or the connection was idle for too long.
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" => return None,
        "57P03" => Reason::StartingUp,
        "57014" => Reason::TimedOut,
        "53300" => Reason::Busy,
        "53100" | "53200" | "53400" => Reason::LimitExceeded,
        "42501" => Reason::PermissionDenied,
        "3D000" => Reason::NotFound,
        "25006" => Reason::ReadOnly,
        // Another version of PostgreSQL, or a database derived from it, may support this.
        "0A000" | "42703" | "42704" | "42883" | "42P01" => Reason::Incompatible,
        code if code.starts_with("28") => Reason::AuthenticationFailed,
        _ => Reason::Failed,
    })
}

/// Returns the reason for an error of a connection pooler. Its errors before it queries a server
/// all have the code of a protocol violation, so the reason is derived from the message.
///
/// Source: the messages of PgBouncer 1.18 to 1.24.
fn of_pooler(message: &str) -> Option<Reason> {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["no more connections allowed", "max_client_conn", "too many"]) {
        Some(Reason::Busy)
    } else if says(&["query_wait_timeout"]) {
        // The pooler had no server connection: all are in use, or the server is down.
        Some(Reason::TimedOut)
    } else if says(&["no such database", "does not exist"]) {
        Some(Reason::NotFound)
    } else if says(&[
        "no such user",
        "authentication failed",
        "auth failed",
        "login rejected",
    ]) {
        Some(Reason::AuthenticationFailed)
    } else if says(&["unsupported startup parameter", "ssl required", "sslmode"]) {
        Some(Reason::Misconfigured)
    } else {
        None
    }
}
