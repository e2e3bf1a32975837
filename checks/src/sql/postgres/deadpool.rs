use deadpool::managed::Manager as _;
use deadpool_postgres::{ClientWrapper, Pool};

use super::{
    Postgres, Source,
    answer::{Answer, Expected, ask},
    client::refusal,
};
use tower_health::{Outcome, async_trait};

use crate::sql::{
    own::{Link, Own, Refusal},
    pool,
};

impl Postgres {
    /// A check of the server that a pool of deadpool-postgres connects to.
    #[cfg_attr(docsrs, doc(cfg(feature = "deadpool-postgres")))]
    pub fn deadpool(pool: Pool) -> Self {
        Self::new(Deadpool {
            pool,
            own: Own::new::<Deadpool>(),
        })
    }
}

struct Deadpool {
    pool: Pool,
    own: Own<Client>,
}

/// A client, of which the manager keeps something until it is told.
struct Client {
    client: ClientWrapper,
    pool: Pool,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pool.manager().detach(&mut self.client);
    }
}

#[async_trait]
impl Source for Deadpool {
    async fn ask(&self, expected: &Expected) -> Outcome {
        self.own.ask(self, |answer| expected.judge(&answer)).await
    }

    fn pool(&self) -> Option<pool::Pool> {
        let status = self.pool.status();
        Some(pool::Pool {
            used: status.size.saturating_sub(status.available),
            size: status.max_size,
        })
    }
}

impl Link for Deadpool {
    type Connection = Client;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    async fn connect(&self) -> Result<Client, Refusal> {
        let client = self.pool.manager().create().await.map_err(refusal)?;
        let pool = self.pool.clone();
        Ok(Client { client, pool })
    }

    async fn ask(&self, connection: &mut Client) -> Result<Answer, Refusal> {
        let mut client: &tokio_postgres::Client = &connection.client;
        ask(&mut client).await
    }

    /// The driver's task ends with it, before it could say anything; PostgreSQL says nothing of it either.
    async fn close(connection: Client) {
        drop(connection);
    }
}
