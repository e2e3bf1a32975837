//! Checks for SQL databases.
//!
//! [`Postgres`] and [`MySql`] query what the server knows about itself in the same round trip that
//! shows that it answers. [`Sqlite`] has no server, so it looks at a file. [`Schema`] works with
//! all three, and looks only at the migrations.
//!
//! Each module maps the error codes of its database to a [`Reason`](tower_health::Reason), with a
//! link to the list of those codes. An unknown code is [`Failed`](tower_health::Reason::Failed).

#[cfg(feature = "sqlx-mysql")]
mod mysql;
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
#[cfg(feature = "tokio-postgres")]
pub(crate) use self::postgres::client::of_tokio_postgres;
#[cfg(feature = "sqlx-migrate")]
pub use self::schema::Schema;
#[cfg(feature = "sqlx-sqlite")]
pub use self::sqlite::Sqlite;
