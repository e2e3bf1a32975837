use std::{fmt, future::Future, sync::Arc, time::Duration};

use lapin::{
    Channel, Connection, Error, ErrorKind, Queue,
    options::QueueDeclareOptions,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError, constants::REPLY_SUCCESS},
    types::{FieldTable, ShortString},
};
use tokio::{sync::Mutex, time::Instant};

use super::{BoxFuture, refused};
use tower_health::{
    ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait, checks::contradiction,
};

/// How it is with a queue of RabbitMQ: that it is there, how many messages wait in it, and who takes them.
///
/// | finding | outcome |
/// | --- | --- |
/// | it is there, within its bounds | pass |
/// | more messages are ready than [`warn_above`](Self::warn_above), or fewer consumers there than [`at_least`](Self::at_least) | warn, limit exceeded |
/// | more messages are ready than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | there is no such queue | fail, not found |
/// | it belongs to another connection alone, or the user may not see it or its virtual host | fail, permission denied |
/// | the user or the virtual host has as many connections as it may have | warn, busy |
/// | wrong password | fail, authentication failed |
/// | nothing listens there, the connection is cut, no answer | fail, connection refused, connection lost, timed out |
/// | a name that is none | fail, misconfigured |
///
/// Measured are the `messages` that are ready, and the `consumers`.
///
/// A run declares the queue passively, which changes nothing, one round trip. The server answers a question for a queue that is not there by
/// closing the channel, and lapin never uses the number of such a channel again. So that this costs the service nothing, the check has a
/// connection of its own, made when it is first needed, and kept for five minutes, so that a password that was changed, or a name that leads to
/// another server, is noticed by then at the latest. After a failure it is made anew, save that a queue which is not there is asked for over
/// the same one. It needs no `enable_auto_recover`.
///
/// ```
/// # fn check() -> Result<tower_health::Check, String> {
/// use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
/// use tower_health::Check;
/// use tower_health_checks::RabbitMqQueue;
///
/// let uri: AMQPUri = "amqp://rabbitmq.internal/%2f".parse()?;
/// let connect = move || Connection::connect_uri(uri.clone(), ConnectionProperties::default());
/// let orders = RabbitMqQueue::new("orders", connect).warn_above(10_000).at_least(1);
/// let check = Check::new("orders-queue", orders).shared();
/// # Ok(check)
/// # }
/// # check().unwrap();
/// ```
///
/// # What it cannot tell apart
///
/// A quorum queue without a majority answers as one that is empty. Of a stream the server counts no consumers: leave
/// [`at_least`](Self::at_least) at 0 there.
///
/// A server that ends a connection while it is made, or without a word, is *connection lost*, whatever made it do so. A virtual host that is not
/// there and one that the user may not see are both *permission denied*.
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct RabbitMqQueue {
    name: String,
    connect: Arc<Connect>,
    warn_above: Option<u32>,
    fail_above: Option<u32>,
    at_least: u32,
    own: Mutex<Own>,
}

type Connect = dyn Fn() -> BoxFuture<Result<Connection, Error>> + Send + Sync;

/// What is kept between runs.
#[derive(Default)]
struct Own {
    link: Option<Link>,
    /// What is not answered yet, since when.
    asked: Option<(Instant, BoxFuture<Asked>)>,
    /// How many questions were given up since the last answer.
    given_up: u32,
}

struct Link {
    connection: Connection,
    /// Unless the server has closed it.
    channel: Option<Channel>,
    since: Instant,
    /// What the server has refused last, if it has.
    refused: Option<Reason>,
}

/// The connection, if it still works, and what came of it.
type Asked = (Option<Link>, Result<Queue, Outcome>);

/// How long a question stays open at first, whose runs were given up. See [`patience`].
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection is kept, as those of the SQL checks are. One that is open tells nothing of a password that was changed.
const LIFETIME: Duration = Duration::from_secs(300);

