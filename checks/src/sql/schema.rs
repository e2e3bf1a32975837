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
    own::{LIFETIME, Link, Own},
    refusal::{Refusal, said},
};

/// Whether a database has the migrations that this build of the service was made for.
///
/// | finding | outcome |
/// | --- | --- |
/// | it has them all, and no others | pass |
/// | it has more: a newer release has been here | warn, incompatible; with [`exact`](Self::exact) fail |
/// | it lacks some | fail, migrations pending |
/// | one was applied that reads otherwise here | fail, incompatible |
/// | one of them was begun and has not ended | fail, migrations pending |
/// | the pool is closed | fail, misconfigured |
/// | somebody locks a SQLite database for longer than 250 ms | warn, busy |
/// | it cannot be reached or read | fail, as the check of that database says |
///
/// More is no failure by itself: while a release rolls out, its first instance migrates, and the older ones
/// serve on. A run is two queries of the table of migrations, over a connection of the check's own, which it keeps while
/// all is well; nothing is made or applied. Of SQLite each run opens the file anew, as of [`Sqlite`](crate::Sqlite), so it
/// sees that the file is gone or another, and of a database in memory sees another one than the pool.
///
/// It measures `pending` and `unknown` migrations. A schema seldom changes: a [period](tower_health::Check::period) of a minute is enough.
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
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Schema<DB: Database> {
    pool: Pool<DB>,
    own: Own<DB::Connection>,
    /// None is a database that is no file.
    file: Option<BlockingCall<io::Result<()>>>,
    table: Cow<'static, str>,
    /// What every migration of this build should read, by its version.
    known: Arc<BTreeMap<i64, Vec<u8>>>,
    exact: bool,
}

/// What the table of migrations holds.
#[derive(Debug)]
pub(crate) struct Applied {
    dirty: Option<i64>,
    migrations: Vec<AppliedMigration>,
}

impl<DB> Schema<DB>
where
    DB: Database,
    DB::Connection: Migrate,
{
    /// A check of the database that a pool of sqlx connects to, against the migrations of a migrator.
    pub fn sqlx(pool: Pool<DB>, migrator: &Migrator) -> Self {
        let up = migrator
            .iter()
            .filter(|migration| migration.migration_type.is_up_migration());
        let known = up.map(|migration| (migration.version, migration.checksum.to_vec()));
        Self {
            file: file(&pool),
            pool,
            own: Own::new::<Self>(),
            table: "_sqlx_migrations".into(),
            known: Arc::new(known.collect()),
            exact: false,
        }
    }

    /// The table in which migrations are noted. Defaults to `_sqlx_migrations`.
    pub fn table(mut self, table: impl Into<Cow<'static, str>>) -> Self {
        self.table = table.into();
        self
    }

    /// Fails where the database has migrations that this build does not know, as for a service that cannot work with a newer
    /// schema. Every older instance then leaves at once when a newer one migrates. Defaults to a warning.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

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
        // One that this build does not know is under way, for a newer release.
        let dirty = applied.dirty.filter(|dirty| self.known.contains_key(dirty));
        let outcome = if let Some(version) = dirty {
            Outcome::fail(Reason::MigrationsPending)
                .with_cause(format_args!("migration {version} was begun and not ended"))
        } else if let Some(version) = pending.first() {
            Outcome::fail(Reason::MigrationsPending)
                .with_cause(format_args!("migration {version} was not applied"))
        } else if let Some((version, _)) = differs {
            Outcome::fail(Reason::Incompatible).with_cause(format_args!(
                "migration {version} was applied from another text"
            ))
        } else if let Some(version) = unknown.last() {
            let newer = match self.exact {
                true => Outcome::fail(Reason::Incompatible),
                false => Outcome::warn(Reason::Incompatible),
            };
            newer.with_cause(format_args!("migration {version} is none of this build"))
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

impl<DB> Link for Schema<DB>
where
    DB: Database,
    DB::Connection: Migrate,
{
    type Connection = DB::Connection;
    type Answer = Applied;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    /// What is none of a server may be a file, which may be gone or another when it is opened next.
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
        if !is_there(connection, &self.table).await? {
            return Ok(Applied {
                dirty: None,
                migrations: Vec::new(),
            });
        }
        let dirty = connection.dirty_version(&self.table).await;
        let dirty = match dirty.map_err(told) {
            Ok(dirty) => dirty,
            // Nothing was ever applied.
            Err(Told::NoTable) => {
                return Ok(Applied {
                    dirty: None,
                    migrations: Vec::new(),
                });
            }
            Err(Told::Refused(refusal)) => return Err(refusal),
        };
        let migrations = connection.list_applied_migrations(&self.table).await;
        match migrations.map_err(told) {
            Ok(migrations) => Ok(Applied { dirty, migrations }),
            Err(Told::NoTable) => Err(said(Reason::Failed, "the table of migrations went")),
            Err(Told::Refused(refusal)) => Err(refusal),
        }
    }

    async fn close(connection: DB::Connection) {
        close(connection).await;
    }
}

/// Whether there is a table of migrations, as far as that is to be told. PostgreSQL logs an error for each question of a table that is not there,
/// and poolers keep a question together that is one message.
async fn is_there<C: Send + 'static>(connection: &mut C, table: &str) -> Result<bool, Refusal> {
    #[cfg(feature = "sqlx-postgres")]
    if let Some(postgres) = (connection as &mut (dyn std::any::Any + Send)).downcast_mut() {
        let postgres: &mut sqlx::PgConnection = postgres;
        let table = table.replace('\'', "''");
        let query = format!("SELECT to_regclass('{table}') IS NOT NULL");
        let found = sqlx::raw_sql(AssertSqlSafe(query))
            .fetch_one(postgres)
            .await;
        return match found.and_then(|row| row.try_get(0)).map_err(refusal) {
            // A relative of PostgreSQL lacks the function.
            Err(refusal) if refusal.is_of_the_question() => Ok(true),
            found => found,
        };
    }
    _ = (connection, table);
    Ok(true)
}

/// What looks for the file of a pool of SQLite.
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

/// SQLite is opened as its own check does.
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

enum Told {
    NoTable,
    Refused(Refusal),
}

fn told(error: MigrateError) -> Told {
    match error {
        MigrateError::Execute(error) => match error.as_database_error() {
            Some(error) if is_no_table(error) => Told::NoTable,
            _ => Told::Refused(refusal(error)),
        },
        error => Told::Refused(Refusal::lost(error)),
    }
}

/// Undefined table, of PostgreSQL and of MySQL; SQLite has no code of its own for it.
fn is_no_table(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("42P01" | "42S02"))
        || error.message().starts_with("no such table")
}
