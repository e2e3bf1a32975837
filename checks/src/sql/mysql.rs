//! The check of MySQL and MariaDB.
//!
//! One text query returns all values in one round trip, without a prepared statement. The rows
//! become an [`Answer`], which [`Expected`] judges without a connection.

use std::{collections::HashMap, fmt, future::Future, time::Duration};

use sqlx::{Connection, MySqlConnection, MySqlPool, Row, mysql::MySqlRow};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros};

use super::sqlx::{close, refusal};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

use crate::{
    bounds::{LagBounds, Limit},
    dedicated::{Connector, DedicatedConnection},
    pool::Usage,
    refusal::Refusal,
};

/// Checks whether a MySQL or MariaDB server answers, and what it reports about itself.
///
/// | finding | outcome |
/// | --- | --- |
/// | the server answers | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | connections are near the server's limit ([`warn_connections_above`](Self::warn_connections_above)), or at it | warn, limit near; warn, busy |
/// | the server accepts no writes, and [`primary`](Self::primary) was called | fail, read-only |
/// | a Galera node refuses queries because it is not ready, is not part of its cluster, or is set to reject them | fail, unhealthy |
/// | the same, but the node is set to allow reads | warn, degraded; with `primary` fail, read-only |
/// | the server accepts only administrators (`offline_mode`) | fail, unhealthy |
/// | a replica lags by more than [`warn_lag_above`](Self::warn_lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, limit exceeded; fail, limit exceeded |
/// | a replica does not replicate, and its lag has a bound | fail, degraded |
/// | the server's certificate expires soon, or has expired ([`warn_certificate_below`](Self::warn_certificate_below)) | warn, expires soon; fail, expired |
/// | the server does not report when its certificate expires, and that has a bound | fail, unexpected answer |
/// | wrong password, unknown user | fail, authentication failed |
/// | no permission for the database or for the lag; the host is blocked for its connection errors | fail, permission denied |
/// | unknown database | fail, not found |
/// | the server's certificate is not trusted | fail, untrusted |
/// | only one side supports or requires TLS | fail, misconfigured |
/// | the server cannot be reached | fail, with the reason of the network error |
///
/// The check measures `connections` and `connection_utilization` (in percent) of the server, and
/// `pool_used` and `pool_utilization` (in percent) of the pool. It also measures the `lag` in
/// seconds and the `days_left` of the server's certificate, each only if it has a bound.
///
/// # Queries and connections
///
/// A run is one round trip. It needs no permission except to connect, unless the lag has a bound.
/// Then `SHOW REPLICA STATUS` of MySQL 8.0.22 and newer needs `REPLICATION CLIENT`. On MariaDB
/// 10.5.1 and newer, `SHOW ALL REPLICAS STATUS` needs `REPLICA MONITOR`.
///
/// If the lag has no bound and the server rejects the query, the same run executes `SELECT 1`. The
/// check then fails only if [`primary`](Self::primary),
/// [`warn_connections_above`](Self::warn_connections_above) or
/// [`warn_certificate_below`](Self::warn_certificate_below) was called.
///
/// The check has a dedicated connection, which is opened like the connections of the pool. The
/// check therefore takes no slot of the pool, and distinguishes an exhausted pool from a database
/// that is down. Each instance of the service has one more connection for it. The connection is
/// kept between runs. It is replaced after each failure and after 5 minutes.
///
/// Hooks of the pool (`after_connect` and `before_acquire`) do not run for the dedicated
/// connection. A pool whose hook always fails is therefore not detected.
///
/// # Example
///
/// ```no_run
/// # fn check(pool: sqlx::MySqlPool) -> tower_health::Check {
/// use tower_health::Check;
/// use tower_health_checks::MySql;
///
/// Check::new("mariadb", MySql::sqlx(pool).primary()).shared()
/// # }
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct MySql {
    /// Provides the options of the dedicated connection, and the usage.
    pool: MySqlPool,
    /// The connection of the check.
    own: DedicatedConnection<MySqlConnection>,
    expected: Expected,
}

