//! The check of memory use.
//!
//! A run reads the [`Usage`] of each control group that has a limit, and that of the machine. The
//! fullest one with a limit below the memory of the machine counts.

use std::{fmt, fs, path::Path, time::Duration};

use super::{
    Bounds,
    cgroup::{Groups, Kernel, Version, number, text, unexpected},
    percent,
};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, async_trait,
    checks::{BlockingCall, Forecast},
};

/// Health check of memory use, in relation to the limit of the container, or else to the memory of
/// the machine.
///
/// | finding | outcome |
/// | --- | --- |
/// | enough is free | pass |
/// | more is used than [`warn_above`](Self::warn_above) | warn, limit near |
/// | the use rises steadily and reaches the bound within [`warn_before`](Self::warn_before) | warn, limit near |
/// | more is used than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | the kernel's files cannot be read | fail, with the reason of the error |
///
/// By default it never fails, for two reasons. The kernel kills a process that exceeds the limit,
/// and it is restarted without a check. An instance that is taken out of rotation near its limit
/// leaves its load to the others, which are near their own.
///
/// The limit is that of the control group of this process, or of an ancestor of that group. Limits
/// below the memory of the machine count, and among them that of the fullest group, because that is
/// where the kernel runs out of memory first. `memory.high` is a limit as well, if it is below
/// `memory.max`: a group above it is slowed down until it makes no progress. The used memory is
/// what the kernel cannot reclaim immediately, calculated as by the kubelet: `memory.current`
/// without `inactive_file`. Both versions of control groups are supported. If there is no such
/// limit, or if there are no control groups, the limit is the machine's memory, and the used memory
/// is that without `MemAvailable`.
///
/// It measures `used` and `limit` in bytes, and `utilization` in percent. With
/// [`warn_before`](Self::warn_before) it also measures `time_left`, the predicted time in seconds
/// until the bound is met, if memory is used up at a steady rate. A run reads a few files of the
/// kernel on a separate thread.
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::Memory;
///
/// let memory = Check::new("memory", Memory::new()).non_critical();
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Memory {
    usage: BlockingCall<Result<Usage, Failure>>,
    bounds: Bounds,
    forecast: Option<Forecast>,
}

impl Memory {
    /// Creates a check of the memory that this process may use.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Memory;
    ///
    /// let outcome = Memory::new().check().await?;
    /// assert!(outcome.measurements().iter().any(|found| found.name == "used"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::with_kernel(Kernel::default())
    }

    /// Creates a check that reads its files at these paths.
    fn with_kernel(kernel: Kernel) -> Self {
        Self {
            usage: BlockingCall::new(move || usage(&kernel)),
            bounds: Bounds::of(Some(90.0), None),
            forecast: None,
        }
    }

    /// Sets the utilization in percent above which the check warns. Defaults to 90.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Memory;
    ///
    /// // This process uses some memory, so a bound of 0 % always warns.
    /// let outcome = Memory::new().warn_above(0.0).check().await?;
    /// assert_eq!(outcome.reason(), Some(Reason::LimitNear));
    /// assert!(outcome.measurements().iter().any(|found| found.name == "utilization"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_above(mut self, percent: f64) -> Self {
        self.bounds.set_warn(percent);
        self
    }

    /// Sets the utilization in percent above which the check fails. Defaults to never.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Memory;
    ///
    /// // For a service that loses data if the kernel kills it: stop its traffic before that.
    /// assert!(Memory::new().fail_above(95.0).problems().is_empty());
    /// assert_eq!(Memory::new().warn_above(99.0).fail_above(95.0).problems().len(), 1);
    /// assert_eq!(Memory::new().fail_above(f64::NAN).problems().len(), 1, "not a number");
    /// ```
    pub fn fail_above(mut self, percent: f64) -> Self {
        self.bounds.set_fail(percent);
        self
    }

    /// Sets how far ahead the check warns. It warns if memory is used up at a steady rate that
    /// would meet the bound of [`fail_above`](Self::fail_above), or else the limit, within `time`,
    /// according to three runs in a row. The rate is determined as by
    /// [`Disk::warn_before`](super::Disk::warn_before). Zero disables it. It is not enabled by
    /// default, because a process that has just started fills its caches. Defaults to never.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use std::time::Duration;
    ///
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Memory;
    ///
    /// let leak = Memory::new().warn_before(Duration::from_secs(12 * 60 * 60));
    /// // A single run predicts nothing.
    /// let first = leak.check().await?;
    /// assert!(!first.measurements().iter().any(|found| found.name == "time_left"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_before(mut self, time: Duration) -> Self {
        self.forecast = Some(Forecast::new(time));
        self
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The used memory of a control group or of the machine, and its limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    used: u64,
    limit: u64,
}

