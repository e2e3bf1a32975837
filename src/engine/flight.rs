//! A run that several readers wait for, and that belongs to none of them.
//!
//! The engine starts and completes runs. Readers request a run and wait for its completion.
//! [`Flight`] is the pure state that they share, [`SharedFlight`] the same in an atomic, and
//! [`Completion`] the wait. A reader that goes away changes nothing, because readers are not
//! counted.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::Notify;

use super::{
    atomic::{AtomicU64, Ordering},
    wait::Wait,
};

/// The progress of a check's next run, and the number of runs that completed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    phase: Phase,
    /// A reader waits until this changes. At most one run is in flight, so the next to complete is
    /// the requested one.
    completed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// No run is requested.
    Idle,
    /// A reader has requested a run and notified the engine.
    Requested,
    Running,
    /// The check will not run again.
    Abandoned,
}

impl Flight {
    const IDLE: Self = Self {
        phase: Phase::Idle,
        completed: 0,
    };

    fn request(self) -> Self {
        if self.phase == Phase::Idle {
            self.to(Phase::Requested)
        } else {
            self
        }
    }

    fn start(self) -> Self {
        self.unless_abandoned(self.to(Phase::Running))
    }

    /// Completes a run. One that panicked completes like any other.
    fn complete(self) -> Self {
        self.unless_abandoned(Self {
            phase: Phase::Idle,
            completed: self.completed.wrapping_add(1),
        })
    }

    fn abandon(self) -> Self {
        self.to(Phase::Abandoned)
    }

    /// Whether a run requested when `completed` had completed is no longer worth waiting for.
    fn is_over_since(self, completed: u32) -> bool {
        self.completed != completed || self.phase == Phase::Abandoned
    }

    fn unless_abandoned(self, next: Self) -> Self {
        if self.phase == Phase::Abandoned {
            self
        } else {
            next
        }
    }

    fn to(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.completed) << 8 | self.phase as u64
    }

    fn from_bits(bits: u64) -> Self {
        let phase = match bits & 0xff {
            0 => Phase::Idle,
            1 => Phase::Requested,
            2 => Phase::Running,
            _ => Phase::Abandoned,
        };
        Self {
            phase,
            // The phase is shifted out; the rest fits.
            completed: (bits >> 8) as u32,
        }
    }
}

/// A [`Flight`] between the engine and readers.
#[derive(Debug)]
pub(crate) struct SharedFlight {
    flight: AtomicU64,
    changes: Arc<Notify>,
}

impl SharedFlight {
    pub(crate) fn new() -> Self {
        Self {
            flight: AtomicU64::new(Flight::IDLE.to_bits()),
            changes: Arc::new(Notify::new()),
        }
    }

    /// Requests a run. Calls `notify` to notify the engine, unless a run is requested or in flight.
    pub(crate) fn request(self: &Arc<Self>, notify: impl FnOnce()) -> Completion {
        // Created first, so that it is notified of every completion after the request.
        let wait = Wait::new(&self.changes);
        let before = self.change(Flight::request);
        if before.phase == Phase::Idle {
            notify();
        }
        Completion {
            flight: Arc::clone(self),
            completed: before.completed,
            wait,
        }
    }

    /// Whether a run is requested and has not started.
    pub(crate) fn is_requested(&self) -> bool {
        self.load().phase == Phase::Requested
    }

    pub(crate) fn start(&self) {
        self.change(Flight::start);
    }

    pub(crate) fn complete(&self) {
        self.change(Flight::complete);
        self.changes.notify_waiters();
    }

    pub(crate) fn abandon(&self) {
        self.change(Flight::abandon);
        self.changes.notify_waiters();
    }

    fn load(&self) -> Flight {
        Flight::from_bits(self.flight.load(Ordering::Acquire))
    }

    /// Applies `step`, and returns the flight from before.
    fn change(&self, step: impl Fn(Flight) -> Flight) -> Flight {
        let mut bits = self.flight.load(Ordering::Acquire);
        loop {
            let before = Flight::from_bits(bits);
            let swapped = self.flight.compare_exchange_weak(
                bits,
                step(before).to_bits(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) => return before,
                Err(now) => bits = now,
            }
        }
    }
}

pin_project! {
    /// Future that resolves when the requested run has completed, or when there will be none.
    #[derive(Debug)]
    pub(crate) struct Completion {
        flight: Arc<SharedFlight>,
        completed: u32,
        #[pin]
        wait: Wait,
    }
}

impl Future for Completion {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (flight, completed) = (&*this.flight, *this.completed);
        this.wait
            .poll_until(cx, |_| flight.load().is_over_since(completed).then_some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_request_while_a_run_is_in_flight_share_it() {
        let requested = Flight::IDLE.request();
        assert_eq!(requested.phase, Phase::Requested);
        assert_eq!(requested.request(), requested);
        let running = requested.start();
        assert_eq!(running.request(), running);
        let completed = running.complete();
        assert!(completed.is_over_since(0) && !completed.is_over_since(1));
        assert_eq!(completed.request().phase, Phase::Requested);
    }

    #[test]
    fn an_abandoned_flight_ends_every_wait_and_stays_abandoned() {
        let abandoned = Flight::IDLE.request().abandon();
        assert!(abandoned.is_over_since(0));
        for step in [Flight::request, Flight::start, Flight::complete] {
            assert_eq!(step(abandoned), abandoned);
        }
    }

    #[test]
    fn bits_keep_every_flight() {
        for phase in [
            Phase::Idle,
            Phase::Requested,
            Phase::Running,
            Phase::Abandoned,
        ] {
            for completed in [0, 1, u32::MAX] {
                let flight = Flight { phase, completed };
                assert_eq!(Flight::from_bits(flight.to_bits()), flight);
            }
        }
    }
}
