use std::{fmt, time::Duration};

use redis::{ErrorKind, InfoDict, RedisError, ServerErrorKind, aio::ConnectionLike};

use super::{
    bounds::{LagBounds, Limit},
    percent,
};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Whether a Redis or Valkey server answers, and how it is.
///
/// | finding | outcome |
/// | --- | --- |
/// | it answers | pass |
/// | it loads its data | fail, starting up |
/// | memory above [`warn_memory_above`](Self::warn_memory_above) of a server that does not evict | warn, limit near; past the limit limit exceeded |
/// | connections are near the server's limit, or at it, as it tells (`INFO`) | warn, limit near; warn, busy |
/// | it has no room for the connection of the service | fail, busy |
/// | it could not write to its disk | warn, degraded |
/// | it is a replica, or refuses writes for another reason (`NOREPLICAS`, `MISCONF`, `OOM`), and [`primary`](Self::primary) was called | fail, read-only |
/// | a replica has lost its primary | warn, degraded |
/// | a replica lags by more than [`warn_lag_above`](Self::warn_lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, fail, limit exceeded |
/// | a script keeps it from answering anything else | warn, busy |
/// | wrong password, unknown user | fail, authentication failed |
/// | it does not tell (`INFO`) of itself, and a bound was set, or `primary` and it does not tell that either | fail, permission denied |
/// | it tells of itself, but not what a bound was set for | fail, unexpected answer |
/// | not all slots of a cluster are served, whether or not it needs them all; or its state is not `ok` | fail, unhealthy |
/// | a primary of a cluster does not answer at the address that the cluster announces for it | fail, with the network's reason |
/// | a cluster does not tell its state, its slots or its nodes | fail, unexpected answer |
/// | it cannot be reached | fail, with the network's reason |
///
/// A run is one `INFO`; where that is forbidden or unknown, a `PING` tells whether it answers, and nothing more. Of one that is to be a
/// primary it is a write that changes nothing as well: `SETRANGE tower-health:takes-writes 0 ""`, of a key that there is not. A user who may not
/// write that key is told of the role alone. Of a cluster it is `CLUSTER INFO`, and a `PING` of each primary. Give the check a
/// [`ConnectionManager`](redis::aio::ConnectionManager): a bare multiplexed connection does not come back once it is lost. A manager waits between
/// its attempts, for longer each time; see to it by its `set_max_delay` that this stays below the check's
/// [timeout](tower_health::Check::timeout), or the check passes some runs late. A manager that is refused when it reconnects, for its password or
/// because the server has no room, does not try again (as of redis 1.8): the check then fails for as long as the connection is of no use.
///
/// It measures `memory_used` in bytes and `memory_utilization`; `connections` and `connection_utilization`; and of a replica `lag`, the time since it
/// last heard of its primary, in seconds, which is up to ten in peace.
///
/// ```no_run
/// # async fn check() -> redis::RedisResult<tower_health::Check> {
/// use std::time::Duration;
///
/// use redis::aio::{ConnectionManager, ConnectionManagerConfig};
/// use tower_health::Check;
/// use tower_health_checks::Redis;
///
/// let client = redis::Client::open("redis://cache.internal/")?;
/// let config = ConnectionManagerConfig::new().set_max_delay(Duration::from_millis(500));
/// let connection = ConnectionManager::new_with_config(client, config).await?;
/// let redis = Check::new("redis", Redis::new(connection)).non_critical();
/// # Ok(redis)
/// # }
/// ```
///
/// # What it cannot tell apart
///
/// The driver keeps some things to itself. With RESP2 and `set_skip_set_lib_name` it reports a server without room as a password that is wrong: both are
/// *authentication failed*. By default it drops what such a server said, and reports a connection that was lost. A cluster's connection may not say
/// why it has no node to ask: that nothing listens there and that the network is gone are both *connection lost*, or *unreachable*.
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Redis {
    connection: Box<dyn Ask>,
    expected: Expected,
}

/// How full memory, or the table of connections, may be by default, in percent.
const FULL: f64 = 90.0;

