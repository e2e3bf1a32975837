//! The engine's part in a drain.

use super::{
    Engine,
    clock::Moment,
    drain::{Drain, DrainCause, Hurry, Step},
};
use crate::telemetry;

impl Engine {
    pub(super) fn begin_drain(&mut self, cause: DrainCause) {
        let now = self.clock.now().mono;
        let board = self.writer.board();
        let control = &board.control;
        self.drain = Some(Drain::begin(now, cause, control.policy));
        let in_flight = control.in_flight.count();
        telemetry::drain_began(&board.service.name, cause.as_str(), in_flight);
    }

    pub(super) fn hurry_drain(&mut self, what: Hurry) {
        if let Some(drain) = &mut self.drain {
            drain.hurry(self.clock.now().mono, what);
        }
    }

    pub(super) fn notice_idle(&mut self) {
        if let Some(drain) = &mut self.drain {
            drain.idle(self.clock.now().mono);
            self.writer.board().changes.notify_waiters();
        }
    }

    /// Takes the steps that are due.
    pub(super) fn advance_drain(&mut self, now: Moment) {
        let Some(drain) = &mut self.drain else {
            return;
        };
        let board = self.writer.board();
        let (control, service) = (&board.control, &board.service.name);
        while let Some(step) = drain.step(now.mono, control.in_flight.count()) {
            let notify = || board.changes.notify_waiters();
            // Waiters are notified first, because logging is foreign code, which may block.
            match step {
                Step::Finish => {
                    control.in_flight.await_none();
                    notify();
                }
                Step::Close(in_flight) => {
                    control.close();
                    notify();
                    if in_flight > 0 {
                        let names = control.names.describe(in_flight);
                        telemetry::drain_closes(service, in_flight, names, control.policy.close);
                    }
                }
                Step::End(end) => {
                    control.end(end);
                    notify();
                    let names = control.names.describe(end.in_flight);
                    telemetry::drain_ended(service, end.in_flight, names, end.took);
                }
                Step::Cut(in_flight) => {
                    control.cut(in_flight);
                    notify();
                    // Requests that came after the end are cut as well.
                    let reported = control.ended().map_or(0, |end| end.in_flight);
                    if in_flight > reported {
                        let (names, took) =
                            (control.names.describe(in_flight), drain.took(now.mono));
                        telemetry::drain_ended(service, in_flight, names, took);
                    }
                }
            }
        }
    }
}
