use std::{future::Future, time::Duration};

use deadpool_postgres::{Manager, Object, Pool};

use super::{
    Postgres, Source,
    answer::{Answer, Expected, ask},
    client::refusal,
};
use tower_health::{Outcome, async_trait};

use crate::{
    own::{Link, Own, WHILE_IT_WORKS},
    pool::{
        Usage,
        deadpool::{Created, create, usage},
    },
    refusal::Refusal,
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

impl Link for Deadpool {
    type Connection = Client;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    fn keeps(&self) -> Duration {
        WHILE_IT_WORKS
    }

    fn connect(&self) -> impl Future<Output = Result<Client, Refusal>> + Send + 'static {
        let pool = self.pool.clone();
        async move { create(pool).await.map_err(refusal) }
    }

    async fn ask(&self, connection: &mut Client) -> Result<Answer, Refusal> {
        let mut client: &tokio_postgres::Client = connection;
        ask(&mut client).await
    }

    /// The driver's task ends with it, before it could say anything. PostgreSQL counts that as an abandoned session.
    async fn close(connection: Client) {
        drop(connection);
    }
}
