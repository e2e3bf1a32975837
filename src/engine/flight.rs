//! A run that several wait for, and that belongs to none of them.
//!
//! The engine starts and ends runs; readers ask for one and wait for its end. [`Flight`] is the pure state that
//! they share, [`Shared`] the same in an atomic, with a bell for its end, and [`Landing`] the wait. A reader
//! that goes away leaves the flight as it is, for nothing in it counts readers.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_timer::Delay;
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::{Notify, futures::OwnedNotified},
    time::{Sleep, sleep},
};

use super::clock;

/// How far a check's run has come, and how many ended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flight {
    phase: Phase,
    /// How many runs ended. Whoever asks waits until it is another number: at most one run is under way, so
    /// the next to end is the one that was asked for.
    landed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Phase {
    /// No run was asked for yet.
    Idle,
    /// Somebody asked for a run, and told the engine.
    Waiting,
    Running,
    /// The last run had an outcome.
    Done,
    /// The last run panicked. That is an end like any other: whoever comes next asks for a new one.
    Panicked,
    /// Nobody will run it any more.
    Abandoned,
}

/// What whoever asks for a run has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Tell the engine: nobody else has.
    Tell,
    /// A run is asked for, or under way.
    Join,
    /// There will be none.
    Refused,
}

impl Flight {
    const IDLE: Self = Self {
        phase: Phase::Idle,
        landed: 0,
    };

    fn ask(self) -> (Self, Asked) {
        match self.phase {
            Phase::Idle | Phase::Done | Phase::Panicked => (self.to(Phase::Waiting), Asked::Tell),
            Phase::Waiting | Phase::Running => (self, Asked::Join),
            Phase::Abandoned => (self, Asked::Refused),
        }
    }

    fn start(self) -> Self {
        match self.phase {
            Phase::Abandoned => self,
            _ => self.to(Phase::Running),
        }
    }

    fn end(self, panicked: bool) -> Self {
        let landed = self.landed.wrapping_add(1);
        let phase = match (self.phase, panicked) {
            (Phase::Abandoned, _) => return self,
            (_, true) => Phase::Panicked,
            (_, false) => Phase::Done,
        };
        Self { phase, landed }
    }

    fn abandon(self) -> Self {
        self.to(Phase::Abandoned)
    }

    /// Whether whoever asked when `ticket` had landed has nothing to wait for any more.
    fn has_landed(self, ticket: u32) -> bool {
        self.landed != ticket || self.phase == Phase::Abandoned
    }

    fn to(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.landed) << 8 | self.phase as u64
    }

    fn from_bits(bits: u64) -> Self {
        let phase = match bits & 0xff {
            0 => Phase::Idle,
            1 => Phase::Waiting,
            2 => Phase::Running,
            3 => Phase::Done,
            4 => Phase::Panicked,
            _ => Phase::Abandoned,
        };
        Self {
            phase,
            // The phase was shifted out; the rest fits.
            landed: (bits >> 8) as u32,
        }
    }
}

