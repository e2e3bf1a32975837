use std::{fmt, time::Duration};

use sqlx::{Connection, MySqlConnection, MySqlPool, Row, mysql::MySqlRow};

use super::{
    own::{Link, Own, Refusal, said},
    pool::Pool,
    sqlx::refusal,
};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, Status, async_trait};

use crate::bounds::{LagBounds, Limit};

/// Whether a MySQL or MariaDB server answers, and how it is.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | connections are near the server's limit ([`connections_above`](Self::connections_above)), or at it | warn, limit near; warn, busy |
/// | it takes no writes, and [`primary`](Self::primary) was called | fail, read-only |
/// | a replica lags by more than [`lag_above`](Self::lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, fail, limit exceeded |
/// | a replica whose lag has a bound does not replicate | fail, degraded |
/// | wrong password, unknown user | fail, authentication failed |
/// | no rights to the database, or to see the lag | fail, permission denied |
/// | no such database | fail, not found |
/// | its certificate is not trusted | fail, untrusted |
/// | TLS that one of the two lacks | fail, misconfigured |
/// | it cannot be reached | fail, with the network's reason |
///
/// A run is one round trip. It needs no rights but to connect, unless a lag has a bound: `SHOW REPLICA STATUS` of MySQL 8.0.22
/// or newer needs `REPLICATION CLIENT`, `SHOW ALL REPLICAS STATUS` of MariaDB 10.5.1 or newer `REPLICA MONITOR`. The check has a
/// connection of its own, made as those of the pool are, and keeps it: so it takes no slot of the pool, and tells a pool that is
/// exhausted from a database that is down. That is one connection more for each instance of the service.
///
/// What a pool does with each of its connections is not done with that one: neither `after_connect` nor `before_acquire` runs. So a
/// pool whose hook always fails is not noticed.
///
/// It measures `connections` and `connection_utilization` of the server, `pool_used` and `pool_utilization`, and `lag`, in seconds, where it has a
/// bound.
///
/// ```no_run
/// # fn check(pool: sqlx::MySqlPool) -> tower_health::Check {
/// use tower_health::Check;
/// use tower_health_checks::MySql;
///
/// Check::new("mariadb", MySql::sqlx(pool).primary()).shared()
/// # }
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct MySql {
    pool: MySqlPool,
    own: Own<MySqlConnection>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    writable: bool,
    /// In percent.
    connections_above: f64,
    lag: LagBounds,
}

/// What a server said.
#[derive(Debug, Default)]
pub(super) struct Answer {
    read_only: bool,
    max_connections: usize,
    connections: usize,
    lag: Lag,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lag {
    /// It was not asked, or is no replica.
    #[default]
    None,
    /// It does not replicate.
    Unknown,
    Behind(Duration),
}

const QUERY: &str = "SELECT @@global.read_only, @@global.max_connections, @@global.innodb_read_only; \
    SHOW GLOBAL STATUS LIKE 'Threads_connected'";
/// The status last, for it has rows of any number. MariaDB tells of connections that have names only if it is asked for all, which
/// MySQL always is: each of the two reads what is a comment to the other. One that is too old is left with `SHOW` alone, and refuses it.
const QUERY_LAG: &str = "SELECT @@global.read_only, @@global.max_connections, @@global.innodb_read_only; \
    SHOW GLOBAL STATUS LIKE 'Threads_connected'; \
    SHOW /*M!100501 ALL REPLICAS STATUS */ /*!80022 REPLICA STATUS */";

impl MySql {
    /// A check of the server that a pool of sqlx connects to.
    pub fn sqlx(pool: MySqlPool) -> Self {
        Self {
            pool,
            own: Own::default(),
            expected: Expected {
                writable: false,
                connections_above: 90.0,
                lag: LagBounds::default(),
            },
        }
    }

    /// Expects a server that takes writes: one that is set read-only, as replicas are, then fails. Defaults to either.
    pub fn primary(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// How much of the connections that the server allows may be in use before it is a warning, in percent. Defaults to 90.
    pub fn connections_above(mut self, percent: f64) -> Self {
        self.expected.connections_above = percent;
        self
    }

    /// How far a replica may be behind, as it says itself, before it is a warning. Of several that it replicates from, the
    /// worst counts, and one that is set up and stopped is worse than any that is late. A server that replicates from nobody passes, and
    /// measures no lag. Defaults to no bound, and then it is not asked.
    pub fn lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.warn = Some(lag);
        self
    }

