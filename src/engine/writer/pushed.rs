//! Expiry, and the checks that the application reports itself.

use std::{sync::Arc, time::Duration};

use super::Writer;
use crate::{
    engine::{cell::Definition, clock::Moment, id::Id, pushed::Pushed, state::Run},
    model::{Outcome, Reason},
};

impl Writer {
    /// Adds a check that the application reports itself. It counts immediately, and does not hold
    /// readiness while it is pending.
    pub(crate) fn add_pushed(&mut self, definition: Definition) -> Id {
        let id = self.add(definition);
        self.judge(id, self.board.clock.now());
        id
    }

    /// Records every change that was due by `now` and has no event of its own.
    pub(crate) fn elapse(&mut self, now: Moment) {
        self.changed |= self.withheld.is_some_and(|until| until.reached(now));
        while let Some(id) = self.deadlines.due(now).or_else(|| self.unread.due(now)) {
            let pushed = self.pushed(id);
            if let Some(pushed) = &pushed {
                if self.board.pulse.has_just_resumed() {
                    pushed.refresh(now);
                }
                // Later confirmations notify the engine. Earlier ones are read below.
                pushed.expire();
            }
            self.update(id, now, |state, _| state.at(now).into_owned());
            if let Some(pushed) = pushed {
                self.hold(id, &pushed, now);
            }
        }
        while let Some(id) = self.returning_reasons.due(now) {
            self.judge(id, now);
        }
    }

    fn pushed(&self, id: Id) -> Option<Arc<Pushed>> {
        self.cell(id)?.definition.pushed.clone()
    }

    /// Lets confirmations of a check that is good go without notifying the engine.
    fn hold(&self, id: Id, pushed: &Pushed, now: Moment) {
        let holds = self.cell(id).is_some_and(|cell| {
            let state = &cell.current.load().state;
            state.status.is_good() && state.is_valid(now)
        });
        if holds {
            pushed.hold();
        }
    }

    /// Records that the worker of a heartbeat is gone, and nobody reports it.
    pub(crate) fn record_died(&mut self, id: Id, now: Moment) {
        let run = Run {
            ended: now,
            duration: Duration::ZERO,
        };
        self.update(id, now, |state, policy| {
            let died = Outcome::fail(Reason::Died);
            state.record(died, run, policy, 0.0).without_expiry()
        });
    }

    /// Whether the application reports any check itself.
    pub(crate) fn has_pushed(&self) -> bool {
        !self.pushed.is_empty()
    }

    /// Records what the application has reported of a check.
    pub(crate) fn record_pushed(&mut self, id: Id, now: Moment) {
        let Some(pushed) = self.pushed(id) else {
            return;
        };
        pushed.drain(|record| {
            self.update(id, now, |state, policy| {
                record(state, policy).at(now).into_owned()
            });
        });
    }
}
