//! The queries of a run, and the outcome of their answers.
//!
//! The queries are plain text without parameters, so that they work through a connection pooler and
//! with each driver. A server that rejects the complete query, such as a database derived from
//! PostgreSQL, is queried for each part separately.

use std::{future::Future, time::Duration};

use tower_health::{Outcome, Reason};

use crate::{
    bounds::{LagBounds, Limit},
    refusal::{Refusal, said},
};

/// Builds a query. Each column is text, so that drivers need no types and the simple query protocol
/// is sufficient.
macro_rules! query {
    ($($part:expr),+) => { concat!("SELECT ", $($part),+) };
}

/// Whether the server accepts writes.
macro_rules! writes {
    () => {
        "current_setting('transaction_read_only')"
    };
}

/// `max_connections` limits client connections only. An ordinary role cannot see the type of other
/// users' sessions. Sessions without a user or a database are not clients.
macro_rules! connections {
    () => { "current_setting('max_connections'), \
        (current_setting('superuser_reserved_connections')::int \
            + coalesce(current_setting('reserved_connections', true), '0')::int)::text, \
        (SELECT count(*)::text FROM pg_catalog.pg_stat_activity \
          WHERE coalesce(backend_type = 'client backend', datid IS NOT NULL AND usesysid IS NOT NULL))" };
}

/// The lag is 0 s for a standby that is connected and has replayed everything that it received,
/// however old the last commit is. A standby that is not connected cannot know its lag, so the age
/// of its last replayed commit counts. A standby that has replayed no commit since it started lags
/// at least by the time since then.
macro_rules! lag {
    () => { "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN NULL \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) \
             AND pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn() THEN '0' \
        ELSE extract(epoch FROM clock_timestamp() \
                 - coalesce(pg_catalog.pg_last_xact_replay_timestamp(), pg_catalog.pg_postmaster_start_time()))::text \
        END" };
}

/// All parts in one query, which most servers answer.
const ALL: &str = query!(writes!(), ", ", connections!(), ", ", lag!());

/// The part that no server may reject.
const WRITES: &str = query!(writes!());
/// The part with the connections: the limit, what is reserved of it, and the use.
const CONNECTIONS: &str = query!(connections!());
/// The part with the lag in seconds, which is null if the server is no replica.
const LAG: &str = query!(lag!());

/// A connection that executes queries with a result of one row.
pub(super) trait Rows: Send {
    /// Executes a query and returns the columns of its first row, where `None` is null.
    fn row(
        &mut self,
        query: &'static str,
    ) -> impl Future<Output = Result<Vec<Option<String>>, Refusal>> + Send;
}

/// The answer of a server: whether it accepts writes, its connections and its lag. A part that the
/// server rejects is an error with the reason.
#[derive(Debug)]
pub(super) struct Answer {
    /// `off` if the server accepts writes.
    read_only: Option<String>,
    /// The limit, the reserved connections and those in use.
    connections: Part<3>,
    /// In seconds. Null if the server is no replica.
    lag: Part<1>,
}

/// The columns of a part, or the outcome of its rejection.
type Part<const N: usize> = Result<[Option<String>; N], Outcome>;

/// Queries all parts at once, or each part separately if one of them is rejected.
pub(super) async fn ask(server: &mut impl Rows) -> Result<Answer, Refusal> {
    match server.row(ALL).await {
        Err(refusal) if refusal.is_rejected_query() => {}
        Err(refusal) => return Err(refusal),
        Ok(cells) => {
            let [read_only, max, reserved, used, lag] = columns(cells)?;
            return Ok(Answer {
                read_only,
                connections: Ok([max, reserved, used]),
                lag: Ok([lag]),
            });
        }
    }
    let [read_only] = columns(server.row(WRITES).await?)?;
    let connections = optional(server.row(CONNECTIONS).await)?;
    let lag = optional(server.row(LAG).await)?;
    Ok(Answer {
        read_only,
        connections,
        lag,
    })
}

/// Returns the columns of a part, or the outcome of its rejection.
fn optional<const N: usize>(row: Result<Vec<Option<String>>, Refusal>) -> Result<Part<N>, Refusal> {
    match row {
        Ok(cells) => columns(cells).map(Ok),
        Err(refusal) if refusal.is_rejected_query() => Ok(Err(refusal.outcome())),
        Err(refusal) => Err(refusal),
    }
}

/// Returns the columns of a row, or a refusal if their number is unexpected.
fn columns<const N: usize>(cells: Vec<Option<String>>) -> Result<[Option<String>; N], Refusal> {
    let unexpected = |_| {
        said(
            Reason::UnexpectedAnswer,
            "the query returned an unexpected number of columns",
        )
    };
    cells.try_into().map_err(unexpected)
}

