//! One thread of the process, which waits for signals, whatever becomes of any runtime.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use crate::engine::{Board, DrainCause, Hurry};

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
        let signals = Signals::new([SIGTERM, SIGINT])?;
        let thread = thread::Builder::new().name("health-signals".to_owned());
        thread.spawn(|| watch(signals))?;
        *installed = true;
    }
    Ok(())
}

fn services() -> MutexGuard<'static, Vec<Weak<Board>>> {
    SERVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(mut signals: Signals) {
    // Those that were told to end.
    let mut told: Vec<Leaving> = Vec::new();
    let mut last = SIGTERM;
    loop {
        let came: Vec<i32> = match told.is_empty() {
            true => signals.wait().collect(),
            false => {
                thread::sleep(LOOK);
                signals.pending().collect()
            }
        };
        for signal in came {
            last = signal;
            deliver(signal, &mut told);
        }
        if !told.is_empty() && told.iter().all(Leaving::is_settled) {
            // Who waited for the end of a drain ends the process.
            if !told.iter().any(Leaving::is_awaited) {
                end(last);
            }
            told.clear();
        }
    }
}

/// Has every service leave that does not yet, and those that do go on. If there is none, nobody but the default action
/// ends the process.
fn deliver(signal: i32, told: &mut Vec<Leaving>) {
    let alive: Vec<Arc<Board>> = services().iter().filter_map(Weak::upgrade).collect();
    let staying = alive.into_iter().filter(|board| !is_over(board));
    let mut nobody = true;
    for board in staying {
        nobody = false;
        let (before, policy) = (board.departure.count_signal(), board.departure.policy);
        // A runtime that stands still is waited for no longer than one that does not.
        let within = match (before, signal) {
            (0, SIGINT) | (1, _) => policy.cap,
            (0, _) => policy.longest(),
            _ => Duration::ZERO,
        };
        let limit = Instant::now() + within + SLACK;
        if before > 0 {
            board.hurry(Hurry::Part);
            let same = told
                .iter_mut()
                .find(|told| Arc::ptr_eq(&told.board, &board));
            if let Some(leaving) = same {
                leaving.limit = leaving.limit.min(limit);
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
    /// When it has to be over.
    limit: Instant,
}

impl Leaving {
    /// Whether its drain is over, or never will be.
    fn is_settled(&self) -> bool {
        is_over(&self.board) || self.is_late()
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.limit
    }

    /// Whether somebody ends the process, since the drain is over. Where the drain is not, though it should be, nobody can.
    fn is_awaited(&self) -> bool {
        is_over(&self.board) && self.board.departure.is_taken()
    }
}

fn is_over(board: &Board) -> bool {
    board.departure.is_over() || board.is_stopped()
}

/// Does what the signal would have done, which is to end the process.
fn end(signal: i32) {
    // It fails for signals alone that there are not.
    _ = emulate_default_handler(signal);
}
