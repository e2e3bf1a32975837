use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};

use sqlx::{Connection, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions};

use super::sqlx::refusal;
use tokio::time::timeout;
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait, checks::BlockingCall,
};

use crate::{
    pool::Usage,
    refusal::{Refusal, closed, said},
};

/// Whether a SQLite database can be read, and that its file is still there.
///
/// | finding | outcome |
/// | --- | --- |
/// | it can be read | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | somebody writes for longer than a run waits ([`writable`](Self::writable)), or has the file for itself alone | warn, busy |
/// | its file is gone, though open connections still see it | fail, not found |
/// | the file cannot be opened | fail, not found, permission denied |
/// | it takes no writes ([`writable`](Self::writable)) | fail, read-only |
/// | the disk is full ([`writable`](Self::writable)), and no write-ahead log takes what is written | fail, limit exceeded |
/// | it is no database, or is damaged | fail, unexpected answer |
///
/// Each run opens the file anew, as the connections of the pool do, so it takes no slot of the pool, and sees a file that took the place of
/// another. So it does not see what the pool alone can see: a database in memory, or one that the service itself has for itself alone
/// (`locking_mode = EXCLUSIVE`), which is *busy* for good. Such a database is asked [through the pool](Self::through_pool). Of a disk that
/// fills up, [`Disk`](crate::Disk) tells ahead.
///
/// It measures `pool_used` and `pool_utilization`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
/// use tower_health::{Check, Health, Probe, Status};
/// use tower_health_checks::Sqlite;
///
/// let directory = tempfile::tempdir()?;
/// let options = SqliteConnectOptions::new()
///     .filename(directory.path().join("orders.db"))
///     .create_if_missing(true);
/// let pool = SqlitePool::connect_with(options).await?;
/// let health = Health::builder("orders")
///     .check(Check::new("orders-db", Sqlite::sqlx(pool).writable()))
///     .start()?;
/// health.wait_until(Probe::Readiness, Status::Pass).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Sqlite {
    pool: SqlitePool,
    file: BlockingCall<io::Result<()>>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    writable: bool,
    integrity: bool,
    through_pool: bool,
}

/// How long a run waits for somebody who writes. Others hold the lock for milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// A change that is never committed. The lock alone is to be had of what is read-only.
const WRITE: &str = "BEGIN IMMEDIATE; CREATE TABLE tower_health_probe (n)";

impl Sqlite {
    /// A check of the database that a pool of sqlx opens.
    pub fn sqlx(pool: SqlitePool) -> Self {
        Self {
            file: file(&pool),
            pool,
            expected: Expected::default(),
        }
    }

    /// Expects a database that takes writes: a run takes the lock of who writes for a moment, begins a change and takes it
    /// back. It waits 250 ms for the lock at most. Defaults to reading alone.
    pub fn writable(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// Asks over a connection of the pool, which it takes for as long as the run lasts, and waits for 250 ms at most: a pool without a free
    /// one is *busy*. Defaults to a connection of its own, which the pool does not notice.
    pub fn through_pool(mut self) -> Self {
        self.expected.through_pool = true;
        self
    }

    /// Reads the whole database and looks for damage, by `PRAGMA quick_check`. Its cost is in proportion to the size of the
    /// database, so give such a check a name and a long [period](tower_health::Check::period) and [timeout](tower_health::Check::timeout) of its own.
    /// Defaults to reading the schema alone.
    pub fn integrity(mut self) -> Self {
        self.expected.integrity = true;
        self
    }
}

/// What looks for the file of a pool.
pub(super) fn file(pool: &SqlitePool) -> BlockingCall<io::Result<()>> {
    let pool = pool.clone();
    BlockingCall::new(move || find(&pool))
}

/// What a check opens a database with: it makes nothing that it is to look for.
pub(super) fn own_options(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    let options = options.clone().create_if_missing(false);
    options.busy_timeout(PATIENCE)
}

/// Whether the file has a name still, if there is one. What has it open would not notice.
fn find(pool: &SqlitePool) -> io::Result<()> {
    let options = pool.connect_options();
    let file = options.get_filename();
    let is_elsewhere = file.as_os_str().is_empty()
        || file == Path::new(":memory:")
        || file.to_string_lossy().starts_with("file:");
    match is_elsewhere {
        true => Ok(()),
        false => fs::metadata(file).map(|_| ()),
    }
}

#[async_trait]
impl HealthCheck for Sqlite {
    async fn check(&self) -> Result<Outcome, Failure> {
        if self.pool.is_closed() {
            return Ok(closed());
        }
        self.file.call().await??;
        let outcome = match self.ask().await {
            Ok(()) => Outcome::pass(),
            Err(refusal) => refusal.outcome(),
        };
        let pool = Usage::of(&self.pool);
        Ok(match self.expected.through_pool {
            // Its own connection may be on its way back.
            true => pool.measure(outcome),
            false => outcome.merge(pool.judge()),
        })
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Sqlite {
    async fn ask(&self) -> Result<(), Refusal> {
        if !self.expected.through_pool {
            let mut connection = self.connect().await.map_err(refusal)?;
            return self.ask_of(&mut connection).await;
        }
        match timeout(PATIENCE, self.pool.acquire()).await {
            Ok(connection) => self.ask_of(&mut *connection.map_err(refusal)?).await,
            Err(_) => Err(said(Reason::Busy, "the pool has no free connection")),
        }
    }

    async fn ask_of(&self, connection: &mut SqliteConnection) -> Result<(), Refusal> {
        // The connection's thread goes on with what it does when a run is given up, unless it is told.
        let wanted = Arc::new(());
        let still = Arc::downgrade(&wanted);
        let mut handle = connection.lock_handle().await.map_err(refusal)?;
        handle.set_progress_handler(STEPS, move || still.strong_count() > 0);
        drop(handle);
        let asked = self.ask_over(&mut *connection).await;
        drop(wanted);
        if self.expected.through_pool {
            let mut handle = connection.lock_handle().await.map_err(refusal)?;
            handle.remove_progress_handler();
        }
        asked
            .map_err(refusal)?
            .map_or(Ok(()), |damage| Err(said(Reason::UnexpectedAnswer, damage)))
    }

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options = own_options(&self.pool.connect_options());
        SqliteConnection::connect_with(&options).await
    }

    /// What is damaged, if anything.
    async fn ask_over(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<String>, sqlx::Error> {
        let read = "SELECT count(*) FROM sqlite_master";
        sqlx::raw_sql(read).execute(&mut *connection).await?;
        if self.expected.writable {
            let written = sqlx::raw_sql(WRITE).execute(&mut *connection).await;
            // If it did not begin, there is nothing to take back.
            _ = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
            written?;
        }
        if !self.expected.integrity {
            return Ok(None);
        }
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(connection)
            .await?;
        Ok((found != "ok").then_some(found))
    }
}

/// After so many steps of its virtual machine a connection looks whether anybody still waits.
const STEPS: i32 = 10_000;

/// What SQLite's result codes mean, by their lower half.
///
/// Source: [SQLite, result codes](https://www.sqlite.org/rescode.html).
pub(super) fn reason(code: u32) -> Reason {
    match code & 0xff {
        3 | 23 => Reason::PermissionDenied,
        5 | 6 => Reason::Busy,
        8 => Reason::ReadOnly,
        11 | 26 => Reason::UnexpectedAnswer,
        13 => Reason::LimitExceeded,
        14 => Reason::NotFound,
        _ => Reason::Failed,
    }
}
