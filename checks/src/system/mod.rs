//! Resources that a process can run out of, as the operating system reports them.
//!
//! Each check reads the state of the operating system in a [`BlockingCall`], because a network
//! mount or a busy kernel may block the thread. [`Disk`] works on Unix. The others read files of
//! the Linux kernel, below paths that a test can replace.
//!
//! [`BlockingCall`]: tower_health::checks::BlockingCall

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod cpu_pressure;
mod disk;
#[cfg(target_os = "linux")]
mod file_handles;
#[cfg(target_os = "linux")]
mod memory;

pub use self::disk::Disk;
#[cfg(target_os = "linux")]
pub use self::{cpu_pressure::CpuPressure, file_handles::FileHandles, memory::Memory};

use tower_health::{Outcome, Reason, checks::contradiction};

/// Bounds in percent. Either of them may be `None`, and then has no effect.
///
/// The check decides whether high or low values are bad, by its choice of `judge_high` or
/// `judge_low`. A value that is equal to a bound is not past it.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Past this bound, the outcome is a warning with [`Reason::LimitNear`].
    warn: Option<f64>,
    /// Past this bound, the outcome is a failure with [`Reason::LimitExceeded`].
    fail: Option<f64>,
    /// Whether the user set them, as a pair of the warning and the failure. A default does not
    /// contradict a bound.
    is_set: (bool, bool),
}

impl Bounds {
    /// Creates default bounds, which cause no problem at the start.
    fn of(warn: Option<f64>, fail: Option<f64>) -> Self {
        Self {
            warn,
            fail,
            is_set: (false, false),
        }
    }

    /// Replaces the default of the warning.
    fn set_warn(&mut self, percent: f64) {
        self.warn = Some(percent);
        self.is_set.0 = true;
    }

    /// Replaces the default of the failure.
    fn set_fail(&mut self, percent: f64) {
        self.fail = Some(percent);
        self.is_set.1 = true;
    }

    /// Returns the bounds that the user set.
    fn set(self) -> (Option<f64>, Option<f64>) {
        let Self { warn, fail, is_set } = self;
        (warn.filter(|_| is_set.0), fail.filter(|_| is_set.1))
    }

    /// Returns the problems of bounds that are named `warn_above` and `fail_above`.
    #[cfg(target_os = "linux")]
    fn problems_high(self) -> Vec<String> {
        let (warn, fail) = self.set();
        let (warn, fail) = (("warn_above", warn), ("fail_above", fail));
        problems(warn, fail)
    }

    /// Returns the problems of bounds that are named `warn_below` and `fail_below`.
    fn problems_low(self) -> Vec<String> {
        let (warn, fail) = self.set();
        problems(("fail_below", fail), ("warn_below", warn))
    }

    /// Judges a value that should be low.
    #[cfg(target_os = "linux")]
    fn judge_high(self, percent: f64) -> Outcome {
        Self::judge(|bound| percent > bound, self)
    }

    /// Judges a value that should be high.
    fn judge_low(self, percent: f64) -> Outcome {
        Self::judge(|bound| percent < bound, self)
    }

    /// Returns a failure if the value is past the bound of the failure, or else a warning if it is
    /// past that of the warning. `is_past` compares the value with a bound.
    fn judge(is_past: impl Fn(f64) -> bool, bounds: Self) -> Outcome {
        if bounds.fail.is_some_and(&is_past) {
            Outcome::fail(Reason::LimitExceeded)
        } else if bounds.warn.is_some_and(&is_past) {
            Outcome::warn(Reason::LimitNear)
        } else {
            Outcome::pass()
        }
    }
}

/// A bound with the name of its setter, for a message.
type Named<'a> = (&'a str, Option<f64>);

/// Returns the problems of a lower and an upper bound: a bound that is not a percentage, and a
/// lower bound that is above the upper one.
fn problems(lower: Named<'_>, upper: Named<'_>) -> Vec<String> {
    let invalid = [lower, upper].into_iter();
    let invalid = invalid.filter_map(|(name, percent)| crate::not_a_percentage(name, percent));
    invalid.chain(contradiction(lower, upper)).collect()
}

/// Returns a part of a whole in percent. Returns 100 if the whole is 0.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 100.0,
        whole => part as f64 * 100.0 / whole as f64,
    }
}
