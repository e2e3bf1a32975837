//! The check of CPU pressure.
//!
//! A run reads two independent values: [`Pressure`], which the kernel averages itself, and the
//! counters in [`Periods`], which the check compares with those of its last measurement. Each value
//! may be missing.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{
    Bounds,
    cgroup::{Groups, Kernel, Version, number, text, unexpected},
    percent,
};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait, checks::BlockingCall,
};

/// Health check of CPU pressure: how long the processes of the container, or else of the machine,
/// wait for a processor.
///
/// | finding | outcome |
/// | --- | --- |
/// | little waiting | pass |
/// | a task waited for more of the last minute than [`warn_above`](Self::warn_above) | warn, limit near |
/// | the container was throttled in more of its quota periods than [`warn_throttled_above`](Self::warn_throttled_above) | warn, limit near |
/// | a task waited for more of the last minute than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | the kernel reports neither | warn, misconfigured |
///
/// By default it never fails, because an instance out of rotation leaves its load to the others,
/// which also wait for a processor.
///
/// Waiting comes from the kernel's pressure stall information: `some` of `cpu.pressure`, or of
/// `/proc/pressure/cpu` if the control group has none. If the kernel was built without it, or
/// started without it (`psi=1`), only throttling counts: by the quota of the container's control
/// group, or of an ancestor of that group. If neither is available, the check warns, because a
/// check without data should not pass.
///
/// It measures `waiting` (over 60 s), `waiting_10_s` and `throttled`, all in percent. `throttled`
/// covers the periods since it was last measured, and at least ten of them. The first run therefore
/// does not measure it, nor does a run within 1 s of the last measurement. A run reads a few files
/// of the kernel, on a separate thread.
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::CpuPressure;
///
/// let cpu = Check::new("cpu", CpuPressure::new()).non_critical();
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct CpuPressure {
    seen: BlockingCall<Result<Seen, Failure>>,
    waiting: Bounds,
    throttled: Bounds,
    /// The counters of the last measurement.
    last: Mutex<Vec<Periods>>,
}

impl CpuPressure {
    /// Creates a check of the processors that this process may use.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::CpuPressure;
    ///
    /// let outcome = CpuPressure::new().check().await?;
    /// // It never fails without `fail_above`.
    /// assert_ne!(outcome.status(), Status::Fail);
    /// // A kernel without pressure stall information measures no `waiting`.
    /// let has_pressure = outcome.measurements().iter().any(|found| found.name == "waiting");
    /// assert!(has_pressure || outcome.reason() != Some(Reason::LimitNear));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::with_kernel(Kernel::default())
    }

    /// Creates a check that reads its files at these paths.
    fn with_kernel(kernel: Kernel) -> Self {
        Self {
            seen: BlockingCall::new(move || Seen::now(&kernel)),
            waiting: Bounds::of(Some(50.0), None),
            throttled: Bounds::of(Some(25.0), None),
            last: Mutex::default(),
        }
    }

    /// Sets the value of `waiting`, in percent of the last minute, above which the check warns.
    /// Defaults to 50.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::CpuPressure;
    ///
    /// // A batch service always has a task that waits.
    /// let batch = CpuPressure::new().warn_above(90.0);
    /// assert!(batch.problems().is_empty());
    /// assert_eq!(batch.fail_above(80.0).problems().len(), 1, "it would fail before it warns");
    /// ```
    pub fn warn_above(mut self, percent: f64) -> Self {
        self.waiting.set_warn(percent);
        self
    }

    /// Sets the value of `waiting`, in percent of the last minute, above which the check fails.
    /// Defaults to never.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::CpuPressure;
    ///
    /// // A bound below the default of `warn_above` is no contradiction: the check fails without a
    /// // warning.
    /// let strict = CpuPressure::new().fail_above(40.0);
    /// assert!(strict.problems().is_empty());
    /// assert_eq!(strict.warn_above(50.0).problems().len(), 1);
    /// ```
    pub fn fail_above(mut self, percent: f64) -> Self {
        self.waiting.set_fail(percent);
        self
    }

    /// Sets the value of `throttled`, in percent of the periods since the last measurement, above
    /// which the check warns. These are at least ten periods. Defaults to 25.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::CpuPressure;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// // Latency matters: warn if more than one in twenty periods is throttled.
    /// let web = CpuPressure::new().warn_throttled_above(5.0);
    /// // The first run only remembers the counters.
    /// let first = web.check().await?;
    /// assert!(!first.measurements().iter().any(|found| found.name == "throttled"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_throttled_above(mut self, percent: f64) -> Self {
        self.throttled.set_warn(percent);
        self
    }

    /// Judges the average of 60 s, and measures both averages.
    fn judge_waiting(&self, pressure: Pressure) -> Outcome {
        let outcome = self.waiting.judge_high(pressure.avg60);
        let outcome = crate::explain(
            outcome,
            format_args!(
                "a task waited for {} percent of the last minute",
                pressure.avg60
            ),
        );
        outcome
            .measure("waiting", pressure.avg60, "percent")
            .measure("waiting_10_s", pressure.avg10, "percent")
    }

    /// Judges the share of throttled periods, in percent, and measures it.
    fn judge_throttled(&self, percent: f64) -> Outcome {
        let outcome = self.throttled.judge_high(percent);
        let outcome = crate::explain(
            outcome,
            format_args!("throttled in {percent:.0} percent of the quota periods"),
        );
        outcome.measure("throttled", percent, "percent")
    }

    /// Returns the share of throttled periods since the last measurement, in percent. It is that of
    /// the group with the highest share.
    fn throttled(&self, now: Vec<Periods>) -> Option<f64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.len() != last.len() {
            *last = now;
            return None;
        }
        let judged = last.iter_mut().zip(now);
        judged
            .filter_map(|(last, now)| last.take_throttled(now))
            .max_by(f64::total_cmp)
    }
}

