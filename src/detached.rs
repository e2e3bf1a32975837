//! Threads that are not joined.

use std::{io, thread};

/// Starts a detached thread. The closure is boxed, so that this is compiled only once.
pub(crate) fn spawn(name: &str, main: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(main).map(drop)
}
