//! What a process runs out of, as the system tells it.

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

use tower_health::{Outcome, Reason};

/// Bounds in percent, either of which may be none.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    warn: Option<f64>,
    fail: Option<f64>,
}

impl Bounds {
    /// Judges what should be low.
    #[cfg(target_os = "linux")]
    fn judge_high(self, percent: f64) -> Outcome {
        Self::judge(|bound| percent > bound, self)
    }

    /// Judges what should be high.
    fn judge_low(self, percent: f64) -> Outcome {
        Self::judge(|bound| percent < bound, self)
    }

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

/// How much of a whole something is. Of nothing, all is taken.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 100.0,
        whole => part as f64 * 100.0 / whole as f64,
    }
}
