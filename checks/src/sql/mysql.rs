use std::{collections::HashMap, fmt, future::Future, time::Duration};

use sqlx::{Connection, MySqlConnection, MySqlPool, Row, mysql::MySqlRow};
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros};

use super::sqlx::{close, refusal};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

use crate::{
    bounds::{LagBounds, Limit},
    own::{Link, Own},
    pool::Usage,
    refusal::Refusal,
};

/// Whether a MySQL or MariaDB server answers, and how it is.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | connections are near the server's limit ([`warn_connections_above`](Self::warn_connections_above)), or at it | warn, limit near; warn, busy |
/// | it takes no writes, and [`primary`](Self::primary) was called | fail, read-only |
/// | a node of Galera that refuses queries: not ready, outside of its cluster, told to reject them | fail, unhealthy |
/// | the same, but for reading, which it was set to allow | warn, degraded; with `primary` fail, read-only |
/// | it is offline for all but administrators (`offline_mode`) | fail, unhealthy |
/// | a replica lags by more than [`warn_lag_above`](Self::warn_lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, fail, limit exceeded |
/// | a replica whose lag has a bound does not replicate | fail, degraded |
/// | its certificate ends before long, or has ended ([`warn_certificate_below`](Self::warn_certificate_below)) | warn, expires soon; fail, expired |
/// | it does not tell when its certificate ends, and that has a bound | fail, unexpected answer |
/// | wrong password, unknown user | fail, authentication failed |
/// | no rights to the database, or to see the lag; a host that is blocked for its connection errors | fail, permission denied |
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
/// It measures `connections` and `connection_utilization` of the server, `pool_used` and `pool_utilization`; and where they have a bound, `lag` in
/// seconds, and the `days_left` of its certificate.
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
    /// In percent, if the user has said how much.
    warn_connections_above: Option<f64>,
    lag: LagBounds,
    /// In days.
    warn_certificate_below: Option<u32>,
}

/// What a server said: settings and figures by their names, and its lag.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    facts: HashMap<String, String>,
    lag: Lag,
    /// Why it tells none of them, if it answers all the same.
    untold: Option<Outcome>,
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

/// What is shown is a row for each name that the server knows. A relative of MySQL may know few of them, and a node of Galera that is not
/// ready shows all the same. `innodb_read_only` is that of Aurora's readers.
macro_rules! facts {
    () => { "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'innodb_read_only', 'max_connections', \
        'wsrep_on', 'wsrep_provider', 'wsrep_reject_queries', 'wsrep_dirty_reads'); \
        SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'wsrep_ready', 'wsrep_cluster_status', \
        'Ssl_server_not_after')" };
}

const QUERY: &str = facts!();
/// The last has rows of any number. MariaDB tells of connections that have names only if it is asked for all, which
/// MySQL always is: each of the two reads what is a comment to the other. One that is too old is left with `SHOW` alone, and refuses it.
const QUERY_LAG: &str = concat!(
    facts!(),
    "; SHOW /*M!100501 ALL REPLICAS STATUS */ /*!80022 REPLICA STATUS */"
);

/// How full the table of connections may be by default, in percent.
const FULL: f64 = 90.0;

impl MySql {
    /// A check of the server that a pool of sqlx connects to.
    pub fn sqlx(pool: MySqlPool) -> Self {
        Self {
            pool,
            own: Own::new::<Self>(),
            expected: Expected {
                writable: false,
                warn_connections_above: None,
                lag: LagBounds::default(),
                warn_certificate_below: None,
            },
        }
    }

    /// Expects a server that takes writes: one that is set read-only, as replicas are, then fails. Defaults to either.
    pub fn primary(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// How much of the connections that the server allows may be in use before it is a warning, in percent. Defaults to 90.
    pub fn warn_connections_above(mut self, percent: f64) -> Self {
        self.expected.warn_connections_above = Some(percent);
        self
    }

    /// How far a replica may be behind, as it says itself, before it is a warning. Of several that it replicates from, the
    /// worst counts, and one that is set up and stopped is worse than any that is late. A server that replicates from nobody passes, and
    /// measures no lag. Defaults to no bound, and then it is not asked.
    pub fn warn_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.warn = Some(lag);
        self
    }

    /// How far a replica may be [behind](Self::warn_lag_above) before it fails. Defaults to no bound.
    pub fn fail_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.fail = Some(lag);
        self
    }

    /// How many days the server's certificate has to be valid for without a warning; one that has ended fails. The server tells when it ends. MariaDB tells it
    /// over TLS alone, and of the certificate that this connection was made with: so connections of the pool need TLS, and a renewal is seen after five
    /// minutes at the latest. Defaults to no bound.
    ///
    /// This is what `Certificate` is for other servers. A server of MySQL counts handshakes without a login, and blocks the host.
    pub fn warn_certificate_below(mut self, days: u32) -> Self {
        self.expected.warn_certificate_below = Some(days);
        self
    }
}

/// As OpenSSL writes it: `Nov 29 20:04:12 2026 GMT`, and a day of one digit behind a space.
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
        self.expected.lag.problems()
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
        // A relative of MySQL may know nothing of this, and take queries.
        if self.expected.lag.is_bound() || !refusal.is_of_the_question() {
            return Err(refusal);
        }
        let plain = sqlx::raw_sql("SELECT 1").execute(connection).await;
        plain.map_err(self::refusal)?;
        Ok(Answer {
            untold: Some(refusal.outcome()),
            ..Answer::default()
        })
    }

    async fn close(connection: MySqlConnection) {
        close(connection).await;
    }
}