/// What the check requires of the server.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// Whether the server must accept writes.
    writable: bool,
    /// In percent. `None` if not configured.
    warn_connections_above: Option<f64>,
    lag: LagBounds,
    /// In days.
    warn_certificate_below: Option<u32>,
}

/// The answer of a server: its variables and status values by their names, and its lag.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// By their names in lower case.
    facts: HashMap<String, String>,
    lag: Lag,
    /// The outcome of the rejected query, if the server answers but rejects the query.
    rejected: Option<Outcome>,
}

/// The lag of a replica. With several sources, the worst of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lag {
    /// The lag was not queried, or the server is not a replica.
    #[default]
    None,
    /// The replica does not replicate.
    NotReplicating,
    /// The replica lags by this time.
    Behind(Duration),
}

/// The statements of variables and status values, in one text.
///
/// The result has a row for each name that the server knows. A database derived from MySQL may know
/// few of them. A Galera node that is not ready answers these statements too. Readers of Aurora set
/// `innodb_read_only`.
macro_rules! facts {
    () => { "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_read_only', 'max_connections', \
        'wsrep_on', 'wsrep_provider', 'wsrep_reject_queries', 'wsrep_dirty_reads'); \
        SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'wsrep_ready', 'wsrep_cluster_status', \
        'Ssl_server_not_after')" };
}

/// The query without the lag, which any user may execute.
const QUERY: &str = facts!();
/// The query with the lag, which needs a permission.
///
/// The last statement returns any number of rows. MariaDB shows named replication connections only
/// with `ALL`, MySQL always shows all of them. MariaDB and MySQL each execute the part that is a
/// comment for the other. A server that is too old sees `SHOW` without an object, and rejects it.
const QUERY_LAG: &str = concat!(
    facts!(),
    "; SHOW /*M!100501 ALL REPLICAS STATUS */ /*!80022 REPLICA STATUS */"
);

/// The default of `warn_connections_above`, in percent.
const DEFAULT_WARN_CONNECTIONS_ABOVE: f64 = 90.0;

impl MySql {
    /// Creates a check for the server of a sqlx pool.
    ///
    /// The check opens its own connection with the options of the pool, and takes none from the
    /// pool. A pool that was closed fails with [`Reason::Misconfigured`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::MySqlPool;
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::MySql;
    ///
    /// // Nothing listens on this port.
    /// let pool = MySqlPool::connect_lazy("mysql://app@127.0.0.1:1/orders")?;
    /// let check = MySql::sqlx(pool.clone());
    /// assert_eq!(check.check().await.unwrap().reason(), Some(Reason::ConnectionRefused));
    ///
    /// pool.close().await;
    /// assert_eq!(check.check().await.unwrap().reason(), Some(Reason::Misconfigured));
    /// # Ok(())
    /// # }
    /// ```
    pub fn sqlx(pool: MySqlPool) -> Self {
        Self {
            pool,
            own: DedicatedConnection::new::<Self>(),
            expected: Expected {
                writable: false,
                warn_connections_above: None,
                lag: LagBounds::default(),
                warn_certificate_below: None,
            },
        }
    }

