//! The messages to the engine.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    cell::Definition,
    drain::{DrainCause, Hurry},
    id::Id,
    pushed::Pushed,
    run::Ended,
};
use crate::{
    check::Code,
    model::{CheckReport, Name, UnknownCheck},
};

#[derive(Debug)]
pub(crate) enum Message {
    /// The run of a check with this number has ended. `ended` is `None` if it was cancelled.
    Ran {
        id: Id,
        number: u64,
        ended: Option<Ended>,
    },
    /// A reader requested a run, and was the first.
    Demand(Id),
    /// A drain began. Readers see it already.
    Drain(DrainCause),
    /// The drain is to end a phase early.
    #[cfg_attr(
        not(all(unix, feature = "signals")),
        expect(dead_code, reason = "no signal is handled")
    )]
    Hurry(Hurry),
    /// Nothing is in flight any more.
    Idle,
    /// The application reported a check itself.
    Pushed(Id),
    /// A maintenance began or ended. Readers see it already.
    Maintain,
    Add(Registration),
    Replace(Registration),
    Remove(String, Reply),
    /// The handle that reports a check was stopped.
    Withdraw(Arc<Pushed>),
}

/// A check to be registered.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) definition: Definition,
    /// `None` for a check that the application reports itself.
    pub(crate) code: Option<Code>,
    pub(crate) reply: Reply,
}

pub(crate) type Reply = oneshot::Sender<Changed>;

/// The report of the check after the change, or before its removal.
pub(crate) type Changed = Result<CheckReport, Refused>;

/// Why a change was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is a check of that name.
    Taken(Name),
    Unknown(UnknownCheck),
    /// The check was removed before its first run.
    Removed,
    /// It depends on a check that does not exist.
    UnknownRoot(Name, UnknownCheck),
    /// The checks of this path would depend on each other.
    Cycle(Vec<Name>),
    /// These checks depend on it.
    HasDependents(Vec<Name>),
    /// The check has no code that runs again and again: it is reported by the application, or it is
    /// a start-up task.
    NotRun(Name),
}
