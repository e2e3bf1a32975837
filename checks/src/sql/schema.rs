//! The check of a database's migrations.
//!
//! The migrations of the build are known from the start: [`Schema`] keeps only their versions and
//! checksums. A run reads the same from the database and compares the two. The few differences
//! between databases are found by downcasting the pool, its options or its connection.

use std::{borrow::Cow, collections::BTreeMap, fmt, future::Future, io, sync::Arc, time::Duration};

#[cfg(feature = "sqlx-postgres")]
use sqlx::{AssertSqlSafe, Row};
use sqlx::{
    Connection, Database, Pool,
    error::DatabaseError,
    migrate::{AppliedMigration, Migrate, MigrateError, Migrator},
};

use super::sqlx::{close, refusal};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait, checks::BlockingCall,
};

use crate::{
    dedicated::{Connector, DedicatedConnection, LIFETIME},
    refusal::{Refusal, said},
};

/// Checks whether a database has exactly the migrations of this build of the service.
///
/// | finding | outcome |
/// | --- | --- |
/// | all migrations are applied, and no others | pass |
/// | migrations that this build does not know are applied, by a newer release | warn, incompatible; with [`exact`](Self::exact) fail, incompatible |
/// | migrations are missing | fail, migrations pending |
/// | a migration was applied with a different text | fail, incompatible |
/// | a migration of this build was started but has not completed | fail, migrations pending |
/// | the pool is closed | fail, misconfigured |
/// | a SQLite database is locked for longer than 250 ms | warn, busy |
/// | the database cannot be reached or read | fail, with the reason that the check of that database reports |
///
/// The check measures the number of `pending` and of `unknown` migrations.
///
/// Unknown migrations are not a failure by default: during a rollout the first new instance
/// migrates the database, while the older instances continue to serve.
///
/// A run reads the migrations table with two queries. On PostgreSQL, an additional query first
/// looks whether the table exists. Nothing is created or applied. The check has a dedicated
/// connection, which is kept for up to 5 minutes while the check does not fail. A SQLite file is
/// opened again by each run, as by [`Sqlite`](crate::Sqlite), so that the check detects a file that
/// was removed or replaced. An in-memory database of SQLite without a shared cache cannot be
/// checked, because the check opens a different one than the pool.
///
/// A schema changes rarely, so a [period](tower_health::Check::period) of 1 minute is sufficient.
///
/// ```no_run
/// # #[cfg(feature = "sqlx-sqlite")]
/// # fn check(pool: sqlx::SqlitePool, migrator: sqlx::migrate::Migrator) -> tower_health::Check {
/// use tower_health::Check;
/// use tower_health_checks::Schema;
///
/// // static MIGRATOR: Migrator = sqlx::migrate!();
/// Check::new("schema", Schema::sqlx(pool, &migrator)).depends_on("postgres").shared()
/// # }
/// ```
///
/// The check fails until the migrations are applied:
///
/// ```
/// # #[cfg(not(feature = "sqlx-sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlx-sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sqlx::{SqlitePool, migrate::Migrator, sqlite::SqliteConnectOptions};
/// use tower_health::{HealthCheck, Reason, Status};
/// use tower_health_checks::Schema;
///
/// let directory = tempfile::tempdir()?;
/// let migrations = directory.path().join("migrations");
/// std::fs::create_dir(&migrations)?;
/// std::fs::write(migrations.join("1_orders.sql"), "CREATE TABLE orders (id INTEGER)")?;
/// let migrator = Migrator::new(migrations).await?;
/// let options = SqliteConnectOptions::new()
///     .filename(directory.path().join("orders.db"))
///     .create_if_missing(true);
/// let pool = SqlitePool::connect_with(options).await?;
///
/// let check = Schema::sqlx(pool.clone(), &migrator);
/// let pending = check.check().await.unwrap();
/// assert_eq!(pending.reason(), Some(Reason::MigrationsPending));
///
/// migrator.run(&pool).await?;
/// assert_eq!(check.check().await.unwrap().status(), Status::Pass);
/// # Ok(())
/// # }
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Schema<DB: Database> {
    /// Provides the options of the dedicated connection.
    pool: Pool<DB>,
    /// The connection of the check.
    own: DedicatedConnection<DB::Connection>,
    /// Looks for the file of the database. `None` if the database is not SQLite.
    file: Option<BlockingCall<io::Result<()>>>,
    /// The name of the migrations table.
    table: Cow<'static, str>,
    /// The checksum of each migration of this build, by its version.
    known: Arc<BTreeMap<i64, Vec<u8>>>,
    /// Whether unknown migrations fail the check.
    exact: bool,
}

