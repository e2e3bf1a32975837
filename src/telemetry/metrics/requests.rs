use std::sync::atomic::{AtomicU64, Ordering};

use crate::{model::Probe, telemetry::Asked};

/// How many requests were answered, by what they asked for and by code. Readers count; the engine publishes.
#[derive(Debug, Default)]
pub(crate) struct ProbeRequests([[AtomicU64; CODES.len()]; ASKED.len()]);

pub(super) const ASKED: [&str; 5] = ["liveness", "readiness", "startup", "health", "check"];

/// Every code that is ever answered, and its label.
pub(super) const CODES: [(u16, &str); 4] = [(200, "200"), (404, "404"), (405, "405"), (503, "503")];

/// How many of each.
pub(super) type Counts = [[u64; CODES.len()]; ASKED.len()];

impl ProbeRequests {
    pub(crate) fn count(&self, asked: Asked, code: u16) {
        let [liveness, readiness, startup, health, check] = &self.0;
        let row = match asked {
            Asked::Probe(Probe::Liveness) => liveness,
            Asked::Probe(Probe::Readiness) => readiness,
            Asked::Probe(Probe::Startup) => startup,
            Asked::Probe(Probe::Health) => health,
            Asked::Check => check,
        };
        let place = CODES.iter().position(|&(known, _)| known == code);
        if let Some(count) = place.and_then(|place| row.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.0
            .each_ref()
            .map(|row| row.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}
