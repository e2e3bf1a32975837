//! PostgreSQL over deadpool-postgres. The manager of the pool opens the dedicated connection, with
//! its own configuration and TLS. The pool does not count it.

use std::{future::Future, time::Duration};

use deadpool_postgres::{Manager, Object, Pool};

use super::{
    Postgres, Source,
    answer::{Answer, Expected, ask},
    client::refusal,
};
use tower_health::{Outcome, async_trait};

use crate::{
    dedicated::{Connector, DedicatedConnection, NO_MAX_LIFETIME},
    pool::{
        Usage,
        deadpool::{Created, create, usage},
    },
    refusal::Refusal,
};

impl Postgres {
    /// Creates a check for the server of a deadpool-postgres pool.
    ///
    /// The check takes no connection from the pool, so it also runs while the pool is exhausted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use deadpool_postgres::{Manager, Pool};
    /// use tokio_postgres::{Config, NoTls};
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Postgres;
    ///
    /// // Nothing listens on this port.
    /// let config: Config = "host=127.0.0.1 port=1 user=app".parse()?;
    /// let pool = Pool::builder(Manager::new(config, NoTls)).max_size(5).build()?;
    /// let outcome = Postgres::deadpool(pool).check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::ConnectionRefused));
    /// // The server did not answer, but the usage of the pool is known.
    /// assert_eq!(outcome.measurements()[0].name, "pool_used");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "deadpool-postgres")))]
    pub fn deadpool(pool: Pool) -> Self {
        Self::new(Deadpool {
            pool,
            own: DedicatedConnection::new::<Deadpool>(),
        })
    }
}

/// A pool of deadpool, and the connection of the check beside it.
struct Deadpool {
    pool: Pool,
    own: DedicatedConnection<Client>,
}

/// A connection that the manager of the pool has created outside the pool.
type Client = Created<Manager, Object>;

#[async_trait]
impl Source for Deadpool {
    async fn ask(&self, expected: &Expected) -> Outcome {
        self.own.ask(self, |answer| expected.judge(&answer)).await
    }

    fn pool(&self) -> Option<Usage> {
        Some(usage(&self.pool))
    }
}

impl Connector for Deadpool {
    type Connection = Client;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    fn keeps(&self) -> Duration {
        NO_MAX_LIFETIME
    }

    fn connect(&self) -> impl Future<Output = Result<Client, Refusal>> + Send + 'static {
        let pool = self.pool.clone();
        async move { create(pool).await.map_err(refusal) }
    }

    async fn ask(&self, connection: &mut Client) -> Result<Answer, Refusal> {
        let mut client: &tokio_postgres::Client = connection;
        ask(&mut client).await
    }

    /// Drops the connection. The driver's task ends before it can close the connection in the
    /// protocol, and PostgreSQL counts an abandoned session.
    async fn close(connection: Client) {
        drop(connection);
    }
}
