//! The check of a RabbitMQ queue.
//!
//! The check has its own connection, a [`Link`]. A request moves the link into its future and
//! returns it with the result. A run that is dropped leaves that future in [`State`], where the
//! next run completes or abandons it, so that the link is never lost.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use lapin::{
    Channel, Connection, Error, ErrorKind, Queue,
    options::QueueDeclareOptions,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError, constants::REPLY_SUCCESS},
    types::{FieldTable, ShortString},
};
use tokio::{sync::Mutex, time::Instant};

use super::{BoxFuture, error_outcome};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait, checks::contradiction,
};

/// Health check of a RabbitMQ queue: whether it exists, how many messages are ready, and how many
/// consumers it has.
///
/// | finding | outcome |
/// | --- | --- |
/// | the queue exists, and is within its bounds | pass |
/// | more messages are ready than [`warn_above`](Self::warn_above), or there are fewer consumers than [`warn_consumers_below`](Self::warn_consumers_below) | warn, limit exceeded |
/// | more messages are ready than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | the queue does not exist | fail, not found |
/// | it is exclusive to another connection, or the user may not access it or its virtual host | fail, permission denied |
/// | the user, the virtual host or the node is at its connection limit | warn, busy |
/// | wrong password | fail, authentication failed |
/// | nothing listens there, the connection is cut, no response | fail, connection refused, connection lost, timed out |
/// | the name of the queue is empty or longer than 255 bytes | fail, misconfigured |
///
/// It measures `messages`, the number of messages that are ready, and `consumers`.
///
/// A run declares the queue passively, which changes nothing: one round trip. If the queue does not
/// exist, the server responds by closing the channel, and lapin never reuses the number of such a
/// channel. The check therefore has its own connection, so that this does not affect the service.
/// The connection is made when it is first needed and kept for 5 min. A changed password, or a name
/// that resolves to another server, is noticed by then at the latest. After a failure the
/// connection is replaced, except if only the queue does not exist. It does not need
/// `enable_auto_recover`.
///
/// ```
/// # fn check() -> Result<tower_health::Check, String> {
/// use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
/// use tower_health::Check;
/// use tower_health_checks::RabbitMqQueue;
///
/// let uri: AMQPUri = "amqp://rabbitmq.internal/%2f".parse()?;
/// let connect = move || Connection::connect_uri(uri.clone(), ConnectionProperties::default());
/// let orders = RabbitMqQueue::new("orders", connect).warn_above(10_000).warn_consumers_below(1);
/// let check = Check::new("orders-queue", orders).shared();
/// # Ok(check)
/// # }
/// # check().unwrap();
/// ```
///
/// # Limitations
///
/// A quorum queue without a majority looks like an empty queue. The server counts no consumers of a
/// stream: leave [`warn_consumers_below`](Self::warn_consumers_below) at 0 there.
///
/// If the server closes a connection during the handshake, or without an error, that is *connection
/// lost*, whatever the cause. A virtual host that does not exist and one that the user may not
/// access are both *permission denied*.
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct RabbitMqQueue {
    /// Validated in each run, because a check cannot fail when it is made.
    name: String,
    connect: Arc<Connect>,
    /// In messages.
    warn_above: Option<u32>,
    /// In messages.
    fail_above: Option<u32>,
    warn_consumers_below: u32,
    state: Mutex<State>,
}

/// Makes a connection.
type Connect = dyn Fn() -> BoxFuture<Result<Connection, Error>> + Send + Sync;

/// The state that is kept between runs.
#[derive(Default)]
struct State {
    /// The connection between two runs. `None` before the first run, and during a request.
    link: Option<Link>,
    /// The pending request, and when it was sent.
    pending: Option<(Instant, BoxFuture<Completed>)>,
    /// How many requests were abandoned since the last response.
    given_up: u32,
}

/// A connection and its channel.
struct Link {
    connection: Connection,
    /// `None` if the server has closed it.
    channel: Option<Channel>,
    since: Instant,
    /// The reason of the last rejection by the server.
    refused: Option<Reason>,
}

/// The connection, if it still works, and the result of the request.
type Completed = (Option<Link>, Result<Queue, Outcome>);

