//! The owner of the application's code.
//!
//! A run, the engine and a thread of blocking code may each hold the last reference to it. The code
//! may thus be dropped on any of them, where a panic or a client that blocks would do harm.

use std::io;

use tokio::runtime::Handle;

use super::guard::guard;
use crate::{
    detached,
    model::{Failure, Reason},
};

/// Code of the application. A panic while it is dropped is caught, wherever its last owner is.
pub(crate) struct Foreign<T: ?Sized + Send + 'static> {
    /// None while it is dropped.
    code: Option<Box<T>>,
    /// Whether it may block the thread that drops it.
    blocks: bool,
}

impl<T: ?Sized + Send + 'static> Foreign<T> {
    /// Owns async code, which is dropped wherever its last reference is.
    pub(super) fn new(code: Box<T>) -> Self {
        Self {
            code: Some(code),
            blocks: false,
        }
    }

    /// Owns code that may block the thread that drops it. It is dropped on a thread of its own,
    /// unless the last reference is outside a runtime.
    pub(crate) fn blocking(code: Box<T>) -> Self {
        Self {
            code: Some(code),
            blocks: true,
        }
    }

    /// Returns the code. It is none while it is dropped, when nothing can call this.
    pub(crate) fn get(&self) -> Option<&T> {
        self.code.as_deref()
    }
}

impl<T: ?Sized + Send + 'static> Drop for Foreign<T> {
    fn drop(&mut self) {
        let Some(code) = self.code.take() else {
            return;
        };
        // A blocking client may own a runtime, which must not be dropped by a thread of another
        // runtime.
        let elsewhere = self.blocks && Handle::try_current().is_ok();
        // The payload of a panic is discarded. If no thread can be started, the code is dropped
        // here.
        _ = guard(|| {
            if elsewhere {
                let dropped = move || _ = guard(|| drop(code));
                _ = detached::spawn("health-check", Box::new(dropped));
            } else {
                drop(code)
            }
        });
    }
}

/// Returns the failure of a blocking function that no thread could be started for.
pub(crate) fn no_thread(error: io::Error) -> Failure {
    Failure::new(Reason::LimitExceeded)
        .with_cause(format_args!("no thread could be started: {error}"))
}
