//! Databases that speak SQL.

#[cfg(feature = "sqlx-mysql")]
mod mysql;
#[cfg_attr(
    not(any(
        feature = "sqlx-migrate",
        feature = "sqlx-mysql",
        feature = "sqlx-postgres",
        feature = "tokio-postgres"
    )),
    expect(dead_code, reason = "SQLite is opened anew for each run")
)]
mod own;
#[cfg(any(
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "sqlx-sqlite",
    feature = "tokio-postgres"
))]
mod pool;
#[cfg(any(feature = "sqlx-postgres", feature = "tokio-postgres"))]
mod postgres;
#[cfg(feature = "sqlx-migrate")]
mod schema;
#[cfg(feature = "sqlx-sqlite")]
mod sqlite;
#[cfg(any(
    feature = "sqlx-migrate",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "sqlx-sqlite"
))]
mod sqlx;
mod tls;

#[cfg(feature = "sqlx-mysql")]
pub use self::mysql::MySql;
#[cfg(any(feature = "sqlx-postgres", feature = "tokio-postgres"))]
pub use self::postgres::Postgres;
#[cfg(feature = "sqlx-migrate")]
pub use self::schema::Schema;
#[cfg(feature = "sqlx-sqlite")]
pub use self::sqlite::Sqlite;
