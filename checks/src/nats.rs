//! The check of NATS and JetStream.
//!
//! The check uses the client of the service, and only its public interface: the state of the
//! connection, the number of connects, and requests. A run that finds the client disconnected waits
//! for a moment, because the client reconnects by itself.

use std::{collections::BTreeMap, fmt, sync::atomic::Ordering, time::Duration};

use async_nats::{Client, Message, Request, RequestErrorKind, connection::State};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{sleep, timeout};

use super::percent;
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Health check of a NATS server, and optionally of JetStream.
///
/// | finding | outcome |
/// | --- | --- |
/// | the server responds | pass |
/// | the client is not connected, for any reason: see [below](#limitations) | fail, connection lost |
/// | JetStream is not enabled for the account ([`jetstream`](Self::jetstream)) | fail, misconfigured |
/// | the name of a domain or stream is not valid in a subject | fail, misconfigured |
/// | JetStream has no leader | fail, unhealthy |
/// | the stream does not exist ([`stream`](Self::stream)) | fail, not found |
/// | the storage or memory of the account or of one of its tiers, or a stream that discards new messages, is near its limit ([`warn_storage_above`](Self::warn_storage_above)) | warn, limit near |
/// | the same at its limit | warn, limit exceeded |
/// | a response of JetStream cannot be parsed | fail, unexpected answer |
///
/// A run sends a message to itself, or requests to JetStream. The user must therefore be allowed to
/// publish to `_INBOX.>`, or to the client's own prefix for inboxes. For JetStream the user must be
/// allowed to publish to `$JS.API.INFO` and `$JS.API.STREAM.INFO.*`. With a [domain](Self::domain)
/// named `orders`, `orders.API` takes the place of `API`.
///
/// A run uses the connection of the given client, which reconnects by itself, and waits up to 250
/// ms for that. A client waits longer before each further attempt, up to 4 s unless its
/// `reconnect_delay_callback` returns another delay.
///
/// With JetStream it measures the account's `storage_used` and `memory_used` in bytes. It measures
/// `storage_utilization` and `memory_utilization` in percent where the account has a limit. If
/// there are several tiers, these are the values of the fullest one. For a stream it measures
/// `messages`, `bytes` and, if the stream has a limit, `stream_utilization` in percent.
///
/// ```no_run
/// # async fn check() -> Result<tower_health::Check, async_nats::ConnectError> {
/// use tower_health::Check;
/// use tower_health_checks::Nats;
///
/// let client = async_nats::connect("nats.internal").await?;
/// let nats = Check::new("nats", Nats::new(client).stream("ORDERS")).shared();
/// # Ok(nats)
/// # }
/// ```
///
/// # Limitations
///
/// A client that is not connected does not report why. All of these are *connection lost*: nothing
/// listens there, the name has no address, the password is wrong, the user is unknown, the server
/// is at its connection limit, the two sides do not agree on TLS. The client reports only a
/// rejected user, to its `event_callback`. The rest is in its traces. A message that the user may
/// not publish receives no response, which is *timed out*.
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Nats {
    client: Client,
    /// Whether requests go to JetStream.
    jetstream: bool,
    /// `None` for the domain of the server.
    domain: Option<String>,
    /// `None` if no stream is checked.
    stream: Option<String>,
    /// In percent.
    warn_storage_above: f64,
}

