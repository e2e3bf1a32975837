use std::future::Future;

use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, Error, SimpleQueryMessage, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};

use super::{
    Postgres, Source,
    answer::{Answer, Expected, Rows, ask},
    reason,
};
use tower_health::{Cause, Failure, Outcome, Reason, async_trait};

use crate::{
    own::{Link, Own},
    pool::Usage,
    refusal::{Refusal, said},
    sql::tls,
};

impl Postgres {
    /// A check of the server that a configuration of tokio-postgres names, for services that have no pool. Without TLS, `tls` is
    /// [`NoTls`](tokio_postgres::NoTls).
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio-postgres")))]
    pub fn config<T>(config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        Self::new(Bare {
            config,
            tls,
            own: Own::new::<Bare<T>>(),
        })
    }
}

struct Bare<T> {
    config: Config,
    tls: T,
    own: Own<Driven>,
}

/// A client, and the task that drives its connection.
struct Driven {
    client: Client,
    task: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl<T> Source for Bare<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    async fn ask(&self, expected: &Expected) -> Outcome {
        self.own.ask(self, |answer| expected.judge(&answer)).await
    }

    fn pool(&self) -> Option<Usage> {
        None
    }
}

impl<T> Link for Bare<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    type Connection = Driven;
    type Answer = Answer;

    fn connect(&self) -> impl Future<Output = Result<Driven, Refusal>> + Send + 'static {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        async move {
            let (client, connection) = config.connect(tls).await.map_err(refusal)?;
            // What ends it, whoever waits for an answer learns.
            let task = tokio::spawn(async move { _ = connection.await });
            let task = AbortOnDrop(task);
            Ok(Driven { client, task })
        }
    }

    async fn ask(&self, connection: &mut Driven) -> Result<Answer, Refusal> {
        ask(&mut &connection.client).await
    }

    /// Once its client is gone, the task says goodbye and ends.
    async fn close(connection: Driven) {
        let Driven { client, mut task } = connection;
        drop(client);
        _ = (&mut task.0).await;
    }
}

impl Rows for &Client {
    async fn row(&mut self, query: &'static str) -> Result<Vec<Option<String>>, Refusal> {
        let messages = self.simple_query(query).await.map_err(refusal)?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let Some(row) = row else {
            return Err(said(Reason::UnexpectedAnswer, "it answers without a row"));
        };
        let cells =
            (0..row.len()).map(|index| row.try_get(index).map(|cell| cell.map(str::to_owned)));
        cells.collect::<Result<_, _>>().map_err(refusal)
    }
}

/// What errors begin with that have no other sign of their kind.
const UNUSABLE: &str = "invalid configuration";
const UNSECURED: &str = "error performing TLS handshake";

pub(super) fn refusal(error: Error) -> Refusal {
    of_tokio_postgres(&error)
}

pub(crate) fn of_tokio_postgres(error: &Error) -> Refusal {
    if let Some(error) = error.as_db_error() {
        return match reason(error.code().code(), error.message()) {
            Some(reason) => said(reason, error.message()),
            None => Refusal::lost(Failure::new(Reason::ConnectionLost).with_cause(error.message())),
        };
    }
    let reason = match error.to_string() {
        _ if error.is_closed() => Reason::ConnectionLost,
        text if text.starts_with(UNUSABLE) => Reason::Misconfigured,
        text if text.starts_with(UNSECURED) => tls::reason(error),
        _ => Reason::of(error),
    };
    let cause = Cause::of(error);
    Refusal::lost(Failure::new(reason).with_cause(cause.redacted()))
}
