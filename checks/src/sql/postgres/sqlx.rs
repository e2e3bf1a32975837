use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgRow};

use super::{
    Postgres, Source,
    answer::{Answer, QUERY},
};
use tower_health::{Outcome, async_trait};

use crate::sql::{
    own::{Link, Own, Refusal},
    pool::Pool,
    sqlx::refusal,
};

impl Postgres {
    /// A check of the server that a pool of sqlx connects to.
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-postgres")))]
    pub fn sqlx(pool: PgPool) -> Self {
        Self::new(Sqlx {
            pool,
            own: Own::default(),
        })
    }
}

struct Sqlx {
    pool: PgPool,
    own: Own<PgConnection>,
}

#[async_trait]
impl Source for Sqlx {
    async fn ask(&self) -> Result<Answer, Outcome> {
        self.own.ask(self).await
    }

    fn forget(&self) {
        self.own.forget();
    }

    fn pool(&self) -> Option<Pool> {
        Some(Pool::of(&self.pool))
    }
}

impl Link for Sqlx {
    type Connection = PgConnection;
    type Answer = Answer;

    fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    async fn connect(&self) -> Result<PgConnection, Refusal> {
        let options = self.pool.connect_options();
        let connected = PgConnection::connect_with(&options).await;
        connected.map_err(refusal)
    }

    async fn ask(&self, connection: &mut PgConnection) -> Result<Answer, Refusal> {
        let answered = sqlx::raw_sql(QUERY).fetch_one(connection).await;
        let answer = answered.and_then(|row| read(&row));
        answer.map_err(refusal)
    }
}

fn read(row: &PgRow) -> Result<Answer, sqlx::Error> {
    let mut answer = Answer::default();
    for (index, column) in answer.iter_mut().enumerate() {
        *column = row.try_get(index)?;
    }
    Ok(answer)
}
