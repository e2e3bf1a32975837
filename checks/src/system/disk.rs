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

/// Whether a file system has space, and will have it for a while.
///
/// | finding | outcome |
/// | --- | --- |
/// | space and inodes are free | pass |
/// | less is free than [`warn_below`](Self::warn_below) | warn, limit near |
/// | it will be full within [`warn_before`](Self::warn_before), if it goes on as it does | warn, limit near |
/// | less is free than [`fail_below`](Self::fail_below) | fail, limit exceeded |
/// | it is mounted read-only, or became so by an error ([`writable`](Self::writable)) | fail, read-only |
/// | it tells no size, as some that are made by programs (FUSE) do not | warn, misconfigured |
/// | the path is not there; or nothing is mounted there ([`mount_point`](Self::mount_point)) | fail, not found |
/// | the file system hangs | fail, timed out |
///
/// Free is what a process without privileges may use, as `df` shows it; what is kept for root does not count. Inodes are judged
/// by the same percents, where the file system has a number of them.
///
/// It measures `free` in bytes, `free_percent`, `free_inodes` in percent, and `time_left` in s, until space or inodes meet the bound of
/// [`fail_below`](Self::fail_below), where they are used up at a steady rate and that is foreseen.
///
/// A run is one call of `statvfs`, on a thread of its own: a network mount that hangs holds up that thread, and nothing else.
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::Disk;
///
/// let disk = Check::new("disk", Disk::new("/var/lib/orders").writable());
/// let logs = Check::new("logs", Disk::new("/var/log").fail_below(0.0)).non_critical();
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
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

