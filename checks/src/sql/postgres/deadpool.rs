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
    #[cfg_attr(docsrs, doc(cfg(feature = "deadpool-postgres")))]
    pub fn deadpool(pool: Pool) -> Self {
        Self::new(Deadpool {
            pool,
            own: DedicatedConnection::new::<Deadpool>(),
        })
    }
}

struct Deadpool {
    pool: Pool,
    own: DedicatedConnection<Client>,
}

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
