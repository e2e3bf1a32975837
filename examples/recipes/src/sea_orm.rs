//! SeaORM.

use sea_orm::DatabaseConnection;
use tower_health::Check;
use tower_health_checks::Postgres;

/// The check of PostgreSQL, over the pool of sqlx that SeaORM has. It panics if that is a pool of
/// another database.
pub fn postgres(database: &DatabaseConnection) -> Check {
    let pool = database.get_postgres_connection_pool().clone();
    Check::new("postgres", Postgres::sqlx(pool)).shared()
}
