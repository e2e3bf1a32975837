//! A check of the age of a file, of the newest file in a directory, or of any time.

use std::{
    fmt, fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use super::{blocking_call::BlockingCall, contradiction::contradiction};
use crate::{
    check::HealthCheck,
    model::{BoxError, Failure, Outcome, Reason},
};

/// A check of the age of something, such as a written file, a backup or an imported row.
///
/// | finding | outcome |
/// | --- | --- |
/// | young enough | pass |
/// | older than [`warn_above`](Self::warn_above) | warn, limit near |
/// | older than `fail_above` of the constructor | fail, limit exceeded |
/// | the file does not exist, or no file in the directory counts | fail, not found |
/// | the file is smaller than [`at_least_bytes`](Self::at_least_bytes) | fail, unexpected answer |
/// | its time is more than 1 min ahead of the clock | fail, unexpected answer |
/// | the directory has more entries than [`MAX_FILES`](Self::MAX_FILES), and none of the examined files is young enough | fail, misconfigured |
/// | the file system hangs until the check's timeout | fail, timed out |
///
/// The check measures `age` in s. A time that is at most 1 min ahead of the clock has an age of 0.
///
/// A run reads the attributes of one file, or of each file in the directory, on a separate thread.
/// A network mount that hangs blocks that thread and nothing else.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
///
/// use tower_health::{Check, HealthCheck, Status, checks::Freshness};
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
///
/// // Neither an empty file nor one that is still being written is a backup.
/// let backup = Freshness::newest_in("/var/backups/orders", 2 * DAY)
///     .warn_above(DAY + DAY / 4)
///     .named(|name| name.ends_with(".sql.gz"))
///     .at_least_bytes(1);
/// let backup = Check::new("backup", backup).non_critical();
///
/// let directory = tempfile::tempdir().unwrap();
/// std::fs::write(directory.path().join("orders.csv"), "").unwrap();
/// let export = Freshness::newest_in(directory.path(), DAY);
/// assert_eq!(export.check().await.unwrap().status(), Status::Pass);
/// # }
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Freshness {
    clock: Clock,
    warn_above: Option<Duration>,
    fail_above: Duration,
}

/// The source of the time.
enum Clock {
    /// The modification time of files, and the call that reads it.
    Files(Files, BlockingCall<Result<Newest, Failure>>),
    /// The time that a function of the application returns.
    Function(Box<dyn Fn() -> TimeFuture + Send + Sync>),
}

/// The files that are examined.
#[derive(Clone)]
struct Files {
    path: Arc<Path>,
    /// Whether to examine the files in the path, instead of the path itself.
    is_directory: bool,
    named: Option<Arc<Named>>,
    at_least_bytes: u64,
}

/// Whether a file of this name counts.
type Named = dyn Fn(&str) -> bool + Send + Sync;

/// The future of an application's function.
type TimeFuture = Pin<Box<dyn Future<Output = Result<SystemTime, BoxError>> + Send>>;

/// The most recent time that was found.
struct Newest {
    at: SystemTime,
    /// Whether there were more entries to examine.
    is_partial: bool,
}

/// The permitted difference between clocks, such as those of a file server or of the writer of a
/// row.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

impl Freshness {
    /// The maximum number of entries of a directory that are examined, so that a run ends. A
    /// directory with more entries passes if one of the examined files is young enough, and is
    /// misconfigured otherwise.
    pub const MAX_FILES: usize = 10_000;

    /// Creates a check of the modification time of a file. It fails if the file is older than
    /// `fail_above`. Links are followed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use tower_health::{HealthCheck, Reason, checks::Freshness};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let path = directory.path().join("orders.sql");
    /// std::fs::write(&path, "half").unwrap();
    /// let dump = Freshness::of_file(path, Duration::from_secs(3600)).at_least_bytes(1_000);
    /// assert_eq!(dump.check().await.unwrap_err().reason(), Reason::UnexpectedAnswer);
    /// # }
    /// ```
    pub fn of_file(path: impl Into<PathBuf>, fail_above: Duration) -> Self {
        Self::new(Clock::of(Files::new(path.into(), false)), fail_above)
    }

    /// Creates a check of the most recent modification time of the files in a directory. It fails
    /// if all of them are older than `fail_above`. Files in subdirectories do not count. Links are
    /// followed.
    ///
    /// A file that is still being written is as recent as a complete one. Exclude such files with
    /// [`at_least_bytes`](Self::at_least_bytes) and [`named`](Self::named).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{fs::File, time::{Duration, SystemTime}};
    ///
    /// use tower_health::{HealthCheck, Reason, checks::Freshness};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let dump = File::create(directory.path().join("monday.sql"))?;
    /// dump.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600))?;
    ///
    /// let newest = Freshness::newest_in(directory.path(), Duration::from_secs(3600));
    /// let outcome = newest.check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::LimitExceeded));
    ///
    /// File::create(directory.path().join("tuesday.sql"))?;
    /// assert_eq!(newest.check().await.unwrap().reason(), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn newest_in(directory: impl Into<PathBuf>, fail_above: Duration) -> Self {
        Self::new(Clock::of(Files::new(directory.into(), true)), fail_above)
    }

    /// Creates a check of a time that a function returns, such as that of the newest row. It fails
    /// if the time is more than `fail_above` ago. An error of the function fails the run, with the
    /// reason that [`Failure::of`] derives from it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::{io, time::{Duration, SystemTime}};
    ///
    /// use tower_health::{HealthCheck, Reason, Status, checks::Freshness};
    ///
    /// # async fn newest_row() -> io::Result<SystemTime> { Ok(SystemTime::now()) }
    /// let import = Freshness::of(newest_row, Duration::from_secs(600));
    /// assert_eq!(import.check().await.unwrap().status(), Status::Pass);
    ///
    /// let refused = || async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) };
    /// let import = Freshness::of(refused, Duration::from_secs(600));
    /// assert_eq!(import.check().await.unwrap_err().reason(), Reason::ConnectionRefused);
    /// # }
    /// ```
    pub fn of<F, Fut, E>(time: F, fail_above: Duration) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SystemTime, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let time = move || -> TimeFuture {
            let time = time();
            Box::pin(async move { time.await.map_err(Into::into) })
        };
        Self::new(Clock::Function(Box::new(time)), fail_above)
    }

    fn new(clock: Clock, fail_above: Duration) -> Self {
        Self {
            clock,
            warn_above: None,
            fail_above,
        }
    }

    /// Warns if the age is above this bound, which must not be above `fail_above`. Defaults to
    /// never.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::{io, time::{Duration, SystemTime}};
    ///
    /// use tower_health::{HealthCheck, Reason, checks::Freshness};
    ///
    /// let hour = Duration::from_secs(3600);
    /// let two_hours_ago = move || async move { io::Result::Ok(SystemTime::now() - 2 * hour) };
    /// let import = Freshness::of(two_hours_ago, 3 * hour).warn_above(hour);
    /// assert_eq!(import.check().await.unwrap().reason(), Some(Reason::LimitNear));
    /// # }
    /// ```
    pub fn warn_above(mut self, age: Duration) -> Self {
        self.warn_above = Some(age);
        self
    }

    /// Sets the minimum size of a file, in bytes. A single file that is smaller fails the check. In
    /// a directory, smaller files do not count. Ignored if the time comes from a function. Defaults
    /// to 0.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{fs, time::Duration};
    ///
    /// use tower_health::{HealthCheck, Reason, checks::Freshness};
    ///
    /// let directory = tempfile::tempdir()?;
    /// fs::write(directory.path().join("orders.csv"), "")?;
    /// let export = Freshness::newest_in(directory.path(), Duration::from_secs(3600));
    /// let export = export.at_least_bytes(1);
    /// assert_eq!(export.check().await.unwrap_err().reason(), Reason::NotFound);
    ///
    /// fs::write(directory.path().join("orders.csv"), "id,total")?;
    /// assert!(export.check().await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_least_bytes(self, bytes: u64) -> Self {
        self.with(|files| files.at_least_bytes = bytes)
    }

    /// Sets which files of a directory count, by their names. Bytes of a name that are not valid
    /// UTF-8 are replaced by U+FFFD. Ignored for a single file, and if the time comes from a
    /// function. Defaults to all files.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use tower_health::{HealthCheck, Reason, checks::Freshness};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// std::fs::write(directory.path().join("orders.sql.gz.part"), "half").unwrap();
    /// let dump = Freshness::newest_in(directory.path(), Duration::from_secs(3600))
    ///     .named(|name| name.ends_with(".sql.gz"));
    /// assert_eq!(dump.check().await.unwrap_err().reason(), Reason::NotFound);
    /// # }
    /// ```
    pub fn named(self, counts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.with(|files| files.named = Some(Arc::new(counts)))
    }

    /// Changes which files are examined. The blocking call owns a copy of that, so it is created
    /// again. A check of a function is unchanged.
    fn with(mut self, set: impl FnOnce(&mut Files)) -> Self {
        self.clock = match self.clock {
            Clock::Files(mut files, _) => {
                set(&mut files);
                Clock::of(files)
            }
            function => function,
        };
        self
    }

    /// Returns the most recent time, from whichever source the check has.
    async fn newest(&self) -> Result<Newest, Failure> {
        match &self.clock {
            Clock::Files(_, newest) => newest.call().await?,
            Clock::Function(time) => match time().await {
                Ok(at) => Ok(Newest {
                    at,
                    is_partial: false,
                }),
                Err(error) => Err(Failure::of(error)),
            },
        }
    }

    /// Compares an age with the bounds.
    fn judge(&self, age: Duration) -> Outcome {
        let seconds = age.as_secs();
        let outcome = match age {
            old if old > self.fail_above => Outcome::fail(Reason::LimitExceeded),
            old if self.warn_above.is_some_and(|bound| old > bound) => {
                Outcome::warn(Reason::LimitNear)
            }
            _ => return Outcome::pass(),
        };
        outcome.with_cause(format_args!("{seconds} s old"))
    }
}

