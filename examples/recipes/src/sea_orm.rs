//! SeaORM.

use sea_orm::DatabaseConnection;
use tower_health::Check;
use tower_health_checks::Postgres;

/// Returns a check of PostgreSQL, over the sqlx pool of SeaORM.
///
/// # Panics
///
/// Panics if it is a pool of another database.
pub fn postgres(database: &DatabaseConnection) -> Check {
    let pool = database.get_postgres_connection_pool().clone();
    Check::new("postgres", Postgres::sqlx(pool)).shared()
}
