//! Catches panics in the code of checks. A panic becomes an outcome, and its payload is never
//! shown.
//!
//! The panic hook of a process sees the payload before the panic can be caught. [`install`]
//! therefore wraps the hook, and [`guard`] marks the thread while it runs the code of a check.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
    thread,
};

use crate::model::{Failure, Outcome, Reason};

thread_local! {
    /// Whether this thread runs the code of a check.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where that code panicked.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Wraps the panic hook of the process, so that it withholds the payload of panics in the code of
/// checks, which may contain a password. All other panics are passed to the previous hook. Only the
/// first call has an effect. A thread that is panicking cannot change the hook, so there it has
/// none.
pub(crate) fn install() {
    static INSTALL: Once = Once::new();
    if thread::panicking() {
        return;
    }
    INSTALL.call_once(|| {
        let inner = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that is being torn down has no such value, and runs no check.
            if GUARDED.try_with(Cell::get).unwrap_or(false) {
                withhold(info);
            } else {
                inner(info);
            }
        }));
    });
}

/// Keeps the location of a panic and discards the rest.
fn withhold(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    if cfg!(panic = "abort") {
        print_location(location.as_deref());
    }
    _ = LOCATION.try_with(|slot| slot.replace(location));
}

/// Prints the location of a panic to stderr, because the process is about to abort and nothing else
/// will report it.
#[expect(
    clippy::print_stderr,
    reason = "a subscriber may not write it before the process aborts"
)]
fn print_location(location: Option<&str>) {
    let location = location.unwrap_or("an unknown place");
    eprintln!("a health check panicked at {location}; its message is withheld");
}

/// Calls `f`, which is the code of a check. A panic is returned as a failure that contains its
/// location and not its payload.
pub(crate) fn guard<T>(f: impl FnOnce() -> T) -> Result<T, Failure> {
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        // A thread that is being torn down no longer has a location.
        let location = LOCATION.try_with(RefCell::take).ok().flatten();
        // The payload may itself panic when it is dropped.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        std::mem::forget(dropped);
        let failure = Failure::new(Reason::Panicked);
        match location {
            Some(location) => failure.with_cause(format_args!("panicked at {location}")),
            None => failure,
        }
    });
    GUARDED.set(outer);
    result
}

/// Returns the outcome of a run that panicked.
pub(crate) fn panicked() -> Outcome {
    Outcome::fail(Reason::Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_without_its_payload() {
        install();
        let failure = guard(|| panic!("password=hunter2")).unwrap_err();
        assert_eq!(failure.reason(), Reason::Panicked);
        let cause = failure.cause().map(|cause| cause.redacted().to_owned());
        let place = concat!("panicked at ", file!());
        assert!(cause.is_some_and(|cause| cause.starts_with(place)));
    }

    #[test]
    fn a_value_is_returned_if_nothing_panics() {
        assert!(matches!(guard(|| 1), Ok(1)));
        assert!(!GUARDED.get());
    }
}
