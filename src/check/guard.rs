//! Keeping a panic of a check to itself: it becomes an outcome, and its payload is shown to nobody.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
    thread,
};

use crate::model::{Failure, Outcome, Reason};

thread_local! {
    /// Whether this thread is in the code of a check.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where that code panicked.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes the process's panic hook withhold the payload of panics in the code of checks, which may hold a
/// password. All other panics go to the hook that was there before.
pub(crate) fn install() {
    static INSTALL: Once = Once::new();
    if thread::panicking() {
        return;
    }
    INSTALL.call_once(|| {
        let inner = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that is being torn down has no such value, and is in no check.
            if GUARDED.try_with(Cell::get).unwrap_or(false) {
                withhold(info);
            } else {
                inner(info);
            }
        }));
    });
}

/// Keeps the place of a panic, and nothing else of it.
fn withhold(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    if cfg!(panic = "abort") {
        last_words(location.as_deref());
    }
    _ = LOCATION.try_with(|slot| slot.replace(location));
}

/// The process is about to end, and nobody else will say why.
#[expect(
    clippy::print_stderr,
    reason = "no subscriber is sure to get it out in time"
)]
fn last_words(location: Option<&str>) {
    let location = location.unwrap_or("an unknown place");
    eprintln!("a health check panicked at {location}; its message is withheld");
}

/// Calls `f`, the code of a check. A panic comes back as a failure that names the place and not the payload.
pub(crate) fn guard<T>(f: impl FnOnce() -> T) -> Result<T, Failure> {
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        // A thread that is being torn down knows no place any more.
        let location = LOCATION.try_with(RefCell::take).ok().flatten();
        // It may panic itself when it is dropped, and say as much.
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

/// The outcome of a run that panicked.
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
    fn what_does_not_panic_goes_through() {
        assert!(matches!(guard(|| 1), Ok(1)));
        assert!(!GUARDED.get());
    }
}