#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    primary: bool,
    /// In percent, if the user has said how much.
    warn_memory_above: Option<f64>,
    warn_connections_above: Option<f64>,
    lag: LagBounds,
}

impl Redis {
    /// A check of the server of a connection.
    pub fn new<C>(connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::of(Server(connection))
    }

    /// A check of a cluster: whether its slots are served, as a node of it tells. The bounds of a single server are not looked at.
    #[cfg(feature = "redis-cluster")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis-cluster")))]
    pub fn cluster(connection: redis::cluster_async::ClusterConnection) -> Self {
        Self::of(cluster::Cluster(connection))
    }

    fn of(connection: impl Ask) -> Self {
        Self {
            connection: Box::new(connection),
            expected: Expected::default(),
        }
    }

    /// Expects a server that takes writes: a replica then fails, and one that refuses them though it is none. Defaults to either.
    pub fn primary(mut self) -> Self {
        self.expected.primary = true;
        self
    }

    /// How much of `maxmemory` may be in use before it is a warning, in percent. A server that evicts whatever key it likes is meant
    /// to be full, and is never warned of; without a limit there is nothing to be near. A server that does not tell its `used_memory` and
    /// its `maxmemory` fails once this was called. Defaults to 90.
    pub fn warn_memory_above(mut self, percent: f64) -> Self {
        self.expected.warn_memory_above = Some(percent);
        self
    }

    /// How much of `maxclients` may be connected before it is a warning, in percent. Only clients are counted (`connected_clients`): the
    /// connections of its replicas, and of other nodes of a cluster, take room as well, and such a server is full sooner. A server that
    /// does not tell its `maxclients`, as old ones do not, fails once this was called. Defaults to 90.
    pub fn warn_connections_above(mut self, percent: f64) -> Self {
        self.expected.warn_connections_above = Some(percent);
        self
    }

    /// How long ago a replica may have last heard of its primary before it is a warning; at least the ten seconds between the primary's own
    /// pings. Defaults to no bound.
    pub fn warn_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.warn = Some(lag);
        self
    }

    /// How long ago a replica may have [last heard](Self::warn_lag_above) of its primary before it fails. Defaults to no bound.
    pub fn fail_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.fail = Some(lag);
        self
    }
}

#[async_trait]
impl HealthCheck for Redis {
    async fn check(&self) -> Result<Outcome, Failure> {
        let expected = &self.expected;
        let answer = self.connection.ask().await;
        let is_server = !matches!(&answer, Err(_) | Ok(Answer::Outcome(_)));
        let writes = match expected.primary && is_server {
            true => Some(self.connection.write().await),
            false => None,
        };
        let outcome = match answer {
            Ok(Answer::Info(info)) => expected.judge(&info),
            Ok(Answer::Outcome(outcome)) => outcome,
            Ok(Answer::NoInfo(error)) => expected.judge_without_info(error, &writes),
            Err(error) => refusal(error),
        };
        Ok(match writes {
            Some(Err(error)) => outcome.merge(no_write(error)),
            Some(Ok(())) | None => outcome,
        })
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }

    fn problems(&self) -> Vec<String> {
        self.expected.lag.problems()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

enum Answer {
    Info(InfoDict),
    #[cfg_attr(
        not(feature = "redis-cluster"),
        expect(dead_code, reason = "a cluster judges itself")
    )]
    Outcome(Outcome),
    /// It answers, but tells nothing of itself, for this reason.
    NoInfo(RedisError),
}

#[async_trait]
trait Ask: Send + Sync + 'static {
    async fn ask(&self) -> Result<Answer, RedisError>;

    /// Writes what changes nothing.
    async fn write(&self) -> Result<(), RedisError>;
}

/// One server.
struct Server<C>(C);