/// A [`Flight`] between the engine and readers.
#[derive(Debug)]
pub(crate) struct Shared {
    flight: AtomicU64,
    bell: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            flight: AtomicU64::new(Flight::IDLE.to_bits()),
            bell: Arc::new(Notify::new()),
        }
    }

    /// Asks for a run, which `tell` tells the engine of, unless one is under way or asked for already. The end
    /// of it can be waited for.
    pub(crate) fn ask(self: &Arc<Self>, tell: impl FnOnce()) -> Landing {
        let (before, asked) = self.change(Flight::ask);
        if asked == Asked::Tell {
            tell();
        }
        Landing {
            flight: Arc::clone(self),
            ticket: before.landed,
            bell: Arc::clone(&self.bell).notified_owned(),
        }
    }

    /// Whether a run was asked for that has not been started.
    pub(crate) fn is_waiting(&self) -> bool {
        self.load().phase == Phase::Waiting
    }

    pub(crate) fn start(&self) {
        self.change(|flight| (flight.start(), ()));
    }

    pub(crate) fn end(&self, panicked: bool) {
        self.change(|flight| (flight.end(panicked), ()));
        self.bell.notify_waiters();
    }

    pub(crate) fn abandon(&self) {
        self.change(|flight| (flight.abandon(), ()));
        self.bell.notify_waiters();
    }

    fn load(&self) -> Flight {
        Flight::from_bits(self.flight.load(Ordering::Acquire))
    }

    /// What it was before, and what `step` says besides.
    fn change<T>(&self, step: impl Fn(Flight) -> (Flight, T)) -> (Flight, T) {
        let mut bits = self.flight.load(Ordering::Acquire);
        loop {
            let before = Flight::from_bits(bits);
            let (after, said) = step(before);
            let swapped = self.flight.compare_exchange_weak(
                bits,
                after.to_bits(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) => return (before, said),
                Err(now) => bits = now,
            }
        }
    }
}

pin_project! {
    /// Waits for the end of the run that was asked for. Dropping it changes nothing.
    #[derive(Debug)]
    pub(crate) struct Landing {
        flight: Arc<Shared>,
        ticket: u32,
        #[pin]
        bell: OwnedNotified,
    }
}

impl Future for Landing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            // First the ear to the bell, then the look: an end in between is heard.
            this.bell.as_mut().enable();
            if this.flight.load().has_landed(*this.ticket) {
                return Poll::Ready(());
            }
            ready!(this.bell.as_mut().poll(cx));
            this.bell
                .set(Arc::clone(&this.flight.bell).notified_owned());
        }
    }
}

pin_project! {
    /// The same, for no longer than it is worth.
    #[derive(Debug)]
    pub(crate) struct Awaited {
        #[pin]
        landing: Landing,
        #[pin]
        time: Time,
    }
}

