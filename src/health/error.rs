//! The errors of a start, of a change, and of a requested run.
//!
//! Each message contains the problem and its remedy, so that it can be shown to the user as it is.

use std::{error::Error, fmt, io, time::Duration};

use crate::model::{InvalidName, Name, UnknownCheck, write_problems};

/// The error of [`HealthBuilder::start`](crate::HealthBuilder::start). It contains every problem of
/// the builder, each with its remedy. Nothing was started.
///
/// Its message contains all problems. If there are several, each has a line of its own.
///
/// ```
/// use tower_health::{Health, error::ConfigError};
///
/// // There is no runtime here, either.
/// let error = Health::builder("orders").concurrency(0).start().unwrap_err();
/// assert_eq!(error.problems(), [ConfigError::NoConcurrency, ConfigError::NoRuntime]);
/// assert_eq!(error.to_string().lines().count(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    problems: Vec<ConfigError>,
}

impl StartError {
    pub(super) fn new(problems: Vec<ConfigError>) -> Self {
        Self { problems }
    }

    /// Returns the problems, of which there is at least one. They are in the order of the builder's
    /// calls that caused them. A missing runtime comes last.
    #[must_use]
    pub fn problems(&self) -> &[ConfigError] {
        &self.problems
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problems(f, "health cannot start", &self.problems)
    }
}

impl Error for StartError {}

/// A problem in the configuration of a [`Health`](crate::Health).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{Check, Health, Status, error::ConfigError};
///
/// let clock = || Check::new("clock", || async { Status::Pass });
/// let error = Health::builder("orders").checks([clock(), clock()]).start().unwrap_err();
/// let [ConfigError::DuplicateName(name)] = error.problems() else { panic!() };
/// assert_eq!(*name, "clock");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name of the service is not a valid name.
    ServiceName(InvalidName),
    /// The name of a check is not a valid name.
    CheckName(InvalidName),
    /// The name of a dependency is not a valid name.
    #[non_exhaustive]
    DependencyName {
        /// The name of the check.
        check: String,
        /// The problem and its remedy.
        error: InvalidName,
    },
    /// Two checks have the same name.
    DuplicateName(Name),
    /// The configuration contains settings for a check that is not registered.
    UnknownCheck(UnknownCheck),
    /// A name in the configuration matches several checks.
    AmbiguousCheck(String),
    /// A setting of a check is invalid, or contradicts another one. Each problem of a check is an
    /// error of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use tower_health::{Check, Health, Status, error::ConfigError};
    ///
    /// let clock = Check::new("clock", || async { Status::Pass }).timeout(Duration::ZERO);
    /// let error = Health::builder("orders").check(clock.pass_after(0)).start().unwrap_err();
    /// let [first, _] = error.problems() else { panic!() };
    /// let ConfigError::Setting { check, problem, .. } = first else { panic!() };
    /// assert_eq!(check, "clock");
    /// assert!(problem.contains("`timeout`"));
    /// # }
    /// ```
    #[non_exhaustive]
    Setting {
        /// The name of the check.
        check: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// A [default](crate::HealthBuilder::defaults) is invalid. Contains the problem and its remedy.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Health, config::CheckDefaults, error::ConfigError};
    ///
    /// let defaults = CheckDefaults::default().fail_after(0).flapping(30, 20);
    /// let error = Health::builder("orders").defaults(defaults).start().unwrap_err();
    /// let [ConfigError::Default(first), ConfigError::Default(_)] = error.problems() else { panic!() };
    /// assert_eq!(first, "`fail_after` is 0: set it to at least 1");
    /// # }
    /// ```
    Default(String),
    /// A check depends on a check that is not registered.
    #[non_exhaustive]
    UnknownDependency {
        /// The name of the check.
        check: String,
        /// The unknown name, and the known ones.
        error: UnknownCheck,
    },
    /// Dependencies form a cycle. Contains its checks in order. The first and the last are the
    /// same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Check, Health, Status, error::ConfigError};
    ///
    /// let check = |name| Check::new(name, || async { Status::Pass });
    /// let error = Health::builder("orders")
    ///     .check(check("postgres").depends_on("network"))
    ///     .check(check("network").depends_on("postgres"))
    ///     .start()
    ///     .unwrap_err();
    /// let [ConfigError::Cycle(checks)] = error.problems() else { panic!() };
    /// assert_eq!(checks.len(), 3);
    /// assert_eq!(checks.first(), checks.last());
    /// # }
    /// ```
    Cycle(Vec<Name>),
    /// The check to replace has no code that runs on a schedule, because it is a reporter, a
    /// heartbeat or a start-up task.
    NotReplaceable(Name),
    /// The `ttl` of a reporter or a heartbeat is invalid.
    #[non_exhaustive]
    Ttl {
        /// The name of the reporter or heartbeat.
        name: String,
        /// The problem and its remedy.
        problem: String,
    },
    /// The bound of the watchdog is not within 1 s and 1 h.
    Watchdog(Duration),
    /// The limit of concurrent runs is 0.
    NoConcurrency,
    /// A phase of the drain is longer than a day. Contains the name of the setting.
    Drain(&'static str),
    /// Signal handlers could not be installed, or no thread could be started for them.
    Signals(io::ErrorKind),
    /// There is no runtime to run the checks on.
    NoRuntime,
    /// The runtime has no timers.
    NoTimers,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceName(error) => write!(f, "invalid service: {error}"),
            Self::CheckName(error) => write!(f, "invalid check: {error}"),
            Self::DependencyName { check, error } => {
                write!(f, "check {check:?}: `depends_on`: {error}")
            }
            Self::DuplicateName(name) => {
                write!(f, "the name {name:?} is taken by another check: rename one of them")
            }
            Self::UnknownCheck(error) => write!(f, "the configuration: {error}"),
            Self::AmbiguousCheck(name) => write!(
                f,
                "the configuration: {name:?} matches several checks: write the exact name"
            ),
            Self::UnknownDependency { check, error } => {
                write!(f, "check {check:?}: `depends_on`: {error}")
            }
            Self::Cycle(round) => {
                f.write_str("checks depend on each other in a cycle, ")?;
                write_names(f, round, " -> ")?;
                f.write_str(": remove one `depends_on`")
            }
            Self::NotReplaceable(name) => write!(
                f,
                "{name:?} is a reporter, a heartbeat or a start-up task, which cannot be replaced: remove it first, or choose another name"
            ),
            Self::Ttl { name, problem } => write!(f, "{name:?}: {problem}"),
            Self::Setting { check, problem } => write!(f, "check {check:?}: {problem}"),
            Self::Default(problem) => write!(f, "the defaults of checks: {problem}"),
            Self::Watchdog(bound) => write!(
                f,
                "the bound of the watchdog is {}: set it to a value from 1 s to 1 h",
                humantime::format_duration(*bound)
            ),
            Self::NoConcurrency => {
                f.write_str("`concurrency` is 0: no check could ever run, so set it to at least 1")
            }
            Self::Drain(setting) => write!(
                f,
                "`{setting}` is longer than a day: no orchestrator waits that long for a process to end, so shorten it"
            ),
            Self::Signals(error) => write!(
                f,
                "signals cannot be handled ({error}): remove `handle_signals()`, or allow the process one \
                 more thread"
            ),
            Self::NoRuntime => f.write_str(
                "there is no tokio runtime here: call `start()` within one, or give the builder the handle \
                 of one with `.runtime(handle)`",
            ),
            Self::NoTimers => f.write_str(
                "the tokio runtime has no timers: build it with `enable_time()` or `enable_all()`",
            ),
        }
    }
}

