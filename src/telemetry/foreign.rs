use std::panic::{self, AssertUnwindSafe};

/// Calls the code of a subscriber or a recorder, which is foreign, and catches its panics. The
/// engine continues, and the event or the metric is lost.
pub(crate) fn catch_panic(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        // The payload may panic, too, when it is dropped.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        std::mem::forget(dropped);
    }
}