impl Clock {
    /// Creates the call that examines these files.
    fn of(files: Files) -> Self {
        let asked = files.clone();
        Self::Files(files, BlockingCall::new(move || asked.newest()))
    }
}

impl Files {
    fn new(path: PathBuf, is_directory: bool) -> Self {
        Self {
            path: path.into(),
            is_directory,
            named: None,
            at_least_bytes: 0,
        }
    }

    /// Reads the file system. It runs on the thread of the blocking call.
    fn newest(&self) -> Result<Newest, Failure> {
        if self.is_directory {
            Ok(self.newest_in()?)
        } else {
            self.of_file()
        }
    }

    /// Returns the time of a single file, unless it is too small.
    fn of_file(&self) -> Result<Newest, Failure> {
        let file = fs::metadata(&self.path)?;
        if file.len() < self.at_least_bytes {
            let cause = format!("{} bytes, fewer than {}", file.len(), self.at_least_bytes);
            return Err(Failure::new(Reason::UnexpectedAnswer).with_cause(cause));
        }
        Ok(Newest {
            at: file.modified()?,
            is_partial: false,
        })
    }

    /// Returns the most recent time of the files that count. If none counts but some entries were
    /// not examined, the time is that of the epoch, so that it is too old.
    fn newest_in(&self) -> io::Result<Newest> {
        let mut newest = None;
        let mut entries = fs::read_dir(&self.path)?;
        for entry in entries.by_ref().take(Freshness::MAX_FILES) {
            let entry = entry?;
            let counts = |named: &Arc<Named>| named(&entry.file_name().to_string_lossy());
            if !self.named.as_ref().is_none_or(counts) {
                continue;
            }
            let file = match fs::metadata(entry.path()) {
                // Removed in the meantime, or a dangling link.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            if file.is_file() && file.len() >= self.at_least_bytes {
                newest = newest.max(Some(file.modified()?));
            }
        }
        let is_partial = entries.next().is_some();
        match newest {
            Some(at) => Ok(Newest { at, is_partial }),
            None if is_partial => Ok(Newest {
                at: SystemTime::UNIX_EPOCH,
                is_partial,
            }),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no matching file is in the directory",
            )),
        }
    }
}

#[async_trait]
impl HealthCheck for Freshness {
    async fn check(&self) -> Result<Outcome, Failure> {
        let newest = self.newest().await?;
        let age = match SystemTime::now().duration_since(newest.at) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= MAX_CLOCK_SKEW => Duration::ZERO,
            Err(ahead) => {
                return Err(
                    Failure::new(Reason::UnexpectedAnswer).with_cause(format_args!(
                        "its time is {} s ahead of the clock",
                        ahead.duration().as_secs()
                    )),
                );
            }
        };
        let outcome = self.judge(age);
        if newest.is_partial && outcome.reason().is_some() {
            return Err(Failure::new(Reason::Misconfigured).with_cause(format_args!(
                "the directory has more than {} entries",
                Self::MAX_FILES
            )));
        }
        Ok(outcome.measure("age", age.as_secs_f64(), "s"))
    }

    fn problems(&self) -> Vec<String> {
        let warn = ("warn_above", self.warn_above);
        let fail = ("fail_above", Some(self.fail_above));
        contradiction(warn, fail).into_iter().collect()
    }
}

impl fmt::Debug for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Freshness")
            .field("warn_above", &self.warn_above)
            .field("fail_above", &self.fail_above)
            .finish_non_exhaustive()
    }
}