/// Each of them may run out.
struct Forecasts {
    bytes: Forecast,
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

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Disk {
    /// A check of the file system that a path is on.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::seen_by(path.into(), |path| {
            Ok(Space {
                // Who does not ask for it does not fail over it.
                is_mount_point: is_mount_point(path).unwrap_or_default(),
                ..Space::of(&statvfs(path)?)
            })
        })
    }

    fn seen_by(
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

    /// Warns if fewer percent are free. Defaults to 10 percent.
    pub fn warn_below(mut self, percent: f64) -> Self {
        self.percents.set_warn(percent);
        self.warn_below_bytes = None;
        self
    }

    /// Fails if fewer percent are free; 0 is never. Defaults to 5 percent.
    pub fn fail_below(mut self, percent: f64) -> Self {
        self.percents.set_fail(percent);
        self.fail_below_bytes = None;
        self
    }

    /// Warns if fewer bytes are free, instead of by percent; inodes are still judged by percent. Defaults to percent.
    pub fn warn_below_bytes(mut self, bytes: u64) -> Self {
        self.warn_below_bytes = Some(bytes);
        self
    }

    /// Fails if fewer bytes are free, instead of by percent; inodes are still judged by percent. Defaults to percent.
    pub fn fail_below_bytes(mut self, bytes: u64) -> Self {
        self.fail_below_bytes = Some(bytes);
        self
    }

    /// Warns if space or inodes are used up at a steady rate and would meet the bound of [`fail_below`](Self::fail_below) within this time,
    /// as three runs in a row foresee. Defaults to 24 h; zero is never.
    ///
    /// The runs look back for a quarter of the time, and for a sixteenth of that and eight runs at least. A rate that has lasted for so long
    /// is told of five times as far ahead: after half an hour, that the disk is full within two. Noise, a single big
    /// file and a disk that was cleaned up are no rate.
    ///
    /// A disk that swings is told of while it fills, if it would be full within the time were that to go on: one that is used to
    /// between 50 and 80 percent in the course of a day, for a third of the day. Its rise is never less than 6 h from the bound of 95; a time below
    /// that, such as 5 h, is for such a disk.
    pub fn warn_before(mut self, time: Duration) -> Self {
        self.forecast = Forecasts::new(time);
        self
    }

    /// Expects that something is mounted at this very path. A directory that a volume should be at is there without it as well, and then has
    /// the space of what it is on. Defaults to any path.
    pub fn mount_point(mut self) -> Self {
        self.is_mount_point = true;
        self
    }

    /// Expects a file system that is not mounted read-only. Defaults to either.
    pub fn writable(mut self) -> Self {
        self.is_writable = true;
        self
    }

    fn judge_bytes(&self, bytes: Amount) -> Outcome {
        if bytes.size == 0 {
            return Outcome::warn(Reason::Misconfigured)
                .with_cause("the file system tells no size");
        }
        let is_below = |bound: Option<u64>| bound.map(|bound| bytes.free < bound);
        // A bound in bytes stands for that in percent.
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
        let outcome = told(by_percent.merge(by_bytes), bytes, "bytes");
        outcome.measure("free", bytes.free, "bytes").measure(
            "free_percent",
            bytes.percent(),
            "percent",
        )
    }

    fn judge_inodes(&self, inodes: Amount) -> Outcome {
        let outcome = self.percents.judge_low(inodes.percent());
        told(outcome, inodes, "inodes").measure("free_inodes", inodes.percent(), "percent")
    }

    fn foresee(&self, space: &Space) -> Outcome {
        let Forecasts { bytes, inodes } = &self.forecast;
        let percent = self.percents.fail.unwrap_or_default().clamp(0.0, 100.0);
        let share = |amount: Amount| amount.size as f64 * (1.0 - percent / 100.0);
        let most_bytes = match self.fail_below_bytes {
            Some(free) => space.bytes.size.saturating_sub(free) as f64,
            None => share(space.bytes),
        };
        // What has no size fills up with nothing.
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

fn told(outcome: Outcome, amount: Amount, unit: &str) -> Outcome {
    match outcome.reason() {
        Some(_) => {
            let Amount { free, size } = amount;
            outcome.with_cause(format_args!("{free} of {size} {unit} are free"))
        }
        None => outcome,
    }
}

/// What a file system told.
#[derive(Clone, Copy, Debug)]
struct Space {
    bytes: Amount,
    /// None where they are made as they are needed.
    inodes: Option<Amount>,
    is_read_only: bool,
    is_mount_point: bool,
}

/// Whether something is mounted there: what is on another device than the directory around it, or the root, or bound there.
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
    // An older kernel does not tell.
    let (here, around) = (stat(path)?, stat(path.join(".."))?);
    Ok(here.st_dev != around.st_dev || here.st_ino == around.st_ino)
}

/// What processes without privileges have.
#[derive(Clone, Copy, Debug)]
struct Amount {
    free: u64,
    size: u64,
}

impl Amount {
    /// Of what is free, some may be kept for root.
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
            // What is there instead is of no interest, nor is how it fills up.
            return Ok(Outcome::fail(Reason::NotFound).with_cause("nothing is mounted there"));
        }
        let mount = match self.is_writable && space.is_read_only {
            true => Outcome::fail(Reason::ReadOnly),
            false => Outcome::pass(),
        };
        let bytes = self.judge_bytes(space.bytes);
        let inodes = space
            .inodes
            .map_or(Outcome::pass(), |inodes| self.judge_inodes(inodes));
        Ok(mount.merge(bytes).merge(inodes).merge(self.foresee(&space)))
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

    /// A disk of 1000 GiB and 1000 inodes, of which so many are used.
    fn disk(used: impl Fn() -> (u64, u64) + Send + Sync + 'static) -> Disk {
        Disk::seen_by("/fixture".into(), move |_| {
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
    async fn what_tells_no_size_is_not_green() {
        let sizeless = |is_read_only| {
            Disk::seen_by("/fixture".into(), move |_| {
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
                Some("the file system tells no size")
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
    async fn a_volume_that_is_not_mounted_is_not_the_disk_that_its_directory_is_on() {
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
    fn what_is_kept_for_root_is_not_free() {
        let amount = Amount::new(1_000, 150, 100, 4_096);
        assert_eq!(amount.free, 100 * 4_096);
        assert_eq!(amount.size, 950 * 4_096);
    }

    #[tokio::test]
    async fn a_mount_that_hangs_holds_up_one_thread_until_it_is_back() {
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

    /// The runs of a disk, a minute apart, until one does not pass.
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
    async fn what_fills_steadily_warns_ahead_of_its_bound() {
        for of_inodes in [false, true] {
            // One more per run. From 950 − 60 on it is an hour to the bound, which the third run from there tells.
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
