use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    Bounds,
    cgroup::{Kernel, number, text, unexpected},
    percent,
};
use crate::{
    check::HealthCheck,
    checks::aside::Aside,
    model::{ComponentType, Failure, Outcome, Reason},
};

/// Whether this process waits for a processor, by what the kernel tells of its container, else of the machine.
///
/// | finding | outcome |
/// | --- | --- |
/// | little waits | pass |
/// | something waited for more of the last minute than [`warn_above`](Self::warn_above) | warn, limit near |
/// | the container was held back in more periods since the last run than [`warn_throttled_above`](Self::warn_throttled_above) | warn, limit near |
/// | something waited for more of the last minute than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | the kernel tells neither | warn, misconfigured |
///
/// It never fails unless you say so: an instance that is taken out leaves its load to the others, who wait as well.
///
/// The kernel tells of waiting by its pressure stall information (`some` of `cpu.pressure`, or of `/proc/pressure/cpu` where the control group
/// has none). A kernel that was built or started without it (`psi=1`) is judged by what holds the container back alone: the quota
/// of its control group, or of one which that is in. Where there is neither, it warns: a check that sees nothing should not look green.
///
/// It measures `waiting` (over 60 s), `waiting_10_s`, and from the second run on `throttled`, all in percent. A run reads a few files of the
/// kernel, on a thread of its own.
///
/// ```
/// use tower_health::{Check, checks::CpuPressure};
///
/// let cpu = Check::new("cpu", CpuPressure::new()).non_critical();
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct CpuPressure {
    seen: Aside<Result<Seen, Failure>>,
    waiting: Bounds,
    throttled: Bounds,
    /// By the run before.
    last: Mutex<Vec<Periods>>,
}

impl CpuPressure {
    /// A check of the processors that this process may use.
    pub fn new() -> Self {
        Self::told_by(Kernel::default())
    }

    fn told_by(kernel: Kernel) -> Self {
        Self {
            seen: Aside::new(move || Seen::now(&kernel)),
            waiting: Bounds {
                warn: Some(50.0),
                fail: None,
            },
            throttled: Bounds {
                warn: Some(25.0),
                fail: None,
            },
            last: Mutex::default(),
        }
    }

    /// Warns if something waited for more percent of the last minute. Defaults to 50 percent.
    pub fn warn_above(mut self, percent: f64) -> Self {
        self.waiting.warn = Some(percent);
        self
    }

    /// Fails if something waited for more percent of the last minute. Defaults to never.
    pub fn fail_above(mut self, percent: f64) -> Self {
        self.waiting.fail = Some(percent);
        self
    }

    /// Warns if the container used up its quota in more percent of the periods since the last run. Defaults to 25 percent.
    pub fn warn_throttled_above(mut self, percent: f64) -> Self {
        self.throttled.warn = Some(percent);
        self
    }

    fn judge_waiting(&self, pressure: Pressure) -> Outcome {
        let outcome = self.waiting.judge_high(pressure.avg60);
        let outcome = match outcome.reason() {
            Some(_) => outcome.with_cause(format_args!(
                "something waited for {} percent of a minute",
                pressure.avg60
            )),
            None => outcome,
        };
        outcome
            .measure("waiting", pressure.avg60, "percent")
            .measure("waiting_10_s", pressure.avg10, "percent")
    }

    fn judge_throttled(&self, percent: f64) -> Outcome {
        let outcome = self.throttled.judge_high(percent);
        let outcome = match outcome.reason() {
            Some(_) => {
                outcome.with_cause(format_args!("held back in {percent:.0} percent of periods"))
            }
            None => outcome,
        };
        outcome.measure("throttled", percent, "percent")
    }

    /// In percent of the periods since the last run, where it is worst.
    fn throttled(&self, now: Vec<Periods>) -> Option<f64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let worst = match now.len() == last.len() {
            true => now
                .iter()
                .zip(last.iter())
                .filter_map(|(now, last)| now.throttled_since(*last))
                .max_by(f64::total_cmp),
            false => None,
        };
        *last = now;
        worst
    }
}

impl Default for CpuPressure {
    fn default() -> Self {
        Self::new()
    }
}

struct Seen {
    pressure: Option<Pressure>,
    /// Of each group that tells.
    periods: Vec<Periods>,
}

