use std::{error::Error, fmt, io, time::Duration};

use crate::model::{InvalidName, Name, UnknownCheck, write_problems};

/// Why a [`Health`](crate::Health) did not start: every problem of its builder, each with its cure.
///
/// Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    problems: Vec<ConfigError>,
}

impl StartError {
    pub(super) fn new(problems: Vec<ConfigError>) -> Self {
        Self { problems }
    }

    /// The problems, in the order of the builder's calls.
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

/// One problem in the building of a [`Health`](crate::Health).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name of the service is no name.
    ServiceName(InvalidName),
    /// The name of a check is no name.
    CheckName(InvalidName),
    /// What a check depends on has a name that is none.
    DependencyName(InvalidName),
    /// Two checks have the same name.
    DuplicateName(Name),
    /// The configuration sets something of a check that is not registered.
    UnknownCheck(UnknownCheck),
    /// The configuration names a check in a way that may mean several.
    AmbiguousCheck(String),
    /// A setting of a check cannot be.
    #[non_exhaustive]
    Setting {
        /// The check.
        check: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A check depends on one that there is not.
    UnknownDependency(UnknownCheck),
    /// Checks depend on each other: the way round, which begins and ends with the same.
    Circle(Vec<Name>),
    /// What is to be replaced is no check that is run: a reporter, a heartbeat, or a start-up task.
    NotRun(Name),
    /// How long what is reported holds cannot be.
    #[non_exhaustive]
    Ttl {
        /// What is reported.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A watchdog cannot have this bound.
    Watchdog(Duration),
    /// No run may start.
    NoConcurrency,
    /// A drain cannot be so long.
    Drain(&'static str),
    /// The operating system does not let signals be handled.
    Signals(io::ErrorKind),
    /// There is no runtime to run on.
    NoRuntime,
    /// The runtime has no timers.
    NoTimers,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceName(error) => write!(f, "the service's name: {error}"),
            Self::CheckName(error) => write!(f, "a check's name: {error}"),
            Self::DependencyName(error) => write!(f, "`depends_on`: {error}"),
            Self::DuplicateName(name) => {
                write!(f, "two checks are named {name:?}: rename one of them")
            }
            Self::UnknownCheck(error) => write!(f, "the configuration: {error}"),
            Self::AmbiguousCheck(name) => write!(
                f,
                "the configuration: {name:?} may mean several checks: write `-` and `.` as they are"
            ),
            Self::UnknownDependency(error) => write!(f, "`depends_on`: {error}"),
            Self::Circle(round) => {
                f.write_str("checks depend on each other in a circle, ")?;
                write_names(f, round, " on ")?;
                f.write_str(": take one `depends_on` out")
            }
            Self::NotRun(name) => write!(
                f,
                "{name:?} is not run, but reported, or done once: remove it first, or take another name"
            ),
            Self::Ttl { name, fault } => write!(f, "{name:?}: {fault}"),
            Self::Setting { check, fault } => write!(f, "check {check:?}: {fault}"),
            Self::Watchdog(bound) => write!(
                f,
                "the bound of the watchdog is {}: give it from 1 s to 1 h",
                humantime::format_duration(*bound)
            ),
            Self::NoConcurrency => {
                f.write_str("`concurrency` is 0: no check could ever run, so give it at least 1")
            }
            Self::Drain(setting) => write!(
                f,
                "`{setting}` is longer than a day: nothing waits so long for a process to end, so shorten it"
            ),
            Self::Signals(error) => write!(
                f,
                "signals cannot be handled ({error}): leave out `handle_signals()`, or give the process room for one \
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

/// Why the checks of a running [`Health`](crate::Health) stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// What is wrong with the check, each with its cure.
    Config(Vec<ConfigError>),
    /// There is no such check.
    Unknown(UnknownCheck),
    /// The check was removed before it had run.
    Removed,
    /// These checks depend on it.
    Needed(Vec<Name>),
    /// Nothing runs checks any more.
    Stopped(Stopped),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => write_problems(f, "the check is not registered", problems),
            Self::Unknown(error) => error.fmt(f),
            Self::Removed => f.write_str(
                "the check was removed before it had run: add it again once whoever removes it is done",
            ),
            Self::Needed(by) => {
                f.write_str(
                    "the check is not removed, for others depend on it: remove them first, ",
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
            Self::Config(_) | Self::Removed | Self::Needed(_) => None,
        }
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, names: &[Name], between: &str) -> fmt::Result {
    let mut before = "";
    names.iter().try_for_each(|name| {
        write!(f, "{before}{name}")?;
        before = between;
        Ok(())
    })
}

/// Why a check was not run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// There is no such check.
    Unknown(UnknownCheck),
    /// Nothing runs checks any more.
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

/// Nothing runs checks any more: the runtime that did has ended, or the last [`Health`](crate::Health) went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "nothing runs checks any more: the runtime has ended, or the last `Health` was dropped; start a new \
             one on a runtime that lives as long as the service",
        )
    }
}

impl Error for Stopped {}
