//! The check of SQLite.
//!
//! SQLite has no server that could be down. What fails instead is the file: it is removed,
//! replaced, damaged, locked or read-only. A run therefore looks for the file by its name and opens
//! it again.

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

/// Checks whether a SQLite database can be read, and whether its file still exists.
///
/// | finding | outcome |
/// | --- | --- |
/// | the database can be read | pass |
/// | the pool has no free slot | warn, busy |
/// | the pool is closed | fail, misconfigured |
/// | another connection writes for longer than 250 ms ([`writable`](Self::writable)), or holds an exclusive lock | warn, busy |
/// | the file was removed, even if open connections still read it | fail, not found |
/// | the file cannot be opened | fail, not found; fail, permission denied |
/// | the database accepts no writes ([`writable`](Self::writable)) | fail, read-only |
/// | the disk is full ([`writable`](Self::writable)), and no write-ahead log accepts the write | fail, limit exceeded |
/// | the file is not a database, or is damaged | fail, unexpected answer |
///
/// The check measures `pool_used` and `pool_utilization` (in percent).
///
/// Each run opens the file again with the options of the pool. It therefore takes no slot of the
/// pool, and detects that the file was replaced. It cannot check a database that only the pool can
/// read. An in-memory database without a shared cache is a different database for each connection.
/// A database that the service itself has locked (`locking_mode = EXCLUSIVE`) is permanently
/// *busy*. Use [`through_pool`](Self::through_pool) for both.
///
/// [`Disk`](crate::Disk) warns before a disk is full.
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
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Sqlite {
    /// Provides the options of the connections, and the usage.
    pool: SqlitePool,
    /// Looks for the file of the database on a separate thread.
    file: BlockingCall<io::Result<()>>,
    expected: Expected,
}

/// What a run does in addition to reading the schema.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// Whether it tests a write.
    writable: bool,
    /// Whether it looks for damage in the whole database.
    integrity: bool,
    /// Whether it borrows a connection of the pool.
    through_pool: bool,
}

/// The maximum time that a run waits for a lock or for a connection of the pool. Writers hold the
/// lock for milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// A change that is never committed. The lock alone proves nothing, because a read-only database
/// grants it too.
const WRITE: &str = "BEGIN IMMEDIATE; CREATE TABLE tower_health_probe (n)";

impl Sqlite {
    /// Creates a check for the database of a sqlx pool.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Sqlite;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let file = directory.path().join("orders.db");
    /// let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    /// let check = Sqlite::sqlx(SqlitePool::connect_with(options).await?);
    /// assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    ///
    /// // The open connection of the pool does not notice this. The check never creates the file.
    /// std::fs::remove_file(&file)?;
    /// assert_eq!(check.check().await.unwrap_err().reason(), Reason::NotFound);
    /// assert!(!file.exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn sqlx(pool: SqlitePool) -> Self {
        Self {
            file: file(&pool),
            pool,
            expected: Expected::default(),
        }
    }

    /// Requires that the database accepts writes. A run takes the write lock, begins a change and
    /// rolls it back. It waits up to 250 ms for the lock. Defaults to reads only.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Sqlite;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("orders.db");
    /// # let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    /// # SqlitePool::connect_with(options).await?.close().await;
    /// let options = SqliteConnectOptions::new().filename(file).read_only(true);
    /// let pool = SqlitePool::connect_with(options).await?;
    ///
    /// let reads = Sqlite::sqlx(pool.clone());
    /// assert_eq!(reads.check().await.unwrap().status(), Status::Pass);
    /// let writes = Sqlite::sqlx(pool).writable();
    /// assert_eq!(writes.check().await.unwrap().reason(), Some(Reason::ReadOnly));
    /// # Ok(())
    /// # }
    /// ```
    pub fn writable(mut self) -> Self {
        self.expected.writable = true;
        self
    }

    /// Probes over a connection of the pool, which is borrowed for the duration of the run. A run
    /// waits up to 250 ms for a free connection, and then warns with *busy*. Use it for in-memory
    /// databases without a shared cache, and for databases that the service has locked. Defaults to
    /// a dedicated connection, which takes no slot of the pool.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::SqlitePool;
    /// use tower_health::{HealthCheck, Status};
    /// use tower_health_checks::Sqlite;
    ///
    /// let pool = SqlitePool::connect("sqlite::memory:").await?;
    /// let check = Sqlite::sqlx(pool).through_pool();
    /// assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn through_pool(mut self) -> Self {
        self.expected.through_pool = true;
        self
    }

    /// Reads the whole database and looks for damage with `PRAGMA quick_check`. The cost is
    /// proportional to the size of the database. Register such a check separately, with a long
    /// [period](tower_health::Check::period) and [timeout](tower_health::Check::timeout). Defaults
    /// to reading the schema only.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
    /// # use tower_health::{HealthCheck, Reason, Status};
    /// # use tower_health_checks::Sqlite;
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("orders.db");
    /// # let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    /// # let pool = SqlitePool::connect_with(options).await?;
    /// sqlx::raw_sql("CREATE TABLE items (n INTEGER)").execute(&pool).await?;
    /// // Damages the page of the table. The first page, with the schema, is intact.
    /// let mut bytes = std::fs::read(&file)?;
    /// bytes[4096..].fill(0xff);
    /// std::fs::write(&file, bytes)?;
    ///
    /// let reads = Sqlite::sqlx(pool.clone());
    /// assert_eq!(reads.check().await.unwrap().status(), Status::Pass);
    /// let complete = Sqlite::sqlx(pool).integrity();
    /// assert_eq!(complete.check().await.unwrap().reason(), Some(Reason::UnexpectedAnswer));
    /// # Ok(())
    /// # }
    /// ```
    pub fn integrity(mut self) -> Self {
        self.expected.integrity = true;
        self
    }
}