#[async_trait]
impl<C> Ask for Server<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn ask(&self) -> Result<Answer, RedisError> {
        match self.command(&redis::cmd("INFO")).await {
            Ok(info) => Ok(Answer::Info(info)),
            Err(error) if is_forbidden(&error) => {
                self.command::<()>(&redis::cmd("PING")).await?;
                Ok(Answer::NoInfo(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Nothing is put behind nothing: a key that there is not stays so, and one that there is stays as it is. All that keeps a server
    /// from writing keeps it from this, memory that is full included.
    async fn write(&self) -> Result<(), RedisError> {
        let mut command = redis::cmd("SETRANGE");
        command.arg("tower-health:takes-writes").arg(0).arg("");
        self.command(&command).await
    }
}

impl<C> Server<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Who is told that a connection was lost makes a new one for who asks next. So that is asked again, at once.
    async fn command<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, RedisError> {
        let mut connection = self.0.clone();
        match command.query_async(&mut connection).await {
            Err(error) if is_lost(&error) => command.query_async(&mut connection).await,
            answer => answer,
        }
    }
}

fn is_lost(error: &RedisError) -> bool {
    !error.is_timeout() && (error.is_io_error() || error.is_unrecoverable_error())
}

/// To the user, or to everybody: an administrator may have taken a command away, and proxies do not know all.
fn is_forbidden(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            let told = error.detail().unwrap_or_default().to_ascii_lowercase();
            told.starts_with("unknown command") || told.contains("unsupported command")
        }
        _ => false,
    }
}

#[cfg(feature = "redis-cluster")]
mod cluster {
    use redis::{
        Cmd,
        cluster_async::ClusterConnection,
        cluster_routing::{
            MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
        },
    };

    use super::*;

    pub(super) struct Cluster(pub(super) ClusterConnection);

    #[async_trait]
    impl Ask for Cluster {
        async fn ask(&self) -> Result<Answer, RedisError> {
            let mut command = Cmd::new();
            command.arg("CLUSTER").arg("INFO");
            let anyone = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
            let mut connection = self.0.clone();
            let told = connection.route_command(command, anyone).await?;
            let info: InfoDict = redis::from_redis_value(told)?;
            // Each slot is asked for at the address that the cluster announces, which may be one that is not to be had from here.
            let primaries = MultipleNodeRoutingInfo::AllMasters;
            let all = RoutingInfo::MultiNode((primaries, Some(ResponsePolicy::AllSucceeded)));
            let reached = connection.route_command(redis::cmd("PING"), all).await;
            let outcome = judge(&info);
            Ok(Answer::Outcome(match reached {
                Ok(_) => outcome,
                Err(error) => outcome.merge(refusal(error)),
            }))
        }

        async fn write(&self) -> Result<(), RedisError> {
            Ok(())
        }
    }

    /// Of every cluster.
    ///
    /// Source: [Redis cluster specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model).
    const SLOTS: u64 = 16_384;

    fn judge(info: &InfoDict) -> Outcome {
        let number = |key| info.get::<u64>(key);
        let (Some(state), Some(served), Some(nodes)) = (
            info.get::<String>("cluster_state"),
            number("cluster_slots_ok"),
            number("cluster_known_nodes"),
        ) else {
            let cause = "it does not tell its state, its slots or its nodes";
            return Outcome::fail(Reason::UnexpectedAnswer).with_cause(cause);
        };
        let outcome = match (&*state, served) {
            // One that does without full coverage is `ok` whatever it has lost.
            ("ok", SLOTS) => Outcome::pass(),
            _ => Outcome::fail(Reason::Unhealthy)
                .with_cause(format_args!("{served} of {SLOTS} slots are served")),
        };
        outcome
            .measure("nodes", nodes, "")
            .measure("slots_ok", served, "")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn all_slots_are_served_or_it_fails() {
            let told = |state: &str, served: &str| {
                let info = format!("{state}\r\n{served}\r\ncluster_known_nodes:6\r\n");
                judge(&InfoDict::new(&info)).reason()
            };
            let (ok, all) = ("cluster_state:ok", "cluster_slots_ok:16384");
            assert_eq!(told(ok, all), None);
            assert_eq!(told(ok, "cluster_slots_ok:16383"), Some(Reason::Unhealthy));
            assert_eq!(told("cluster_state:fail", all), Some(Reason::Unhealthy));
            for (state, served) in [("", all), (ok, ""), (ok, "cluster_slots_ok:many"), ("", "")] {
                assert_eq!(told(state, served), Some(Reason::UnexpectedAnswer));
            }
        }
    }
}

impl Expected {
    /// What is expected and cannot be seen is not taken for granted.
    fn judge_without_info(
        &self,
        error: RedisError,
        writes: &Option<Result<(), RedisError>>,
    ) -> Outcome {
        let bound = self.warn_memory_above.or(self.warn_connections_above);
        let is_untold = matches!(writes, Some(Err(error)) if is_withheld(error));
        match is_untold || bound.is_some() || self.lag.is_bound() {
            true => Outcome::fail(Reason::PermissionDenied).with_cause(error),
            false => Outcome::pass(),
        }
    }