/// How long a run waits for the client to reconnect.
const RECONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// How often a waiting run looks at the state of the client, which has no notification for it.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl Nats {
    /// Creates a check of the server that `client` is connected to.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Nats;
    ///
    /// // Nothing listens on this port. The client keeps trying to connect.
    /// let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    /// let client = options.connect("127.0.0.1:1").await?;
    /// let failure = Nats::new(client).check().await.unwrap_err();
    /// assert_eq!(failure.reason(), Reason::ConnectionLost);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: Client) -> Self {
        Self {
            client,
            jetstream: false,
            domain: None,
            stream: None,
            warn_storage_above: 90.0,
        }
    }

    /// Sends a request for the account to JetStream, instead of a message. Defaults to no request.
    ///
    /// ```no_run
    /// # async fn check(client: async_nats::Client) -> Result<(), tower_health::Failure> {
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Nats;
    ///
    /// // The account's use of its storage and memory is measured.
    /// let outcome = Nats::new(client).jetstream().check().await?;
    /// assert!(outcome.measurements().iter().any(|found| found.name == "storage_used"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn jetstream(mut self) -> Self {
        self.jetstream = true;
        self
    }

    /// Sets the JetStream domain, such as one behind a leaf node, and enables
    /// [`jetstream`](Self::jetstream). If the name is not valid in a subject, each run fails with
    /// [`Reason::Misconfigured`]. Defaults to the domain of the server that the client is connected
    /// to.
    ///
    /// ```no_run
    /// # fn check(client: async_nats::Client) -> tower_health::Check {
    /// use tower_health::Check;
    /// use tower_health_checks::Nats;
    ///
    /// // The stream is in the hub, which is reached through a leaf node.
    /// let orders = Nats::new(client).domain("hub").stream("ORDERS");
    /// Check::new("orders-stream", orders).shared()
    /// # }
    /// ```
    pub fn domain(mut self, name: impl Into<String>) -> Self {
        self.domain = Some(name.into());
        self.jetstream()
    }

    /// Sets a stream to check, and enables [`jetstream`](Self::jetstream). A stream that does not
    /// exist fails with [`Reason::NotFound`]. Defaults to no stream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health_checks::Nats;
    /// # let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    /// # let client = options.connect("127.0.0.1:1").await?;
    ///
    /// let check = format!("{:?}", Nats::new(client).stream("ORDERS"));
    /// assert!(check.contains("jetstream: true, stream: Some(\"ORDERS\")"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = Some(name.into());
        self.jetstream()
    }

    /// Sets the utilization in percent above which the check warns. It applies to the account's
    /// storage and memory, and to a stream that discards new messages. A stream that discards old
    /// messages is meant to be full. A use at the limit warns with [`Reason::LimitExceeded`],
    /// whatever the bound is. Without [`jetstream`](Self::jetstream) the bound has no effect.
    /// Defaults to 90.
    ///
    /// ```no_run
    /// # fn check(client: async_nats::Client) -> tower_health::Check {
    /// use tower_health::Check;
    /// use tower_health_checks::Nats;
    ///
    /// // This stream discards new messages once it is full, so warn early.
    /// let orders = Nats::new(client).stream("ORDERS").warn_storage_above(60.0);
    /// Check::new("orders-stream", orders).shared()
    /// # }
    /// ```
    pub fn warn_storage_above(mut self, percent: f64) -> Self {
        self.warn_storage_above = percent;
        self
    }

    /// Waits until the client is connected, and returns whether it is.
    async fn connected(&self) -> bool {
        let connected = async {
            while self.client.connection_state() != State::Connected {
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(RECONNECT_TIMEOUT, connected).await.is_ok()
    }

    /// Sends a request and returns the response, or `None` if there are no responders. The response
    /// arrives at an inbox of this run alone.
    async fn request(&self, subject: String, inbox: String) -> Result<Option<Message>, Failure> {
        let request = Request::new().inbox(inbox).timeout(None);
        let connects = self.connects();
        // A request in flight when the connection is lost never receives a response.
        let answered = tokio::select! {
            answered = self.client.send_request(subject, request) => answered,
            () = self.lost(connects) => return Err(lost("the connection was lost")),
        };
        match answered {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
            Err(error) if error.kind() == RequestErrorKind::InvalidSubject => {
                Err(Failure::new(Reason::Misconfigured).with_cause(error))
            }
            Err(error) => Err(lost(error)),
        }
    }

    /// Waits until the connection is lost, or has been replaced since `connects` was read.
    async fn lost(&self, connects: u64) {
        while self.client.connection_state() == State::Connected && self.connects() == connects {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The number of times that the client has connected.
    fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Sends a request to an endpoint of the JetStream API, and parses the response.
    async fn api<T: DeserializeOwned>(&self, endpoint: &str) -> Result<T, Failure> {
        let inbox = self.client.new_inbox();
        let subject = match &self.domain {
            Some(domain) => format!("$JS.{domain}.API.{endpoint}"),
            None => format!("$JS.API.{endpoint}"),
        };
        let Some(answer) = self.request(subject, inbox).await? else {
            let cause = "JetStream is not enabled";
            return Err(Failure::new(Reason::Misconfigured).with_cause(cause));
        };
        let unexpected = |error| Failure::new(Reason::UnexpectedAnswer).with_cause(error);
        let told: Told<T> = serde_json::from_slice(&answer.payload).map_err(unexpected)?;
        match told {
            Told::Error { error } => Err(error.into()),
            Told::Answer(answer) => Ok(answer),
        }
    }

    /// Judges and measures the storage and the memory of the account, by its fullest tier.
    fn judge_account(&self, account: &Account) -> Outcome {
        let outcome = Outcome::pass()
            .measure("storage_used", account.whole.storage, "bytes")
            .measure("memory_used", account.whole.memory, "bytes");
        let tiers = || account.tiers.values().chain([&account.whole]);
        let storage = tiers().filter_map(|tier| full(tier.storage, tier.limits.max_storage));
        let memory = tiers().filter_map(|tier| full(tier.memory, tier.limits.max_memory));
        let judge = |what: &str, name: &'static str, fullest: Option<f64>| match fullest {
            Some(fullest) => self.judge(what, fullest).measure(name, fullest, "percent"),
            None => Outcome::pass(),
        };
        let storage = storage.reduce(f64::max);
        let memory = memory.reduce(f64::max);
        outcome
            .merge(judge(
                "the storage of the account",
                "storage_utilization",
                storage,
            ))
            .merge(judge(
                "the memory of the account",
                "memory_utilization",
                memory,
            ))
    }

    /// Measures a stream, and judges it if it discards new messages. The fuller one of its two
    /// limits counts.
    fn judge_stream(&self, stream: &Stream) -> Outcome {
        let outcome = Outcome::pass()
            .measure("messages", stream.state.messages, "")
            .measure("bytes", stream.state.bytes, "bytes");
        let by_bytes = full(stream.state.bytes, stream.config.max_bytes);
        let by_messages = full(stream.state.messages, stream.config.max_msgs);
        let Some(utilization) = by_bytes.into_iter().chain(by_messages).reduce(f64::max) else {
            return outcome;
        };
        let judged = match stream.config.discard.as_str() {
            "new" => self.judge("the stream", utilization),
            _ => Outcome::pass(),
        };
        outcome.merge(judged.measure("stream_utilization", utilization, "percent"))
    }

    /// Returns a warning if a utilization, in percent, is above the bound or at the limit. It never
    /// fails, because consumers still work.
    fn judge(&self, what: &str, utilization: f64) -> Outcome {
        let reason = match utilization {
            full if full >= 100.0 => Reason::LimitExceeded,
            near if near > self.warn_storage_above => Reason::LimitNear,
            _ => return Outcome::pass(),
        };
        Outcome::warn(reason).with_cause(format_args!("{what} is {utilization:.0} % full"))
    }
}

/// Returns the utilization in percent, or `None` if there is no limit. The server represents that
/// as -1 or 0.
fn full(used: u64, limit: i64) -> Option<f64> {
    let limit = usize::try_from(limit).ok().filter(|&limit| limit > 0)?;
    Some(percent(usize::try_from(used).unwrap_or(usize::MAX), limit))
}

#[async_trait]
impl HealthCheck for Nats {
    async fn check(&self) -> Result<Outcome, Failure> {
        if !self.connected().await {
            return Err(lost("the client is not connected"));
        }
        if !self.jetstream {
            // The message returns even if others subscribe to all subjects. A client that does not
            // receive its own messages (`no_echo`) is notified that there are no responders.
            let inbox = self.client.new_inbox();
            self.request(inbox.clone(), inbox).await?;
            return Ok(Outcome::pass());
        }
        let outcome = self.judge_account(&self.api("INFO").await?);
        Ok(match &self.stream {
            Some(name) => {
                let stream = self.api(&format!("STREAM.INFO.{name}")).await?;
                outcome.merge(self.judge_stream(&stream))
            }
            None => outcome,
        })
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }

    fn problems(&self) -> Vec<String> {
        let storage = crate::not_a_percentage("warn_storage_above", Some(self.warn_storage_above));
        storage.into_iter().collect()
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("jetstream", &self.jetstream)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Creates a failure for a connection that does not work.
fn lost(cause: impl fmt::Display) -> Failure {
    Failure::new(Reason::ConnectionLost).with_cause(cause)
}

/// A response of the JetStream API.
///
/// Source: [NATS, JetStream API
/// reference](https://docs.nats.io/reference/reference-protocols/nats_api_reference).
#[derive(Deserialize)]
#[serde(untagged)]
enum Told<T> {
    Error { error: ApiError },
    Answer(T),
}

/// An error of the JetStream API.
#[derive(Deserialize)]
struct ApiError {
    /// Similar to the status codes of HTTP.
    code: u16,
    /// The error code of JetStream, which is more specific.
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

impl From<ApiError> for Failure {
    fn from(refused: ApiError) -> Self {
        let reason = match (refused.code, refused.err_code) {
            // JetStream is not enabled: for this account, or on this server.
            (_, 10_039 | 10_076) => Reason::Misconfigured,
            (404, _) => Reason::NotFound,
            (503, _) => Reason::Unhealthy,
            _ => Reason::Failed,
        };
        Self::new(reason).with_cause(refused.description)
    }
}

/// The use of an account as a whole and in each of its tiers. Each tier has a number of replicas.
/// If there are tiers, the limits are theirs.
#[derive(Deserialize)]
struct Account {
    #[serde(flatten)]
    whole: Tier,
    #[serde(default)]
    tiers: BTreeMap<String, Tier>,
}

/// The use of the account, or of one of its tiers, in bytes.
#[derive(Deserialize)]
struct Tier {
    memory: u64,
    storage: u64,
    limits: Limits,
}

/// The limits in bytes. -1 and 0 both mean that there is none.
#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    max_memory: i64,
    #[serde(default)]
    max_storage: i64,
}

/// A stream: its limits, and its use of them.
#[derive(Deserialize)]
struct Stream {
    config: Config,
    state: StreamState,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    max_msgs: i64,
    /// What a full stream discards: `old` messages, which is the default, or `new` ones.
    #[serde(default)]
    discard: String,
}

#[derive(Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account has limits only in its tiers.
    #[test]
    fn the_fullest_tier_counts() {
        let told = r#"{"memory":5,"storage":120,"limits":{"max_memory":0,"max_storage":0,"max_streams":0},
            "tiers":{
                "R1":{"memory":5,"storage":20,"limits":{"max_memory":-1,"max_storage":1000}},
                "R3":{"memory":0,"storage":100,"limits":{"max_memory":10,"max_storage":100}}}}"#;
        let account: Account = serde_json::from_str(told).unwrap();
        let fullest = |of: fn(&Tier) -> Option<f64>| {
            let tiers = account.tiers.values().chain([&account.whole]);
            tiers.filter_map(of).reduce(f64::max)
        };
        assert_eq!(
            fullest(|tier| full(tier.storage, tier.limits.max_storage)),
            Some(100.0)
        );
        assert_eq!(
            fullest(|tier| full(tier.memory, tier.limits.max_memory)),
            Some(0.0)
        );
        let without = r#"{"memory":5,"storage":120,"limits":{"max_memory":-1,"max_storage":-1}}"#;
        let account: Account = serde_json::from_str(without).unwrap();
        assert!(account.tiers.is_empty());
        assert_eq!(
            full(account.whole.storage, account.whole.limits.max_storage),
            None
        );
    }
}
