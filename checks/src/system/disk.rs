//! The check of the space on a file system.
//!
//! [`Disk`] holds the settings. One call of `statvfs` yields a [`Space`], with an [`Amount`] of
//! bytes and an [`Amount`] of inodes. Each amount is judged by its bounds and by a forecast, and
//! the worst outcome counts.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{StatVfs, StatVfsMountFlags, stat, statvfs};

use super::{Bounds, percent};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait,
    checks::{BlockingCall, Forecast, Prediction, contradiction},
};

/// Health check of the free space on a file system, now and in the near future.
///
/// | finding | outcome |
/// | --- | --- |
/// | space and inodes are free | pass |
/// | less is free than [`warn_below`](Self::warn_below) | warn, limit near |
/// | the use rises steadily and reaches the bound within [`warn_before`](Self::warn_before) | warn, limit near |
/// | less is free than [`fail_below`](Self::fail_below) | fail, limit exceeded |
/// | it is mounted read-only, or became read-only after an error ([`writable`](Self::writable)) | fail, read-only |
/// | it reports no size, as some file systems in user space (FUSE) do not | warn, misconfigured |
/// | the path does not exist; or nothing is mounted there ([`mount_point`](Self::mount_point)) | fail, not found |
/// | the file system hangs | fail, timed out |
///
/// Free space is what a process without privileges may use, as `df` shows it. What is reserved for
/// root does not count. Inodes are judged by the same percentages, if the file system has a limited
/// number of them.
///
/// It measures `free` in bytes, and `free_percent` and `free_inodes` in percent. If space or inodes
/// are used up at a steady rate, it also measures `time_left`, the predicted time in seconds until
/// the first of them meets the bound of [`fail_below`](Self::fail_below).
///
/// A run is one call of `statvfs` on a separate thread. A network mount that hangs blocks that
/// thread, and nothing else.
///
/// The check does not write. A directory that this process may not write to passes, even with
/// [`writable`](Self::writable).
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::Disk;
///
/// let disk = Check::new("disk", Disk::new("/var/lib/orders").writable());
/// let logs = Check::new("logs", Disk::new("/var/log").fail_below(0.0)).non_critical();
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Disk {
    path: PathBuf,
    space: BlockingCall<io::Result<Space>>,
    percents: Bounds,
    warn_below_bytes: Option<u64>,
    fail_below_bytes: Option<u64>,
    forecast: Forecasts,
    is_writable: bool,
    is_mount_point: bool,
}

/// The forecasts of space and inodes, because either may run out.
struct Forecasts {
    /// The forecast of used bytes.
    bytes: Forecast,
    /// The forecast of used inodes.
    inodes: Forecast,
}

impl Forecasts {
    fn new(horizon: Duration) -> Self {
        Self {
            bytes: Forecast::new(horizon),
            inodes: Forecast::new(horizon),
        }
    }
}