impl Default for CpuPressure {
    fn default() -> Self {
        Self::new()
    }
}

/// What a run reads.
struct Seen {
    /// `None` if the kernel does not report pressure.
    pressure: Option<Pressure>,
    /// One entry for each group that has a quota.
    periods: Vec<Periods>,
}

impl Seen {
    /// Reads the pressure of the own group, or else of the machine, and the counters of each group
    /// with a quota.
    fn now(kernel: &Kernel) -> Result<Self, Failure> {
        let of_group = match kernel.unified()?.directories.first() {
            Some(own) => text(own, "cpu.pressure")?,
            None => None,
        };
        let averages = match of_group {
            None => text(&kernel.proc, "pressure/cpu")?,
            of_group => of_group,
        };
        let pressure = match averages {
            Some(averages) => Some(Pressure::parse(&averages)?),
            None => None,
        };
        let mut periods = Vec::new();
        let Groups {
            version,
            directories,
        } = kernel.groups("cpu")?;
        for directory in directories {
            // A group without a quota counts no periods and reports that none were throttled.
            if has_quota(version, &directory)? {
                let counts = text(&directory, "cpu.stat")?;
                periods.extend(counts.as_deref().and_then(Periods::parse));
            }
        }
        Ok(Self { pressure, periods })
    }
}

/// Returns whether a group has a quota of processor time.
fn has_quota(version: Version, directory: &Path) -> Result<bool, Failure> {
    let file = match version {
        Version::Two => "cpu.max",
        Version::One => "cpu.cfs_quota_us",
    };
    let text = text(directory, file)?;
    let quota = text.as_deref().and_then(|text| text.split(' ').next());
    // `max` is not a number, and a negative number means no quota.
    let micros = quota.and_then(|quota| quota.trim().parse::<i64>().ok());
    Ok(micros.is_some_and(|micros| micros > 0))
}

/// How long a task waited, in percent of the last 10 s and 60 s.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pressure {
    avg10: f64,
    avg60: f64,
}

impl Pressure {
    /// Parses the averages in the line `some`, which counts the time in which at least one task
    /// waited.
    fn parse(text: &str) -> Result<Self, Failure> {
        let some = text.lines().find_map(|line| line.strip_prefix("some "));
        let average = |name| {
            let mut words = some?.split_whitespace();
            let value: f64 = words
                .find_map(|word| word.strip_prefix(name))?
                .parse()
                .ok()?;
            value.is_finite().then_some(value)
        };
        match (average("avg10="), average("avg60=")) {
            (Some(avg10), Some(avg60)) => Ok(Self { avg10, avg60 }),
            _ => Err(unexpected("`cpu.pressure` contains no averages")),
        }
    }
}

