use async_trait::async_trait;
use deadpool::managed::Manager as _;
use deadpool_postgres::{ClientWrapper, Pool};

use super::{
    Postgres, Source,
    answer::Answer,
    client::{ask, refusal},
};
use crate::{
    checks::sql::{
        own::{Link, Own, Refusal},
        pool,
    },
    model::Outcome,
};

impl Postgres {
    /// A check of the server that a pool of deadpool-postgres connects to.
    #[cfg_attr(docsrs, doc(cfg(feature = "deadpool-postgres")))]
    pub fn deadpool(pool: Pool) -> Self {
        Self::new(Deadpool {
            pool,
            own: Own::default(),
        })
    }
}

struct Deadpool {
    pool: Pool,
    own: Own<ClientWrapper>,
}

#[async_trait]
impl Source for Deadpool {
    async fn ask(&self) -> Result<Answer, Outcome> {
        self.own.ask(self).await
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
    type Connection = ClientWrapper;
    type Answer = Answer;

    async fn connect(&self) -> Result<ClientWrapper, Refusal> {
        self.pool.manager().create().await.map_err(refusal)
    }

    async fn ask(&self, connection: &mut ClientWrapper) -> Result<Answer, Refusal> {
        ask(connection).await
    }
}
