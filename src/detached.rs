//! Threads that nobody waits for.

use std::{io, thread};

/// Starts one. Of any closure the same, so that it is compiled once.
pub(crate) fn spawn(name: &str, main: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(main).map(drop)
}
