//! One thread per process, which waits for signals independently of any runtime.
//!
//! [`watch`] passes each signal to [`deliver`], which begins drains or ends their phases, and lists
//! the services that drain. Once it is clear for all of them how the process ends, [`watch`] leaves
//! the process alone or calls [`end`]. It reads the boards and waits for no runtime, because
//! that of a service may be stalled.

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

/// How long after a signal another one counts as the same. Supervisors forward a signal to a
/// process group that has already received it, and terminate their children when they are
/// interrupted. A person who presses a key twice intends two signals.
const fn same(signal: i32) -> Duration {
    Duration::from_millis(match signal {
        SIGTERM => 1000,
        _ => 200,
    })
}

/// How much longer than the longest drain the process may run if no server is run until it ends.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much longer than the longest drain the process may run if a server is run until it ends. In
/// this time it can write its data, and wait for blocking code.
const CLEANUP: Duration = Duration::from_secs(60);

/// How often a drain in progress is checked.
const LOOK: Duration = Duration::from_millis(20);

/// How long after its limit a drain is still awaited, before its runtime is considered stalled.
const SLACK: Duration = Duration::from_secs(2);

/// The services that signals are handled for.
static SERVICES: Mutex<Vec<Weak<Board>>> = Mutex::new(Vec::new());

/// Registers a service, and installs the handlers if they are not installed yet. A service is
/// registered once, however often this is called. The registration does not keep it alive.
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
        // Start the thread that handles the signals first. Without it they would have no effect.
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

/// Watches the signals once they are installed. Returns if they can no longer be installed.
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

/// Handles signals until the process ends. It blocks until a signal arrives. From then on it polls,
/// because it also has to end the process if nothing else does.
fn watch(mut signals: Signals) {
    // The services that were notified to end.
    let mut draining: Vec<DrainingService> = Vec::new();
    let mut last = SIGTERM;
    let mut counted: Option<Instant> = None;
    loop {
        let came: Vec<i32> = if draining.is_empty() {
            signals.wait().collect()
        } else {
            thread::sleep(LOOK);
            signals.pending().collect()
        };
        for signal in came {
            if counted.is_some_and(|at| at.elapsed() < same(signal)) {
                continue;
            }
            counted = Some(Instant::now());
            last = signal;
            deliver(signal, &mut draining);
        }
        if !draining.is_empty() && draining.iter().all(DrainingService::is_settled) {
            // A service that runs a server until it ends also ends the process, unless another
            // service is stalled, or it takes too long.
            let stands_still = draining.iter().any(|service| !has_ended(&service.board));
            let runs = draining.iter().any(DrainingService::is_run);
            if stands_still || !runs || draining.iter().all(|service| service.is_late(CLEANUP)) {
                end(last);
                draining.clear();
            }
        }
    }
}

/// Begins the drain of each service that is not draining, and ends the current phase of those that
/// are. If there is no service left, only the default action ends the process.
fn deliver(signal: i32, draining: &mut Vec<DrainingService>) {
    let alive: Vec<Arc<Board>> = services().iter().filter_map(Weak::upgrade).collect();
    let mut nobody = true;
    for board in alive {
        if has_ended(&board) {
            // The drain began otherwise, for instance by a `preStop` hook, and the code that runs
            // the server ends the process.
            if board.control.runs_servers() && board.control.count_signal() == 0 {
                nobody = false;
                let limit = Instant::now();
                draining.push(DrainingService { board, limit });
            }
            continue;
        }
        nobody = false;
        let (before, policy) = (board.control.count_signal(), board.control.policy);
        // A stalled runtime has the same limit as one that is not stalled.
        let within = match (before, signal) {
            (0, SIGINT) | (1, _) => policy.longest_without_delay(),
            (0, _) => policy.longest(),
            (2, _) => policy.close,
            _ => Duration::ZERO,
        };
        let limit = Instant::now() + within;
        if before > 0 {
            board.hurry(Hurry::Phase);
            let same = draining
                .iter_mut()
                .find(|draining| Arc::ptr_eq(&draining.board, &board));
            match same {
                Some(service) => service.limit = service.limit.min(limit),
                None => draining.push(DrainingService { board, limit }),
            }
            continue;
        }
        match signal {
            SIGINT => {
                board.drain(DrainCause::Interrupted);
                // The application may have begun a drain already.
                board.hurry(Hurry::Delay);
            }
            _ => board.drain(DrainCause::Terminated),
        }
        draining.push(DrainingService { board, limit });
    }
    if nobody {
        end(signal);
    }
}

/// A service that was notified to end. It keeps the board, which shows how far the drain is.
struct DrainingService {
    board: Arc<Board>,
    /// When its drain must be over.
    limit: Instant,
}

impl DrainingService {
    /// Whether it is known how the process ends.
    fn is_settled(&self) -> bool {
        let control = &self.board.control;
        if !has_ended(&self.board) {
            // Its runtime is stalled.
            self.is_late(SLACK)
        } else {
            // Code that only waits for the drain may end the process, as a server does that runs
            // separately, or may not, as a worker. If nothing waits, the last bytes still have
            // their time.
            match (control.runs_servers(), control.has_waiters()) {
                (true, _) => true,
                (false, true) => self.is_late(PATIENCE),
                (false, false) => {
                    control.was_cut().is_some() || self.board.is_stopped() || self.is_late(SLACK)
                }
            }
        }
    }

    /// Whether `by` has passed since its limit.
    fn is_late(&self, by: Duration) -> bool {
        Instant::now() >= self.limit + by
    }

    /// Whether the process is expected to end by itself, because the drain is over. If the drain is
    /// not over in time, that is impossible.
    fn is_run(&self) -> bool {
        has_ended(&self.board) && self.board.control.runs_servers()
    }
}

/// Whether nothing is left to wait for: nothing is in flight, or what was in flight was cut.
fn has_ended(board: &Board) -> bool {
    board.control.ended().is_some() || board.is_stopped()
}

/// Performs the default action of the signal, which ends the process.
fn end(signal: i32) {
    if process::id() == 1 {
        // For PID 1 of a container, the kernel ignores the default action of a signal.
        exit(128 + signal);
    }
    // This fails only for signals that do not exist.
    _ = emulate_default_handler(signal);
}