impl RabbitMqQueue {
    /// A check of the queue of a name, over connections that are made by a function.
    pub fn new<F>(name: impl Into<String>, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Connection, Error>> + Send + 'static,
    {
        Self {
            name: name.into(),
            connect: Arc::new(move || Box::pin(connect())),
            warn_above: None,
            fail_above: None,
            at_least: 0,
            own: Mutex::default(),
        }
    }

    /// How many messages may be ready, waiting for a consumer, before it is a warning. Defaults to any number.
    pub fn warn_above(mut self, messages: u32) -> Self {
        self.warn_above = Some(messages);
        self
    }

    /// How many messages may be ready before it fails. Defaults to any number.
    pub fn fail_above(mut self, messages: u32) -> Self {
        self.fail_above = Some(messages);
        self
    }

    /// How many consumers there should be; fewer are a warning. Of a stream none are counted. Defaults to 0.
    pub fn at_least(mut self, consumers: u32) -> Self {
        self.at_least = consumers;
        self
    }

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
        let taken = match consumers < self.at_least {
            true => Outcome::warn(Reason::LimitExceeded).with_cause(format_args!(
                "{consumers} consumers, fewer than {}",
                self.at_least
            )),
            false => Outcome::pass(),
        };
        backlog
            .merge(taken)
            .measure("messages", messages, "")
            .measure("consumers", consumers, "")
    }

    /// Asks now; what an earlier run asked is heard first, and forgotten.
    async fn ask(&self, name: ShortString) -> Result<Queue, Outcome> {
        let mut own = self.own.lock().await;
        let own = &mut *own;
        if let Some((since, earlier)) = &mut own.asked {
            if since.elapsed() < patience(own.given_up) {
                own.link = earlier.await.0;
                own.given_up = 0;
            } else {
                own.given_up += 1;
            }
            own.asked = None;
        }
        let question = ask(own.link.take(), Arc::clone(&self.connect), name);
        let asked = (Instant::now(), Box::pin(question) as BoxFuture<Asked>);
        let (link, answer) = own.asked.insert(asked).1.as_mut().await;
        own.asked = None;
        own.link = link;
        own.given_up = 0;
        answer
    }
}

/// How long a question is waited for, after so many others that had no answer. A connection may be dead without a word, so that another one has
/// to be made some time. But lapin gives a thread and a socket to each, and ends neither while the server is silent: so each waits
/// twice as long as the one before, and a day of silence costs a dozen of them.
fn patience(given_up: u32) -> Duration {
    PATIENCE.saturating_mul(1_u32.checked_shl(given_up).unwrap_or(u32::MAX))
}

/// A connection that was kept may have been lost since, or be of no more use; then it is made anew, at once.
async fn ask(kept: Option<Link>, connect: Arc<Connect>, name: ShortString) -> Asked {
    if let Some(mut link) = kept {
        if link.is_good()
            && let Ok(answer) = link.declare(name.clone()).await
        {
            return (Some(link), answer);
        }
        // One that has no channel left is still open, and not closed by being dropped.
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
        Err(error) => (None, Err(refused(&error))),
    }
}

/// Whether a connection of an age goes on to be used, over which something was refused.
fn is_good(age: Duration, refused: Option<Reason>) -> bool {
    // A queue that is not there is asked for again and again, and another connection finds no other.
    age < LIFETIME && matches!(refused, None | Some(Reason::NotFound))
}

impl Link {
    fn is_good(&self) -> bool {
        is_good(self.since.elapsed(), self.refused)
    }

    /// What the server says, or what became of the connection.
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

fn not_connected(error: &Error) -> Outcome {
    let ErrorKind::ProtocolError(protocol) = error.kind() else {
        return refused(error);
    };
    let outcome = match protocol.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            Outcome::fail(Reason::AuthenticationFailed)
        }
        // Both are of the same code: those of too many connections, and of the virtual host.
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
            match is_limit(protocol.get_message().as_str()) {
                true => Outcome::warn(Reason::Busy),
                false => Outcome::fail(Reason::PermissionDenied),
            }
        }
        _ => return refused(error),
    };
    outcome.with_cause(error)
}

/// Its words end alike for a node, a virtual host and a user, whose names are in them.
fn is_limit(told: &str) -> bool {
    told.contains("limit (") && told.trim_end().ends_with("is reached")
}

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
            .field("at_least", &self.at_least)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_limit() {
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
    fn a_connection_is_kept_for_five_minutes_unless_it_was_refused_what_another_may_get() {
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
            waited = waited.saturating_add(patience(connections));
            connections += 1;
        }
        assert!((12..=14).contains(&connections), "{connections}");
        assert_eq!(patience(0), Duration::from_secs(10));
        assert!(patience(31) <= patience(32) && patience(32) <= patience(u32::MAX));
    }
}