pin_project! {
    #[project = TimeProj]
    #[derive(Debug)]
    enum Time {
        Engine { #[pin] sleep: Sleep },
        Thread { #[pin] delay: Delay },
    }
}

impl Awaited {
    /// On the runtime of the engine, while its clock is paused, the time is that runtime's. Otherwise it is that of a
    /// thread: the runtime may stand still, and another may have no timers.
    pub(super) fn new(landing: Landing, wait: Duration, engine: &Handle) -> Self {
        let here = Handle::try_current().ok();
        let here = here.is_some_and(|here| here.id() == engine.id());
        let time = match here && clock::is_paused() {
            true => Time::Engine { sleep: sleep(wait) },
            false => Time::Thread {
                delay: Delay::new(wait),
            },
        };
        Self { landing, time }
    }
}

impl Future for Awaited {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // An engine that ended has abandoned its flights, and its timers may be gone.
        if this.landing.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match this.time.project() {
            TimeProj::Engine { sleep } => sleep.poll(cx),
            TimeProj::Thread { delay } => delay.poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const READERS: usize = 3;

    /// One reader, step by step as [`Shared::ask`] and [`Landing`] do it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Reader {
        Outside,
        /// It found that the engine must be told, and has not told it yet.
        Telling {
            ticket: u32,
        },
        Listens {
            ticket: u32,
            heard: bool,
        },
        /// It listened, looked, and sleeps until the bell rings.
        Asleep {
            ticket: u32,
            heard: bool,
        },
        Answered,
        Left,
    }

    /// The engine, step by step: between a change of the flight and the bell anything may happen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Engine {
        Idle,
        /// A run is in line, and waits for room.
        Queued,
        Runs,
        Rings,
        Dying,
        Dead,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct World {
        flight: Flight,
        readers: [Reader; READERS],
        engine: Engine,
        messages: u8,
        /// Runs that the schedule still starts, of itself.
        scheduled: u8,
        /// Runs that are still to be repeated, for a hold-up.
        repeats: u8,
        runs: u8,
        told: u8,
    }

    impl World {
        fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
            let mut world = self.clone();
            change(&mut world);
            world
        }

        fn ring(&mut self) {
            for reader in &mut self.readers {
                if let Reader::Listens { heard, .. } | Reader::Asleep { heard, .. } = reader {
                    *heard = true;
                }
            }
        }

        /// Every world that is one step from here.
        fn next(&self) -> Vec<Self> {
            let mut next = Vec::new();
            for (index, &reader) in self.readers.iter().enumerate() {
                let to = |reader| self.with(|world| world.readers[index] = reader);
                let landed = |ticket| self.flight.has_landed(ticket);
                match reader {
                    Reader::Outside => {
                        let (flight, asked) = self.flight.ask();
                        let ticket = self.flight.landed;
                        next.push(self.with(|world| {
                            world.flight = flight;
                            world.readers[index] = match asked {
                                Asked::Tell => Reader::Telling { ticket },
                                _ => Reader::Listens {
                                    ticket,
                                    heard: false,
                                },
                            };
                        }));
                    }
                    // Asking and telling are one call: nobody leaves in between.
                    Reader::Telling { ticket } => next.push(self.with(|world| {
                        world.messages += 1;
                        world.told += 1;
                        world.readers[index] = Reader::Listens {
                            ticket,
                            heard: false,
                        };
                    })),
                    Reader::Listens { ticket, heard } => {
                        next.push(match landed(ticket) {
                            true => to(Reader::Answered),
                            false => to(Reader::Asleep { ticket, heard }),
                        });
                        next.push(to(Reader::Left));
                    }
                    Reader::Asleep { ticket, heard } => {
                        if heard {
                            next.push(to(Reader::Listens {
                                ticket,
                                heard: false,
                            }));
                        }
                        next.push(to(Reader::Left));
                    }
                    Reader::Answered | Reader::Left => {}
                }
            }
            let heard = self.with(|world| world.messages = world.messages.saturating_sub(1));
            match self.engine {
                Engine::Idle => {
                    if self.messages > 0 && self.flight.phase == Phase::Waiting {
                        next.push(heard.with(|world| world.engine = Engine::Queued));
                        // A run that was given up has not ended: who asks is told so, and none is started.
                        next.push(heard.with(|world| {
                            world.flight = world.flight.end(false);
                            world.engine = Engine::Rings;
                        }));
                    } else if self.messages > 0 {
                        next.push(heard);
                    }
                    if self.scheduled > 0 {
                        next.push(self.with(|world| {
                            world.scheduled -= 1;
                            world.engine = Engine::Queued;
                        }));
                    }
                }
                Engine::Queued => {
                    next.push(self.with(|world| {
                        world.flight = world.flight.start();
                        world.engine = Engine::Runs;
                        world.runs += 1;
                    }));
                    if self.messages > 0 {
                        next.push(heard);
                    }
                }
                Engine::Runs => {
                    for panicked in [false, true] {
                        next.push(self.with(|world| {
                            world.flight = world.flight.end(panicked);
                            world.engine = Engine::Rings;
                        }));
                    }
                    if self.repeats > 0 {
                        next.push(self.with(|world| {
                            world.repeats -= 1;
                            world.engine = Engine::Queued;
                        }));
                    }
                    if self.messages > 0 {
                        next.push(heard);
                    }
                }
                Engine::Rings => next.push(self.with(|world| {
                    world.ring();
                    world.engine = Engine::Idle;
                })),
                Engine::Dying => next.push(self.with(|world| {
                    world.ring();
                    world.engine = Engine::Dead;
                })),
                Engine::Dead => {}
            }
            if !matches!(self.engine, Engine::Dying | Engine::Dead) {
                next.push(self.with(|world| {
                    world.flight = world.flight.abandon();
                    world.engine = Engine::Dying;
                }));
            }
            next
        }

        fn check(&self, before: &Self) {
            // Its schedule and repeats apart, a run is started only for somebody who had to tell the engine, and
            // nobody has to while one is asked for or under way.
            let of_itself = (1 - self.scheduled) + (1 - self.repeats);
            assert!(self.runs <= self.told + of_itself, "{before:?} → {self:?}");
            for (old, new) in before.readers.iter().zip(&self.readers) {
                if let (Reader::Listens { ticket, .. }, Reader::Answered) = (old, new) {
                    let ended = self.flight.landed != *ticket;
                    assert!(ended || self.flight.phase == Phase::Abandoned, "{self:?}");
                }
            }
            if self.flight.phase == Phase::Running {
                let at_work = matches!(self.engine, Engine::Runs | Engine::Queued);
                assert!(at_work, "{self:?}");
            }
        }
    }

    /// Every order in which three readers, who may leave at any time, and an engine, which may end at any
    /// time, can take their steps.
    #[test]
    fn no_interleaving_leaves_a_reader_waiting_or_runs_twice() {
        let first = World {
            flight: Flight::IDLE,
            readers: [Reader::Outside; READERS],
            engine: Engine::Idle,
            messages: 0,
            scheduled: 1,
            repeats: 1,
            runs: 0,
            told: 0,
        };
        let mut seen = HashSet::from([first.clone()]);
        let mut open = vec![first];
        let mut ends = HashSet::new();
        while let Some(world) = open.pop() {
            let next = world.next();
            if next.is_empty() {
                for reader in world.readers {
                    assert!(
                        matches!(reader, Reader::Answered | Reader::Left),
                        "{world:?}"
                    );
                }
                ends.insert(world.flight.phase);
            }
            // Somebody waits, and the engine is neither dead nor at work for them: it must know of it.
            if world.flight.phase == Phase::Waiting && world.engine == Engine::Idle {
                let tells = |reader: &Reader| matches!(reader, Reader::Telling { .. });
                assert!(
                    world.messages > 0 || world.readers.iter().any(tells),
                    "nobody will start the run: {world:?}"
                );
            }
            for world_after in next {
                world_after.check(&world);
                if seen.insert(world_after.clone()) {
                    open.push(world_after);
                }
            }
        }
        assert!(seen.len() > 10_000, "{} worlds", seen.len());
        assert_eq!(
            ends,
            HashSet::from([Phase::Abandoned]),
            "an engine may always end"
        );
    }

    /// The same without an engine that ends: all readers are answered, by as few runs as can be.
    #[test]
    fn readers_who_ask_while_a_run_is_under_way_cost_no_other() {
        let (flight, asked) = Flight::IDLE.ask();
        assert_eq!(asked, Asked::Tell);
        let (flight, asked) = flight.ask();
        assert_eq!(asked, Asked::Join);
        let (flight, asked) = flight.start().ask();
        assert_eq!(asked, Asked::Join);
        for (panicked, phase) in [(false, Phase::Done), (true, Phase::Panicked)] {
            let ended = flight.end(panicked);
            assert_eq!((ended.phase, ended.landed), (phase, 1));
            assert!(ended.has_landed(0) && !ended.has_landed(1));
            assert_eq!(ended.ask().1, Asked::Tell, "it poisons nobody");
        }
        let abandoned = flight.abandon();
        assert!(abandoned.has_landed(0));
        assert_eq!(abandoned.ask(), (abandoned, Asked::Refused));
        assert_eq!(abandoned.start().end(false), abandoned);
    }

    #[test]
    fn bits_keep_every_flight() {
        let phases = [
            Phase::Idle,
            Phase::Waiting,
            Phase::Running,
            Phase::Done,
            Phase::Panicked,
            Phase::Abandoned,
        ];
        for phase in phases {
            for landed in [0, 1, u32::MAX] {
                let flight = Flight { phase, landed };
                assert_eq!(Flight::from_bits(flight.to_bits()), flight);
            }
        }
    }
}
