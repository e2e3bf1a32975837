//! One thread of the process, which waits for signals, whatever becomes of any runtime.

use std::{
    io, process,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::{emulate_default_handler, exit},
};

use crate::{
    detached,
    engine::{Board, DrainCause, Hurry},
};

/// How long after a signal another is the same: supervisors forward one to a whole group that had it already, and tell their children to
/// end when they are interrupted. Who presses a key twice means it.
const fn same(signal: i32) -> Duration {
    Duration::from_millis(match signal {
        SIGTERM => 1000,
        _ => 200,
    })
}

/// How much longer than a drain may take a process has to end where nobody runs a server to its end.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much longer than a drain may take a process has to end where somebody runs a server to its end: to write what it has, and to wait for
/// code that blocks.
const CLEANUP: Duration = Duration::from_secs(60);

/// How often it is looked at a drain under way.
const LOOK: Duration = Duration::from_millis(20);

/// How much longer than it may take a drain is waited for, before its runtime is taken for one that stands still.
const SLACK: Duration = Duration::from_secs(2);

/// The services that signals are handled for.
static SERVICES: Mutex<Vec<Weak<Board>>> = Mutex::new(Vec::new());

pub(super) fn handle(board: &Arc<Board>) -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut services = services();
    let is_it = |known: &Weak<Board>| known.as_ptr() == Arc::as_ptr(board);
    services.retain(|known| known.strong_count() > 0);
    if !services.iter().any(is_it) {
        services.push(Arc::downgrade(board));
    }
    drop(services);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        // First who handles them: without, they would do nothing.
        let signals = Arc::new(Mutex::new(None));
        let taken = Arc::clone(&signals);
        detached::spawn("health-signals", Box::new(move || wait_for(&taken)))?;
        let new = Signals::new([SIGTERM, SIGINT])?;
        *signals.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
        *installed = true;
    }
    Ok(())
}

fn services() -> MutexGuard<'static, Vec<Weak<Board>>> {
    SERVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches the signals once they are there, unless nobody puts them there any more.
fn wait_for(signals: &Arc<Mutex<Option<Signals>>>) {
    loop {
        let is_last = Arc::strong_count(signals) == 1;
        let there = signals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match there {
            Some(signals) => return watch(signals),
            None if is_last => return,
            None => thread::sleep(LOOK),
        }
    }
}

fn watch(mut signals: Signals) {
    // Those that were told to end.
    let mut told: Vec<Leaving> = Vec::new();
    let mut last = SIGTERM;
    let mut counted: Option<Instant> = None;
    loop {
        let came: Vec<i32> = match told.is_empty() {
            true => signals.wait().collect(),
            false => {
                thread::sleep(LOOK);
                signals.pending().collect()
            }
        };
        for signal in came {
            if counted.is_some_and(|at| at.elapsed() < same(signal)) {
                continue;
            }
            counted = Some(Instant::now());
            last = signal;
            deliver(signal, &mut told);
        }
        if !told.is_empty() && told.iter().all(Leaving::is_settled) {
            // Who runs a server to its end ends the process, unless another service stands still, or it takes too long.
            let stands_still = told.iter().any(|leaving| !has_ended(&leaving.board));
            let runs = told.iter().any(Leaving::is_run);
            if stands_still || !runs || told.iter().all(|leaving| leaving.is_late(CLEANUP)) {
                end(last);
                told.clear();
            }
        }
    }
}

/// Has every service leave that does not yet, and those that do go on. If there is none, nobody but the default action
/// ends the process.
fn deliver(signal: i32, told: &mut Vec<Leaving>) {
    let alive: Vec<Arc<Board>> = services().iter().filter_map(Weak::upgrade).collect();
    let mut nobody = true;
    for board in alive {
        if has_ended(&board) {
            // It was told to leave otherwise, as by the hook of a container, and who ran its server ends the process.
            if board.departure.is_run() && board.departure.count_signal() == 0 {
                nobody = false;
                let limit = Instant::now();
                told.push(Leaving { board, limit });
            }
            continue;
        }
        nobody = false;
        let (before, policy) = (board.departure.count_signal(), board.departure.policy);
        // A runtime that stands still is waited for no longer than one that does not.
        let within = match (before, signal) {
            (0, SIGINT) | (1, _) => policy.longest_without_delay(),
            (0, _) => policy.longest(),
            (2, _) => policy.close,
            _ => Duration::ZERO,
        };
        let limit = Instant::now() + within;
        if before > 0 {
            board.hurry(Hurry::Part);
            let same = told
                .iter_mut()
                .find(|told| Arc::ptr_eq(&told.board, &board));
            match same {
                Some(leaving) => leaving.limit = leaving.limit.min(limit),
                None => told.push(Leaving { board, limit }),
            }
            continue;
        }
        match signal {
            SIGINT => {
                board.drain(DrainCause::Interrupted);
                // It may leave already, because the application said so.
                board.hurry(Hurry::Delay);
            }
            _ => board.drain(DrainCause::Terminated),
        }
        told.push(Leaving { board, limit });
    }
    if nobody {
        end(signal);
    }
}

/// A service that was told to end.
struct Leaving {
    board: Arc<Board>,
    /// When its drain has to be over.
    limit: Instant,
}

impl Leaving {
    /// Whether it is known who ends the process.
    fn is_settled(&self) -> bool {
        let departure = &self.board.departure;
        if !has_ended(&self.board) {
            // Its runtime stands still.
            self.is_late(SLACK)
        } else {
            // Who merely waits for the drain ends the process, as one that serves by itself does, or does not, as a worker.
            // Where nobody waits, the last bytes have their time all the same.
            match (departure.is_run(), departure.is_taken()) {
                (true, _) => true,
                (false, true) => self.is_late(PATIENCE),
                (false, false) => {
                    departure.was_cut().is_some() || self.board.is_stopped() || self.is_late(SLACK)
                }
            }
        }
    }

    /// Whether its time is over by so much.
    fn is_late(&self, by: Duration) -> bool {
        Instant::now() >= self.limit + by
    }

    /// Whether somebody ends the process, since the drain is over. Where the drain is not, though it should be, nobody can.
    fn is_run(&self) -> bool {
        has_ended(&self.board) && self.board.departure.is_run()
    }
}

/// Whether nothing is left to wait for: nothing is in flight, or it was cut.
fn has_ended(board: &Board) -> bool {
    board.departure.ended().is_some() || board.is_stopped()
}

/// Does what the signal would have done, which is to end the process.
fn end(signal: i32) {
    if process::id() == 1 {
        // The first process of a container: its kernel ignores what a signal would do by default.
        exit(128 + signal);
    }
    // It fails for signals alone that there are not.
    _ = emulate_default_handler(signal);
}