impl Usage {
    /// Returns the use in percent of the limit. A limit of 0 is always full.
    fn percent(self) -> f64 {
        percent(self.used, self.limit)
    }
}

/// Returns the usage that counts: that of the fullest group whose limit is below the memory of the
/// machine, or else that of the machine.
fn usage(kernel: &Kernel) -> Result<Usage, Failure> {
    let machine = machine(kernel)?;
    let mut fullest: Option<Usage> = None;
    let Groups {
        version,
        directories,
    } = kernel.groups("memory")?;
    for directory in directories {
        let Some(usage) = usage_of(version, &directory)? else {
            continue;
        };
        let is_fuller = fullest.is_none_or(|other| usage.percent() > other.percent());
        if usage.limit < machine.limit && is_fuller {
            fullest = Some(usage);
        }
    }
    Ok(fullest.unwrap_or(machine))
}

/// Returns the usage of the machine. `MemAvailable` includes what the kernel can reclaim.
fn machine(kernel: &Kernel) -> Result<Usage, Failure> {
    let text = fs::read_to_string(kernel.proc.join("meminfo"))?;
    let bytes = |name| match number(&text, name) {
        Some(kib) => Ok(kib.saturating_mul(1024)),
        None => Err(unexpected(format_args!(
            "the kernel does not report `{name}`"
        ))),
    };
    let limit = bytes("MemTotal:")?;
    Ok(Usage {
        used: limit.saturating_sub(bytes("MemAvailable:")?),
        limit,
    })
}

