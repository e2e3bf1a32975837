use std::io;

use tokio::runtime::Handle;

use super::guard::guard;
use crate::{
    detached,
    model::{Failure, Reason},
};

/// Code that is not ours. Wherever its last owner happens to be, a panic while it is dropped is kept to itself.
pub(crate) struct Foreign<T: ?Sized + Send + 'static> {
    /// None while it is dropped.
    code: Option<Box<T>>,
    /// Whether it may block the thread that drops it.
    blocks: bool,
}

impl<T: ?Sized + Send + 'static> Foreign<T> {
    pub(super) fn new(code: Box<T>) -> Self {
        Self {
            code: Some(code),
            blocks: false,
        }
    }

    pub(crate) fn blocking(code: Box<T>) -> Self {
        Self {
            code: Some(code),
            blocks: true,
        }
    }

    /// The code; none while it is dropped, when nobody can ask.
    pub(crate) fn get(&self) -> Option<&T> {
        self.code.as_deref()
    }
}

impl<T: ?Sized + Send + 'static> Drop for Foreign<T> {
    fn drop(&mut self) {
        let Some(code) = self.code.take() else {
            return;
        };
        // A client that blocks may have a runtime of its own, which must not be dropped by a thread of another.
        let elsewhere = self.blocks && Handle::try_current().is_ok();
        // What is thrown is withheld. Without a thread to be had, it is dropped here.
        _ = guard(|| match elsewhere {
            true => {
                let dropped = move || _ = guard(|| drop(code));
                _ = detached::spawn("health-check", Box::new(dropped));
            }
            false => drop(code),
        });
    }
}

/// Why a function that blocks cannot be run.
pub(crate) fn no_thread(error: io::Error) -> Failure {
    Failure::new(Reason::LimitExceeded)
        .with_cause(format_args!("no thread could be started: {error}"))
}