/// How long the first request stays pending after its run was abandoned. See [`request_timeout`].
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept, as in the SQL checks. An open connection does not show that the
/// password was changed.
const LIFETIME: Duration = Duration::from_secs(300);

impl RabbitMqQueue {
    /// Creates a check of the queue named `name`, over connections that `connect` makes.
    ///
    /// `connect` is called in the first run, and whenever the connection is replaced. If the name
    /// is empty or longer than 255 bytes, each run fails with [`Reason::Misconfigured`] and makes
    /// no connection.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::RabbitMqQueue;
    ///
    /// // Nothing listens on this port.
    /// let uri: AMQPUri = "amqp://127.0.0.1:1/%2f".parse().unwrap();
    /// let connect = move || Connection::connect_uri(uri.clone(), ConnectionProperties::default());
    ///
    /// let orders = RabbitMqQueue::new("orders", connect.clone());
    /// let outcome = orders.check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::ConnectionRefused));
    ///
    /// let unnamed = RabbitMqQueue::new("", connect);
    /// assert_eq!(unnamed.check().await.unwrap_err().reason(), Reason::Misconfigured);
    /// # }
    /// ```
    pub fn new<F>(name: impl Into<String>, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Connection, Error>> + Send + 'static,
    {
        Self {
            name: name.into(),
            connect: Arc::new(move || Box::pin(connect())),
            warn_above: None,
            fail_above: None,
            warn_consumers_below: 0,
            state: Mutex::default(),
        }
    }

    /// Sets the number of messages that are ready for a consumer above which the check warns.
    /// Messages that a consumer has received but not acknowledged are not ready, and do not count.
    /// Defaults to no bound.
    ///
    /// ```no_run
    /// # async fn run(orders: tower_health_checks::RabbitMqQueue) {
    /// use tower_health::HealthCheck;
    ///
    /// let outcome = orders.warn_above(10_000).check().await.unwrap();
    /// let mut measured = outcome.measurements().iter();
    /// assert!(measured.any(|found| found.name == "messages"));
    /// # }
    /// ```
    pub fn warn_above(mut self, messages: u32) -> Self {
        self.warn_above = Some(messages);
        self
    }

    /// Sets the number of messages that are ready for a consumer above which the check fails.
    /// Defaults to no bound.
    ///
    /// ```
    /// # use lapin::{Connection, ConnectionProperties};
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::RabbitMqQueue;
    ///
    /// let uri = "amqp://rabbitmq.internal/%2f";
    /// let connect = move || Connection::connect(uri, ConnectionProperties::default());
    /// let orders = RabbitMqQueue::new("orders", connect).warn_above(1_000).fail_above(100_000);
    /// assert!(orders.problems().is_empty());
    /// // It would fail before it warns.
    /// assert_eq!(orders.fail_above(100).problems().len(), 1);
    /// ```
    pub fn fail_above(mut self, messages: u32) -> Self {
        self.fail_above = Some(messages);
        self
    }

    /// Sets the number of consumers below which the check warns. The consumers of a stream are not
    /// counted. Defaults to 0.
    ///
    /// ```
    /// # use lapin::{Connection, ConnectionProperties};
    /// use tower_health_checks::RabbitMqQueue;
    ///
    /// let uri = "amqp://rabbitmq.internal/%2f";
    /// let connect = move || Connection::connect(uri, ConnectionProperties::default());
    /// // With two consumers, one may be replaced while the other works.
    /// let orders = RabbitMqQueue::new("orders", connect).warn_consumers_below(2);
    /// assert!(format!("{orders:?}").contains("warn_consumers_below: 2"));
    /// ```
    pub fn warn_consumers_below(mut self, consumers: u32) -> Self {
        self.warn_consumers_below = consumers;
        self
    }

    /// Judges and measures the messages and the consumers.
    fn judge(&self, queue: &Queue) -> Outcome {
        let (messages, consumers) = (queue.message_count(), queue.consumer_count());
        let is_above = |bound: Option<u32>| bound.is_some_and(|bound| messages > bound);
        let backlog = if is_above(self.fail_above) {
            Outcome::fail(Reason::LimitExceeded)
        } else if is_above(self.warn_above) {
            Outcome::warn(Reason::LimitExceeded)
        } else {
            Outcome::pass()
        };
        let backlog = match backlog.reason() {
            Some(_) => backlog.with_cause(format_args!("{messages} messages are ready")),
            None => backlog,
        };
        let taken = if consumers < self.warn_consumers_below {
            Outcome::warn(Reason::LimitExceeded).with_cause(format_args!(
                "{consumers} consumers, fewer than {}",
                self.warn_consumers_below
            ))
        } else {
            Outcome::pass()
        };
        backlog
            .merge(taken)
            .measure("messages", messages, "")
            .measure("consumers", consumers, "")
    }

    /// Sends a request. A pending request of an earlier run is completed first, and its result is
    /// discarded. It is abandoned after its [`request_timeout`].
    async fn ask(&self, name: ShortString) -> Result<Queue, Outcome> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if let Some((since, earlier)) = &mut state.pending {
            if since.elapsed() < request_timeout(state.given_up) {
                state.link = earlier.await.0;
                state.given_up = 0;
            } else {
                state.given_up += 1;
            }
            state.pending = None;
        }
        let question = ask(state.link.take(), Arc::clone(&self.connect), name);
        let pending = (Instant::now(), Box::pin(question) as BoxFuture<Completed>);
        let (link, answer) = state.pending.insert(pending).1.as_mut().await;
        state.pending = None;
        state.link = link;
        state.given_up = 0;
        answer
    }
}