/// Returns the usage of a group, or `None` if the group has no limit. In version 2 the limit is the
/// lower one of `memory.max` and `memory.high`.
fn usage_of(version: Version, directory: &Path) -> Result<Option<Usage>, Failure> {
    let (limits, current, inactive) = match version {
        Version::Two => (
            &["memory.max", "memory.high"][..],
            "memory.current",
            "inactive_file",
        ),
        Version::One => (
            &["memory.limit_in_bytes"][..],
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    };
    let read = |file| text(directory, file);
    let bytes = |text: &str| text.trim().parse::<u64>().map_err(unexpected);
    let mut limit = None;
    for file in limits {
        let Some(text) = read(file)?.filter(|text| text.trim() != "max") else {
            continue;
        };
        let text = bytes(&text)?;
        limit = Some(limit.map_or(text, |other: u64| other.min(text)));
    }
    let (Some(limit), Some(current)) = (limit, read(current)?) else {
        return Ok(None);
    };
    let inactive = read("memory.stat")?.and_then(|text| number(&text, inactive));
    Ok(Some(Usage {
        used: bytes(&current)?.saturating_sub(inactive.unwrap_or_default()),
        limit,
    }))
}

#[async_trait]
impl HealthCheck for Memory {
    async fn check(&self) -> Result<Outcome, Failure> {
        let usage = self.usage.call().await??;
        let Usage { used, limit } = usage;
        let outcome = self.bounds.judge_high(usage.percent());
        let outcome = crate::explain(outcome, format_args!("{used} of {limit} bytes are used"));
        let outcome = match &self.forecast {
            Some(forecast) => {
                let bound = self.bounds.fail.unwrap_or(100.0);
                outcome.merge(forecast.observe(usage.percent(), bound).outcome())
            }
            None => outcome,
        };
        Ok(outcome
            .measure("used", used, "bytes")
            .measure("limit", limit, "bytes")
            .measure("utilization", usage.percent(), "percent"))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
    }

    fn problems(&self) -> Vec<String> {
        self.bounds.problems_high()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::{super::cgroup::fixture::Fixture, *};
    use tower_health::{Reason, Status, outcome::Value};

    /// 1000 KiB, with 400 KiB free.
    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\n",
    );
    const OF_MACHINE: Usage = Usage {
        used: 600 * 1024,
        limit: 1_000 * 1024,
    };
    const TWO: (&str, &str) = ("cgroup/cgroup.controllers", "memory\n");
    const NESTED: (&str, &str) = ("proc/self/cgroup", "0::/pod/app\n");

    fn usage_in(name: &str, files: &[(&str, &str)]) -> Result<Usage, Failure> {
        let fixture = Fixture::new(name, &[&[MACHINE, TWO, NESTED], files].concat());
        usage(&fixture.kernel)
    }

    #[test]
    fn a_limit_of_its_own() {
        let usage = usage_in(
            "own",
            &[
                ("cgroup/pod/app/memory.max", "1000\n"),
                ("cgroup/pod/app/memory.current", "800\n"),
                ("cgroup/pod/app/memory.stat", "anon 1\ninactive_file 300\n"),
                ("cgroup/pod/memory.max", "max\n"),
                ("cgroup/pod/memory.current", "900\n"),
            ],
        );
        let expected = Usage {
            used: 500,
            limit: 1_000,
        };
        assert_eq!(usage, Ok(expected));
    }

    #[test]
    fn the_limit_of_a_parent() {
        let own_is_max = [
            ("cgroup/pod/app/memory.max", "max\n"),
            ("cgroup/pod/app/memory.current", "800\n"),
            ("cgroup/pod/memory.max", "1000\n"),
            ("cgroup/pod/memory.current", "900\n"),
        ];
        let of_parent = Usage {
            used: 900,
            limit: 1_000,
        };
        assert_eq!(usage_in("parent", &own_is_max), Ok(of_parent));
        let own_is_wider = [&own_is_max[1..], &[("cgroup/pod/app/memory.max", "5000\n")]].concat();
        assert_eq!(usage_in("wider", &own_is_wider), Ok(of_parent));
        // The group's own limit is lower, but less full.
        let parent_is_fuller = [
            &own_is_max[2..],
            &[
                ("cgroup/pod/app/memory.max", "900\n"),
                ("cgroup/pod/app/memory.current", "100\n"),
            ],
        ]
        .concat();
        assert_eq!(usage_in("fuller", &parent_is_fuller), Ok(of_parent));
    }

    #[test]
    fn the_root_of_a_namespace() {
        let usage = usage_in(
            "root",
            &[
                ("proc/self/cgroup", "0::/\n"),
                ("cgroup/memory.max", "1000\n"),
                ("cgroup/memory.current", "100\n"),
            ],
        );
        let expected = Usage {
            used: 100,
            limit: 1_000,
        };
        assert_eq!(usage, Ok(expected));
    }

    #[test]
    fn memory_high_is_a_limit() {
        for (high, max, limit) in [
            ("800\n", "1000\n", 800),
            ("800\n", "max\n", 800),
            ("max\n", "1000\n", 1_000),
            ("2000\n", "1000\n", 1_000),
        ] {
            let files = [
                ("cgroup/pod/app/memory.max", max),
                ("cgroup/pod/app/memory.high", high),
                ("cgroup/pod/app/memory.current", "700\n"),
            ];
            let usage = usage_in("high", &files);
            assert_eq!(usage, Ok(Usage { used: 700, limit }), "{high} {max}");
        }
    }

    #[test]
    fn without_a_limit_the_machine_counts() {
        assert_eq!(usage_in("no-files", &[]), Ok(OF_MACHINE));
        let max = [
            ("cgroup/pod/app/memory.max", "max\n"),
            ("cgroup/pod/app/memory.current", "800\n"),
        ];
        assert_eq!(usage_in("max", &max), Ok(OF_MACHINE));
        let more_than_there_is = [
            ("cgroup/pod/app/memory.max", "9999999\n"),
            ("cgroup/pod/app/memory.current", "800\n"),
        ];
        assert_eq!(usage_in("more", &more_than_there_is), Ok(OF_MACHINE));
        let fixture = Fixture::new("no-groups", &[MACHINE]);
        assert_eq!(usage(&fixture.kernel), Ok(OF_MACHINE));
    }

    #[test]
    fn groups_of_version_one() {
        let of_one = |limit| {
            [
                ("proc/self/cgroup", "4:memory:/app\n0::/\n"),
                ("cgroup/memory/app/memory.limit_in_bytes", limit),
                ("cgroup/memory/app/memory.usage_in_bytes", "700\n"),
                (
                    "cgroup/memory/app/memory.stat",
                    "inactive_file 1\ntotal_inactive_file 100\n",
                ),
            ]
        };
        let expected = Usage {
            used: 600,
            limit: 1_000,
        };
        assert_eq!(usage_in("one", &of_one("1000\n")), Ok(expected));
        let none = of_one("9223372036854771712\n");
        assert_eq!(usage_in("one-without", &none), Ok(OF_MACHINE));
    }

    #[test]
    fn invalid_text_fails() {
        let nonsense = [
            ("cgroup/pod/app/memory.max", "much\n"),
            ("cgroup/pod/app/memory.current", "800\n"),
        ];
        let failure = usage_in("nonsense", &nonsense).unwrap_err();
        assert_eq!(failure.reason(), Reason::UnexpectedAnswer);
        let old = usage_in("old", &[("proc/meminfo", "MemTotal: 1000 kB\n")]).unwrap_err();
        assert_eq!(old.reason(), Reason::UnexpectedAnswer);
        let nothing = Fixture::new("nothing-at-all", &[]);
        let failure = usage(&nothing.kernel).unwrap_err();
        assert_eq!(failure.reason(), Reason::NotFound);
    }

    async fn said(memory: &Memory) -> (Status, Option<Reason>) {
        let outcome = memory.check().await.unwrap();
        (outcome.status(), outcome.reason())
    }

    #[tokio::test(start_paused = true)]
    async fn a_leak() {
        let fixture = Fixture::new("leak", &[MACHINE, TWO, NESTED]);
        fixture.write("cgroup/pod/app/memory.max", "1000\n");
        let memory = || Memory::with_kernel(fixture.kernel.clone());
        let (quiet, strict) = (memory(), memory().fail_above(95.0));
        let looks_ahead = memory().warn_before(Duration::from_secs(3_600));
        for used in (0..=1_000).step_by(10) {
            fixture.write("cgroup/pod/app/memory.current", &format!("{used}\n"));
            let is_near = match used {
                901.. => (Status::Warn, Some(Reason::LimitNear)),
                _ => (Status::Pass, None),
            };
            assert_eq!(said(&quiet).await, is_near, "{used}");
            let is_too_much = match used {
                951.. => (Status::Fail, Some(Reason::LimitExceeded)),
                _ => is_near,
            };
            assert_eq!(said(&strict).await, is_too_much, "{used}");
            let outcome = looks_ahead.check().await.unwrap();
            // The use grows by 10 per minute. At 400, one hour remains, and the third run from
            // there warns.
            assert_eq!(outcome.status() == Status::Warn, used >= 420, "{used}");
            let left = outcome
                .measurements()
                .iter()
                .find(|m| m.name == "time_left");
            if used >= 400 {
                assert_eq!(
                    left.unwrap().value,
                    Value::Float((1_000 - used) as f64 * 6.0)
                );
            }
            advance(Duration::from_secs(60)).await;
        }
    }
}
