use std::sync::Arc;

use super::{clock::Moment, facts::Facts, id::Id, life::Life};
use crate::{
    memo::Memo,
    model::{CheckReport, Probe, Stage, Status, Verdict},
};

/// The verdicts of one moment. It is replaced whenever a reader could see a difference.
#[derive(Debug)]
pub(crate) struct View {
    liveness: Arc<CachedVerdict>,
    readiness: Arc<CachedVerdict>,
    startup: Arc<CachedVerdict>,
    health: Arc<CachedVerdict>,
    /// Once it has [stopped](Life::stopped), nothing else is published.
    pub(crate) life: Life,
    pub(crate) stage: Stage,
}

/// A verdict and the responses rendered from it.
#[derive(Debug)]
pub(crate) struct CachedVerdict {
    pub(crate) verdict: Verdict,
    pub(crate) memo: Memo,
}

impl View {
    /// The verdicts that follow from `facts`, with the `report` of each check that they list. A
    /// verdict that says the same as in `before` is kept, with its responses. One whose status is
    /// new has it since `at`.
    pub(crate) fn new(
        facts: &Facts<'_>,
        at: Moment,
        report: &dyn Fn(Id) -> Option<CheckReport>,
        before: Option<&Self>,
    ) -> Self {
        let lists = Lists::new(facts, report);
        let cached = |probe: Probe, list: List| {
            let before = before.map(|view| view.of(probe));
            let (status, reason) = facts.verdict(probe);
            let same = before.filter(|before| before.verdict.status == status);
            let verdict = Verdict {
                probe,
                status,
                since: same.map_or_else(|| at.time(), |before| before.verdict.since),
                reason,
                cause: facts.cause_of(reason),
                unknown: facts.is_unknown(),
                as_of: at.time(),
                checks: list.checks,
                more: list.more,
                retry_after: facts.retry_after(probe),
            };
            match before {
                // The responses of health list every check, so any change replaces them.
                Some(before) if probe != Probe::Health && before.is_same(&verdict) => {
                    Arc::clone(before)
                }
                _ => Arc::new(CachedVerdict {
                    verdict,
                    memo: Memo::default(),
                }),
            }
        };
        Self {
            liveness: cached(Probe::Liveness, lists.liveness),
            readiness: cached(Probe::Readiness, lists.readiness),
            startup: cached(Probe::Startup, lists.startup),
            health: cached(Probe::Health, lists.health),
            life: facts.life,
            stage: facts.stage(),
        }
    }

    pub(crate) fn of(&self, probe: Probe) -> &Arc<CachedVerdict> {
        match probe {
            Probe::Liveness => &self.liveness,
            Probe::Readiness => &self.readiness,
            Probe::Startup => &self.startup,
            Probe::Health => &self.health,
        }
    }
}

impl CachedVerdict {
    fn is_same(&self, verdict: &Verdict) -> bool {
        self.verdict.looks_the_same(verdict)
            && self.verdict.has_same_failure_counts(verdict)
            && self.verdict.retry_after == verdict.retry_after
    }
}

/// The checks that a verdict lists, and the number of those left out.
#[derive(Default)]
struct List {
    checks: Arc<[CheckReport]>,
    more: usize,
}

/// The list of each verdict.
struct Lists {
    liveness: List,
    readiness: List,
    startup: List,
    health: List,
}

impl Lists {
    fn new(facts: &Facts<'_>, report: &dyn Fn(Id) -> Option<CheckReport>) -> Self {
        let list = |ids: &mut dyn Iterator<Item = Id>, len: usize| {
            let listed = ids.take(Verdict::MAX_CHECKS).filter_map(report);
            let checks: Arc<[CheckReport]> = listed.collect();
            let more = len - checks.len();
            List { checks, more }
        };
        let tally = facts.tally;
        let (affecting, not_passing) = (tally.affecting_liveness_len(), tally.not_passing_len());
        let readiness = list(&mut tally.not_passing(), not_passing);
        Self {
            liveness: if facts.verdict(Probe::Liveness).0 == Status::Pass {
                List::default()
            } else {
                list(&mut tally.affecting_liveness(), affecting)
            },
            startup: if facts.started() {
                List::default()
            } else {
                list(&mut tally.starting.iter(), tally.starting.len())
            },
            // Mostly no check affects liveness, and both lists are the same.
            health: if affecting == 0 {
                List {
                    checks: Arc::clone(&readiness.checks),
                    more: readiness.more,
                }
            } else {
                let ids = &mut tally.affecting_liveness().chain(tally.not_passing());
                list(ids, affecting + not_passing)
            },
            readiness,
        }
    }
}