/// What the check requires of the server. The default requires nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// Whether the server must accept writes.
    pub(super) writable: bool,
    /// In percent. `None` if not configured.
    pub(super) warn_connections_above: Option<f64>,
    pub(super) lag: LagBounds,
}

/// The default of `warn_connections_above`, in percent.
const DEFAULT_WARN_CONNECTIONS_ABOVE: f64 = 90.0;

impl Expected {
    /// Judges an answer. The worst finding counts, and the first of equal ones.
    pub(super) fn judge(&self, answer: &Answer) -> Outcome {
        let outcome = self.judge_writes(answer.read_only.as_deref());
        outcome
            .merge(self.judge_connections(&answer.connections))
            .merge(self.judge_lag(&answer.lag))
    }

    /// Judges whether the server accepts writes, if that is required.
    fn judge_writes(&self, read_only: Option<&str>) -> Outcome {
        if self.writable && read_only != Some("off") {
            Outcome::fail(Reason::ReadOnly).with_cause("the server accepts no writes")
        } else {
            Outcome::pass()
        }
    }

    /// Judges and measures the connections in relation to what the server allows to ordinary roles.
    fn judge_connections(&self, answer: &Part<3>) -> Outcome {
        let [max, reserved, used] = match answer {
            Ok(cells) => cells,
            Err(rejected) => {
                return rejected_outcome(rejected, self.warn_connections_above.is_some());
            }
        };
        let number = |text: &Option<String>| text.as_deref()?.parse::<usize>().ok();
        match (number(max), number(reserved), number(used)) {
            (Some(max), Some(reserved), Some(used)) => {
                let allowed = max.saturating_sub(reserved);
                Limit { used, allowed }.judge(
                    self.warn_connections_above
                        .unwrap_or(DEFAULT_WARN_CONNECTIONS_ABOVE),
                )
            }
            _ => {
                let cause = "the connection limit or the number of connections is not a number";
                let rejected = Outcome::fail(Reason::UnexpectedAnswer).with_cause(cause);
                rejected_outcome(&rejected, self.warn_connections_above.is_some())
            }
        }
    }

    /// Judges and measures the lag. A server that is no replica has none.
    fn judge_lag(&self, answer: &Part<1>) -> Outcome {
        let lag = match answer {
            Ok([lag]) => lag.as_deref().and_then(|lag| lag.parse::<f64>().ok()),
            Err(rejected) => return rejected_outcome(rejected, self.lag.is_bound()),
        };
        // A negative lag counts as 0 s. The clock of a replica may be behind the clock of its
        // primary.
        match lag.map(|lag| Duration::try_from_secs_f64(lag).unwrap_or_default()) {
            Some(lag) => self.lag.judge(lag),
            None => Outcome::pass(),
        }
    }
}

/// Fails for a part that the server does not report, if a bound is set for it.
fn rejected_outcome(rejected: &Outcome, is_bound: bool) -> Outcome {
    if is_bound {
        rejected.clone()
    } else {
        Outcome::pass()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_health::Status;

    fn optional(expected: Expected, answer: [&str; 5]) -> (Status, Option<Reason>) {
        let answer = answer.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
        let [read_only, max, reserved, used, lag] = answer;
        let outcome = expected.judge(&Answer {
            read_only,
            connections: Ok([max, reserved, used]),
            lag: Ok([lag]),
        });
        (outcome.status(), outcome.reason())
    }

    #[test]
    fn each_finding_by_itself_and_the_worst_of_them() {
        let bounds = Expected {
            writable: true,
            warn_connections_above: Some(90.0),
            lag: LagBounds {
                warn: Some(Duration::from_secs(1)),
                fail: Some(Duration::from_secs(10)),
            },
        };
        let warn = |reason| (Status::Warn, Some(reason));
        let fail = |reason| (Status::Fail, Some(reason));
        for (answer, expected) in [
            (["off", "100", "3", "7", ""], (Status::Pass, None)),
            (["off", "100", "3", "87", ""], (Status::Pass, None)),
            (["off", "100", "3", "88", ""], warn(Reason::LimitNear)),
            (["off", "100", "3", "97", ""], warn(Reason::Busy)),
            (["on", "100", "3", "97", ""], fail(Reason::ReadOnly)),
            (["off", "100", "3", "7", "0.5"], (Status::Pass, None)),
            (["off", "100", "3", "7", "1.5"], warn(Reason::LimitExceeded)),
            (
                ["off", "100", "3", "7", "10.5"],
                fail(Reason::LimitExceeded),
            ),
            (
                ["off", "many", "3", "7", ""],
                fail(Reason::UnexpectedAnswer),
            ),
        ] {
            assert_eq!(optional(bounds, answer), expected, "{answer:?}");
        }
        let lax = Expected::default();
        assert_eq!(
            optional(lax, ["on", "100", "3", "7", "3600"]).0,
            Status::Pass
        );
    }
}
