//! The check of the file handles of this process.
//!
//! A run reads `/proc/self/limits` and lists `/proc/self/fd`. Both need a free handle, so a process
//! without one fails in [`refused`] instead of by its bounds.

use std::{fmt, fs, io, time::Duration};

use rustix::io::Errno;

use super::{
    Bounds,
    cgroup::{Kernel, unexpected},
    percent,
};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait,
    checks::{BlockingCall, Forecast},
};

/// Health check of the file handles of this process: how many of them are open, including sockets,
/// in relation to the limit.
///
/// | finding | outcome |
/// | --- | --- |
/// | enough handles are left | pass |
/// | more are open than [`warn_above`](Self::warn_above) | warn, limit near |
/// | the number rises steadily and reaches the bound within [`warn_before`](Self::warn_before) | warn, limit near |
/// | more are open than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | no handle is left for the check itself | fail, limit exceeded |
///
/// It measures `open`, `limit` (the soft limit, `ulimit -n`) and `utilization` in percent. With
/// [`warn_before`](Self::warn_before) it also measures `time_left`, the predicted time in seconds
/// until the bound is met, if the number rises at a steady rate. Without a limit it measures only
/// `open`, and passes. A run opens two handles briefly, one after the other, and lists the open
/// handles on a separate thread.
///
/// It fails near the limit, because a process that cannot accept connections should not receive
/// any.
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::FileHandles;
///
/// let handles = Check::new("file-handles", FileHandles::new());
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct FileHandles {
    usage: BlockingCall<Result<Usage, Failure>>,
    bounds: Bounds,
    forecast: Option<Forecast>,
}

impl FileHandles {
    /// Creates a check of the file handles of this process.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::FileHandles;
    ///
    /// let outcome = FileHandles::new().check().await?;
    /// assert!(outcome.measurements().iter().any(|found| found.name == "open"));
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
            bounds: Bounds::of(Some(80.0), Some(95.0)),
            forecast: None,
        }
    }

    /// Sets the utilization in percent above which the check warns. Defaults to 80.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::FileHandles;
    ///
    /// // A process always has a few handles open, such as its standard output.
    /// let outcome = FileHandles::new().warn_above(0.0).check().await?;
    /// assert_eq!(outcome.reason(), Some(Reason::LimitNear));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_above(mut self, percent: f64) -> Self {
        self.bounds.set_warn(percent);
        self
    }

    /// Sets the utilization in percent above which the check fails. Defaults to 95.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::FileHandles;
    ///
    /// // No utilization is above 100 %. Such a check fails only if no handle is left for itself.
    /// let lax = FileHandles::new().fail_above(100.0);
    /// assert!(lax.problems().is_empty());
    ///
    /// let problems = FileHandles::new().warn_above(95.0).fail_above(80.0).problems();
    /// assert!(problems[0].starts_with("`warn_above` (95.0) is above `fail_above` (80.0)"));
    /// ```
    pub fn fail_above(mut self, percent: f64) -> Self {
        self.bounds.set_fail(percent);
        self
    }

    /// Sets how far ahead the check warns. It warns if the number of open handles rises at a steady
    /// rate that would meet the bound of [`fail_above`](Self::fail_above) within `time`, according
    /// to three runs in a row. The rate is determined as by
    /// [`Disk::warn_before`](super::Disk::warn_before). A leak takes hours, so 24 h are suitable.
    /// Zero disables it. It is not enabled by default, because connections follow the load of the
    /// day, which also rises steadily. Defaults to never.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use std::time::Duration;
    ///
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::FileHandles;
    ///
    /// let leak = FileHandles::new().warn_before(Duration::from_secs(24 * 60 * 60));
    /// for _ in 0..2 {
    ///     // A number that does not rise has no `time_left`.
    ///     let outcome = leak.check().await?;
    ///     assert!(!outcome.measurements().iter().any(|found| found.name == "time_left"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_before(mut self, time: Duration) -> Self {
        self.forecast = Some(Forecast::new(time));
        self
    }

    /// Records the utilization, and warns if it will soon meet the bound of the failure.
    fn predict(&self, utilization: f64) -> Outcome {
        let bound = self.bounds.fail.unwrap_or(100.0);
        match &self.forecast {
            Some(forecast) => forecast.observe(utilization, bound).outcome(),
            None => Outcome::pass(),
        }
    }
}

impl Default for FileHandles {
    fn default() -> Self {
        Self::new()
    }
}

/// The open handles of this process, and how many it may have.
struct Usage {
    /// The number of open handles, without the one that lists them.
    open: u64,
    /// `None` if there is no limit.
    limit: Option<u64>,
}

/// Reads the limit, and counts the open handles.
fn usage(kernel: &Kernel) -> Result<Usage, Failure> {
    let limits = fs::read_to_string(kernel.proc.join("self/limits")).map_err(refused)?;
    let entries = fs::read_dir(kernel.proc.join("self/fd")).map_err(refused)?;
    // The handle that lists the others is one of them.
    let open = (entries.count() as u64).saturating_sub(1);
    Ok(Usage {
        open,
        limit: soft_limit(&limits)?,
    })
}

