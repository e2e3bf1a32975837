use std::{fs, path::Path};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteLockingMode, SqlitePoolOptions},
};
use tower_health::{HealthCheck, Outcome, Reason, Status, testing::Contract};
use tower_health_checks::Sqlite;

use crate::{table::assert_refusal, wear::wear};

async fn pool(file: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(2);
    let pool = pool.connect_with(options).await.unwrap();
    let table = "CREATE TABLE IF NOT EXISTS t (n INTEGER); INSERT INTO t VALUES (1)";
    sqlx::raw_sql(table).execute(&pool).await.unwrap();
    pool
}

async fn told(check: &Sqlite) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

const PASSES: (Status, Option<Reason>) = (Status::Pass, None);

#[tokio::test]
async fn a_deleted_file_fails_although_it_can_still_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.db");
    let pool = pool(&file).await;
    let check = Sqlite::sqlx(pool.clone()).writable().integrity();
    assert_eq!(told(&check).await, PASSES);
    let elsewhere = directory.path().join("elsewhere.db");
    fs::rename(&file, &elsewhere).unwrap();
    let read: i64 = sqlx::query_scalar("SELECT n FROM t")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(read, 1);
    assert_eq!(told(&check).await, (Status::Fail, Some(Reason::NotFound)));
    assert!(!file.exists(), "a check makes nothing");
    fs::rename(&elsewhere, &file).unwrap();
    assert_eq!(told(&check).await, PASSES);
}

#[tokio::test]
async fn a_held_write_lock_and_a_full_pool_are_busy() {
    let directory = tempfile::tempdir().unwrap();
    let pool = pool(&directory.path().join("orders.db")).await;
    let (reads, writes) = (
        Sqlite::sqlx(pool.clone()),
        Sqlite::sqlx(pool.clone()).writable(),
    );
    let busy = (Status::Warn, Some(Reason::Busy));
    let mut writer = pool.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut *writer)
        .await
        .unwrap();
    assert_eq!(told(&reads).await, PASSES);
    assert_eq!(told(&writes).await, busy);
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut *writer)
        .await
        .unwrap();
    assert_eq!(told(&writes).await, PASSES);
    let other = pool.acquire().await.unwrap();
    assert_eq!(told(&reads).await, busy);
    drop((writer, other));
}

#[tokio::test]
async fn a_closed_pool_fails_although_its_file_exists() {
    let directory = tempfile::tempdir().unwrap();
    let pool = pool(&directory.path().join("orders.db")).await;
    let check = Sqlite::sqlx(pool.clone());
    assert_eq!(told(&check).await, PASSES);
    pool.close().await;
    let closed = (Status::Fail, Some(Reason::Misconfigured));
    assert_eq!(told(&check).await, closed);
}

#[tokio::test]
async fn a_read_only_and_a_damaged_database_fail() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.db");
    drop(pool(&file).await);
    let read_only = SqliteConnectOptions::new().filename(&file).read_only(true);
    let read_only = SqlitePool::connect_with(read_only).await.unwrap();
    assert_eq!(told(&Sqlite::sqlx(read_only.clone())).await, PASSES);
    let writes = Sqlite::sqlx(read_only).writable();
    assert_eq!(told(&writes).await, (Status::Fail, Some(Reason::ReadOnly)));
    assert_refusal("sqlite, writable", "a read-only file", &writes).await;

    // The first page, which contains the schema, is intact. The page of the table is not.
    let options = SqliteConnectOptions::new().filename(&file);
    let pool = SqlitePool::connect_lazy_with(options);
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    let damaged = (Status::Fail, Some(Reason::UnexpectedAnswer));
    assert_eq!(told(&Sqlite::sqlx(pool.clone())).await, PASSES);
    assert_eq!(told(&Sqlite::sqlx(pool.clone()).integrity()).await, damaged);
    fs::write(
        &file,
        "no database at all, whatever its name is".repeat(100),
    )
    .unwrap();
    assert_eq!(told(&Sqlite::sqlx(pool)).await, damaged);
}

#[tokio::test]
async fn the_check_meets_the_contract_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.db");
    let pool = pool(&file).await;
    let contract = Contract::new(|| Sqlite::sqlx(pool.clone()).writable());
    contract.expect(Status::Pass).assert().await;
    wear(&Sqlite::sqlx(pool.clone()).writable()).await;
    // The service can still write.
    sqlx::raw_sql("INSERT INTO t VALUES (2)")
        .execute(&pool)
        .await
        .unwrap();
    fs::remove_file(&file).unwrap();
    let contract = Contract::new(|| Sqlite::sqlx(pool.clone()));
    contract.expect(Status::Fail).assert().await;
}

#[tokio::test]
async fn a_replaced_file_is_the_one_that_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.db");
    let check = Sqlite::sqlx(pool(&file).await).writable();
    assert_eq!(told(&check).await, PASSES);
    let other = directory.path().join("restored.db");
    pool(&other).await.close().await;
    fs::rename(&other, &file).unwrap();
    assert_eq!(told(&check).await, PASSES);
    fs::write(&other, "no database at all".repeat(100)).unwrap();
    fs::rename(&other, &file).unwrap();
    let damaged = (Status::Fail, Some(Reason::UnexpectedAnswer));
    assert_eq!(told(&check).await, damaged);
}

#[tokio::test]
async fn a_database_in_memory_passes_without_a_file() {
    for url in [
        "sqlite::memory:",
        "sqlite://named?mode=memory",
        "sqlite://named?cache=private&mode=memory",
    ] {
        let pool = SqlitePool::connect(url).await.unwrap();
        assert_eq!(told(&Sqlite::sqlx(pool).writable()).await, PASSES, "{url}");
    }
}

#[tokio::test]
async fn an_exclusively_locked_file_is_checked_through_the_pool() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("orders.db"))
        .create_if_missing(true)
        .locking_mode(SqliteLockingMode::Exclusive);
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await.unwrap();
    let table = "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)";
    sqlx::raw_sql(table).execute(&pool).await.unwrap();
    let own = Sqlite::sqlx(pool.clone());
    let through = Sqlite::sqlx(pool.clone())
        .through_pool()
        .writable()
        .integrity();
    let busy = (Status::Warn, Some(Reason::Busy));
    assert_eq!(told(&own).await, busy);
    let what = "a file that the service has locked exclusively; over the pool it passes";
    assert_refusal("sqlite", what, &own).await;
    for _ in 0..20 {
        assert_eq!(told(&through).await, PASSES);
    }
    // The settings that a run makes on the connection are reset afterwards.
    let count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000) SELECT count(*) FROM c";
    let counted: i64 = sqlx::query_scalar(count).fetch_one(&pool).await.unwrap();
    assert_eq!(counted, 100_000);
    let taken = pool.acquire().await.unwrap();
    assert_eq!(told(&through).await, busy);
    drop(taken);
    assert_eq!(told(&through).await, PASSES);
}