/// How many quota periods a group had, and in how many it was throttled.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Periods {
    /// The number of periods since the group exists.
    all: u64,
    /// The number of those in which the group was throttled.
    throttled: u64,
}

impl Periods {
    /// Returns `None` if the group does not have this controller.
    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            all: number(text, "nr_periods")?,
            throttled: number(text, "nr_throttled")?,
        })
    }

    /// Returns the percentage since the last measurement, and starts the next one. Returns `None`,
    /// and does not start another one, if there are fewer than [`MIN_PERIODS`] periods. Counters
    /// that decreased are those of another group.
    fn take_throttled(&mut self, now: Self) -> Option<f64> {
        let all = now.all.checked_sub(self.all);
        let throttled = now.throttled.checked_sub(self.throttled);
        let (Some(all), Some(throttled)) = (all, throttled) else {
            *self = now;
            return None;
        };
        (all >= MIN_PERIODS).then(|| {
            *self = now;
            percent(throttled, all)
        })
    }
}

/// The minimum number of periods, of 100 ms each, for a measurement.
const MIN_PERIODS: u64 = 10;

#[async_trait]
impl HealthCheck for CpuPressure {
    async fn check(&self) -> Result<Outcome, Failure> {
        let Seen { pressure, periods } = self.seen.call().await??;
        if pressure.is_none() && periods.is_empty() {
            return Ok(Outcome::warn(Reason::Misconfigured)
                .with_cause("the kernel reports neither pressure (psi=1) nor throttling"));
        }
        let waiting = pressure.map_or(Outcome::pass(), |pressure| self.judge_waiting(pressure));
        let throttled = self
            .throttled(periods)
            .map_or(Outcome::pass(), |percent| self.judge_throttled(percent));
        Ok(waiting.merge(throttled))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
    }

    fn problems(&self) -> Vec<String> {
        let throttled = crate::not_a_percentage("warn_throttled_above", self.throttled.set().0);
        self.waiting
            .problems_high()
            .into_iter()
            .chain(throttled)
            .collect()
    }
}

