//! PostgreSQL over sqlx. The dedicated connection has the options of the pool, and its hooks do not
//! run.

use std::future::Future;

use sqlx::{Connection, PgConnection, PgPool, Row};

use super::{
    Postgres, Source,
    answer::{Answer, Expected, Rows, ask},
};
use tower_health::{Outcome, async_trait};

use crate::{
    dedicated::{Connector, DedicatedConnection},
    pool::Usage,
    refusal::Refusal,
    sql::sqlx::{close, refusal},
};

impl Postgres {
    /// Creates a check for the server of a sqlx pool.
    ///
    /// The check takes no connection from the pool. It connects when it first runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sqlx::PgPool;
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Postgres;
    ///
    /// // Nothing listens on this port.
    /// let pool = PgPool::connect_lazy("postgres://app@127.0.0.1:1/orders")?;
    /// let check = Postgres::sqlx(pool.clone());
    /// assert_eq!(check.check().await.unwrap().reason(), Some(Reason::ConnectionRefused));
    ///
    /// pool.close().await;
    /// assert_eq!(check.check().await.unwrap().reason(), Some(Reason::Misconfigured));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-postgres")))]
    pub fn sqlx(pool: PgPool) -> Self {
        Self::new(Sqlx {
            pool,
            own: DedicatedConnection::new::<Sqlx>(),
        })
    }
}

/// A pool of sqlx, and the connection of the check beside it.
struct Sqlx {
    pool: PgPool,
    own: DedicatedConnection<PgConnection>,
}

#[async_trait]
impl Source for Sqlx {
    async fn ask(&self, expected: &Expected) -> Outcome {
        self.own.ask(self, |answer| expected.judge(&answer)).await
    }

    fn pool(&self) -> Option<Usage> {
        Some(Usage::of(&self.pool))
    }
}

impl Connector for Sqlx {
    type Connection = PgConnection;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    fn connect(&self) -> impl Future<Output = Result<PgConnection, Refusal>> + Send + 'static {
        let options = self.pool.connect_options();
        async move {
            let connected = PgConnection::connect_with(&options).await;
            connected.map_err(refusal)
        }
    }

    async fn ask(&self, connection: &mut PgConnection) -> Result<Answer, Refusal> {
        ask(connection).await
    }

    async fn close(connection: PgConnection) {
        close(connection).await;
    }
}

impl Rows for PgConnection {
    async fn row(&mut self, query: &'static str) -> Result<Vec<Option<String>>, Refusal> {
        let answered = sqlx::raw_sql(query).fetch_one(self).await;
        let row = answered.map_err(refusal)?;
        let cells = (0..row.len()).map(|index| row.try_get(index));
        cells.collect::<Result<_, _>>().map_err(refusal)
    }
}