/// The default horizon of the forecast.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Disk {
    /// Creates a check of the file system that contains `path`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Disk;
    ///
    /// let outcome = Disk::new("/").check().await?;
    /// assert!(outcome.measurements().iter().any(|found| found.name == "free"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_source(path.into(), |path| {
            Ok(Space {
                // An error here must not fail a check that does not require a mount point.
                is_mount_point: is_mount_point(path).unwrap_or_default(),
                ..Space::of(&statvfs(path)?)
            })
        })
    }

    /// Creates a check whose state comes from a function. A test passes a function that simulates a
    /// file system.
    fn with_source(
        path: PathBuf,
        see: impl Fn(&Path) -> io::Result<Space> + Send + Sync + 'static,
    ) -> Self {
        let asked = path.clone();
        Self {
            path,
            space: BlockingCall::new(move || see(&asked)),
            percents: Bounds::of(Some(10.0), Some(5.0)),
            warn_below_bytes: None,
            fail_below_bytes: None,
            forecast: Forecasts::new(DAY),
            is_writable: false,
            is_mount_point: false,
        }
    }

    /// Sets the free share of space and inodes in percent below which the check warns. It replaces
    /// a bound in bytes. Defaults to 10.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Disk;
    ///
    /// // Every file system in use has less than 100 % of its space free.
    /// let disk = Disk::new("/").warn_below(100.0).fail_below(0.0);
    /// assert_eq!(disk.check().await?.reason(), Some(Reason::LimitNear));
    ///
    /// let reversed = Disk::new("/").warn_below(5.0).fail_below(10.0);
    /// assert_eq!(reversed.problems().len(), 1, "it would fail before it warns");
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_below(mut self, percent: f64) -> Self {
        self.percents.set_warn(percent);
        self.warn_below_bytes = None;
        self
    }

    /// Sets the free share of space and inodes in percent below which the check fails. It replaces
    /// a bound in bytes. 0 disables it. Defaults to 5.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Status};
    /// use tower_health_checks::Disk;
    ///
    /// let strict = Disk::new("/").fail_below(100.0);
    /// assert_eq!(strict.check().await?.status(), Status::Fail);
    ///
    /// // A full disk is then only a warning, for example where only logs are written.
    /// let lax = Disk::new("/").fail_below(0.0);
    /// assert!(lax.check().await?.status().is_good());
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_below(mut self, percent: f64) -> Self {
        self.percents.set_fail(percent);
        self.fail_below_bytes = None;
        self
    }

    /// Sets the free space in bytes below which the check warns. It replaces the bound in percent
    /// for space, but not for inodes. Defaults to the bound in percent.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Disk;
    ///
    /// const GIB: u64 = 1 << 30;
    ///
    /// let disk = Disk::new("/var/lib").warn_below_bytes(20 * GIB).fail_below_bytes(2 * GIB);
    /// assert!(disk.problems().is_empty());
    ///
    /// let reversed = disk.warn_below_bytes(GIB);
    /// assert_eq!(reversed.problems().len(), 1);
    /// ```
    pub fn warn_below_bytes(mut self, bytes: u64) -> Self {
        self.warn_below_bytes = Some(bytes);
        self
    }

    /// Sets the free space in bytes below which the check fails. It replaces the bound in percent
    /// for space, but not for inodes. Defaults to the bound in percent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Disk;
    ///
    /// let full = Disk::new("/").fail_below_bytes(u64::MAX).check().await?;
    /// assert_eq!((full.status(), full.reason()), (Status::Fail, Some(Reason::LimitExceeded)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_below_bytes(mut self, bytes: u64) -> Self {
        self.fail_below_bytes = Some(bytes);
        self
    }

    /// Sets how far ahead the check warns. It warns if space or inodes are used up at a steady rate
    /// that would meet the bound of [`fail_below`](Self::fail_below) within `time`, according to
    /// three runs in a row. Zero disables it.
    ///
    /// The forecast looks back over at most a quarter of `time`, or over eight runs if that is
    /// longer. A rate counts once it has lasted for a sixteenth of that and for eight runs. It is
    /// then extrapolated over five times as long as it has lasted: after half an hour, the check
    /// warns if the disk will be full within two hours. Noise, a single big file and a disk that
    /// was cleaned up are not a rate.
    ///
    /// For a disk with oscillating use, the check warns while the use rises, if the disk would be
    /// full within `time` at that rate. For example, a disk whose use moves between 50 and 80
    /// percent in the course of a day warns for a third of the day. Such a disk is never less than
    /// 6 h from the bound of 95 percent at that rate, so use a shorter time for it, such as 5 h.
    ///
    /// Defaults to 24 h.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use std::time::Duration;
    ///
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Disk;
    ///
    /// let disk = Disk::new("/").fail_below(0.0).warn_before(Duration::from_secs(5 * 60 * 60));
    /// // A single run predicts nothing.
    /// let first = disk.check().await?;
    /// assert!(!first.measurements().iter().any(|found| found.name == "time_left"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_before(mut self, time: Duration) -> Self {
        self.forecast = Forecasts::new(time);
        self
    }

    /// Requires that a file system is mounted at exactly this path. Without this, the directory of
    /// a volume that is not mounted is judged by the file system that contains it. Defaults to
    /// accepting any path.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Disk;
    ///
    /// // The directory exists, but its volume is not mounted.
    /// let volume = tempfile::tempdir()?;
    /// let missing = Disk::new(volume.path()).mount_point().check().await.unwrap();
    /// assert_eq!(missing.reason(), Some(Reason::NotFound));
    ///
    /// let root = Disk::new("/").mount_point().check().await.unwrap();
    /// assert_ne!(root.reason(), Some(Reason::NotFound));
    /// # Ok(())
    /// # }
    /// ```
    pub fn mount_point(mut self) -> Self {
        self.is_mount_point = true;
        self
    }

    /// Requires a file system that is not mounted read-only. Defaults to accepting both.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Disk;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let data = Disk::new(directory.path()).writable();
    /// assert_ne!(data.check().await.unwrap().reason(), Some(Reason::ReadOnly));
    /// # Ok(())
    /// # }
    /// ```
    pub fn writable(mut self) -> Self {
        self.is_writable = true;
        self
    }

    /// Judges the free bytes by the bounds in bytes, or else by those in percent, and measures
    /// them.
    fn judge_bytes(&self, bytes: Amount) -> Outcome {
        if bytes.size == 0 {
            return Outcome::warn(Reason::Misconfigured)
                .with_cause("the file system reports no size");
        }
        let is_below = |bound: Option<u64>| bound.map(|bound| bytes.free < bound);
        // A bound in bytes replaces the one in percent.
        let bounds = Bounds::of(
            self.percents
                .warn
                .filter(|_| self.warn_below_bytes.is_none()),
            self.percents
                .fail
                .filter(|_| self.fail_below_bytes.is_none()),
        );
        let by_percent = bounds.judge_low(bytes.percent());
        let by_bytes = match (
            is_below(self.fail_below_bytes),
            is_below(self.warn_below_bytes),
        ) {
            (Some(true), _) => Outcome::fail(Reason::LimitExceeded),
            (_, Some(true)) => Outcome::warn(Reason::LimitNear),
            _ => Outcome::pass(),
        };
        let outcome = explained(by_percent.merge(by_bytes), bytes, "bytes");
        outcome.measure("free", bytes.free, "bytes").measure(
            "free_percent",
            bytes.percent(),
            "percent",
        )
    }

    /// Judges the free inodes by the bounds in percent, and measures them.
    fn judge_inodes(&self, inodes: Amount) -> Outcome {
        let outcome = self.percents.judge_low(inodes.percent());
        explained(outcome, inodes, "inodes").measure("free_inodes", inodes.percent(), "percent")
    }

    /// Records the used bytes and inodes, and warns if one of them will soon meet its bound. A run
    /// calls this exactly once.
    fn predict(&self, space: &Space) -> Outcome {
        let Forecasts { bytes, inodes } = &self.forecast;
        let percent = self.percents.fail.unwrap_or_default().clamp(0.0, 100.0);
        let share = |amount: Amount| amount.size as f64 * (1.0 - percent / 100.0);
        let most_bytes = match self.fail_below_bytes {
            Some(free) => space.bytes.size.saturating_sub(free) as f64,
            None => share(space.bytes),
        };
        // A file system without a size has no forecast.
        let of_bytes = match space.bytes.size {
            0 => Prediction::default(),
            _ => bytes.observe(space.bytes.used(), most_bytes),
        };
        let of_inodes = space.inodes.map_or(Prediction::default(), |amount| {
            inodes.observe(amount.used(), share(amount))
        });
        of_bytes.or(of_inodes).outcome()
    }
}