impl fmt::Debug for CpuPressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuPressure")
            .field("waiting", &self.waiting)
            .field("throttled", &self.throttled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cgroup::fixture::Fixture, *};
    use tower_health::{Status, outcome::Value};

    const TWO: (&str, &str) = ("cgroup/cgroup.controllers", "cpu\n");
    const NESTED: (&str, &str) = ("proc/self/cgroup", "0::/pod/app\n");
    const NO_FULL: &str = "some avg10=1.50 avg60=60.25 avg300=0.60 total=3355754537\n";
    const CALM: &str = "some avg10=80.00 avg60=50.00 avg300=0.60 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

    fn measured(outcome: &Outcome) -> Vec<(&str, f64)> {
        let value = |value: &Value| match value {
            Value::Float(value) => *value,
            other => panic!("{other:?}"),
        };
        let all = outcome.measurements().iter();
        all.map(|found| (&*found.name, value(&found.value)))
            .collect()
    }

    async fn outcome_of(name: &str, files: &[(&str, &str)]) -> Outcome {
        let fixture = Fixture::new(name, &[&[TWO, NESTED], files].concat());
        CpuPressure::with_kernel(fixture.kernel.clone())
            .check()
            .await
            .unwrap()
    }

    #[test]
    fn averages() {
        let expected = Pressure {
            avg10: 1.5,
            avg60: 60.25,
        };
        assert_eq!(Pressure::parse(NO_FULL), Ok(expected));
        for nonsense in [
            "",
            "some",
            "some ",
            "full avg10=1 avg60=1",
            "some avg10=x avg60=1",
            "some avg10=NaN avg60=1",
        ] {
            assert!(Pressure::parse(nonsense).is_err(), "{nonsense}");
        }
    }

    #[tokio::test]
    async fn prefers_the_pressure_of_the_group() {
        let both = [
            ("cgroup/pod/app/cpu.pressure", CALM),
            ("proc/pressure/cpu", NO_FULL),
        ];
        let outcome = outcome_of("cpu-both", &both).await;
        assert_eq!(outcome.status(), Status::Pass);
        assert_eq!(
            measured(&outcome),
            [("waiting", 50.0), ("waiting_10_s", 80.0)]
        );
        let machine = outcome_of("cpu-machine", &both[1..]).await;
        assert_eq!(
            (machine.status(), machine.reason()),
            (Status::Warn, Some(Reason::LimitNear))
        );
        assert_eq!(
            measured(&machine),
            [("waiting", 60.25), ("waiting_10_s", 1.5)]
        );
    }

    #[tokio::test]
    async fn a_kernel_without_data() {
        let nothing = outcome_of(
            "cpu-nothing",
            &[("cgroup/pod/app/cpu.stat", "usage_usec 1\n")],
        )
        .await;
        assert_eq!(
            (nothing.status(), nothing.reason()),
            (Status::Warn, Some(Reason::Misconfigured))
        );
    }

    const UNTHROTTLED: &str = "usage_usec 1\nnr_periods 0\nnr_throttled 0\n";

    #[tokio::test]
    async fn a_group_without_a_quota_is_ignored() {
        let one = ("proc/self/cgroup", "4:cpu,cpuacct:/app\n0::/\n");
        let stat = [
            ("cgroup/pod/app/cpu.stat", UNTHROTTLED),
            ("cgroup/cpu/app/cpu.stat", UNTHROTTLED),
        ];
        for (quota, is_blind) in [
            (("cgroup/pod/app/cpu.max", "max 100000\n"), true),
            (("cgroup/pod/app/cpu.max", "50000 100000\n"), false),
            (("cgroup/cpu/app/cpu.cfs_quota_us", "-1\n"), true),
            (("cgroup/cpu/app/cpu.cfs_quota_us", "50000\n"), false),
        ] {
            let name = format!("cpu-quota-{}", quota.1.len());
            let groups = if quota.0.ends_with("_us") {
                one
            } else {
                NESTED
            };
            let outcome = outcome_of(&name, &[stat[0], stat[1], quota, groups]).await;
            let sees_nothing = outcome.reason() == Some(Reason::Misconfigured);
            assert_eq!(sees_nothing, is_blind, "{quota:?}");
        }
    }

    #[tokio::test]
    async fn throttling() {
        let fixture = Fixture::new("cpu-throttled", &[TWO, NESTED]);
        for group in ["pod/app", "pod"] {
            fixture.write(&format!("cgroup/{group}/cpu.max"), "50000 100000\n");
        }
        let check = CpuPressure::with_kernel(fixture.kernel.clone());
        let expected = [
            // The periods and throttled periods of the group, those of the pod, and the expected
            // measurement.
            ((100, 100), (100, 90), None),
            ((200, 125), (100, 90), Some((25.0, Status::Pass))),
            ((300, 125), (200, 116), Some((26.0, Status::Warn))),
            ((300, 125), (200, 116), None),
            // One throttled period is not enough for a measurement. Ten are.
            ((301, 126), (200, 116), None),
            ((309, 127), (200, 116), None),
            ((310, 127), (200, 116), Some((20.0, Status::Pass))),
            // Counters of another group.
            ((5, 5), (5, 5), None),
            ((10, 5), (15, 5), Some((0.0, Status::Pass))),
            ((15, 10), (15, 5), Some((50.0, Status::Warn))),
        ];
        for (own, pod, expected) in expected {
            let stat = |(all, throttled)| {
                format!("usage_usec 1\nnr_periods {all}\nnr_throttled {throttled}\n")
            };
            fixture.write("cgroup/pod/app/cpu.stat", &stat(own));
            fixture.write("cgroup/pod/cpu.stat", &stat(pod));
            let outcome = check.check().await.unwrap();
            match expected {
                None => assert_eq!(outcome, Outcome::pass()),
                Some((percent, status)) => {
                    assert_eq!(measured(&outcome), [("throttled", percent)]);
                    assert_eq!(outcome.status(), status);
                }
            }
        }
    }

    #[tokio::test]
    async fn custom_bounds() {
        let fixture = Fixture::new("cpu-bounds", &[("proc/pressure/cpu", NO_FULL)]);
        let check = || CpuPressure::with_kernel(fixture.kernel.clone());
        let status = |check: CpuPressure| async move { check.check().await.unwrap().status() };
        assert_eq!(status(check().warn_above(61.0)).await, Status::Pass);
        assert_eq!(status(check().fail_above(60.0)).await, Status::Fail);
    }
}