/// The content of the migrations table.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The version of a migration that was started but has not completed.
    dirty: Option<i64>,
    /// The migrations that were applied, in any order.
    migrations: Vec<AppliedMigration>,
}

impl<DB> Schema<DB>
where
    DB: Database,
    DB::Connection: Migrate,
{
    /// Creates a check that compares the database of a sqlx pool with the migrations of a migrator.
    ///
    /// Down migrations do not count. The migrator is not kept.
    ///
    /// ```no_run
    /// # type Error = sqlx::migrate::MigrateError;
    /// # async fn check(pool: sqlx::PgPool) -> Result<tower_health::Check, Error> {
    /// use std::path::Path;
    ///
    /// use sqlx::migrate::Migrator;
    /// use tower_health::Check;
    /// use tower_health_checks::Schema;
    ///
    /// // The migrations are read from a directory. `sqlx::migrate!` includes them in the build.
    /// let migrator = Migrator::new(Path::new("./migrations")).await?;
    /// let check = Check::new("schema", Schema::sqlx(pool, &migrator));
    /// # Ok(check)
    /// # }
    /// ```
    pub fn sqlx(pool: Pool<DB>, migrator: &Migrator) -> Self {
        let up = migrator
            .iter()
            .filter(|migration| migration.migration_type.is_up_migration());
        let known = up.map(|migration| (migration.version, migration.checksum.to_vec()));
        Self {
            file: file(&pool),
            pool,
            own: DedicatedConnection::new::<Self>(),
            table: "_sqlx_migrations".into(),
            known: Arc::new(known.collect()),
            exact: false,
        }
    }

    /// Sets the name of the migrations table. Defaults to `_sqlx_migrations`.
    ///
    /// ```
    /// # use sqlx::{SqlitePool, migrate::Migrator, sqlite::SqliteConnectOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let options = SqliteConnectOptions::new()
    /// #     .filename(directory.path().join("orders.db"))
    /// #     .create_if_missing(true);
    /// # let pool = SqlitePool::connect_with(options).await?;
    /// # let create = "CREATE TABLE orders (id INTEGER)";
    /// # std::fs::write(directory.path().join("1_orders.sql"), create)?;
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Schema;
    ///
    /// let mut migrator = Migrator::new(directory.path()).await?;
    /// migrator.dangerous_set_table_name("orders_migrations");
    /// migrator.run(&pool).await?;
    ///
    /// // The migrator does not pass the name on.
    /// let default = Schema::sqlx(pool.clone(), &migrator);
    /// assert_eq!(default.check().await.unwrap().reason(), Some(Reason::MigrationsPending));
    /// let named = default.table("orders_migrations");
    /// assert_eq!(named.check().await.unwrap().status(), Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn table(mut self, table: impl Into<Cow<'static, str>>) -> Self {
        self.table = table.into();
        self
    }

    /// Fails if the database has migrations that this build does not know, for a service that
    /// cannot work with a newer schema. When a newer release migrates, the check of every older
    /// instance then fails at its next run. Defaults to a warning.
    ///
    /// ```
    /// # use sqlx::{SqlitePool, migrate::Migrator, sqlite::SqliteConnectOptions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let options = SqliteConnectOptions::new()
    /// #     .filename(directory.path().join("orders.db"))
    /// #     .create_if_missing(true);
    /// # let pool = SqlitePool::connect_with(options).await?;
    /// # let create = "CREATE TABLE orders (id INTEGER)";
    /// # std::fs::write(directory.path().join("1_orders.sql"), create)?;
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Schema;
    ///
    /// // This build has no migrations. The database has one of a newer release.
    /// let older = Migrator::with_migrations(Vec::new());
    /// let newer = Migrator::new(directory.path()).await?;
    /// newer.run(&pool).await?;
    ///
    /// let outcome = Schema::sqlx(pool.clone(), &older).check().await.unwrap();
    /// assert_eq!(outcome.status(), Status::Warn);
    /// let outcome = Schema::sqlx(pool, &older).exact().check().await.unwrap();
    /// assert_eq!(outcome.status(), Status::Fail);
    /// assert_eq!(outcome.reason(), Some(Reason::Incompatible));
    /// # Ok(())
    /// # }
    /// ```
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Compares what is applied with the build, and measures the differences. An incomplete
    /// migration counts first, then one that is pending, one whose text differs, and one that is
    /// unknown.
    fn judge(&self, applied: &Applied) -> Outcome {
        let versions: BTreeMap<i64, &[u8]> = applied
            .migrations
            .iter()
            .map(|migration| (migration.version, &*migration.checksum))
            .collect();
        let pending = self
            .known
            .keys()
            .filter(|version| !versions.contains_key(version));
        let unknown = versions
            .keys()
            .filter(|version| !self.known.contains_key(version));
        let differs = self.known.iter().find(|(version, checksum)| {
            versions
                .get(version)
                .is_some_and(|applied| applied != checksum)
        });
        let (pending, unknown): (Vec<&i64>, Vec<&i64>) = (pending.collect(), unknown.collect());
        // A migration that this build does not know belongs to a newer release.
        let dirty = applied.dirty.filter(|dirty| self.known.contains_key(dirty));
        let outcome = if let Some(version) = dirty {
            Outcome::fail(Reason::MigrationsPending).with_cause(format_args!(
                "migration {version} was started but has not completed"
            ))
        } else if let Some(version) = pending.first() {
            Outcome::fail(Reason::MigrationsPending)
                .with_cause(format_args!("migration {version} is not applied"))
        } else if let Some((version, _)) = differs {
            Outcome::fail(Reason::Incompatible).with_cause(format_args!(
                "migration {version} was applied with a different text"
            ))
        } else if let Some(version) = unknown.last() {
            let newer = if self.exact {
                Outcome::fail(Reason::Incompatible)
            } else {
                Outcome::warn(Reason::Incompatible)
            };
            newer.with_cause(format_args!("migration {version} is unknown to this build"))
        } else {
            Outcome::pass()
        };
        outcome
            .measure("pending", pending.len(), "")
            .measure("unknown", unknown.len(), "")
    }
}