    /// Requires that the server accepts writes. A server that is set to read-only, as replicas are,
    /// then fails with [`Reason::ReadOnly`]. Defaults to accepting both.
    ///
    /// ```no_run
    /// # async fn run(replica: sqlx::MySqlPool) {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::MySql;
    ///
    /// let outcome = MySql::sqlx(replica).primary().check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::ReadOnly));
    /// # }
    /// ```
    pub fn primary(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// Sets the utilization of the server's connection limit, in percent, above which the check
    /// warns. At the limit it warns with [`Reason::Busy`], whatever the bound is. Once this is
    /// called, the check fails if the server does not report the utilization. Defaults to 90 %.
    ///
    /// ```no_run
    /// # async fn run(pool: sqlx::MySqlPool) {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::MySql;
    ///
    /// let outcome = MySql::sqlx(pool).warn_connections_above(75.0).check().await.unwrap();
    /// let mut measured = outcome.measurements().iter();
    /// assert!(measured.any(|found| found.name == "connection_utilization"));
    /// # }
    /// ```
    pub fn warn_connections_above(mut self, percent: f64) -> Self {
        self.expected.warn_connections_above = Some(percent);
        self
    }

    /// Sets the lag of a replica, as reported by the replica, above which the check warns.
    ///
    /// If the replica has several sources, the worst counts. A source that is configured but
    /// stopped is worse than any lag. A server without a source passes and has no lag.
    ///
    /// Defaults to no bound. Without a bound the lag is not queried.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use sqlx::MySqlPool;
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::MySql;
    ///
    /// let pool = MySqlPool::connect_lazy("mysql://app@db.internal/orders")?;
    /// let check = MySql::sqlx(pool)
    ///     .warn_lag_above(Duration::from_secs(10))
    ///     .fail_lag_above(Duration::from_secs(60));
    /// assert!(check.problems().is_empty());
    /// // A check that would fail before it warns is rejected by `HealthBuilder::start`.
    /// assert_eq!(check.fail_lag_above(Duration::from_secs(5)).problems().len(), 1);
    /// # Ok(())
    /// # }
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

    /// Sets the number of days that the server's certificate must still be valid. Below that the
    /// check warns, and it fails once the certificate has expired.
    ///
    /// The server reports the expiry. MariaDB reports it only over TLS, and for the certificate of
    /// the current connection. The connections of the pool therefore need TLS, and a renewal is
    /// detected after 5 minutes at the latest.
    ///
    /// Do not use `Certificate` for MySQL, because MySQL counts handshakes without a login and
    /// blocks the host.
    ///
    /// Defaults to no bound.
    ///
    /// ```no_run
    /// # async fn run(pool: sqlx::MySqlPool) {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::MySql;
    ///
    /// // Certificates of this server are renewed 30 days before they expire.
    /// let outcome = MySql::sqlx(pool).warn_certificate_below(21).check().await.unwrap();
    /// let mut measured = outcome.measurements().iter();
    /// assert!(measured.any(|found| found.name == "days_left"));
    /// # }
    /// ```
    pub fn warn_certificate_below(mut self, days: u32) -> Self {
        self.expected.warn_certificate_below = Some(days);
        self
    }
}

/// The format of OpenSSL: `Nov 29 20:04:12 2026 GMT`. A day of one digit is padded with a space.
const NOT_AFTER: &[BorrowedFormatItem<'_>] = macros::format_description!(
    "[month repr:short] [day padding:space] [hour]:[minute]:[second] [year] GMT"
);

#[async_trait]
impl HealthCheck for MySql {
    async fn check(&self) -> Result<Outcome, Failure> {
        let outcome = self.own.ask(self, |answer| self.expected.judge(&answer));
        let outcome = outcome.await;
        Ok(outcome.merge(Usage::of(&self.pool).judge()))
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

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Connector for MySql {
    type Connection = MySqlConnection;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    fn connect(&self) -> impl Future<Output = Result<MySqlConnection, Refusal>> + Send + 'static {
        let options = self.pool.connect_options();
        async move {
            let connected = MySqlConnection::connect_with(&options).await;
            connected.map_err(refusal)
        }
    }

    async fn ask(&self, connection: &mut MySqlConnection) -> Result<Answer, Refusal> {
        let LagBounds { warn, fail } = self.expected.lag;
        let query = match warn.or(fail) {
            Some(_) => QUERY_LAG,
            None => QUERY,
        };
        let rows = sqlx::raw_sql(query).fetch_all(&mut *connection).await;
        let refusal = match rows.map_err(refusal) {
            Ok(rows) => return Ok(read(&rows)),
            Err(refusal) => refusal,
        };
        // A database derived from MySQL may reject these statements but execute queries.
        if self.expected.lag.is_bound() || !refusal.is_rejected_query() {
            return Err(refusal);
        }
        let plain = sqlx::raw_sql("SELECT 1").execute(connection).await;
        plain.map_err(self::refusal)?;
        Ok(Answer {
            rejected: Some(refusal.outcome()),
            ..Answer::default()
        })
    }

    async fn close(connection: MySqlConnection) {
        close(connection).await;
    }
}

/// Reads the rows of all statements: rows of a name and a value, followed by the rows of the
/// replication status.
fn read(rows: &[MySqlRow]) -> Answer {
    let (facts, replication): (Vec<&MySqlRow>, Vec<&MySqlRow>) =
        rows.iter().partition(|row| row.len() == 2);
    let fact =
        |row: &MySqlRow| Some((text(row, 0)?.to_ascii_lowercase(), text(row, 1)?.to_owned()));
    Answer {
        facts: facts.into_iter().filter_map(fact).collect(),
        lag: replication.into_iter().map(lag).fold(Lag::None, Lag::worse),
        rejected: None,
    }
}

/// Returns a value as text. In the text protocol, values of all types are text.
fn text<I>(row: &MySqlRow, column: I) -> Option<&str>
where
    I: sqlx::ColumnIndex<MySqlRow>,
{
    row.try_get_unchecked::<Option<&str>, I>(column).ok()?
}

/// Returns the lag behind one source. A replica may have several.
fn lag(row: &MySqlRow) -> Lag {
    let seconds = text(row, "Seconds_Behind_Source").or_else(|| text(row, "Seconds_Behind_Master"));
    match seconds.and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => Lag::Behind(Duration::from_secs(seconds)),
        None => Lag::NotReplicating,
    }
}

impl Lag {
    /// Returns the worse of two lags. A source that does not replicate is worse than any lag.
    fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotReplicating, _) | (_, Self::NotReplicating) => Self::NotReplicating,
            (Self::Behind(lag), Self::Behind(other)) => Self::Behind(lag.max(other)),
            (Self::None, lag) | (lag, Self::None) => lag,
        }
    }
}