impl Seen {
    fn now(kernel: &Kernel) -> Result<Self, Failure> {
        let of_group = match kernel.unified()?.directories.first() {
            Some(own) => text(own, "cpu.pressure")?,
            None => None,
        };
        let told = match of_group {
            None => text(&kernel.proc, "pressure/cpu")?,
            told => told,
        };
        let pressure = match told {
            Some(told) => Some(Pressure::parse(&told)?),
            None => None,
        };
        let mut periods = Vec::new();
        for directory in kernel.groups("cpu")?.directories {
            let told = text(&directory, "cpu.stat")?;
            periods.extend(told.as_deref().and_then(Periods::parse));
        }
        Ok(Self { pressure, periods })
    }
}

/// How long something waited, in percent of the last seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pressure {
    avg10: f64,
    avg60: f64,
}

impl Pressure {
    fn parse(told: &str) -> Result<Self, Failure> {
        let some = told.lines().find_map(|line| line.strip_prefix("some "));
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
            _ => Err(unexpected("no averages are in `cpu.pressure`")),
        }
    }
}

/// In how many periods of its quota a group ran, and was held back.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Periods {
    all: u64,
    throttled: u64,
}

impl Periods {
    /// None if the group has no such controller.
    fn parse(told: &str) -> Option<Self> {
        Some(Self {
            all: number(told, "nr_periods")?,
            throttled: number(told, "nr_throttled")?,
        })
    }

    /// None if there was no period. Counters that fell are those of another group.
    fn throttled_since(self, last: Self) -> Option<f64> {
        let all = self.all.checked_sub(last.all)?;
        let throttled = self.throttled.checked_sub(last.throttled)?;
        (all > 0).then(|| percent(throttled, all))
    }
}

#[async_trait]
impl HealthCheck for CpuPressure {
    async fn check(&self) -> Result<Outcome, Failure> {
        let Seen { pressure, periods } = self.seen.ask().await??;
        if pressure.is_none() && periods.is_empty() {
            return Ok(Outcome::warn(Reason::Misconfigured)
                .with_cause("the kernel tells neither of pressure (psi=1) nor of throttling"));
        }
        let waiting = pressure.map_or(Outcome::pass(), |pressure| self.judge_waiting(pressure));
        let throttled = self
            .throttled(periods)
            .map_or(Outcome::pass(), |percent| self.judge_throttled(percent));
        Ok(waiting.and(throttled))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
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
    use crate::model::{Status, Value};

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

    async fn said(name: &str, files: &[(&str, &str)]) -> Outcome {
        let fixture = Fixture::new(name, &[&[TWO, NESTED], files].concat());
        CpuPressure::told_by(fixture.kernel.clone())
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
    async fn of_the_group_else_of_the_machine() {
        let both = [
            ("cgroup/pod/app/cpu.pressure", CALM),
            ("proc/pressure/cpu", NO_FULL),
        ];
        let outcome = said("cpu-both", &both).await;
        assert_eq!(outcome.status(), Status::Pass);
        assert_eq!(
            measured(&outcome),
            [("waiting", 50.0), ("waiting_10_s", 80.0)]
        );
        let machine = said("cpu-machine", &both[1..]).await;
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
    async fn a_kernel_that_does_not_tell() {
        let nothing = said(
            "cpu-nothing",
            &[("cgroup/pod/app/cpu.stat", "usage_usec 1\n")],
        )
        .await;
        assert_eq!(
            (nothing.status(), nothing.reason()),
            (Status::Warn, Some(Reason::Misconfigured))
        );
        let throttled = [("cgroup/pod/app/cpu.stat", "nr_periods 1\nnr_throttled 0\n")];
        assert_eq!(said("cpu-quota", &throttled).await, Outcome::pass());
    }

    #[tokio::test]
    async fn who_is_held_back() {
        let fixture = Fixture::new("cpu-throttled", &[TWO, NESTED]);
        let check = CpuPressure::told_by(fixture.kernel.clone());
        let expected = [
            // Own periods and throttled ones, those of the pod, and what is told since the last run.
            ((100, 100), (100, 90), None),
            ((200, 125), (100, 90), Some((25.0, Status::Pass))),
            ((300, 125), (200, 116), Some((26.0, Status::Warn))),
            ((300, 125), (200, 116), None),
            // Others than before.
            ((5, 5), (5, 5), None),
            ((10, 5), (10, 5), Some((0.0, Status::Pass))),
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
    async fn bounds_of_ones_own() {
        let fixture = Fixture::new("cpu-bounds", &[("proc/pressure/cpu", NO_FULL)]);
        let check = || CpuPressure::told_by(fixture.kernel.clone());
        let status = |check: CpuPressure| async move { check.check().await.unwrap().status() };
        assert_eq!(status(check().warn_above(61.0)).await, Status::Pass);
        assert_eq!(status(check().fail_above(60.0)).await, Status::Fail);
    }
}
