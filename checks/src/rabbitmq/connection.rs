use std::{fmt, sync::Arc, time::Duration};

use lapin::{Channel, Connection, Error, options::ChannelFlowOptions};
use tokio::{sync::Mutex, time::sleep};

use super::{BoxFuture, refused};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Whether RabbitMQ answers over the connection of the service, and takes its messages.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | it has blocked the connection, for it is short of memory or disk space | warn, busy |
/// | the connection has no channel left for the check | warn, busy |
/// | the connection is not open, whatever keeps it from that | fail, connection lost |
///
/// The first run opens a channel, which the check keeps. A run sends `channel.flow` over it, which asks for what is so already and is always
/// answered: one round trip. There is never more than one that waits for its answer, however many runs are given up. Of a connection that is
/// blocked the server reads nothing: it is not asked. How it is with a queue is for [`RabbitMqQueue`](super::RabbitMqQueue) to tell.
///
/// The connection stays open for as long as the check lives. It comes back by itself only if it was made with `enable_auto_recover`, and then
/// waits longer between its attempts each time, up to a minute, and gives up after sixteen: let its `configure_backoff` say otherwise. A
/// heartbeat, which the server proposes, is what it learns from that its network is gone. What is not open does not say why: that nothing listens
/// there, that the network is gone and that the password is wrong are all *connection lost*.
///
/// ```no_run
/// # async fn check() -> lapin::Result<tower_health::Check> {
/// use std::{sync::Arc, time::Duration};
///
/// use lapin::{Connection, ConnectionProperties};
/// use tower_health::Check;
/// use tower_health_checks::RabbitMq;
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
    own: Mutex<Own>,
}

/// What is kept between runs.
#[derive(Default)]
struct Own {
    /// Opened once. A channel that is being opened when its connection is lost can stop a connection of lapin (4.12) for good: its
    /// thread drops the channel under a lock which that takes, too. One that is open comes back without that.
    channel: Option<Channel>,
    /// What is not answered yet, perhaps since a run before.
    asked: Option<BoxFuture<Asked>>,
}

/// The channel, if it can be used again, and what came of it.
type Asked = (Option<Channel>, Result<(), Error>);

/// How often a run that waits for an answer looks whether there can be one.
const LOOK: Duration = Duration::from_millis(10);

impl RabbitMq {
    /// A check of the server that a connection leads to.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            own: Mutex::default(),
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
        let mut own = self.own.lock().await;
        let own = &mut *own;
        if let Some(earlier) = &mut own.asked {
            own.channel = earlier.await.0;
            own.asked = None;
        }
        let question = ask(own.channel.take(), Arc::clone(&self.connection));
        let (channel, answer) = own.asked.insert(Box::pin(question)).await;
        own.asked = None;
        own.channel = channel;
        answer
    }
}

/// A channel that was kept may have been closed since; then another one is opened.
async fn ask(kept: Option<Channel>, connection: Arc<Connection>) -> Asked {
    let is_open = |channel: &Channel| {
        let status = channel.status();
        status.connected() || status.reconnecting()
    };
    let channel = match kept.filter(is_open) {
        Some(channel) => channel,
        None => match connection.create_channel().await {
            Ok(channel) => channel,
            Err(error) => return (None, Err(error)),
        },
    };
    let answer = loop {
        let active = ChannelFlowOptions { active: true };
        let answer = match channel.channel_flow(active).await {
            Ok(_) => Ok(()),
            // It comes back a moment after its connection.
            Err(error) => match channel.wait_for_recovery(error).await {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
        };
        break answer;
    };
    (Some(channel).filter(is_open), answer)
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