    fn judge(&self, info: &InfoDict) -> Outcome {
        let word = |key| info.get::<String>(key).unwrap_or_default();
        let starting = match word("loading").as_str() {
            "1" => Outcome::fail(Reason::StartingUp).with_cause("it loads its data"),
            _ => Outcome::pass(),
        };
        let disk = ["rdb_last_bgsave_status", "aof_last_write_status"];
        let disk = match disk.iter().any(|key| word(key) == "err") {
            true => Outcome::warn(Reason::Degraded).with_cause("it could not write to its disk"),
            false => Outcome::pass(),
        };
        starting
            .merge(self.judge_role(info))
            .merge(self.judge_memory(info))
            .merge(self.judge_connections(info))
            .merge(disk)
    }

    fn judge_role(&self, info: &InfoDict) -> Outcome {
        let word = |key| info.get::<String>(key).unwrap_or_default();
        if word("role") != "slave" {
            return Outcome::pass();
        }
        let is_up = word("master_link_status") == "up";
        let seconds = match is_up {
            true => "master_last_io_seconds_ago",
            false => "master_link_down_since_seconds",
        };
        let role = match self.primary {
            true => Outcome::fail(Reason::ReadOnly).with_cause("it is a replica"),
            false => Outcome::pass(),
        };
        let link = match is_up {
            true => Outcome::pass(),
            false => Outcome::warn(Reason::Degraded).with_cause("it has lost its primary"),
        };
        let lag = info
            .get::<i64>(seconds)
            .and_then(|lag| u64::try_from(lag).ok());
        // One that has never had a primary has missed it since it started.
        let lag = lag.or_else(|| info.get("uptime_in_seconds"));
        let lag = self.lag.judge(Duration::from_secs(lag.unwrap_or_default()));
        role.merge(lag).merge(link)
    }

    fn judge_connections(&self, info: &InfoDict) -> Outcome {
        match (count(info, "connected_clients"), count(info, "maxclients")) {
            (Some(used), Some(allowed)) => {
                let server = Limit { used, allowed };
                server.judge(self.warn_connections_above.unwrap_or(FULL))
            }
            _ => untold("connections", self.warn_connections_above),
        }
    }