/// Returns the soft limit in the text of `limits`, the first word after the name.
fn soft_limit(limits: &str) -> Result<Option<u64>, Failure> {
    let mut lines = limits.lines();
    let words = lines.find_map(|line| line.strip_prefix("Max open files "));
    match words.and_then(|words| words.split_whitespace().next()) {
        Some("unlimited") => Ok(None),
        Some(limit) => Ok(Some(limit.parse().map_err(unexpected)?)),
        None => Err(unexpected("`limits` contains no `Max open files`")),
    }
}

/// Converts an error. Without a free handle, the files cannot be read.
fn refused(error: io::Error) -> Failure {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE) => Failure::new(Reason::LimitExceeded).with_cause(error),
        _ => error.into(),
    }
}

#[async_trait]
impl HealthCheck for FileHandles {
    async fn check(&self) -> Result<Outcome, Failure> {
        let Usage { open, limit } = self.usage.call().await??;
        let Some(limit) = limit else {
            return Ok(Outcome::pass().measure("open", open, ""));
        };
        let utilization = percent(open, limit);
        let outcome = self.bounds.judge_high(utilization);
        let outcome = crate::explain(
            outcome,
            format_args!("{open} of {limit} file handles are open"),
        );
        Ok(outcome
            .merge(self.predict(utilization))
            .measure("open", open, "")
            .measure("limit", limit, "")
            .measure("utilization", utilization, "percent"))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
    }

    fn problems(&self) -> Vec<String> {
        self.bounds.problems_high()
    }
}

impl fmt::Debug for FileHandles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileHandles")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::{super::cgroup::fixture::Fixture, *};
    use tower_health::{Status, outcome::Value};

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max processes             30000                30000                processes
Max open files            100                  524288               files
Max nice priority         0                    0
";

    async fn outcome_of(open: u32, limits: &str) -> Result<Outcome, Failure> {
        let fixture = Fixture::new(&format!("handles-{open}"), &[("proc/self/limits", limits)]);
        // The handle that lists the others is one of them.
        for number in 0..=open {
            fixture.write(&format!("proc/self/fd/{number}"), "");
        }
        FileHandles::with_kernel(fixture.kernel.clone())
            .check()
            .await
    }

    #[tokio::test]
    async fn bounds() {
        for (open, status) in [
            (0, Status::Pass),
            (80, Status::Pass),
            (81, Status::Warn),
            (95, Status::Warn),
            (96, Status::Fail),
        ] {
            let outcome = outcome_of(open, LIMITS).await.unwrap();
            assert_eq!(outcome.status(), status, "{open}");
            let measured: Vec<_> = outcome.measurements().iter().map(|m| &m.value).collect();
            assert_eq!(
                measured,
                [&open.into(), &100.into(), &f64::from(open).into()]
            );
        }
    }

    fn left(outcome: &Outcome) -> Option<&Value> {
        let mut all = outcome.measurements().iter();
        Some(&all.find(|found| found.name == "time_left")?.value)
    }

    #[tokio::test(start_paused = true)]
    async fn a_leak_of_handles_warns_ahead_of_the_limit() {
        let fixture = Fixture::new("handles-leak", &[("proc/self/limits", LIMITS)]);
        let handles = || FileHandles::with_kernel(fixture.kernel.clone());
        let (quiet, never) = (handles(), handles().warn_before(Duration::ZERO));
        let looks_ahead = handles().warn_before(Duration::from_secs(3_600));
        // The handle that lists the others is one of them.
        fixture.write("proc/self/fd/list", "");
        for open in 0..=80 {
            for quiet in [&quiet, &never] {
                let outcome = quiet.check().await.unwrap();
                assert_eq!((outcome.status(), left(&outcome)), (Status::Pass, None));
            }
            // The number grows by one per minute. At 35, one hour remains until 95, and the third
            // run from there warns.
            let outcome = looks_ahead.check().await.unwrap();
            let is_near = outcome.reason() == Some(Reason::LimitNear);
            assert_eq!(is_near, open >= 37, "{open}");
            if open >= 35 {
                let expected = Value::Float(f64::from(95 - open) * 60.0);
                assert_eq!(left(&outcome), Some(&expected), "{open}");
            }
            fixture.write(&format!("proc/self/fd/{open}"), "");
            advance(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test]
    async fn invalid_and_unlimited_limits() {
        let nonsense = outcome_of(1, "what?\n").await.unwrap_err();
        assert_eq!(nonsense.reason(), Reason::UnexpectedAnswer);
        let much = LIMITS.replace("100 ", "much ");
        assert_eq!(
            outcome_of(2, &much).await.unwrap_err().reason(),
            Reason::UnexpectedAnswer
        );
        let unlimited = LIMITS.replace("100 ", "unlimited ");
        assert_eq!(
            outcome_of(97, &unlimited).await.unwrap().status(),
            Status::Pass
        );
    }
}
