//! What is logged and measured, after readers and subscribers have seen it.

use std::{mem, time::Duration};

use super::{
    board::Board, cell::Definition, clock::Moment, entry::Entry, id::Id, table::Table, view::View,
};
use crate::{
    model::{Event, Probe, Stage},
    telemetry::{self, CheckFacts, Gone, Metrics, Note, Recording, Totals},
};

/// What is to be logged and measured. The subscriber and the recorder are foreign code, which may
/// block and panic.
#[derive(Debug)]
pub(super) struct Operators {
    metrics: Metrics,
    totals: Table<Id, Totals>,
    transitions: Vec<Event>,
    notes: Vec<(Id, Note)>,
    gone: Vec<Gone>,
    /// Whether new verdicts were published.
    verdicts: bool,
}

impl Operators {
    pub(super) fn new(board: &Board) -> Self {
        Self {
            metrics: Metrics::new(&board.service.name),
            totals: Table::default(),
            transitions: Vec::new(),
            notes: Vec::new(),
            gone: Vec::new(),
            verdicts: false,
        }
    }

    /// Something happened to a check.
    pub(super) fn note(&mut self, id: Id, note: Note) {
        self.notes.push((id, note));
        match self.totals.get_mut(id) {
            Some(totals) => totals.count(note),
            None => {
                let mut totals = Totals::default();
                totals.count(note);
                self.totals.insert(id, totals);
            }
        }
    }

    /// A check was removed.
    pub(super) fn note_gone(&mut self, id: Id, definition: &Definition) {
        self.totals.remove(id);
        self.gone.push(gone(definition, true));
    }

    /// A check has another definition than this one.
    pub(super) fn note_redefined(&mut self, definition: &Definition) {
        self.gone.push(gone(definition, false));
    }

    /// New verdicts were published, and subscribers were notified of these events.
    pub(super) fn note_published(&mut self, events: &mut Vec<Event>) {
        self.verdicts = true;
        self.transitions.append(events);
    }

    /// When [`report`](Self::report) has something to do, whatever happens.
    pub(super) fn due(&self) -> Option<Duration> {
        self.metrics.due()
    }

    pub(super) fn report(
        &mut self,
        now: Moment,
        board: &Board,
        view: &View,
        entries: &Table<Id, Entry>,
    ) {
        for event in self.transitions.drain(..) {
            telemetry::transition(&board.service.name, &event);
        }
        let verdicts = mem::take(&mut self.verdicts);
        let Self {
            metrics,
            totals,
            notes,
            gone,
            ..
        } = self;
        telemetry::catch_panic(|| {
            metrics.record(now.mono, &board.requests, |recording| {
                for gone in gone.drain(..) {
                    recording.check_gone(&gone);
                }
                for (id, note) in notes.drain(..) {
                    with_facts(id, now, entries, totals, |facts| {
                        recording.note(facts, note)
                    });
                }
                // No run may set the gauges of a check that runs on demand again.
                let is_due = |entry: &&Entry| {
                    entry.counts() && (recording.everything() || entry.cell.is_on_demand())
                };
                if recording.is_due() {
                    for entry in entries.values().filter(is_due) {
                        with_facts(entry.cell.id, now, entries, totals, |facts| {
                            recording.check(facts);
                        });
                    }
                }
                if verdicts || recording.is_due() {
                    record_verdicts(recording, view);
                }
            });
        });
        // Left over if there is no recorder, or if it panicked.
        self.notes.clear();
        self.gone.clear();
    }

    /// Reports the end: checks no longer run, or the last handle was dropped.
    pub(super) fn report_end(
        &mut self,
        now: Moment,
        board: &Board,
        view: &View,
        entries: &Table<Id, Entry>,
    ) {
        self.report(now, board, view, entries);
        let released = board.is_released();
        // The end of an instance that is draining is expected.
        if !released && view.stage == Stage::Stopped {
            telemetry::engine_stopped(&board.service.name);
        }
        let Self {
            metrics, totals, ..
        } = self;
        telemetry::catch_panic(|| {
            metrics.record(now.mono, &board.requests, |recording| {
                for entry in entries.values().filter(|entry| entry.counts()) {
                    if released {
                        recording.check_gone(&gone(&entry.cell.definition, true));
                    } else {
                        with_facts(entry.cell.id, now, entries, totals, |facts| {
                            recording.check_stopped(facts);
                        });
                    }
                }
                if released {
                    for probe in Probe::ALL {
                        recording.verdict_gone(probe);
                    }
                } else {
                    record_verdicts(recording, view);
                }
            });
        });
    }
}

fn gone(definition: &Definition, removed: bool) -> Gone {
    Gone {
        name: definition.name.clone(),
        criticality: definition.policy.criticality,
        component_type: definition.component_type,
        removed,
    }
}

fn with_facts(
    id: Id,
    now: Moment,
    entries: &Table<Id, Entry>,
    totals: &Table<Id, Totals>,
    f: impl FnOnce(&CheckFacts<'_>),
) {
    let (Some(entry), Some(totals)) = (entries.get(id), totals.get(id)) else {
        return;
    };
    let current = entry.cell.current.load();
    let state = entry.cell.confirmed(&current.state, now);
    let state = state.at(now);
    f(&CheckFacts {
        name: entry.name(),
        status: state.status,
        last_success: state.last_success.map(Moment::time),
        flapping: state.flapping.flaps(),
        runs: entry.cell.definition.pushed.is_none(),
        criticality: entry.cell.definition.policy.criticality,
        component_type: entry.cell.definition.component_type,
        totals,
    });
}

fn record_verdicts(recording: &Recording<'_>, view: &View) {
    for probe in Probe::ALL {
        recording.verdict(probe, view.of(probe).verdict.status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Clock, DrainPolicy, Service, Writer},
        model::{ComponentType, Criticality, Name},
        telemetry::RunResult,
    };

    #[test]
    fn notes_are_dropped_without_a_recorder() {
        let service = Service {
            name: "orders".into(),
            release: None,
            version: None,
            description: None,
        };
        let clock = Clock::start();
        let writer = Writer::new(service, clock, Vec::new(), DrainPolicy::default(), None);
        let board = writer.board();
        let mut operators = Operators::new(board);
        operators.note(Id(0), Note::RunEnded(RunResult::Pass, None, Duration::ZERO));
        operators.gone.push(Gone {
            name: Name::new("db").unwrap(),
            criticality: Criticality::Critical,
            component_type: ComponentType::Component,
            removed: true,
        });
        let view = &board.published().view;
        operators.report(clock.now(), board, view, &Table::default());
        assert!(operators.notes.is_empty() && operators.gone.is_empty());
    }
}