/// The rows of all statements, one after another: names with their values, and then what a replica tells.
fn read(rows: &[MySqlRow]) -> Answer {
    let (facts, replication): (Vec<&MySqlRow>, Vec<&MySqlRow>) =
        rows.iter().partition(|row| row.len() == 2);
    let fact =
        |row: &MySqlRow| Some((text(row, 0)?.to_ascii_lowercase(), text(row, 1)?.to_owned()));
    Answer {
        facts: facts.into_iter().filter_map(fact).collect(),
        lag: replication.into_iter().map(lag).fold(Lag::None, Lag::worse),
        untold: None,
    }
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

impl Answer {
    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        // Some settings have more than two values: `read_only` of MariaDB has four, of which one is off.
        !matches!(
            self.fact(name).to_ascii_uppercase().as_str(),
            "" | "0" | "OFF"
        )
    }

    fn rejects(&self) -> bool {
        !matches!(self.fact("wsrep_reject_queries"), "" | "NONE")
    }

    /// What keeps a node of Galera from taking queries, if anything.
    fn refuses(&self) -> Option<&'static str> {
        let is = |name: &str, value: &str| self.fact(name).eq_ignore_ascii_case(value);
        if !self.is_on("wsrep_on") || is("wsrep_provider", "none") {
            None
        } else if self.rejects() {
            Some("it was told to reject queries (wsrep_reject_queries)")
        } else if !is("wsrep_cluster_status", "Primary") {
            Some("its part of the cluster has no majority (wsrep_cluster_status)")
        } else if !self.is_on("wsrep_ready") {
            Some("it is not ready (wsrep_ready)")
        } else {
            None
        }
    }
}

impl Expected {
    fn judge(&self, answer: &Answer) -> Outcome {
        if let Some(untold) = &answer.untold {
            // What is expected and cannot be seen is not taken for granted.
            let bound = self.warn_connections_above.map(drop);
            let bound = bound.or(self.warn_certificate_below.map(drop));
            let is_expected = self.writable || bound.is_some();
            return match is_expected {
                true => untold.clone(),
                false => Outcome::pass(),
            };
        }
        self.judge_node(answer)
            .merge(self.judge_connections(answer))
            .merge(self.judge_lag(answer.lag))
            .merge(self.judge_certificate(answer, OffsetDateTime::now_utc()))
    }

    fn judge_node(&self, answer: &Answer) -> Outcome {
        let is_read_only = answer.is_on("read_only") || answer.is_on("innodb_read_only");
        let outcome = match answer.refuses() {
            // Nodes without a majority may be read if they were told so.
            Some(why) if answer.is_on("wsrep_dirty_reads") && !answer.rejects() => {
                match self.writable {
                    true => Outcome::fail(Reason::ReadOnly).with_cause(why),
                    false => Outcome::warn(Reason::Degraded).with_cause(why),
                }
            }
            Some(why) => Outcome::fail(Reason::Unhealthy).with_cause(why),
            None => Outcome::pass(),
        };
        match self.writable && is_read_only {
            true => outcome.merge(Outcome::fail(Reason::ReadOnly).with_cause("it takes no writes")),
            false => outcome,
        }
    }

    fn judge_connections(&self, answer: &Answer) -> Outcome {
        let number = |name| answer.fact(name).parse().ok();
        match (number("threads_connected"), number("max_connections")) {
            (Some(used), Some(allowed)) => {
                Limit { used, allowed }.judge(self.warn_connections_above.unwrap_or(FULL))
            }
            _ if self.warn_connections_above.is_some() => Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause("it does not tell how many of its connections are in use"),
            _ => Outcome::pass(),
        }
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

impl Expected {
    fn judge_certificate(&self, answer: &Answer, now: OffsetDateTime) -> Outcome {
        let Some(bound) = self.warn_certificate_below else {
            return Outcome::pass();
        };
        let told = answer.fact("ssl_server_not_after");
        let Ok(ends) = PrimitiveDateTime::parse(told, NOT_AFTER) else {
            return Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause("it does not tell when its certificate ends");
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

/// What the server's own numbers mean.
///
/// Source: [MySQL, server error message reference](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
pub(super) fn reason(number: u16) -> Option<Reason> {
    Some(match number {
        // It shuts down, or closes what was idle for too long, or was told to.
        1053 | 1927 | 4031 => return None,
        // A node of a cluster that is not ready; a server that is offline.
        1047 | 3032 => Reason::Unhealthy,
        // Locked and expired ones, too.
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
        let untold = Some(Reason::UnexpectedAnswer);
        for (told, reason) in [
            ("Nov 29 20:04:12 2036 GMT", None),
            ("Dec 20 20:04:12 2026 GMT", None),
            ("Dec 20 20:04:11 2026 GMT", Some(Reason::ExpiresSoon)),
            ("Dec  5 00:00:00 2026 GMT", Some(Reason::ExpiresSoon)),
            ("Nov 29 20:04:12 2026 GMT", Some(Reason::ExpiresSoon)),
            ("Nov 29 20:04:11 2026 GMT", Some(Reason::Expired)),
            ("Sep 13 00:00:00 1987 GMT", Some(Reason::Expired)),
            ("2036-11-29", untold),
            ("", untold),
        ] {
            let answer = answer(&[("ssl_server_not_after", told)]);
            let judged = bounded.judge_certificate(&answer, now);
            assert_eq!(judged.reason(), reason, "{told}");
            let unbounded = expected().judge_certificate(&answer, now);
            assert_eq!(unbounded, Outcome::pass(), "{told}");
        }
    }

    #[test]
    fn what_a_relative_does_not_tell_fails_only_who_expects_it() {
        let answer = Answer {
            untold: Some(Outcome::fail(Reason::Failed)),
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