/// Adds the free amount as the cause, if the outcome does not pass.
fn explained(outcome: Outcome, amount: Amount, unit: &str) -> Outcome {
    let Amount { free, size } = amount;
    crate::explain(outcome, format_args!("{free} of {size} {unit} are free"))
}

/// The state of a file system.
#[derive(Clone, Copy, Debug)]
struct Space {
    /// Its size is zero if the file system reports no size.
    bytes: Amount,
    /// `None` if the file system creates inodes on demand.
    inodes: Option<Amount>,
    /// Whether it is mounted read-only, or became read-only after an error.
    is_read_only: bool,
    /// Whether a file system is mounted at exactly the path.
    is_mount_point: bool,
}

/// Whether a file system is mounted at the path: on another device than the parent directory, at
/// the root, or bound there.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

        if let Ok(found) = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE)
            && found
                .stx_attributes_mask
                .contains(StatxAttributes::MOUNT_ROOT)
        {
            return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        }
    }
    // An older kernel does not report it.
    let (here, around) = (stat(path)?, stat(path.join(".."))?);
    Ok(here.st_dev != around.st_dev || here.st_ino == around.st_ino)
}

/// What is available to processes without privileges. What is reserved for root belongs neither to
/// `free` nor to `size`.
#[derive(Clone, Copy, Debug)]
struct Amount {
    free: u64,
    size: u64,
}

