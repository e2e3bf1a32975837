//! The atomics of the files that `tests/interleavings` compiles a second time, with those of loom.

pub(super) use std::sync::atomic::{
    AtomicBool, AtomicIsize, AtomicU8, AtomicU64, AtomicUsize, Ordering,
};