/// How long to wait for a request after `given_up` earlier requests without a response.
///
/// A connection may be dead without notice, so another one must be made eventually. But lapin uses
/// a thread and a socket for each connection, and ends neither while the server is silent. Each
/// request therefore waits twice as long as the one before. A day of silence costs about a dozen
/// connections.
fn request_timeout(given_up: u32) -> Duration {
    FIRST_TIMEOUT.saturating_mul(1_u32.checked_shl(given_up).unwrap_or(u32::MAX))
}

/// Sends a request over the kept connection. If that was lost or is no longer usable, it is
/// replaced immediately.
async fn ask(kept: Option<Link>, connect: Arc<Connect>, name: ShortString) -> Completed {
    if let Some(mut link) = kept {
        if link.is_good()
            && let Ok(answer) = link.declare(name.clone()).await
        {
            return (Some(link), answer);
        }
        // Dropping a connection without a free channel does not close it.
        _ = link.connection.close(REPLY_SUCCESS, "OK".into()).await;
    }
    let mut link = match connect().await {
        Ok(connection) => Link {
            connection,
            channel: None,
            since: Instant::now(),
            refused: None,
        },
        Err(error) => return (None, Err(not_connected(&error))),
    };
    match link.declare(name).await {
        Ok(answer) => (Some(link), answer),
        Err(error) => (None, Err(error_outcome(&error))),
    }
}

/// Whether a connection of this age, over which `refused` was the last rejection, remains in use.
fn is_good(age: Duration, refused: Option<Reason>) -> bool {
    // A missing queue is requested in every run, and another connection would not find it either.
    age < LIFETIME && matches!(refused, None | Some(Reason::NotFound))
}

impl Link {
    /// Whether the connection remains in use for another request.
    fn is_good(&self) -> bool {
        is_good(self.since.elapsed(), self.refused)
    }

    /// Returns the server's response, or the error of the connection.
    async fn declare(&mut self, name: ShortString) -> Result<Result<Queue, Outcome>, Error> {
        self.refused = None;
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.connection.create_channel().await?,
        };
        let options = QueueDeclareOptions::default().passive();
        let declared = channel.queue_declare(name, options, FieldTable::default());
        let error = match declared.await {
            Ok(queue) => {
                self.channel = Some(channel);
                return Ok(Ok(queue));
            }
            Err(error) => error,
        };
        let Some(reason) = said(&error) else {
            return Err(error);
        };
        self.refused = Some(reason);
        Ok(Err(Outcome::fail(reason).with_cause(error)))
    }
}