/// Returns a call that looks for the file of a pool.
pub(super) fn file(pool: &SqlitePool) -> BlockingCall<io::Result<()>> {
    let pool = pool.clone();
    BlockingCall::new(move || find(&pool))
}

/// Returns the options for the dedicated connection, which never create the database.
pub(super) fn own_options(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    let options = options.clone().create_if_missing(false);
    options.busy_timeout(LOCK_TIMEOUT)
}

/// Looks for the file by its name, if the database has a file. An open connection does not detect
/// that its file was removed.
fn find(pool: &SqlitePool) -> io::Result<()> {
    let options = pool.connect_options();
    let file = options.get_filename();
    let has_no_file = file.as_os_str().is_empty()
        || file == Path::new(":memory:")
        || file.to_string_lossy().starts_with("file:")
        || is_in_memory(&options);
    if has_no_file {
        Ok(())
    } else {
        fs::metadata(file).map(|_| ())
    }
}

/// Whether the database is in memory under a name. sqlx shows this in the `Debug` output only:
/// `to_url_lossy` panics for names that are not a host.
fn is_in_memory(options: &SqliteConnectOptions) -> bool {
    format!("{options:?}").contains("in_memory: true")
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
        Ok(if self.expected.through_pool {
            pool.measure(outcome)
        } else {
            outcome.merge(pool.judge())
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
    /// Probes once, over a new connection or over one that the pool lends.
    async fn ask(&self) -> Result<(), Refusal> {
        if !self.expected.through_pool {
            let mut connection = self.connect().await.map_err(refusal)?;
            return self.probe_interruptibly(&mut connection).await;
        }
        match timeout(LOCK_TIMEOUT, self.pool.acquire()).await {
            Ok(connection) => {
                self.probe_interruptibly(&mut *connection.map_err(refusal)?)
                    .await
            }
            Err(_) => Err(said(Reason::Busy, "the pool has no free connection")),
        }
    }

    /// Probes over a connection. If the run is dropped, SQLite stops soon after.
    async fn probe_interruptibly(&self, connection: &mut SqliteConnection) -> Result<(), Refusal> {
        // When a run is dropped, the thread of the connection continues. This handler interrupts
        // it.
        let wanted = Arc::new(());
        let still = Arc::downgrade(&wanted);
        let mut handle = connection.lock_handle().await.map_err(refusal)?;
        handle.set_progress_handler(PROGRESS_STEPS, move || still.strong_count() > 0);
        drop(handle);
        let asked = self.run_queries(&mut *connection).await;
        drop(wanted);
        if self.expected.through_pool {
            let mut handle = connection.lock_handle().await.map_err(refusal)?;
            handle.remove_progress_handler();
        }
        asked
            .map_err(refusal)?
            .map_or(Ok(()), |damage| Err(said(Reason::UnexpectedAnswer, damage)))
    }

    /// Opens the file again.
    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options = own_options(&self.pool.connect_options());
        SqliteConnection::connect_with(&options).await
    }

    /// Returns a description of the damage, if there is any.
    async fn run_queries(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<Option<String>, sqlx::Error> {
        let read = "SELECT count(*) FROM sqlite_master";
        sqlx::raw_sql(read).execute(&mut *connection).await?;
        if self.expected.writable {
            let written = sqlx::raw_sql(WRITE).execute(&mut *connection).await;
            // The rollback fails if no transaction began, which does not matter.
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

/// The number of steps of SQLite's virtual machine after which a connection looks whether its run
/// was dropped.
const PROGRESS_STEPS: i32 = 10_000;

/// Returns the reason for a result code of SQLite. The lowest byte is the primary result code.
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