/// The error of a change to the checks of a running [`Health`](crate::Health). The checks are
/// unchanged.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, error::ChangeError};
///
/// let health = Health::builder("orders").start()?;
/// let error = health.remove("postgres").await.unwrap_err();
/// assert!(matches!(error, ChangeError::Unknown(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// The check is invalid. Contains its problems, each with its remedy.
    Config(Vec<ConfigError>),
    /// No check has that name.
    Unknown(UnknownCheck),
    /// The check was removed before it had run.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::future;
    /// use tower_health::{Check, Health, Status, error::ChangeError};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let added = health.add(Check::new("tenant-7", future::pending::<Status>));
    /// health.remove("tenant-7").await?;
    /// assert_eq!(added.await.unwrap_err(), ChangeError::Removed);
    /// # Ok(())
    /// # }
    /// ```
    Removed,
    /// Other checks depend on the check to remove. Contains their names.
    HasDependents(Vec<Name>),
    /// No checks run any more.
    Stopped(Stopped),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => write_problems(f, "the check cannot be registered", problems),
            Self::Unknown(error) => error.fmt(f),
            Self::Removed => f.write_str(
                "the check was removed before it had run: add it again once the code that removes it is done",
            ),
            Self::HasDependents(by) => {
                f.write_str(
                    "the check cannot be removed, because others depend on it: first remove ",
                )?;
                write_names(f, by, ", ")
            }
            Self::Stopped(error) => error.fmt(f),
        }
    }
}

impl Error for ChangeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unknown(error) => Some(error),
            Self::Stopped(error) => Some(error),
            Self::Config(_) | Self::Removed | Self::HasDependents(_) => None,
        }
    }
}

/// Writes names in their order, separated by `between`.
fn write_names(f: &mut fmt::Formatter<'_>, names: &[Name], between: &str) -> fmt::Result {
    let mut before = "";
    names.iter().try_for_each(|name| {
        write!(f, "{before}{name}")?;
        before = between;
        Ok(())
    })
}

/// The error of [`Health::run_now`](crate::Health::run_now).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, error::RunError};
///
/// let health = Health::builder("orders").start()?;
/// let error = health.run_now("postgres").await.unwrap_err();
/// assert!(matches!(error, RunError::Unknown(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// No check has that name.
    Unknown(UnknownCheck),
    /// No checks run any more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, error::{RunError, Stopped}};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// let run = health.run_now("clock");
    /// drop(health);
    /// assert_eq!(run.await.unwrap_err(), RunError::Stopped(Stopped));
    /// # Ok(())
    /// # }
    /// ```
    Stopped(Stopped),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(error) => error.fmt(f),
            Self::Stopped(error) => error.fmt(f),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unknown(error) => Some(error),
            Self::Stopped(error) => Some(error),
        }
    }
}

/// No checks run any more, because their runtime has ended or because the last
/// [`Health`](crate::Health), layer and service was dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, Probe, Status, error::Stopped};
///
/// let health = Health::builder("orders").start()?;
/// let warned = health.wait_until(Probe::Readiness, Status::Warn);
/// drop(health);
/// assert_eq!(warned.await.unwrap_err(), Stopped);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it has no further information")]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no checks run any more: the runtime has ended, or the last `Health` was dropped; start a new \
             one on a runtime that lives as long as the service",
        )
    }
}

impl Error for Stopped {}