impl<DB: Database> fmt::Debug for Schema<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("migrations", &self.known.len())
            .field("exact", &self.exact)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<DB> HealthCheck for Schema<DB>
where
    DB: Database,
    DB::Connection: Migrate,
{
    async fn check(&self) -> Result<Outcome, Failure> {
        if let Some(file) = &self.file {
            file.call().await??;
        }
        Ok(self.own.ask(self, |applied| self.judge(&applied)).await)
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }
}

impl<DB> Connector for Schema<DB>
where
    DB: Database,
    DB::Connection: Migrate,
{
    type Connection = DB::Connection;
    type Answer = Applied;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    /// A database without a server may be a file. It is opened again by each run, because the file
    /// may have been removed or replaced.
    fn keeps(&self) -> Duration {
        match DB::NAME {
            "PostgreSQL" | "MySQL" => LIFETIME,
            _ => Duration::ZERO,
        }
    }

    fn connect(&self) -> impl Future<Output = Result<DB::Connection, Refusal>> + Send + 'static {
        let options = own_options(self.pool.connect_options().as_ref().clone());
        async move {
            let connected = DB::Connection::connect_with(&options).await;
            connected.map_err(refusal)
        }
    }

    async fn ask(&self, connection: &mut DB::Connection) -> Result<Applied, Refusal> {
        if !table_exists(connection, &self.table).await? {
            return Ok(Applied {
                dirty: None,
                migrations: Vec::new(),
            });
        }
        let dirty = connection.dirty_version(&self.table).await;
        let dirty = match dirty.map_err(read_error) {
            Ok(dirty) => dirty,
            // No migration was ever applied.
            Err(ReadError::NoTable) => {
                return Ok(Applied {
                    dirty: None,
                    migrations: Vec::new(),
                });
            }
            Err(ReadError::Refused(refusal)) => return Err(refusal),
        };
        let migrations = connection.list_applied_migrations(&self.table).await;
        match migrations.map_err(read_error) {
            Ok(migrations) => Ok(Applied { dirty, migrations }),
            Err(ReadError::NoTable) => Err(said(
                Reason::Failed,
                "the migrations table was removed during the run",
            )),
            Err(ReadError::Refused(refusal)) => Err(refusal),
        }
    }

    async fn close(connection: DB::Connection) {
        close(connection).await;
    }
}

