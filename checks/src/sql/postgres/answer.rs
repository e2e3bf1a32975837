//! What a server is asked, and what its answer comes to.

use std::{future::Future, time::Duration};

use tower_health::{Outcome, Reason};

use crate::{
    bounds::{LagBounds, Limit},
    refusal::{Refusal, said},
};

/// Each column is text, so that drivers need no types, and the simple protocol will do.
macro_rules! query {
    ($($part:expr),+) => { concat!("SELECT ", $($part),+) };
}

/// Whether it takes writes.
macro_rules! writes {
    () => {
        "current_setting('transaction_read_only')"
    };
}

/// `max_connections` bounds clients alone. Of other users' sessions an ordinary role is not told what they are, but those
/// without a user or a database are none.
macro_rules! connections {
    () => { "current_setting('max_connections'), \
        (current_setting('superuser_reserved_connections')::int \
            + coalesce(current_setting('reserved_connections', true), '0')::int)::text, \
        (SELECT count(*)::text FROM pg_catalog.pg_stat_activity \
          WHERE coalesce(backend_type = 'client backend', datid IS NOT NULL AND usesysid IS NOT NULL))" };
}

/// A standby that is connected and has replayed all that it received is not behind, however long ago the last commit was; one
/// that is not connected cannot know. One that has replayed no commit since it started is at least as far behind.
macro_rules! lag {
    () => { "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN NULL \
        WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) \
             AND pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn() THEN '0' \
        ELSE extract(epoch FROM clock_timestamp() \
                 - coalesce(pg_catalog.pg_last_xact_replay_timestamp(), pg_catalog.pg_postmaster_start_time()))::text \
        END" };
}

/// All at once, which most servers answer.
const ALL: &str = query!(writes!(), ", ", connections!(), ", ", lag!());

const WRITES: &str = query!(writes!());
const CONNECTIONS: &str = query!(connections!());
const LAG: &str = query!(lag!());

/// A connection that answers questions of one row.
pub(super) trait Rows: Send {
    fn row(
        &mut self,
        query: &'static str,
    ) -> impl Future<Output = Result<Vec<Option<String>>, Refusal>> + Send;
}

/// What a server said: whether it takes writes, how many connections it has, how far it is behind. What it does not tell is asked apart from
/// what it does, and says why.
#[derive(Debug)]
pub(super) struct Answer {
    read_only: Option<String>,
    connections: Told<3>,
    lag: Told<1>,
}

/// Some columns, or why there are none.
type Told<const N: usize> = Result<[Option<String>; N], Outcome>;

/// Asks for all, or for each where one of them is refused.
pub(super) async fn ask(server: &mut impl Rows) -> Result<Answer, Refusal> {
    match server.row(ALL).await {
        Err(refusal) if refusal.is_of_the_question() => {}
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
    let connections = told(server.row(CONNECTIONS).await)?;
    let lag = told(server.row(LAG).await)?;
    Ok(Answer {
        read_only,
        connections,
        lag,
    })
}

/// What it tells, or why it does not.
fn told<const N: usize>(row: Result<Vec<Option<String>>, Refusal>) -> Result<Told<N>, Refusal> {
    match row {
        Ok(cells) => columns(cells).map(Ok),
        Err(refusal) if refusal.is_of_the_question() => Ok(Err(refusal.outcome())),
        Err(refusal) => Err(refusal),
    }
}

fn columns<const N: usize>(cells: Vec<Option<String>>) -> Result<[Option<String>; N], Refusal> {
    let unexpected = |_| said(Reason::UnexpectedAnswer, "it answers with another row");
    cells.try_into().map_err(unexpected)
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    pub(super) writable: bool,
    /// In percent, if the user has said how much.
    pub(super) warn_connections_above: Option<f64>,
    pub(super) lag: LagBounds,
}

/// How full the table of connections may be by default, in percent.
const FULL: f64 = 90.0;

impl Expected {
    pub(super) fn judge(&self, answer: &Answer) -> Outcome {
        let outcome = self.judge_writes(answer.read_only.as_deref());
        outcome
            .merge(self.judge_connections(&answer.connections))
            .merge(self.judge_lag(&answer.lag))
    }

    fn judge_writes(&self, read_only: Option<&str>) -> Outcome {
        match self.writable && read_only != Some("off") {
            true => Outcome::fail(Reason::ReadOnly).with_cause("it takes no writes"),
            false => Outcome::pass(),
        }
    }

    fn judge_connections(&self, answer: &Told<3>) -> Outcome {
        let [max, reserved, used] = match answer {
            Ok(cells) => cells,
            Err(untold) => return of_bound(untold, self.warn_connections_above.is_some()),
        };
        let number = |text: &Option<String>| text.as_deref()?.parse::<usize>().ok();
        match (number(max), number(reserved), number(used)) {
            (Some(max), Some(reserved), Some(used)) => {
                let allowed = max.saturating_sub(reserved);
                Limit { used, allowed }.judge(self.warn_connections_above.unwrap_or(FULL))
            }
            _ => {
                let cause = "its settings are no numbers";
                let untold = Outcome::fail(Reason::UnexpectedAnswer).with_cause(cause);
                of_bound(&untold, self.warn_connections_above.is_some())
            }
        }
    }

    fn judge_lag(&self, answer: &Told<1>) -> Outcome {
        let lag = match answer {
            Ok([lag]) => lag.as_deref().and_then(|lag| lag.parse::<f64>().ok()),
            Err(untold) => return of_bound(untold, self.lag.is_bound()),
        };
        // The clock of a replica may be behind that of its primary.
        match lag.map(|lag| Duration::try_from_secs_f64(lag).unwrap_or_default()) {
            Some(lag) => self.lag.judge(lag),
            None => Outcome::pass(),
        }
    }
}

/// What is not told is amiss if there is a bound for it.
fn of_bound(untold: &Outcome, is_bound: bool) -> Outcome {
    match is_bound {
        true => untold.clone(),
        false => Outcome::pass(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_health::Status;

    fn told(expected: Expected, answer: [&str; 5]) -> (Status, Option<Reason>) {
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
            assert_eq!(told(bounds, answer), expected, "{answer:?}");
        }
        let lax = Expected::default();
        assert_eq!(told(lax, ["on", "100", "3", "7", "3600"]).0, Status::Pass);
    }
}
