//! Counts of answered requests for probes.
//!
//! Every response to a prober counts, so counting takes no lock and does not call the recorder: it
//! is one atomic addition. The engine reads all counts from time to time, and publishes the
//! increments.

use std::{
    array,
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
};

use crate::{model::Probe, telemetry::RequestTarget};

/// The numbers of requests that were answered, by target and by HTTP status code. Readers count
/// them, and the engine publishes them.
#[derive(Debug)]
pub(crate) struct ProbeRequests {
    /// The code of each column, or 0 if the column is free. The last column counts the codes that
    /// have no column of their own.
    codes: [AtomicU16; COLUMNS],
    counts: [[AtomicU64; COLUMNS]; TARGETS.len()],
}

/// The values of the label `probe`, in the order of the rows of the counts.
pub(super) const TARGETS: [&str; 5] = ["liveness", "readiness", "startup", "health", CHECK];

/// The target of a request for one check.
pub(super) const CHECK: &str = "check";

/// The codes that are sent by default. They have a column from the start, so that other codes
/// cannot take all columns.
const DEFAULT_CODES: [u16; 4] = [200, 404, 405, 503];

/// The number of columns: 15 for one code each, and one for all other codes.
const COLUMNS: usize = 16;

/// The counts, and the code of each column.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) codes: [Option<u16>; COLUMNS],
    pub(super) counts: [[u64; COLUMNS]; TARGETS.len()],
}

impl Default for ProbeRequests {
    fn default() -> Self {
        let code = |column| DEFAULT_CODES.get(column).copied().unwrap_or_default();
        Self {
            codes: array::from_fn(|column| AtomicU16::new(code(column))),
            counts: array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))),
        }
    }
}

impl ProbeRequests {
    /// Counts one response. A code without a column is assigned a free one. If there is none, the
    /// response counts in the last column.
    pub(crate) fn count(&self, asked: RequestTarget, code: u16) {
        let [liveness, readiness, startup, health, check] = &self.counts;
        let row = match asked {
            RequestTarget::Probe(Probe::Liveness) => liveness,
            RequestTarget::Probe(Probe::Readiness) => readiness,
            RequestTarget::Probe(Probe::Startup) => startup,
            RequestTarget::Probe(Probe::Health) => health,
            RequestTarget::Check => check,
        };
        let [row @ .., others] = row;
        let own = self
            .codes
            .iter()
            .zip(row)
            .find(|(column, _)| claims(column, code));
        own.map_or(others, |(_, count)| count)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Returns all counts so far. They are not read at one instant: a response that is counted
    /// meanwhile is in this result or in the next.
    pub(super) fn counts(&self) -> Counts {
        let code = |code: &AtomicU16| Some(code.load(Ordering::Relaxed)).filter(|&code| code != 0);
        Counts {
            counts: self
                .counts
                .each_ref()
                .map(|row| row.each_ref().map(|count| count.load(Ordering::Relaxed))),
            codes: self.codes.each_ref().map(code),
        }
    }
}

/// Returns whether a column is that of a code. Assigns a free column to the code. Two threads that
/// claim the same column at once agree on which of them has it.
fn claims(column: &AtomicU16, code: u16) -> bool {
    match column.load(Ordering::Relaxed) {
        0 => match column.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(taken) => taken == code,
        },
        taken => taken == code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_column_as_long_as_there_are_any() {
        let requests = ProbeRequests::default();
        for code in 200..220 {
            requests.count(RequestTarget::Check, code);
            requests.count(RequestTarget::Check, 503);
        }
        let Counts { codes, counts } = requests.counts();
        let [.., checks] = counts;
        let of = |code| {
            codes
                .iter()
                .position(|&known| known == Some(code))
                .map(|column| checks[column])
        };
        assert_eq!(
            (of(200), of(201), of(503), of(404)),
            (Some(1), Some(1), Some(20), Some(0))
        );
        assert_eq!(codes.last(), Some(&None));
        assert_eq!(checks.iter().sum::<u64>(), 40, "none is lost");
    }
}