impl Amount {
    /// Creates an amount from what `statvfs` reports, in units of `unit` bytes or inodes. Part of
    /// the free space may be reserved for root. It counts neither as free nor as part of the size.
    fn new(all: u64, free: u64, available: u64, unit: u64) -> Self {
        let size = all.saturating_sub(free).saturating_add(available);
        Self {
            free: available.saturating_mul(unit),
            size: size.saturating_mul(unit),
        }
    }

    fn percent(self) -> f64 {
        percent(self.free, self.size)
    }

    fn used(self) -> f64 {
        self.size.saturating_sub(self.free) as f64
    }
}

impl Space {
    fn of(found: &StatVfs) -> Self {
        let bytes = Amount::new(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_frsize,
        );
        let inodes = Amount::new(found.f_files, found.f_ffree, found.f_favail, 1);
        Self {
            bytes,
            inodes: (inodes.size > 0).then_some(inodes),
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
            is_mount_point: false,
        }
    }
}

#[async_trait]
impl HealthCheck for Disk {
    async fn check(&self) -> Result<Outcome, Failure> {
        let space = self.space.call().await??;
        if self.is_mount_point && !space.is_mount_point {
            // The use of what is there instead is irrelevant.
            return Ok(Outcome::fail(Reason::NotFound).with_cause("nothing is mounted there"));
        }
        let mount = if self.is_writable && space.is_read_only {
            Outcome::fail(Reason::ReadOnly)
        } else {
            Outcome::pass()
        };
        let bytes = self.judge_bytes(space.bytes);
        let inodes = space
            .inodes
            .map_or(Outcome::pass(), |inodes| self.judge_inodes(inodes));
        Ok(mount.merge(bytes).merge(inodes).merge(self.predict(&space)))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
    }

    fn problems(&self) -> Vec<String> {
        let fail = ("fail_below_bytes", self.fail_below_bytes);
        let warn = ("warn_below_bytes", self.warn_below_bytes);
        let mut problems = self.percents.problems_low();
        problems.extend(contradiction(fail, warn));
        problems
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .field("percents", &self.percents)
            .field("warn_below_bytes", &self.warn_below_bytes)
            .field("fail_below_bytes", &self.fail_below_bytes)
            .field("is_writable", &self.is_writable)
            .field("is_mount_point", &self.is_mount_point)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    };

    use tokio::time::advance;

    use super::*;
    use tower_health::{Cause, Status, outcome::Value};

    const GIB: u64 = 1 << 30;

    /// A disk of 1000 GiB and 1000 inodes, with `used` of them in use.
    fn disk(used: impl Fn() -> (u64, u64) + Send + Sync + 'static) -> Disk {
        Disk::with_source("/fixture".into(), move |_| {
            let (bytes, inodes) = used();
            Ok(Space {
                bytes: Amount::new(1_000, 1_000 - bytes, 1_000 - bytes, GIB),
                inodes: Some(Amount::new(1_000, 1_000 - inodes, 1_000 - inodes, 1)),
                is_read_only: false,
                is_mount_point: false,
            })
        })
    }

    fn value(outcome: &Outcome, name: &str) -> Option<Value> {
        let mut all = outcome.measurements().iter();
        Some(all.find(|found| found.name == name)?.value.clone())
    }

    async fn said(disk: Disk) -> (Status, Option<Reason>) {
        let outcome = disk.check().await.unwrap();
        (outcome.status(), outcome.reason())
    }

    const NEAR: (Status, Option<Reason>) = (Status::Warn, Some(Reason::LimitNear));
    const EXCEEDED: (Status, Option<Reason>) = (Status::Fail, Some(Reason::LimitExceeded));
    const PASS: (Status, Option<Reason>) = (Status::Pass, None);

    #[tokio::test]
    async fn bounds() {
        for (used, expected) in [(0, PASS), (900, PASS), (901, NEAR), (950, NEAR)] {
            assert_eq!(said(disk(move || (used, 0))).await, expected, "{used}");
            assert_eq!(said(disk(move || (0, used))).await, expected, "{used}");
        }
        for used in [951, 1_000] {
            assert_eq!(said(disk(move || (used, 0))).await, EXCEEDED);
            assert_eq!(said(disk(move || (0, used))).await, EXCEEDED);
        }
        let full = || disk(|| (1_000, 0));
        assert_eq!(said(full().fail_below(0.0)).await, NEAR);
        assert_eq!(
            said(
                full()
                    .fail_below(0.0)
                    .warn_below(0.0)
                    .warn_before(Duration::ZERO)
            )
            .await,
            PASS
        );
        let most = || disk(|| (990, 0));
        assert_eq!(said(most().fail_below_bytes(10 * GIB)).await, NEAR);
        let bytes = |free| most().fail_below_bytes(5 * GIB).warn_below_bytes(free);
        assert_eq!(said(bytes(10 * GIB)).await, PASS);
        assert_eq!(said(bytes(11 * GIB)).await, NEAR);
        assert_eq!(said(most().fail_below_bytes(11 * GIB)).await, EXCEEDED);
    }