    /// How far a replica may be [behind](Self::lag_above) before it fails. Defaults to no bound.
    pub fn fail_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.fail = Some(lag);
        self
    }
}

#[async_trait]
impl HealthCheck for MySql {
    async fn check(&self) -> Result<Outcome, Failure> {
        let outcome = match self.own.ask(self).await {
            Ok(answer) => self.expected.judge(&answer),
            Err(outcome) => outcome,
        };
        if outcome.status() == Status::Fail {
            self.own.forget();
        }
        Ok(outcome.and(Pool::of(&self.pool).judge()))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }
}

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Link for MySql {
    type Connection = MySqlConnection;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    async fn connect(&self) -> Result<MySqlConnection, Refusal> {
        let options = self.pool.connect_options();
        let connected = MySqlConnection::connect_with(&options).await;
        connected.map_err(refusal)
    }

    async fn ask(&self, connection: &mut MySqlConnection) -> Result<Answer, Refusal> {
        let LagBounds { warn, fail } = self.expected.lag;
        let query = match warn.or(fail) {
            Some(_) => QUERY_LAG,
            None => QUERY,
        };
        let rows = sqlx::raw_sql(query).fetch_all(connection).await;
        let rows = rows.map_err(refusal)?;
        read(&rows).ok_or_else(|| {
            said(
                Reason::UnexpectedAnswer,
                "it answers otherwise than MySQL does",
            )
        })
    }
}

/// The rows of all statements, one after another.
fn read(rows: &[MySqlRow]) -> Option<Answer> {
    let (settings, rest) = rows.split_first()?;
    let (status, replication) = rest.split_first()?;
    Some(Answer {
        // The second is that of Aurora's readers.
        read_only: is_on(text(settings, 0)?) || is_on(text(settings, 2)?),
        max_connections: text(settings, 1)?.parse().ok()?,
        connections: text(status, 1)?.parse().ok()?,
        lag: replication.iter().map(lag).fold(Lag::None, Lag::worse),
    })
}

fn is_on(setting: &str) -> bool {
    !matches!(setting, "0" | "OFF")
}

/// Whatever its type, in the text protocol a value is a text.
fn text<I>(row: &MySqlRow, column: I) -> Option<&str>
where
    I: sqlx::ColumnIndex<MySqlRow>,
{
    row.try_get_unchecked::<Option<&str>, I>(column).ok()?
}

/// Of one source, of which there may be several.
fn lag(row: &MySqlRow) -> Lag {
    let seconds = text(row, "Seconds_Behind_Source").or_else(|| text(row, "Seconds_Behind_Master"));
    match seconds.and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => Lag::Behind(Duration::from_secs(seconds)),
        None => Lag::Unknown,
    }
}

impl Lag {
    fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Behind(lag), Self::Behind(other)) => Self::Behind(lag.max(other)),
            (Self::None, lag) | (lag, Self::None) => lag,
        }
    }
}

impl Expected {
    fn judge(&self, answer: &Answer) -> Outcome {
        let writes = match self.writable && answer.read_only {
            true => Outcome::fail(Reason::ReadOnly).with_cause("it takes no writes"),
            false => Outcome::pass(),
        };
        let server = Limit {
            used: answer.connections,
            allowed: answer.max_connections,
        };
        writes
            .and(server.judge(self.connections_above))
            .and(self.judge_lag(answer.lag))
    }

    fn judge_lag(&self, lag: Lag) -> Outcome {
        match lag {
            Lag::None => Outcome::pass(),
            Lag::Unknown => {
                Outcome::fail(Reason::Degraded).with_cause("the replica does not replicate")
            }
            Lag::Behind(lag) => self.lag.judge(lag),
        }
    }
}

/// What the server's own numbers mean.
///
/// Source: [MySQL, server error message reference](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
pub(super) fn reason(number: u16) -> Option<Reason> {
    Some(match number {
        // It shuts down, or closes what was idle for too long, or was told to.
        1053 | 1927 | 4031 => return None,
        // Locked and expired ones, too.
        1045 | 1698 | 1820 | 1862 | 3118 | 4151 => Reason::AuthenticationFailed,
        1044 | 1130 | 1142 | 1227 => Reason::PermissionDenied,
        1049 => Reason::NotFound,
        1040 | 1203 | 1226 => Reason::Busy,
        1205 | 3024 => Reason::TimedOut,
        1021 | 1041 | 1114 => Reason::LimitExceeded,
        1290 | 1792 | 1836 => Reason::ReadOnly,
        _ => Reason::Failed,
    })
}
