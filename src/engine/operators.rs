//! What operators are told, by logs and metrics, after readers and subscribers were shown it.

use std::{mem, time::Duration};

use super::{
    board::{Board, Id},
    clock::Moment,
    table::Table,
    view::View,
    writer::Entry,
};
use crate::{
    model::{Event, Name, Probe, Stage},
    telemetry::{self, Metrics, Note, Telling},
};

/// What they are to be told. The code that hears it is foreign: it may take its time, and panic.
#[derive(Debug)]
pub(super) struct Operators {
    metrics: Metrics,
    transitions: Vec<Event>,
    notes: Vec<(Id, Note)>,
    gone: Vec<Name>,
    /// Whether new verdicts were published.
    verdicts: bool,
}

impl Operators {
    pub(super) fn new(board: &Board) -> Self {
        Self {
            metrics: Metrics::new(&board.service.name),
            transitions: Vec::new(),
            notes: Vec::new(),
            gone: Vec::new(),
            verdicts: false,
        }
    }

    /// Something happened to a check.
    pub(super) fn note(&mut self, id: Id, note: Note) {
        self.notes.push((id, note));
    }

    /// A check is not there any more.
    pub(super) fn note_gone(&mut self, name: &Name) {
        self.gone.push(name.clone());
    }

    /// New verdicts were published, and subscribers told of these events.
    pub(super) fn note_published(&mut self, events: &mut Vec<Event>) {
        self.verdicts = true;
        self.transitions.append(events);
    }

    /// When there is something to tell, whatever happens.
    pub(super) fn due(&self) -> Option<Duration> {
        self.metrics.due()
    }

    pub(super) fn tell(
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
            notes,
            gone,
            ..
        } = self;
        telemetry::shielded(|| {
            metrics.tell(now.mono, &board.requests, |telling| {
                for name in gone.drain(..) {
                    telling.check_gone(&name);
                }
                for (id, note) in notes.drain(..) {
                    if let Some(entry) = entries.get(id) {
                        entry.tell(now, |facts| telling.note(facts, note));
                    }
                }
                // The gauges of one that runs on demand may have no run that sets them again.
                let told = |entry: &&Entry| {
                    entry.counts() && (telling.everything() || entry.is_on_demand())
                };
                if telling.due() {
                    for entry in entries.values().filter(told) {
                        entry.tell(now, |facts| telling.check(facts));
                    }
                }
                if verdicts || telling.due() {
                    tell_verdicts(telling, view);
                }
            });
        });
        // Also where nobody was told, for there is no feature, or broke over it.
        self.notes.clear();
        self.gone.clear();
    }

    /// Tells of the end: that nothing runs any more, or that nobody answers for the service any more.
    pub(super) fn tell_end(
        &mut self,
        now: Moment,
        board: &Board,
        view: &View,
        entries: &Table<Id, Entry>,
    ) {
        self.tell(now, board, view, entries);
        let released = board.is_released();
        // Of an instance that leaves, nobody expects anything else.
        if !released && view.stage == Stage::Stopped {
            telemetry::engine_stopped(&board.service.name);
        }
        let metrics = &mut self.metrics;
        telemetry::shielded(|| {
            metrics.tell(now.mono, &board.requests, |telling| {
                for entry in entries.values().filter(|entry| entry.counts()) {
                    match released {
                        true => telling.check_gone(entry.name()),
                        false => entry.tell(now, |facts| telling.check_stopped(facts)),
                    }
                }
                match released {
                    true => Probe::ALL
                        .iter()
                        .for_each(|&probe| telling.verdict_gone(probe)),
                    false => tell_verdicts(telling, view),
                }
            });
        });
    }
}

fn tell_verdicts(telling: &Telling<'_>, view: &View) {
    for probe in Probe::ALL {
        telling.verdict(probe, view.face(probe).verdict.status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Clock, DrainPolicy, Service, Writer},
        telemetry::RunResult,
    };

    /// With the feature that tells them and without.
    #[test]
    fn nothing_piles_up() {
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
        operators.note(Id(0), Note::Ran(RunResult::Pass, Duration::ZERO));
        operators.note_gone(&Name::new("db").unwrap());
        let view = &board.published().view;
        operators.tell(clock.now(), board, view, &Table::default());
        assert!(operators.notes.is_empty() && operators.gone.is_empty());
    }
}