impl Answer {
    /// Returns a value, or an empty text if the server does not have it.
    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }

    /// Returns whether a variable is set to anything but off. A variable that the server does not
    /// have is off.
    fn is_on(&self, name: &str) -> bool {
        // Some variables have more than two values: `read_only` of MariaDB has four, and one of
        // them is off.
        !matches!(
            self.fact(name).to_ascii_uppercase().as_str(),
            "" | "0" | "OFF"
        )
    }

    /// Returns whether a Galera node is set to reject queries.
    fn rejects(&self) -> bool {
        !matches!(self.fact("wsrep_reject_queries"), "" | "NONE")
    }

    /// Returns the reason why a Galera node refuses queries, if it does.
    fn refuses(&self) -> Option<&'static str> {
        let is = |name: &str, value: &str| self.fact(name).eq_ignore_ascii_case(value);
        if !self.is_on("wsrep_on") || is("wsrep_provider", "none") {
            None
        } else if self.rejects() {
            Some("the node is set to reject queries (wsrep_reject_queries)")
        } else if !is("wsrep_cluster_status", "Primary") {
            Some("the node is in a cluster partition without a majority (wsrep_cluster_status)")
        } else if !self.is_on("wsrep_ready") {
            Some("the node is not ready (wsrep_ready)")
        } else {
            None
        }
    }
}

impl Expected {
    /// Judges an answer. The worst finding counts, and the first of equal ones.
    fn judge(&self, answer: &Answer) -> Outcome {
        if let Some(rejected) = &answer.rejected {
            // A requirement that cannot be verified is not met.
            let bound = self.warn_connections_above.map(drop);
            let bound = bound.or(self.warn_certificate_below.map(drop));
            let is_expected = self.writable || bound.is_some();
            return if is_expected {
                rejected.clone()
            } else {
                Outcome::pass()
            };
        }
        self.judge_node(answer)
            .merge(self.judge_connections(answer))
            .merge(self.judge_lag(answer.lag))
            .merge(self.judge_certificate(answer, OffsetDateTime::now_utc()))
    }

