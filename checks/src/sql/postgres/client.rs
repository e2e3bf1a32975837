//! PostgreSQL over tokio-postgres, without a pool.
//!
//! A client of tokio-postgres works only while a task drives its connection. [`Driven`] holds both,
//! and ends the task with the client. The conversion of errors here serves the other users of the
//! driver as well: deadpool, and pools whose errors are of this type.

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
    dedicated::{Connector, DedicatedConnection},
    pool::Usage,
    refusal::{Refusal, said},
    sql::tls,
};

impl Postgres {
    /// Creates a check for the server of a tokio-postgres configuration, for services without a
    /// pool. Without TLS, `tls` is [`NoTls`](tokio_postgres::NoTls).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio_postgres::{Config, NoTls};
    /// use tower_health::Check;
    /// use tower_health_checks::Postgres;
    ///
    /// let config: Config = "host=db.internal user=app dbname=orders".parse()?;
    /// let check = Check::new("postgres", Postgres::config(config, NoTls).primary()).shared();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The configuration is used in each attempt to connect. A configuration without a host fails
    /// each run with [`Reason::Misconfigured`]:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tokio_postgres::{Config, NoTls};
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Postgres;
    ///
    /// let outcome = Postgres::config(Config::new(), NoTls).check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::Misconfigured));
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio-postgres")))]
    pub fn config<T>(config: Config, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        Self::new(Unpooled {
            config,
            tls,
            own: DedicatedConnection::new::<Unpooled<T>>(),
        })
    }
}

/// A configuration, and the connection of the check.
struct Unpooled<T> {
    config: Config,
    tls: T,
    own: DedicatedConnection<Driven>,
}

/// A client, and the task that drives its connection.
struct Driven {
    client: Client,
    task: AbortOnDrop,
}

/// A task that is aborted when this is dropped, so that a connection never outlives its client.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl<T> Source for Unpooled<T>
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

impl<T> Connector for Unpooled<T>
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
            // An error of the connection is reported to the pending query.
            let task = tokio::spawn(async move { _ = connection.await });
            let task = AbortOnDrop(task);
            Ok(Driven { client, task })
        }
    }

    async fn ask(&self, connection: &mut Driven) -> Result<Answer, Refusal> {
        ask(&mut &connection.client).await
    }

    /// Drops the client. Its task then closes the connection in the protocol and ends.
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
            return Err(said(Reason::UnexpectedAnswer, "the query returned no row"));
        };
        let cells =
            (0..row.len()).map(|index| row.try_get(index).map(|cell| cell.map(str::to_owned)));
        cells.collect::<Result<_, _>>().map_err(refusal)
    }
}

/// The beginnings of the messages of errors whose kind is not public.
const INVALID_CONFIGURATION: &str = "invalid configuration";
const TLS_HANDSHAKE: &str = "error performing TLS handshake";

/// Converts an error of tokio-postgres that the caller owns.
pub(super) fn refusal(error: Error) -> Refusal {
    of_tokio_postgres(&error)
}

/// Converts an error of tokio-postgres: by the code of the server, or else by the kind of the
/// error. Some kinds are not public, and are recognized by the beginning of the message.
pub(crate) fn of_tokio_postgres(error: &Error) -> Refusal {
    if let Some(error) = error.as_db_error() {
        return match reason(error.code().code(), error.message()) {
            Some(reason) => said(reason, error.message()),
            None => Refusal::lost(Failure::new(Reason::ConnectionLost).with_cause(error.message())),
        };
    }
    let reason = match error.to_string() {
        _ if error.is_closed() => Reason::ConnectionLost,
        text if text.starts_with(INVALID_CONFIGURATION) => Reason::Misconfigured,
        text if text.starts_with(TLS_HANDSHAKE) => tls::reason(error),
        _ => Reason::of(error),
    };
    let cause = Cause::of(error);
    Refusal::lost(Failure::new(reason).with_cause(cause.redacted()))
}
