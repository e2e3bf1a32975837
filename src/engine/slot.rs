//! What the engine keeps of one check besides its state.

use std::{mem, time::Duration};

use super::{clock::Moment, message::Reply, queue::Places, run::AbortOnDrop, state};
use crate::check::{Code, Policy};

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) code: Code,
    pub(super) timeout: Duration,
    /// Whether this is a start-up task: it has to succeed once. It takes no permit, however long it
    /// runs.
    pub(super) is_task: bool,
    /// Its entry in the agenda.
    pub(super) due: Option<Duration>,
    pub(super) progress: Progress,
    /// When its last run began.
    pub(super) began: Option<Duration>,
    /// Whether the phase of its period was drawn.
    pub(super) has_phase: bool,
    forgiven: Forgiven,
    /// Who is notified of the end of the next run.
    pub(super) waiting: Vec<Reply>,
}

/// How far the next run of a check is.
#[derive(Debug, Default)]
pub(super) enum Progress {
    #[default]
    Idle,
    /// It waits for a permit.
    Queued(Places),
    Running(Running),
    /// Its time limit is over, and it has not ended. It has given its permit back.
    Overrun(Running),
}

#[derive(Debug)]
pub(super) struct Running {
    /// The number of the run. It is unique within the engine.
    pub(super) number: u64,
    pub(super) began: Moment,
    /// When its time is over.
    pub(super) limit: Duration,
    /// Whether its result is to be discarded, because a dependency failed meanwhile.
    pub(super) discard: bool,
    /// By how much stalls may have lengthened it.
    pub(super) stalled: Duration,
    pub(super) task: AbortOnDrop,
}

/// What was blamed on a stall in the last run. Nothing is forgiven twice in a row, because the
/// check itself may be what stalls the runtime.
#[derive(Clone, Copy, Debug, Default)]
struct Forgiven {
    timeout: bool,
    slowness: bool,
}

impl Slot {
    pub(super) fn new(code: Code, policy: &Policy) -> Self {
        Self {
            code,
            timeout: policy.timeout(),
            is_task: policy.is_task(),
            due: None,
            progress: Progress::Idle,
            began: None,
            has_phase: false,
            forgiven: Forgiven::default(),
            waiting: Vec::new(),
        }
    }

    /// Gives the check other code. The run of the old code is to be [ended](Self::end) first.
    pub(super) fn replace(&mut self, code: Code, timeout: Duration, reply: Reply) {
        self.code = code;
        self.timeout = timeout;
        self.forgiven.timeout = false;
        self.waiting.push(reply);
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.progress, Progress::Idle | Progress::Queued(_))
    }

    pub(super) fn run_mut(&mut self) -> Option<&mut Running> {
        match &mut self.progress {
            Progress::Idle | Progress::Queued(_) => None,
            Progress::Running(run) | Progress::Overrun(run) => Some(run),
        }
    }

    /// Whether the run with this number has not ended.
    pub(super) fn runs(&self, number: u64) -> bool {
        match &self.progress {
            Progress::Idle | Progress::Queued(_) => false,
            Progress::Running(run) | Progress::Overrun(run) => run.number == number,
        }
    }

    /// Removes the run that has not ended, and what it waited in.
    pub(super) fn end(&mut self) -> Progress {
        mem::take(&mut self.progress)
    }

    /// The time limit of the run is over. Code that can be cancelled is.
    pub(super) fn overrun(&mut self) -> Option<&Running> {
        match self.end() {
            Progress::Running(run) => {
                if let Code::Async(_) = self.code {
                    run.task.abort();
                }
                self.progress = Progress::Overrun(run);
            }
            other => self.progress = other,
        }
        match &self.progress {
            Progress::Overrun(run) => Some(run),
            _ => None,
        }
    }

    /// Whether a timeout is the fault of a stall. It is forgiven then, unless the last one was.
    pub(super) fn forgive_timeout(&mut self, run: state::Run, stalled: Duration) -> bool {
        let overrun = run.duration.saturating_sub(self.timeout);
        let forgiven = !self.forgiven.timeout && !stalled.is_zero() && overrun <= stalled;
        self.forgiven.timeout |= forgiven;
        forgiven
    }

    /// A run is repeated because its result says nothing.
    pub(super) fn forgive(&mut self) {
        self.forgiven.timeout = true;
    }

    pub(super) fn is_forgiven(&self) -> bool {
        self.forgiven.timeout
    }

    /// A result was recorded.
    pub(super) fn recorded(&mut self) {
        self.forgiven.timeout = false;
    }

    /// Whether a slow run is the fault of a stall. It is forgiven then, unless the last one was.
    pub(super) fn forgive_slowness(&mut self, by_stall: bool) -> bool {
        self.forgiven.slowness = by_stall && !self.forgiven.slowness;
        self.forgiven.slowness
    }
}
