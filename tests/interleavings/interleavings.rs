//! What the engine and its readers share by atomics, in every order in which threads can run.
//!
//! The files of the engine are compiled here a second time, with the atomics of loom, which tries
//! every order. What they import of tokio is in [`notify`].

#![allow(
    dead_code,
    unexpected_cfgs,
    reason = "the engine uses more of its files"
)]

extern crate self as tokio;

use std::sync::Arc;

use loom::{
    future::block_on,
    model::Builder,
    sync::{
        atomic,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use crate::{control::Control, drain::DrainPolicy, flight::SharedFlight, in_flight::InFlight};

#[path = "../../src/engine/control.rs"]
mod control;
#[path = "../../src/engine/flight.rs"]
mod flight;
#[path = "../../src/engine/in_flight.rs"]
mod in_flight;
mod notify;
#[path = "../../src/engine/wait.rs"]
mod wait;

/// Where the files of the engine find it.
pub(crate) mod sync {
    pub(crate) use crate::notify::Notify;

    pub(crate) mod futures {
        pub(crate) use crate::notify::OwnedNotified;
    }
}

/// What the control state carries, and does not look into while a drain begins.
mod names {
    #[derive(Debug, Default)]
    pub(crate) struct Names(());
}

mod clock {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Moment;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Deadline;

    impl Deadline {
        pub(crate) fn reached(self, _: Moment) -> bool {
            false
        }
    }
}
mod drain {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct DrainEnd;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct DrainPolicy;
}
mod life {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Life;

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum LifeEvent {
        MaintenanceBegan,
        MaintenanceEnded,
        DrainBegan,
    }

    impl Life {
        pub(crate) fn after(self, _: LifeEvent) -> Self {
            self
        }
    }
}
mod model {
    #[derive(Debug)]
    pub(crate) struct Cause;
}

/// Runs a test in every order of its threads with at most two preemptions.
fn every_order(test: impl Fn() + Sync + Send + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(2);
    model.check(test);
}

/// A message to the engine.
enum Message {
    Request,
    /// The reader has what it waited for.
    Done,
}

/// Requests a run, and waits for it.
fn read(flight: &Arc<SharedFlight>, sender: &Sender<Message>) -> JoinHandle<()> {
    let (flight, sender) = (Arc::clone(flight), sender.clone());
    thread::spawn(move || {
        block_on(flight.request(|| sender.send(Message::Request).unwrap()));
        sender.send(Message::Done).unwrap();
    })
}

#[test]
fn every_reader_gets_a_run_and_readers_share_runs() {
    const READERS: usize = 2;
    every_order(|| {
        let flight = Arc::new(SharedFlight::new());
        let (sender, messages) = mpsc::channel();
        let readers = [(); READERS].map(|()| read(&flight, &sender));
        let (mut runs, mut done) = (0, 0);
        while done < READERS {
            match messages.recv().unwrap() {
                // A message starts a run, unless one was started for an earlier message.
                Message::Request if flight.is_requested() => {
                    flight.start();
                    runs += 1;
                    flight.complete();
                }
                Message::Request => {}
                Message::Done => done += 1,
            }
        }
        assert!((1..=READERS).contains(&runs), "{runs}");
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn a_reader_joins_a_run_on_schedule_or_gets_one_of_its_own() {
    every_order(|| {
        let flight = Arc::new(SharedFlight::new());
        flight.start();
        let (sender, messages) = mpsc::channel();
        let reader = read(&flight, &sender);
        flight.complete();
        if let Message::Request = messages.recv().unwrap() {
            assert!(flight.is_requested());
            flight.start();
            flight.complete();
        }
        reader.join().unwrap();
    });
}

#[test]
fn the_end_of_the_engine_ends_every_wait() {
    every_order(|| {
        let flight = Arc::new(SharedFlight::new());
        let readers = [(); 2].map(|()| {
            let flight = Arc::clone(&flight);
            // No engine receives the message.
            thread::spawn(move || block_on(flight.request(|| {})))
        });
        flight.abandon();
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn the_engine_learns_that_the_last_request_has_ended() {
    every_order(|| {
        let in_flight = Arc::new(InFlight::default());
        let requests = [(); 2].map(|()| {
            let in_flight = Arc::clone(&in_flight);
            in_flight.enter();
            thread::spawn(move || in_flight.leave())
        });
        in_flight.await_none();
        let seen = in_flight.count();
        let notified = requests.map(|request| request.join().unwrap());
        assert!(seen == 0 || notified.contains(&true));
        assert_eq!(in_flight.count(), 0);
    });
}

#[test]
fn a_reader_that_sees_the_new_version_sees_the_drain() {
    every_order(|| {
        let control = Arc::new(Control::new(DrainPolicy));
        let began = [(); 2].map(|()| {
            let control = Arc::clone(&control);
            thread::spawn(move || {
                let had_begun = control.drain();
                control.changed();
                had_begun
            })
        });
        let version = control.version();
        assert!(version == 0 || control.is_draining());
        let had_begun = began.map(|thread| thread.join().unwrap());
        assert!(had_begun == [false, true] || had_begun == [true, false]);
        assert_eq!((control.version(), control.is_draining()), (2, true));
    });
}
