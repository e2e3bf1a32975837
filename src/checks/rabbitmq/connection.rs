use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{Connection, Error, protocol::constants::REPLY_SUCCESS};
use tokio::{sync::Mutex, time::sleep};

use super::{BoxFuture, refused};
use crate::{
    check::HealthCheck,
    model::{ComponentType, Failure, Outcome, Reason},
};

/// Whether RabbitMQ answers over the connection of the service, and takes its messages.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | it has blocked the connection, for it is short of memory or disk space | warn, busy |
/// | the connection has as many channels as it may have | warn, busy |
/// | the connection is not open, whatever keeps it from that | fail, connection lost |
///
/// A run opens a channel and closes it again, two round trips. It never has more than one, however many runs are given up. Of a connection that
/// is blocked the server reads nothing: it is not asked. How it is with a queue is for [`RabbitMqQueue`](super::RabbitMqQueue) to tell.
///
/// The connection stays open for as long as the check lives. It comes back by itself only if it was made with `enable_auto_recover`, and then
/// waits longer between its attempts each time, up to a minute, and gives up after sixteen: let its `configure_backoff` say otherwise. A
/// heartbeat, which the server proposes, is what it learns from that its network is gone.
///
/// ```no_run
/// # async fn check() -> lapin::Result<tower_health::Check> {
/// use std::{sync::Arc, time::Duration};
///
/// use lapin::{Connection, ConnectionProperties};
/// use tower_health::{Check, checks::RabbitMq};
///
/// let properties = ConnectionProperties::default()
///     .enable_auto_recover()
///     .configure_backoff(|backoff| backoff.with_max_delay(Duration::from_secs(5)).without_max_times());
/// let connection = Arc::new(Connection::connect("amqp://rabbitmq.internal/%2f", properties).await?);
/// let check = Check::new("rabbitmq", RabbitMq::new(Arc::clone(&connection))).shared();
/// # Ok(check)
/// # }
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct RabbitMq {
    connection: Arc<Connection>,
    /// What is not answered yet, perhaps since a run before.
    asked: Mutex<Option<BoxFuture<Result<(), Error>>>>,
}

/// How often a run that waits for an answer looks whether there can be one.
const LOOK: Duration = Duration::from_millis(10);

impl RabbitMq {
    /// A check of the server that a connection leads to.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            asked: Mutex::default(),
        }
    }

    /// What keeps an answer from coming, if anything does.
    fn hindrance(&self) -> Option<Outcome> {
        let status = self.connection.status();
        if !status.connected() {
            let cause = "the connection is not open";
            return Some(Outcome::fail(Reason::ConnectionLost).with_cause(cause));
        }
        let cause = "the server has blocked the connection";
        let blocked = Outcome::warn(Reason::Busy).with_cause(cause);
        status.blocked().then_some(blocked)
    }

    async fn hindered(&self) -> Outcome {
        loop {
            if let Some(outcome) = self.hindrance() {
                return outcome;
            }
            sleep(LOOK).await;
        }
    }

    /// Asks now; what an earlier run asked is heard first, and forgotten.
    async fn ask(&self) -> Result<(), Error> {
        let mut asked = self.asked.lock().await;
        if let Some(earlier) = asked.as_mut() {
            _ = earlier.await;
        }
        let question = ask(Arc::clone(&self.connection));
        let answer = asked.insert(Box::pin(question)).await;
        *asked = None;
        answer
    }
}

async fn ask(connection: Arc<Connection>) -> Result<(), Error> {
    let channel = connection.create_channel().await?;
    let closed = channel.close(REPLY_SUCCESS, "OK".into()).await;
    if let Err(error) = &closed {
        // One that was lost with its connection comes back with it, and is closed only then.
        _ = channel.wait_for_recovery(error.clone()).await;
    }
    closed
}

#[async_trait]
impl HealthCheck for RabbitMq {
    async fn check(&self) -> Result<Outcome, Failure> {
        if let Some(outcome) = self.hindrance() {
            return Ok(outcome);
        }
        let answer = tokio::select! {
            answer = self.ask() => answer,
            outcome = self.hindered() => return Ok(outcome),
        };
        Ok(match answer {
            Ok(()) => Outcome::pass(),
            Err(error) => refused(&error),
        })
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").finish_non_exhaustive()
    }
}
