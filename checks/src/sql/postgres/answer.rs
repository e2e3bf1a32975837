//! What a server is asked, and what its answer comes to.

use std::time::Duration;

use tower_health::{Outcome, Reason};

use crate::bounds::{LagBounds, Limit};

/// Each column is text, so that drivers need no types, and the simple protocol will do.
///
/// `max_connections` bounds clients alone. Of other users' sessions an ordinary role is not told what they are, but those
/// without a user or a database are none.
///
/// A standby that is connected and has replayed all that it received is not behind, however long ago the last commit was; one
/// that is not connected cannot know. One that has replayed no commit since it started is at least as far behind.
pub(super) const QUERY: &str = "\
SELECT current_setting('transaction_read_only'),
       current_setting('max_connections'),
       (current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true), '0')::int)::text,
       (SELECT count(*)::text FROM pg_catalog.pg_stat_activity
         WHERE coalesce(backend_type = 'client backend', datid IS NOT NULL AND usesysid IS NOT NULL)),
       CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN NULL
            WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)
                 AND pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn() THEN '0'
            ELSE extract(epoch FROM clock_timestamp()
                     - coalesce(pg_catalog.pg_last_xact_replay_timestamp(), pg_catalog.pg_postmaster_start_time()))::text
       END";

pub(super) const COLUMNS: usize = 5;

/// The columns of the only row.
pub(super) type Answer = [Option<String>; COLUMNS];

#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) writable: bool,
    /// In percent.
    pub(super) connections_above: f64,
    pub(super) lag: LagBounds,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            writable: false,
            connections_above: 90.0,
            lag: LagBounds::default(),
        }
    }
}

impl Expected {
    pub(super) fn judge(&self, answer: &Answer) -> Outcome {
        let [read_only, max, reserved, used, lag] = answer;
        let outcome = self.judge_writes(read_only.as_deref());
        let number = |text: &Option<String>| text.as_deref()?.parse::<usize>().ok();
        let outcome = match (number(max), number(reserved), number(used)) {
            (Some(max), Some(reserved), Some(used)) => {
                let allowed = max.saturating_sub(reserved);
                outcome.and(Limit { used, allowed }.judge(self.connections_above))
            }
            _ => outcome.and(
                Outcome::fail(Reason::UnexpectedAnswer).with_cause("its settings are no numbers"),
            ),
        };
        let lag = lag.as_deref().and_then(|lag| lag.parse::<f64>().ok());
        // The clock of a replica may be behind that of its primary.
        match lag.map(|lag| Duration::try_from_secs_f64(lag).unwrap_or_default()) {
            Some(lag) => outcome.and(self.lag.judge(lag)),
            None => outcome,
        }
    }

    fn judge_writes(&self, read_only: Option<&str>) -> Outcome {
        match self.writable && read_only != Some("off") {
            true => Outcome::fail(Reason::ReadOnly).with_cause("it takes no writes"),
            false => Outcome::pass(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_health::Status;

    fn told(expected: Expected, answer: [&str; 5]) -> (Status, Option<Reason>) {
        let answer = answer.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
        let outcome = expected.judge(&answer);
        (outcome.status(), outcome.reason())
    }

    #[test]
    fn each_finding_by_itself_and_the_worst_of_them() {
        let bounds = Expected {
            writable: true,
            lag: LagBounds {
                warn: Some(Duration::from_secs(1)),
                fail: Some(Duration::from_secs(10)),
            },
            ..Expected::default()
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
