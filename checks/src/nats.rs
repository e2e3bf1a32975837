use std::{collections::BTreeMap, fmt, sync::atomic::Ordering, time::Duration};

use async_nats::{Client, Message, Request, RequestErrorKind, connection::State};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{sleep, timeout};

use super::percent;
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Whether a NATS server answers, and by choice whether JetStream does.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | the client is not connected, whatever keeps it from that; see [below](#what-it-cannot-tell-apart) | fail, connection lost |
/// | JetStream is not enabled for the account ([`jetstream`](Self::jetstream)) | fail, misconfigured |
/// | JetStream has no leader | fail, unhealthy |
/// | no such stream ([`stream`](Self::stream)) | fail, not found |
/// | the account's storage or memory, or that of one of its tiers, or a stream that refuses what is new, is near its limit ([`warn_storage_above`](Self::warn_storage_above)) | warn, limit near |
/// | the same at its limit | warn, limit exceeded |
///
/// A run sends a message to itself, or a request to JetStream; so the user has to be allowed to publish to
/// `_INBOX.>`, or to the client's own prefix of that, and, for JetStream, to `$JS.API.INFO` and `$JS.API.STREAM.INFO.*`, with a
/// [domain](Self::domain) in place of `API` `orders.API`. It goes over the connection of the client that it is given, which comes back by itself: a run waits a quarter of a
/// second for that. A client waits longer between its attempts each time, up to four seconds unless its `reconnect_delay_callback` says otherwise.
///
/// It measures the account's `storage_used` and `memory_used` in bytes, `storage_utilization` and `memory_utilization` where they have a limit, of
/// several tiers that of the fullest, and of a stream `messages`, `bytes` and, where it has a limit, `stream_utilization`.
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
/// # What it cannot tell apart
///
/// A client that is not connected does not say why. That nothing listens there, that the name has no address, that the password is wrong or the user
/// unknown, that the server has no room or the TLS of neither side suits the other: all are *connection lost*. That the user was refused,
/// the client tells its `event_callback`; the rest is in its traces. A message that the user may not publish gets no answer, which is *timed out*.
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Nats {
    client: Client,
    jetstream: bool,
    domain: Option<String>,
    stream: Option<String>,
    /// In percent.
    warn_storage_above: f64,
}

/// How long a run waits for a client that connects anew.
const PATIENCE: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(10);

impl Nats {
    /// A check of the server that a client is connected to.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            jetstream: false,
            domain: None,
            stream: None,
            warn_storage_above: 90.0,
        }
    }

    /// Asks JetStream, too, for the account. Defaults to not asking.
    pub fn jetstream(mut self) -> Self {
        self.jetstream = true;
        self
    }

    /// Asks the JetStream of a domain, as behind a leaf node. Defaults to that of the server which the client is connected to.
    pub fn domain(mut self, name: impl Into<String>) -> Self {
        self.domain = Some(name.into());
        self.jetstream()
    }

    /// Asks JetStream for the account, and for this stream. Defaults to none.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = Some(name.into());
        self.jetstream()
    }

    /// How much of the account's storage and memory may be in use before it is a warning, in percent; and of a stream that discards what is
    /// new. One that discards what is old is meant to be full. Defaults to 90.
    pub fn warn_storage_above(mut self, percent: f64) -> Self {
        self.warn_storage_above = percent;
        self
    }

    async fn connected(&self) -> bool {
        let connected = async {
            while self.client.connection_state() != State::Connected {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, connected).await.is_ok()
    }

    /// Nobody, or who answers. A reply comes to a place of its own, which goes with the run.
    async fn request(&self, subject: String, inbox: String) -> Result<Option<Message>, Failure> {
        let request = Request::new().inbox(inbox).timeout(None);
        let connects = self.connects();
        // What was on its way when the connection was lost is never answered.
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

    async fn lost(&self, connects: u64) {
        while self.client.connection_state() == State::Connected && self.connects() == connects {
            sleep(LOOK).await;
        }
    }

    /// How often the client has connected.
    fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    async fn api<T: DeserializeOwned>(&self, question: &str) -> Result<T, Failure> {
        let inbox = self.client.new_inbox();
        let subject = match &self.domain {
            Some(domain) => format!("$JS.{domain}.API.{question}"),
            None => format!("$JS.API.{question}"),
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

    fn judge(&self, what: &str, utilization: f64) -> Outcome {
        let reason = match utilization {
            full if full >= 100.0 => Reason::LimitExceeded,
            near if near > self.warn_storage_above => Reason::LimitNear,
            _ => return Outcome::pass(),
        };
        Outcome::warn(reason).with_cause(format_args!("{what} is filled to {utilization:.0} %"))
    }
}

/// In percent, where there is a limit. None is -1, or 0.
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
            // It comes back, whoever listens to all that is sent; to a client that hears nothing of its own, as that nobody listens.
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
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("jetstream", &self.jetstream)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

fn lost(cause: impl fmt::Display) -> Failure {
    Failure::new(Reason::ConnectionLost).with_cause(cause)
}

/// What JetStream's API answers.
///
/// Source: [NATS, JetStream API reference](https://docs.nats.io/reference/reference-protocols/nats_api_reference).
#[derive(Deserialize)]
#[serde(untagged)]
enum Told<T> {
    Error { error: Refused },
    Answer(T),
}

#[derive(Deserialize)]
struct Refused {
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let reason = match (refused.code, refused.err_code) {
            // Not enabled, for the account and at all.
            (_, 10_039 | 10_076) => Reason::Misconfigured,
            (404, _) => Reason::NotFound,
            (503, _) => Reason::Unhealthy,
            _ => Reason::Failed,
        };
        Self::new(reason).with_cause(refused.description)
    }
}

/// What an account holds as a whole, and in each of its tiers, which are told apart by their number of replicas. Where it has tiers, the limits
/// are theirs.
#[derive(Deserialize)]
struct Account {
    #[serde(flatten)]
    whole: Tier,
    #[serde(default)]
    tiers: BTreeMap<String, Tier>,
}

#[derive(Deserialize)]
struct Tier {
    memory: u64,
    storage: u64,
    limits: Limits,
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    max_memory: i64,
    #[serde(default)]
    max_storage: i64,
}

#[derive(Deserialize)]
struct Stream {
    config: Config,
    state: Holds,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    discard: String,
}

#[derive(Deserialize)]
struct Holds {
    messages: u64,
    bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an account whose limits are those of its tiers.
    #[test]
    fn of_several_tiers_the_fullest_counts() {
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