    /// Judges whether the server accepts queries, and writes if they are required.
    fn judge_node(&self, answer: &Answer) -> Outcome {
        let is_read_only = answer.is_on("read_only") || answer.is_on("innodb_read_only");
        let outcome = match answer.refuses() {
            // A node without a majority answers reads if it is set to do so.
            Some(why) if answer.is_on("wsrep_dirty_reads") && !answer.rejects() => {
                if self.writable {
                    Outcome::fail(Reason::ReadOnly).with_cause(why)
                } else {
                    Outcome::warn(Reason::Degraded).with_cause(why)
                }
            }
            Some(why) => Outcome::fail(Reason::Unhealthy).with_cause(why),
            None => Outcome::pass(),
        };
        if self.writable && is_read_only {
            outcome
                .merge(Outcome::fail(Reason::ReadOnly).with_cause("the server accepts no writes"))
        } else {
            outcome
        }
    }

    /// Judges and measures the connections in relation to `max_connections`.
    fn judge_connections(&self, answer: &Answer) -> Outcome {
        let number = |name| answer.fact(name).parse().ok();
        match (number("threads_connected"), number("max_connections")) {
            (Some(used), Some(allowed)) => Limit { used, allowed }.judge(
                self.warn_connections_above
                    .unwrap_or(DEFAULT_WARN_CONNECTIONS_ABOVE),
            ),
            _ if self.warn_connections_above.is_some() => Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause("the server does not report how many of its connections are in use"),
            _ => Outcome::pass(),
        }
    }

    /// Judges the lag. A lag that was not queried passes.
    fn judge_lag(&self, lag: Lag) -> Outcome {
        match lag {
            Lag::None => Outcome::pass(),
            Lag::NotReplicating => {
                Outcome::fail(Reason::Degraded).with_cause("the replica does not replicate")
            }
            Lag::Behind(lag) => self.lag.judge(lag),
        }
    }
}

impl Expected {
    /// Judges and measures the days until the certificate expires, if they have a bound.
    fn judge_certificate(&self, answer: &Answer, now: OffsetDateTime) -> Outcome {
        let Some(bound) = self.warn_certificate_below else {
            return Outcome::pass();
        };
        let not_after = answer.fact("ssl_server_not_after");
        let Ok(ends) = PrimitiveDateTime::parse(not_after, NOT_AFTER) else {
            return Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause("the server does not report when its certificate expires");
        };
        let left = ends.assume_utc() - now;
        let days_left = left.whole_seconds().div_euclid(24 * 60 * 60);
        let outcome = match days_left {
            ..0 => Outcome::fail(Reason::Expired),
            days if days < bound.into() => Outcome::warn(Reason::ExpiresSoon),
            _ => Outcome::pass(),
        };
        outcome.measure("days_left", days_left, "")
    }
}

/// Returns the reason for an error number of the server, or `None` if the server closes the
/// connection with it.
///
/// Source: [MySQL, server error message
/// reference](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
pub(super) fn reason(number: u16) -> Option<Reason> {
    Some(match number {
        // The server shuts down, the connection was idle for too long, or it was killed.
        1053 | 1927 | 4031 => return None,
        // A cluster node that is not ready; a server in offline mode.
        1047 | 3032 => Reason::Unhealthy,
        // Includes locked accounts and expired passwords.
        1045 | 1698 | 1820 | 1862 | 3118 | 4151 => Reason::AuthenticationFailed,
        1044 | 1129 | 1130 | 1142 | 1227 => Reason::PermissionDenied,
        1049 => Reason::NotFound,
        1040 | 1203 | 1226 => Reason::Busy,
        1205 | 3024 => Reason::TimedOut,
        1021 | 1041 | 1114 => Reason::LimitExceeded,
        1290 | 1792 | 1836 => Reason::ReadOnly,
        _ => Reason::Failed,
    })
}

#[cfg(test)]
mod tests {
    use tower_health::Status;

    use super::*;

    fn expected() -> Expected {
        Expected {
            writable: false,
            warn_connections_above: None,
            lag: LagBounds::default(),
            warn_certificate_below: None,
        }
    }

    fn answer(facts: &[(&str, &str)]) -> Answer {
        let fact = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Answer {
            facts: facts.iter().map(fact).collect(),
            ..Answer::default()
        }
    }

