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

/// Whether a PostgreSQL server answers, and how it is.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | connections are near the server's limit ([`warn_connections_above`](Self::warn_connections_above)), or at it | warn, limit near; warn, busy |
/// | it takes no writes, and [`primary`](Self::primary) was called | fail, read-only |
/// | a replica lags by more than [`warn_lag_above`](Self::warn_lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, fail, limit exceeded |
/// | it starts or stops | fail, starting up |
/// | wrong password, unknown role | fail, authentication failed |
/// | no such database | fail, not found |
/// | its certificate is not trusted | fail, untrusted |
/// | TLS that one of the two lacks, of tokio-postgres no password or no host | fail, misconfigured |
/// | it cannot be reached | fail, with the network's reason |
///
/// A run is one query, of PostgreSQL 10 or newer. It needs no rights but to connect, reads no table, and works through PgBouncer. The check has a connection of its own, made
/// as those of the pool are, and keeps it: so it takes no slot of the pool, and tells a pool that is exhausted from a database
/// that is down. That is one connection more for each instance of the service. It is made again after each failure and after five minutes; with
/// deadpool, which ends a connection without a goodbye, after a failure alone.
///
/// What a pool does with each of its connections is not done with that one: `after_connect` and `before_acquire` of sqlx, hooks such
/// as `post_create` of deadpool. So a pool whose hook always fails is not noticed.
///
/// It measures `connections` and `connection_utilization` of the server, where a role without `pg_read_all_stats` counts the
/// parallel and other workers of other users among them; `pool_used` and `pool_utilization`; and of a replica `lag`, in seconds.
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
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Postgres {
    source: Box<dyn Source>,
    expected: Expected,
}

/// Where answers come from.
#[async_trait]
trait Source: Send + Sync + 'static {
    /// What comes of the server's answer.
    async fn ask(&self, expected: &Expected) -> Outcome;

    fn pool(&self) -> Option<Usage>;
}

impl Postgres {
    fn new(source: impl Source) -> Self {
        Self {
            source: Box::new(source),
            expected: Expected::default(),
        }
    }

    /// Expects a server that takes writes: a standby, or one that is set read-only, then fails as read-only. Defaults to either.
    pub fn primary(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// How much of the connections that the server allows may be in use before it is a warning, in percent. The last that are
    /// reserved, for superusers and by `reserved_connections`, do not count as allowed. Defaults to 90.
    pub fn warn_connections_above(mut self, percent: f64) -> Self {
        self.expected.warn_connections_above = Some(percent);
        self
    }

    /// How far a replica may be behind before it is a warning. While a replica is connected to its primary and has
    /// replayed all that it received, it is not behind at all; else it is as far behind as its last replayed commit is old.
    /// A server that is no replica passes, and measures no lag. Defaults to no bound.
    pub fn warn_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.warn = Some(lag);
        self
    }

    /// How far a replica may be [behind](Self::warn_lag_above) before it fails. Defaults to no bound.
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
        self.expected.lag.problems()
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// What an error means; none where the server closes the connection with it.
///
/// Source: [PostgreSQL, appendix A](https://www.postgresql.org/docs/current/errcodes-appendix.html).
pub(super) fn reason(code: &str, message: &str) -> Option<Reason> {
    Some(match code {
        code if code.starts_with("08") => return of_pooler(message),
        // It stops, lost its database, or closes what was idle for too long.
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" => return None,
        "57P03" => Reason::StartingUp,
        "57014" => Reason::TimedOut,
        "53300" => Reason::Busy,
        "53100" | "53200" | "53400" => Reason::LimitExceeded,
        "42501" => Reason::PermissionDenied,
        "3D000" => Reason::NotFound,
        "25006" => Reason::ReadOnly,
        // What another version has, or a server that is a relative.
        "0A000" | "42703" | "42704" | "42883" | "42P01" => Reason::Incompatible,
        code if code.starts_with("28") => Reason::AuthenticationFailed,
        _ => Reason::Failed,
    })
}

/// What a pooler says before a server is asked has one code for all of it: that of a protocol that was broken.
///
/// Source: PgBouncer 1.18 to 1.24, by its own words.
fn of_pooler(message: &str) -> Option<Reason> {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["no more connections allowed", "max_client_conn", "too many"]) {
        Some(Reason::Busy)
    } else if says(&["query_wait_timeout"]) {
        // It had no server to ask: all are taken, or there is none.
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