    fn judge_memory(&self, info: &InfoDict) -> Outcome {
        let (used, max) = (count(info, "used_memory"), count(info, "maxmemory"));
        let (Some(used), Some(max)) = (used, max) else {
            let outcome = untold("memory", self.warn_memory_above);
            return match used {
                Some(used) => outcome.measure("memory_used", used, "bytes"),
                None => outcome,
            };
        };
        if max == 0 {
            return Outcome::pass().measure("memory_used", used, "bytes");
        }
        let policy = info.get::<String>("maxmemory_policy").unwrap_or_default();
        let utilization = percent(used, max);
        let outcome = match utilization {
            _ if policy.starts_with("allkeys-") => Outcome::pass(),
            full if full >= 100.0 => Outcome::warn(Reason::LimitExceeded),
            near if near > self.warn_memory_above.unwrap_or(FULL) => {
                Outcome::warn(Reason::LimitNear)
            }
            _ => Outcome::pass(),
        };
        let outcome = match outcome.reason() {
            Some(_) => outcome.with_cause(format_args!("{used} of {max} bytes are in use")),
            None => outcome,
        };
        outcome.measure("memory_used", used, "bytes").measure(
            "memory_utilization",
            utilization,
            "percent",
        )
    }
}

/// What a server does not tell is amiss if there is a bound for it.
fn untold(what: &str, bound: Option<f64>) -> Outcome {
    match bound {
        Some(_) => Outcome::fail(Reason::UnexpectedAnswer).with_cause(format_args!(
            "it does not tell how much of its {what} is in use"
        )),
        None => Outcome::pass(),
    }
}

fn count(info: &InfoDict, key: &str) -> Option<usize> {
    info.get(key)
}

/// What a write tells that was refused. One that the user may not make, or that another node of a cluster would take, tells nothing.
fn no_write(error: RedisError) -> Outcome {
    match error.code() {
        _ if is_withheld(&error) => Outcome::pass(),
        Some("NOREPLICAS" | "MISCONF" | "OOM" | "READONLY") => {
            Outcome::fail(Reason::ReadOnly).with_cause(error)
        }
        _ => refusal(error),
    }
}

fn is_withheld(error: &RedisError) -> bool {
    is_forbidden(error) || matches!(error.code(), Some("MOVED" | "ASK" | "CROSSSLOT"))
}

/// What an error of a connection says that somebody else has made.
#[cfg(feature = "pool")]
pub(crate) fn of_redis(error: &RedisError) -> crate::refusal::Refusal {
    let outcome = refusal(error.clone());
    match is_lost(error) || error.is_timeout() {
        true => crate::refusal::Refusal::lost_with(outcome),
        false => crate::refusal::Refusal::said(outcome),
    }
}

fn refusal(error: RedisError) -> Outcome {
    let outcome = match error.code() {
        // It runs somebody's script, and nothing else meanwhile.
        Some("BUSY") => Outcome::warn(Reason::Busy),
        _ => Outcome::fail(reason(&error)),
    };
    outcome.with_cause(error)
}

fn reason(error: &RedisError) -> Reason {
    match error.kind() {
        ErrorKind::AuthenticationFailed => Reason::AuthenticationFailed,
        ErrorKind::InvalidClientConfig => Reason::Misconfigured,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Reason::UnexpectedAnswer,
        ErrorKind::ClusterConnectionNotFound => Reason::Unreachable,
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::BusyLoading => Reason::StartingUp,
            ServerErrorKind::ReadOnly => Reason::ReadOnly,
            ServerErrorKind::NoPerm => Reason::PermissionDenied,
            ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown => Reason::Unhealthy,
            _ if is_turned_away(error) => Reason::Busy,
            _ => Reason::Failed,
        },
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => Reason::AuthenticationFailed,
            Some("DENIED") => Reason::PermissionDenied,
            Some("MISCONF" | "OOM") => Reason::LimitExceeded,
            _ if error.is_timeout() => Reason::TimedOut,
            _ if error.is_connection_refusal() => Reason::ConnectionRefused,
            _ if error.is_connection_dropped() => Reason::ConnectionLost,
            _ => Reason::of(error),
        },
    }
}

/// By a server at its limit, for which there is no code. It says so to a connection and closes that.
fn is_turned_away(error: &RedisError) -> bool {
    let told = error.detail().unwrap_or_default();
    told.contains("max number of clients reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_bound_and_is_not_told_is_not_skipped() {
        let none = Expected::default();
        let of_connections = Expected {
            warn_connections_above: Some(90.0),
            ..none
        };
        let of_memory = Expected {
            warn_memory_above: Some(90.0),
            ..none
        };
        let clients = "connected_clients:1\r\n";
        let told = "connected_clients:1\r\nmaxclients:10\r\nused_memory:1\r\nmaxmemory:0\r\n";
        let unexpected = Some(Reason::UnexpectedAnswer);
        for (info, expected, reason) in [
            (clients, none, None),
            (clients, of_connections, unexpected),
            ("used_memory:1\r\n", none, None),
            ("used_memory:1\r\n", of_memory, unexpected),
            ("", of_memory, unexpected),
            (told, of_connections, None),
            (told, of_memory, None),
        ] {
            let outcome = expected.judge(&InfoDict::new(info));
            assert_eq!(outcome.reason(), reason, "{info:?} {expected:?}");
        }
    }
}