/// Returns the reason of a rejection that closed only the channel, or `None` for an error of the
/// connection.
fn said(error: &Error) -> Option<Reason> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(Reason::NotFound),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::RESOURCELOCKED) => {
            Some(Reason::PermissionDenied)
        }
        AMQPErrorKind::Soft(_) => Some(Reason::UnexpectedAnswer),
        AMQPErrorKind::Hard(_) => None,
    }
}

/// Returns the outcome of a connection that could not be made.
fn not_connected(error: &Error) -> Outcome {
    let ErrorKind::ProtocolError(protocol) = error.kind() else {
        return error_outcome(error);
    };
    let outcome = match protocol.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            Outcome::fail(Reason::AuthenticationFailed)
        }
        // The server uses this code both for a connection limit and for the virtual host.
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
            if is_limit(protocol.get_message().as_str()) {
                Outcome::warn(Reason::Busy)
            } else {
                Outcome::fail(Reason::PermissionDenied)
            }
        }
        _ => return error_outcome(error),
    };
    outcome.with_cause(error)
}

/// Whether the message is about a connection limit. Its end is the same for a node, a virtual host
/// and a user, and it contains their names.
fn is_limit(told: &str) -> bool {
    told.contains("limit (") && told.trim_end().ends_with("is reached")
}

/// Validates the name of a queue: from 1 to 255 bytes.
fn parse(name: &str) -> Result<ShortString, Failure> {
    let misconfigured = |cause| Failure::new(Reason::Misconfigured).with_cause(cause);
    match ShortString::try_new(name) {
        Ok(_) if name.is_empty() => Err(misconfigured("the name of the queue is empty")),
        Ok(name) => Ok(name),
        Err(_) => Err(misconfigured(
            "the name of the queue is longer than 255 bytes",
        )),
    }
}

#[async_trait]
impl HealthCheck for RabbitMqQueue {
    async fn check(&self) -> Result<Outcome, Failure> {
        let answer = self.ask(parse(&self.name)?).await;
        Ok(answer.map_or_else(|outcome| outcome, |queue| self.judge(&queue)))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }

    fn problems(&self) -> Vec<String> {
        let warn = ("warn_above", self.warn_above);
        let fail = ("fail_above", self.fail_above);
        contradiction(warn, fail).into_iter().collect()
    }
}

impl fmt::Debug for RabbitMqQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqQueue")
            .field("name", &self.name)
            .field("warn_above", &self.warn_above)
            .field("fail_above", &self.fail_above)
            .field("warn_consumers_below", &self.warn_consumers_below)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_a_limit_message() {
        for (told, expected) in [
            (
                "NOT_ALLOWED - connection refused for user 'app': user connection limit (0) is reached",
                true,
            ),
            (
                "NOT_ALLOWED - access to vhost '/' refused for user 'app': vhost connection limit (3) is reached",
                true,
            ),
            (
                "NOT_ALLOWED - access to vhost 'rate-limiter' refused for user 'app'",
                false,
            ),
            ("NOT_ALLOWED - vhost limit (1) not found", false),
        ] {
            assert_eq!(is_limit(told), expected, "{told}");
        }
    }

    #[test]
    fn a_connection_is_kept_for_five_minutes_unless_it_was_rejected() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for refused in [None, Some(Reason::NotFound)] {
            assert!(is_good(Duration::ZERO, refused));
            assert!(is_good(minutes(5) - Duration::from_nanos(1), refused));
            assert!(!is_good(minutes(5), refused));
            assert!(!is_good(Duration::MAX, refused));
        }
        for refused in [Reason::PermissionDenied, Reason::UnexpectedAnswer] {
            assert!(!is_good(Duration::ZERO, Some(refused)));
        }
    }

    #[test]
    fn a_day_of_silence_costs_a_dozen_connections() {
        let mut waited = Duration::ZERO;
        let mut connections = 0;
        while waited < Duration::from_secs(24 * 60 * 60) {
            waited = waited.saturating_add(request_timeout(connections));
            connections += 1;
        }
        assert!((12..=14).contains(&connections), "{connections}");
        assert_eq!(request_timeout(0), Duration::from_secs(10));
        assert!(
            request_timeout(31) <= request_timeout(32)
                && request_timeout(32) <= request_timeout(u32::MAX)
        );
    }
}
