//! The check of RabbitMQ over the connection of the service.
//!
//! A run waits for two things at once: the response to its request, and a state of the connection
//! in which there can be no response. The driver does not report the latter, so it is polled.

use std::{fmt, sync::Arc, time::Duration};

use lapin::{Channel, Connection, Error, options::ChannelFlowOptions};
use tokio::{sync::Mutex, time::sleep};

use super::{BoxFuture, error_outcome};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Health check of RabbitMQ over the connection of the service: whether the server responds and
/// accepts messages.
///
/// | finding | outcome |
/// | --- | --- |
/// | the server responds | pass |
/// | it has blocked the connection, because it is short of memory or disk space | warn, busy |
/// | the connection has no channel left for the check | warn, busy |
/// | the connection is not open, for any reason | fail, connection lost |
///
/// The first run opens a channel, which the check keeps. Each run sends `channel.flow` over it,
/// which requests the state that already applies and always receives a response: one round trip. At
/// most one such request is pending, however many runs are abandoned. The server reads nothing from
/// a blocked connection, so nothing is sent over it. To check a queue, use
/// [`RabbitMqQueue`](super::RabbitMqQueue).
///
/// The connection stays open for as long as the check lives. It reconnects by itself only if it was
/// made with `enable_auto_recover`. It then waits longer before each further attempt, up to one
/// minute, and gives up after sixteen attempts. Change both with `configure_backoff`. The
/// connection detects a lost network by its heartbeat, which the server proposes. A connection that
/// is not open does not report why. That nothing listens there, that the network is gone and that
/// the password is wrong are all *connection lost*.
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
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct RabbitMq {
    connection: Arc<Connection>,
    state: Mutex<State>,
}

/// The state that is kept between runs.
#[derive(Default)]
struct State {
    /// Opened once. If a connection of lapin (4.12) is lost while a channel is being opened, the
    /// connection can stop permanently: its thread drops the channel while it holds a lock that the
    /// drop takes as well. An open channel recovers without that.
    channel: Option<Channel>,
    /// The pending request, perhaps of an earlier run.
    pending: Option<BoxFuture<Completed>>,
}

/// The channel, if it can be used again, and the result of the request.
type Completed = (Option<Channel>, Result<(), Error>);

/// How often a waiting run checks whether a response is still possible.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl RabbitMq {
    /// Creates a check of the server that `connection` is connected to.
    ///
    /// The check keeps one channel of the connection, from its first run on.
    ///
    /// ```no_run
    /// # async fn run(connection: std::sync::Arc<lapin::Connection>) {
    /// use std::sync::Arc;
    ///
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::RabbitMq;
    ///
    /// let check = RabbitMq::new(Arc::clone(&connection));
    /// connection.close(200, "the service ends".into()).await.unwrap();
    /// let outcome = check.check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::ConnectionLost));
    /// # }
    /// ```
    pub fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            state: Mutex::default(),
        }
    }

    /// Returns the outcome if no response is possible.
    fn blocker(&self) -> Option<Outcome> {
        let status = self.connection.status();
        if !status.connected() {
            let cause = "the connection is not open";
            return Some(Outcome::fail(Reason::ConnectionLost).with_cause(cause));
        }
        let cause = "the server has blocked the connection";
        let blocked = Outcome::warn(Reason::Busy).with_cause(cause);
        status.blocked().then_some(blocked)
    }

    /// Waits until no response is possible, and returns the outcome of that.
    async fn blocked(&self) -> Outcome {
        loop {
            if let Some(outcome) = self.blocker() {
                return outcome;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Sends a request. A pending request of an earlier run is completed first, and its result is
    /// discarded.
    async fn ask(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if let Some(earlier) = &mut state.pending {
            state.channel = earlier.await.0;
            state.pending = None;
        }
        let question = ask(state.channel.take(), Arc::clone(&self.connection));
        let (channel, answer) = state.pending.insert(Box::pin(question)).await;
        state.pending = None;
        state.channel = channel;
        answer
    }
}

/// Sends a request over the kept channel. If that has been closed, another one is opened.
async fn ask(kept: Option<Channel>, connection: Arc<Connection>) -> Completed {
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
            // The channel recovers shortly after its connection.
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
        if let Some(outcome) = self.blocker() {
            return Ok(outcome);
        }
        let answer = tokio::select! {
            answer = self.ask() => answer,
            outcome = self.blocked() => return Ok(outcome),
        };
        Ok(match answer {
            Ok(()) => Outcome::pass(),
            Err(error) => error_outcome(&error),
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