    #[tokio::test]
    async fn a_file_system_without_a_size_warns() {
        let sizeless = |is_read_only| {
            Disk::with_source("/fixture".into(), move |_| {
                Ok(Space {
                    bytes: Amount::new(0, 0, 0, 4_096),
                    inodes: None,
                    is_read_only,
                    is_mount_point: false,
                })
            })
        };
        for disk in [sizeless(false), sizeless(false).fail_below_bytes(GIB)] {
            let outcome = disk.check().await.unwrap();
            assert_eq!(outcome.status(), Status::Warn);
            assert_eq!(outcome.reason(), Some(Reason::Misconfigured));
            assert_eq!(
                outcome.cause().map(Cause::redacted),
                Some("the file system reports no size")
            );
            assert!(outcome.measurements().is_empty());
        }
        assert_eq!(
            said(sizeless(true).writable()).await,
            (Status::Fail, Some(Reason::ReadOnly))
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_missing_mount_fails() {
        let never = |path: &Path| Disk::new(path).fail_below(0.0).warn_before(Duration::ZERO);
        let directory = tempfile::tempdir().unwrap();
        let gone = (Status::Fail, Some(Reason::NotFound));
        assert_eq!(said(never(directory.path()).mount_point()).await, gone);
        assert!(said(never(directory.path())).await.0.is_good());
        for mounted in ["/", "/proc"] {
            let outcome = Disk::new(mounted).mount_point().check().await.unwrap();
            assert_ne!(outcome.reason(), Some(Reason::NotFound), "{mounted}");
        }
        assert_eq!(said(Disk::new("/proc/self").mount_point()).await, gone);
    }

    #[test]
    fn space_reserved_for_root_is_not_free() {
        let amount = Amount::new(1_000, 150, 100, 4_096);
        assert_eq!(amount.free, 100 * 4_096);
        assert_eq!(amount.size, 950 * 4_096);
    }

    #[tokio::test]
    async fn a_hanging_mount_blocks_only_one_thread() {
        let (open, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let asked = Arc::new(AtomicU64::new(0));
        let disk = {
            let asked = Arc::clone(&asked);
            disk(move || {
                asked.fetch_add(1, Ordering::SeqCst);
                _ = gate.lock().unwrap().recv();
                (0, 0)
            })
        };
        for _ in 0..20 {
            let run = tokio::time::timeout(Duration::from_millis(5), disk.check()).await;
            assert!(run.is_err());
        }
        assert!(asked.load(Ordering::SeqCst) <= 1);
        drop(open);
        assert_eq!(said(disk).await, PASS);
    }

    /// Runs the check once a minute until it does not pass.
    async fn until_it_warns(disk: Disk) -> Outcome {
        for _ in 0..2_000 {
            let outcome = disk.check().await.unwrap();
            if outcome.status() != Status::Pass {
                return outcome;
            }
            advance(Duration::from_secs(60)).await;
        }
        panic!("it does not warn");
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_rise_warns_before_the_bound() {
        for of_inodes in [false, true] {
            // The use grows by one per run. At 950 - 60, one hour remains until the bound, and the
            // third run from there warns.
            let used = Arc::new(AtomicU64::new(0));
            let fills = move || {
                let used = used.fetch_add(1, Ordering::SeqCst).min(999);
                if of_inodes { (0, used) } else { (used, 0) }
            };
            let disk = disk(fills)
                .warn_before(Duration::from_secs(3_600))
                .warn_below(0.0);
            let outcome = until_it_warns(disk).await;
            assert_eq!(outcome.reason(), Some(Reason::LimitNear));
            assert_eq!(value(&outcome, "time_left"), Some(Value::Float(3_480.0)));
            let free = if of_inodes {
                "free_inodes"
            } else {
                "free_percent"
            };
            assert_eq!(value(&outcome, free), Some(Value::Float(10.8)));
        }
    }
}