    #[test]
    fn nodes_of_a_cluster_and_others() {
        let on = ("wsrep_on", "ON");
        let member = [
            on,
            ("wsrep_ready", "ON"),
            ("wsrep_cluster_status", "Primary"),
        ];
        let lone = [
            on,
            ("wsrep_ready", "OFF"),
            ("wsrep_cluster_status", "non-Primary"),
        ];
        let with = |facts: &[(&'static str, &'static str)], more| [facts, &[more]].concat();
        let reads = ("wsrep_dirty_reads", "ON");
        let rejects = ("wsrep_reject_queries", "ALL_KILL");
        for (facts, any, primary) in [
            (vec![], None, None),
            (
                vec![("wsrep_on", "OFF"), ("wsrep_ready", "OFF")],
                None,
                None,
            ),
            (with(&lone, ("wsrep_provider", "none")), None, None),
            (member.to_vec(), None, None),
            (
                with(&member, ("read_only", "ON")),
                None,
                Some(Reason::ReadOnly),
            ),
            (
                with(&member, ("read_only", "NO_LOCK")),
                None,
                Some(Reason::ReadOnly),
            ),
            (
                lone.to_vec(),
                Some(Reason::Unhealthy),
                Some(Reason::Unhealthy),
            ),
            (
                with(&lone, reads),
                Some(Reason::Degraded),
                Some(Reason::ReadOnly),
            ),
            (
                with(&member, rejects),
                Some(Reason::Unhealthy),
                Some(Reason::Unhealthy),
            ),
            (
                [&lone[..], &[reads, rejects]].concat(),
                Some(Reason::Unhealthy),
                Some(Reason::Unhealthy),
            ),
        ] {
            let answer = answer(&facts);
            assert_eq!(expected().judge(&answer).reason(), any, "{facts:?}");
            let writable = Expected {
                writable: true,
                ..expected()
            };
            assert_eq!(writable.judge(&answer).reason(), primary, "{facts:?}");
        }
    }

    #[test]
    fn a_certificate_has_days_left() {
        let bounded = Expected {
            warn_certificate_below: Some(21),
            ..expected()
        };
        let now = macros::datetime!(2026-11-29 20:04:12 UTC);
        let rejected = Some(Reason::UnexpectedAnswer);
        for (not_after, reason) in [
            ("Nov 29 20:04:12 2036 GMT", None),
            ("Dec 20 20:04:12 2026 GMT", None),
            ("Dec 20 20:04:11 2026 GMT", Some(Reason::ExpiresSoon)),
            ("Dec  5 00:00:00 2026 GMT", Some(Reason::ExpiresSoon)),
            ("Nov 29 20:04:12 2026 GMT", Some(Reason::ExpiresSoon)),
            ("Nov 29 20:04:11 2026 GMT", Some(Reason::Expired)),
            ("Sep 13 00:00:00 1987 GMT", Some(Reason::Expired)),
            ("2036-11-29", rejected),
            ("", rejected),
        ] {
            let answer = answer(&[("ssl_server_not_after", not_after)]);
            let judged = bounded.judge_certificate(&answer, now);
            assert_eq!(judged.reason(), reason, "{not_after}");
            let unbounded = expected().judge_certificate(&answer, now);
            assert_eq!(unbounded, Outcome::pass(), "{not_after}");
        }
    }

    #[test]
    fn a_rejected_query_fails_only_with_a_requirement() {
        let answer = Answer {
            rejected: Some(Outcome::fail(Reason::Failed)),
            ..Answer::default()
        };
        assert_eq!(expected().judge(&answer).status(), Status::Pass);
        let writable = Expected {
            writable: true,
            ..expected()
        };
        let bounded = Expected {
            warn_connections_above: Some(90.0),
            ..expected()
        };
        let certified = Expected {
            warn_certificate_below: Some(21),
            ..expected()
        };
        for expected in [writable, bounded, certified] {
            assert_eq!(expected.judge(&answer).reason(), Some(Reason::Failed));
        }
    }
}
