//! Publishing verdicts, and notifying waiters and subscribers.

use std::{mem, sync::Arc};

use super::Writer;
use crate::{
    engine::{
        board::Notification, cell::Registry, clock::Deadline, facts::Facts, life::LifeEvent,
        published::Published, view::View,
    },
    model::Event,
};

impl Writer {
    /// Shows readers what changed since the last time.
    pub(crate) fn publish(&mut self) {
        self.publish_registry();
        let version = self.board.control.version();
        if version != self.version {
            // Readers have seen these reports already, and must not see an older state again.
            let now = self.board.clock.now();
            for id in self.pushed.clone() {
                self.record_pushed(id, now);
            }
        }
        let now = self.board.clock.now();
        let maintenance = self.board.control.maintenance(now);
        let ends = maintenance.as_ref().map(|maintenance| maintenance.until);
        let valid_until = [self.deadlines.first(), self.unread.first(), ends]
            .into_iter()
            .flatten()
            .reduce(Deadline::min);
        let demand_from = self.demands.first();
        // Readers may have published an expiry before the engine noticed it.
        self.changed |= self.published.0.is_some_and(|until| until.reached(now));
        self.changed |= !self.events.is_empty() || version != self.version;
        self.version = version;
        let published = mem::replace(&mut self.published, (valid_until, demand_from));
        let changed = mem::take(&mut self.changed);
        if changed {
            let before = Arc::clone(&self.board.published.load().view);
            let life = self.board.control.life(self.view.life, now);
            let cause = maintenance.map(|maintenance| maintenance.cause.clone());
            let facts = Facts::new(&self.tally, life, cause);
            let report = |id| Some(self.cell(id)?.report(now));
            self.view = Arc::new(View::new(&facts, now, &report, Some(&before)));
            self.note_transitions(now);
        } else if published == self.published {
            return;
        }
        self.board.published.store(Arc::new(Published {
            version,
            valid_until,
            demand_from,
            view: Arc::clone(&self.view),
        }));
        if changed {
            self.board.changes.notify_waiters();
            self.send_events();
        }
    }

    fn publish_registry(&mut self) {
        if mem::take(&mut self.registered) {
            let counting = self.entries.values().filter(|entry| entry.counts());
            let cells = counting.map(|entry| Arc::clone(&entry.cell)).collect();
            self.board.registry.store(Arc::new(Registry::new(cells)));
        }
    }

    fn send_events(&mut self) {
        if let Some(subscribers) = self.board.events.get() {
            for event in &self.events {
                // There may be no subscriber at the moment.
                _ = subscribers.send(Notification::Event(event.clone()));
            }
        }
        // Verdicts have lines of their own.
        let is_verdict =
            |event: &Event| matches!(event, Event::Verdict(_) | Event::VerdictReason(_));
        self.events.retain(|event| !is_verdict(event));
        self.events.append(&mut self.lines);
        self.operators.note_published(&mut self.events);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let board = &self.board;
        let now = board.clock.now();
        let version = board.control.version();
        // The control state until now belongs to the life that ends.
        let life = board.control.life(self.view.life, now);
        let life = life.after(LifeEvent::Stopped(now));
        let published = board.count(now, now, version, life, Some(&self.view));
        let view = Arc::clone(&published.view);
        board.published.store(Arc::new(published));
        self.abandon_runs();
        board.changes.notify_waiters();
        if let Some(subscribers) = board.events.get() {
            _ = subscribers.send(Notification::Stopped);
        }
        if board.runs() {
            self.operators.report_end(now, board, &view, &self.entries);
        }
    }
}
