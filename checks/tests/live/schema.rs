use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, Database, Pool, SqlSafeStr, SqlitePool,
    migrate::{Migrate, Migration, MigrationType, Migrator},
};
use tower_health::{HealthCheck, Outcome, Reason, Status, testing::Contract};
use tower_health_checks::Schema;

use crate::table::assert_refusal;

/// Returns the migrations of a release, each with its text.
pub(crate) fn migrator(texts: &[&'static str]) -> Migrator {
    let migration = |(version, text): (i64, &&'static str)| {
        Migration::new(
            version,
            "change".into(),
            MigrationType::Simple,
            AssertSqlSafe(*text).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations((1..).zip(texts).map(migration).collect())
}

const OLD: &[&str] = &["CREATE TABLE a (n INTEGER)", "CREATE TABLE b (n INTEGER)"];
const NEW: &[&str] = &[
    "CREATE TABLE a (n INTEGER)",
    "CREATE TABLE b (n INTEGER)",
    "CREATE TABLE c (n INTEGER)",
];
const OTHER: &[&str] = &["CREATE TABLE a (n INTEGER)", "CREATE TABLE b (m INTEGER)"];

async fn told<DB>(check: &Schema<DB>) -> (Status, Option<Reason>)
where
    DB: Database,
    DB::Connection: Migrate,
{
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

/// Tests a database before and after the migrations of a release, with the schema checks of that
/// release and of the releases before and after it.
pub(crate) async fn releases<DB>(pool: Pool<DB>)
where
    DB: Database,
    DB::Connection: Migrate,
    for<'a> &'a Pool<DB>: sqlx::Acquire<'a, Database = DB>,
{
    let [old, new, other] = [OLD, NEW, OTHER].map(migrator);
    let check = |migrator: &Migrator| Schema::sqlx(pool.clone(), migrator);
    let pending = (Status::Fail, Some(Reason::MigrationsPending));
    // No migration was ever applied, and the check creates no table.
    assert_eq!(told(&check(&old)).await, pending);
    let what = "tables that a release needs and that do not exist yet";
    assert_refusal("schema", what, &check(&old)).await;
    let kept = check(&old);
    assert_eq!(told(&kept).await, pending);
    old.run(&pool).await.unwrap();
    assert_eq!(told(&kept).await, (Status::Pass, None));
    let outcome = check(&new).check().await.unwrap();
    assert_eq!((outcome.status(), outcome.reason()), pending);
    let measured = outcome
        .measurements()
        .iter()
        .map(|measured| &*measured.name);
    assert_eq!(measured.collect::<Vec<_>>(), ["pending", "unknown"]);
    let differs = (Status::Fail, Some(Reason::Incompatible));
    assert_eq!(told(&check(&other)).await, differs);
    // A newer release has migrated the database. The older release continues to serve, unless it
    // requires the exact schema.
    new.run(&pool).await.unwrap();
    assert_eq!(told(&check(&new)).await, (Status::Pass, None));
    let newer = |status| (status, Some(Reason::Incompatible));
    assert_eq!(told(&kept).await, newer(Status::Warn));
    assert_eq!(told(&kept.exact()).await, newer(Status::Fail));
    let contract = Contract::new(|| check(&new));
    contract.expect(Status::Pass).assert().await;
    let elsewhere = check(&new).table("migrations_of_nobody");
    assert_eq!(told(&elsewhere).await, pending);
}

async fn sqlite(file: &Path) -> SqlitePool {
    let url = format!("sqlite://{}?mode=rwc", file.display());
    SqlitePool::connect(&url).await.unwrap()
}

const PASSES: (Status, Option<Reason>) = (Status::Pass, None);

#[tokio::test]
async fn schema_checks_follow_releases_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.db");
    let pool = sqlite(&file).await;
    releases(pool.clone()).await;
    // A migration that was begun and not completed.
    let dirty = "UPDATE _sqlx_migrations SET success = false WHERE version = 3";
    sqlx::raw_sql(dirty).execute(&pool).await.unwrap();
    let check = |texts| Schema::sqlx(pool.clone(), &migrator(texts));
    let pending = (Status::Fail, Some(Reason::MigrationsPending));
    assert_eq!(told(&check(NEW)).await, pending);
    // The older release continues to serve while the newer one migrates.
    let newer = |status| (status, Some(Reason::Incompatible));
    assert_eq!(told(&check(OLD)).await, newer(Status::Warn));
    assert_eq!(told(&check(OLD).exact()).await, newer(Status::Fail));
    // A check of a database that does not exist does not create it.
    fs::remove_file(&file).unwrap();
    assert_eq!(told(&check(OLD)).await.0, Status::Fail);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_deleted_or_replaced_file_is_detected_despite_an_open_connection() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.db");
    let pool = sqlite(&file).await;
    migrator(OLD).run(&pool).await.unwrap();
    let check = Schema::sqlx(pool.clone(), &migrator(OLD));
    assert_eq!(told(&check).await, PASSES);
    let elsewhere = directory.path().join("elsewhere.db");
    fs::rename(&file, &elsewhere).unwrap();
    assert_eq!(told(&check).await, (Status::Fail, Some(Reason::NotFound)));
    assert!(!file.exists(), "a check makes nothing");
    // A database without migrations replaces it.
    sqlite(&file).await.close().await;
    let pending = (Status::Fail, Some(Reason::MigrationsPending));
    assert_eq!(told(&check).await, pending);
    fs::rename(&elsewhere, &file).unwrap();
    assert_eq!(told(&check).await, PASSES);
}

#[tokio::test]
async fn a_locked_file_is_busy_soon() {
    let directory = tempfile::tempdir().unwrap();
    let pool = sqlite(&directory.path().join("orders.db")).await;
    migrator(OLD).run(&pool).await.unwrap();
    let check = Schema::sqlx(pool.clone(), &migrator(OLD));
    assert_eq!(told(&check).await, PASSES);
    let mut writer = pool.acquire().await.unwrap();
    let lock = "BEGIN EXCLUSIVE";
    sqlx::raw_sql(lock).execute(&mut *writer).await.unwrap();
    let began = Instant::now();
    assert_eq!(told(&check).await, (Status::Warn, Some(Reason::Busy)));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let unlock = "ROLLBACK";
    sqlx::raw_sql(unlock).execute(&mut *writer).await.unwrap();
    assert_eq!(told(&check).await, PASSES);
}

#[tokio::test]
async fn a_closed_pool_fails_although_its_schema_matches() {
    let directory = tempfile::tempdir().unwrap();
    let pool = sqlite(&directory.path().join("orders.db")).await;
    migrator(OLD).run(&pool).await.unwrap();
    let check = Schema::sqlx(pool.clone(), &migrator(OLD));
    assert_eq!(told(&check).await, PASSES);
    pool.close().await;
    let closed = (Status::Fail, Some(Reason::Misconfigured));
    assert_eq!(told(&check).await, closed);
}