/// Returns whether the migrations table exists, or `true` if that cannot be determined. PostgreSQL
/// logs an error for each query of a missing table, so it is queried for the table first. The query
/// is a single message, which connection poolers do not split.
async fn table_exists<C: Send + 'static>(connection: &mut C, table: &str) -> Result<bool, Refusal> {
    #[cfg(feature = "sqlx-postgres")]
    if let Some(postgres) = (connection as &mut (dyn std::any::Any + Send)).downcast_mut() {
        let postgres: &mut sqlx::PgConnection = postgres;
        let table = table.replace('\'', "''");
        let query = format!("SELECT to_regclass('{table}') IS NOT NULL");
        let found = sqlx::raw_sql(AssertSqlSafe(query))
            .fetch_one(postgres)
            .await;
        return match found.and_then(|row| row.try_get(0)).map_err(refusal) {
            // A database derived from PostgreSQL may lack the function.
            Err(refusal) if refusal.is_rejected_query() => Ok(true),
            found => found,
        };
    }
    _ = (connection, table);
    Ok(true)
}

/// Returns a call that looks for the file of a SQLite pool.
fn file<DB: Database>(pool: &Pool<DB>) -> Option<BlockingCall<io::Result<()>>> {
    #[cfg(feature = "sqlx-sqlite")]
    {
        let any: &dyn std::any::Any = pool;
        let pool = any.downcast_ref::<sqlx::SqlitePool>()?;
        Some(super::sqlite::file(pool))
    }
    #[cfg(not(feature = "sqlx-sqlite"))]
    {
        _ = pool;
        None
    }
}

/// Opens a SQLite database with the same options as [`Sqlite`](crate::Sqlite) does.
fn own_options<O: 'static>(options: O) -> O {
    #[cfg(feature = "sqlx-sqlite")]
    let options = {
        let mut options = options;
        let any: &mut dyn std::any::Any = &mut options;
        if let Some(sqlite) = any.downcast_mut() {
            *sqlite = super::sqlite::own_options(sqlite);
        }
        options
    };
    options
}

/// Why the migrations table was not read.
enum ReadError {
    /// The table does not exist: no migration was ever applied.
    NoTable,
    /// The database refused the query, or the connection was lost.
    Refused(Refusal),
}

/// Converts an error of reading the table.
fn read_error(error: MigrateError) -> ReadError {
    match error {
        MigrateError::Execute(error) => match error.as_database_error() {
            Some(error) if is_no_table(error) => ReadError::NoTable,
            _ => ReadError::Refused(refusal(error)),
        },
        error => ReadError::Refused(Refusal::lost(error)),
    }
}

/// Whether a table does not exist. PostgreSQL and MySQL have an error code for that, SQLite has
/// only a message.
fn is_no_table(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("42P01" | "42S02"))
        || error.message().starts_with("no such table")
}
