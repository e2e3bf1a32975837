//! The check of Redis, Valkey and their clusters.
//!
//! The answer of a single server is the text of `INFO`, which [`Expected`] judges. A cluster judges
//! itself, in [`cluster`]. A server that does not permit `INFO` still answers: then only what was
//! required explicitly fails.

use std::{fmt, time::Duration};

use redis::{ErrorKind, InfoDict, RedisError, ServerErrorKind, aio::ConnectionLike};

use super::{
    bounds::{LagBounds, Limit},
    percent,
};
use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Health check of a Redis or Valkey server, or of a cluster.
///
/// | finding | outcome |
/// | --- | --- |
/// | the server responds | pass |
/// | it is loading its data | fail, starting up |
/// | memory use is above [`warn_memory_above`](Self::warn_memory_above), and the server does not evict arbitrary keys | warn, limit near; at the limit, limit exceeded |
/// | its connections are near its limit, or at its limit (`INFO`) | warn, limit near; warn, busy |
/// | it is at its limit and refuses the connection of the service | fail, busy |
/// | it failed to write to its disk | warn, degraded |
/// | [`primary`](Self::primary) was called, and it is a replica, or refuses writes for another reason (`NOREPLICAS`, `MISCONF`, `OOM`) | fail, read-only |
/// | a replica has lost its primary | warn, degraded |
/// | a replica lags by more than [`warn_lag_above`](Self::warn_lag_above), [`fail_lag_above`](Self::fail_lag_above) | warn, fail, limit exceeded |
/// | a script blocks all other commands | warn, busy |
/// | wrong password, unknown user | fail, authentication failed |
/// | `INFO` is not available, and a bound was set; or `primary` was called, and writes cannot be tested either | fail, permission denied |
/// | `INFO` lacks a field that a bound on memory or connections needs | fail, unexpected answer |
/// | not all slots of a cluster are served, even if the cluster does not require all of them; or its state is not `ok` | fail, unhealthy |
/// | a primary of a cluster does not respond at the address that the cluster announces for it | fail, with the reason of the network error |
/// | a cluster does not report its state, its slots or its nodes | fail, unexpected answer |
/// | the server cannot be reached | fail, with the reason of the network error |
///
/// A run sends one `INFO`. If that command is forbidden or unknown, it sends a `PING`, which shows
/// only that the server responds. With [`primary`](Self::primary) it also sends a write that
/// changes nothing: `SETRANGE tower-health:takes-writes 0 ""`, for a key that does not exist. If
/// the user may not write that key, the check judges the role alone. For a cluster, a run sends
/// `CLUSTER INFO`, and a `PING` to each primary.
///
/// Use a [`ConnectionManager`](redis::aio::ConnectionManager), because a bare multiplexed
/// connection does not reconnect after it is lost. A manager waits longer before each further
/// attempt. Limit that wait to less than the check's [timeout](tower_health::Check::timeout) with
/// `set_max_delay`. Otherwise the check passes some runs late. A manager that is refused when it
/// reconnects, because of its password or because the server is at its limit, does not try again
/// (as of redis 1.8). The check then fails for as long as that connection is unusable.
///
/// It measures `memory_used` in bytes, `memory_utilization` in percent, `connections`, and
/// `connection_utilization` in percent. For a replica it measures `lag`, the time in seconds since
/// the replica last heard from its primary, which is up to 10 s in normal operation. For a cluster
/// it measures `nodes` and `slots_ok` instead.
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
/// // Few retries, so that a run reports why the server cannot be reached before it times out.
/// let config = ConnectionManagerConfig::new()
///     .set_number_of_retries(1)
///     .set_max_delay(Duration::from_millis(100));
/// let connection = ConnectionManager::new_lazy_with_config(client, config)?;
/// let redis = Check::new("redis", Redis::new(connection)).non_critical();
/// # Ok(redis)
/// # }
/// ```
///
/// # Limitations
///
/// The driver does not report everything. With RESP2 and `set_skip_set_lib_name` it reports a
/// server at its connection limit as a wrong password: both are *authentication failed*. By default
/// it drops the response of such a server, and reports a lost connection. A cluster connection may
/// not report why it has no node to use. That nothing listens there and that the network is gone
/// are then both *connection lost*, or both *unreachable*.
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Redis {
    connection: Box<dyn Source>,
    expected: Expected,
}

/// The default bound for memory and for connections, in percent.
const DEFAULT_WARN_ABOVE: f64 = 90.0;

/// What the check requires. The default requires nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// Whether the server must accept writes.
    primary: bool,
    /// In percent. `None` if the user set no bound: [`DEFAULT_WARN_ABOVE`] applies.
    warn_memory_above: Option<f64>,
    /// In percent, with the same default.
    warn_connections_above: Option<f64>,
    lag: LagBounds,
}

impl Redis {
    /// Creates a check of the server that `connection` is connected to.
    ///
    /// The connection is cloned for each command. The clones of a multiplexed connection or of a
    /// connection manager share one connection to the server.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> redis::RedisResult<()> {
    /// use redis::aio::{ConnectionManager, ConnectionManagerConfig};
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Redis;
    ///
    /// // The service starts even if the server is down. Nothing listens on this port.
    /// let client = redis::Client::open("redis://127.0.0.1:1/")?;
    /// let config = ConnectionManagerConfig::new().set_number_of_retries(0);
    /// let connection = ConnectionManager::new_lazy_with_config(client, config)?;
    /// let outcome = Redis::new(connection).check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::ConnectionRefused));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<C>(connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::of(Server(connection))
    }

    /// Creates a check of a cluster: whether one of its nodes reports that all slots are served,
    /// and whether its primaries respond. The bounds for a single server do not apply, and neither
    /// does [`primary`](Self::primary).
    ///
    /// ```no_run
    /// # async fn check() -> redis::RedisResult<tower_health::Check> {
    /// use redis::cluster::ClusterClient;
    /// use tower_health::Check;
    /// use tower_health_checks::Redis;
    ///
    /// let nodes = vec!["redis://cache-0.internal/", "redis://cache-1.internal/"];
    /// let connection = ClusterClient::new(nodes)?.get_async_connection().await?;
    /// let check = Check::new("redis", Redis::cluster(connection)).shared();
    /// # Ok(check)
    /// # }
    /// ```
    #[cfg(feature = "redis-cluster")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis-cluster")))]
    pub fn cluster(connection: redis::cluster_async::ClusterConnection) -> Self {
        Self::of(cluster::Cluster(connection))
    }

    /// Creates a check without requirements.
    fn of(connection: impl Source) -> Self {
        Self {
            connection: Box::new(connection),
            expected: Expected::default(),
        }
    }

    /// Requires a server that accepts writes. The check then fails for a replica, and for a primary
    /// that refuses writes. Defaults to accepting both.
    ///
    /// ```
    /// # use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};
    /// # #[derive(Clone)]
    /// # struct Server(&'static str);
    /// # impl ConnectionLike for Server {
    /// #     fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
    /// #         Box::pin(async { Ok(Value::BulkString(self.0.into())) })
    /// #     }
    /// #     fn req_packed_commands<'a>(
    /// #         &'a mut self, _: &'a Pipeline, _: usize, _: usize,
    /// #     ) -> RedisFuture<'a, Vec<Value>> { Box::pin(async { Ok(Vec::new()) }) }
    /// #     fn get_db(&self) -> i64 { 0 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Redis;
    ///
    /// // `Server` answers `INFO` with this text.
    /// let replica = Server("role:slave\r\nmaster_link_status:up\r\n");
    /// assert_eq!(Redis::new(replica.clone()).check().await?.status(), Status::Pass);
    ///
    /// let outcome = Redis::new(replica).primary().check().await?;
    /// assert_eq!((outcome.status(), outcome.reason()), (Status::Fail, Some(Reason::ReadOnly)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn primary(mut self) -> Self {
        self.expected.primary = true;
        self
    }

    /// Sets the share of `maxmemory` in percent above which the check warns.
    ///
    /// A server that may evict any key (`allkeys-*`) is meant to be full, and causes no warning.
    /// Nor does a server without a limit. If a bound is set here and the server does not report
    /// `used_memory` and `maxmemory`, the check fails. Defaults to 90.
    ///
    /// ```
    /// # use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};
    /// # #[derive(Clone)]
    /// # struct Server(&'static str);
    /// # impl ConnectionLike for Server {
    /// #     fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
    /// #         Box::pin(async { Ok(Value::BulkString(self.0.into())) })
    /// #     }
    /// #     fn req_packed_commands<'a>(
    /// #         &'a mut self, _: &'a Pipeline, _: usize, _: usize,
    /// #     ) -> RedisFuture<'a, Vec<Value>> { Box::pin(async { Ok(Vec::new()) }) }
    /// #     fn get_db(&self) -> i64 { 0 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Redis;
    ///
    /// // `Server` answers `INFO` with this text. It evicts nothing.
    /// let store = Server("used_memory:80\r\nmaxmemory:100\r\nmaxmemory_policy:noeviction\r\n");
    /// assert_eq!(Redis::new(store.clone()).check().await?.reason(), None);
    /// let outcome = Redis::new(store).warn_memory_above(75.0).check().await?;
    /// assert_eq!(outcome.reason(), Some(Reason::LimitNear));
    ///
    /// let cache = Server("used_memory:100\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n");
    /// let outcome = Redis::new(cache).warn_memory_above(75.0).check().await?;
    /// assert_eq!(outcome.reason(), None, "a cache is meant to be full");
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_memory_above(mut self, percent: f64) -> Self {
        self.expected.warn_memory_above = Some(percent);
        self
    }

    /// Sets the share of `maxclients` in percent above which the check warns.
    ///
    /// Only clients count (`connected_clients`). The connections of replicas, and of other nodes of
    /// a cluster, take up the same limit, so such a server is full sooner. If a bound is set here
    /// and the server does not report `maxclients`, as old versions do not, the check fails.
    /// Defaults to 90.
    ///
    /// ```
    /// # use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};
    /// # #[derive(Clone)]
    /// # struct Server(&'static str);
    /// # impl ConnectionLike for Server {
    /// #     fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
    /// #         Box::pin(async { Ok(Value::BulkString(self.0.into())) })
    /// #     }
    /// #     fn req_packed_commands<'a>(
    /// #         &'a mut self, _: &'a Pipeline, _: usize, _: usize,
    /// #     ) -> RedisFuture<'a, Vec<Value>> { Box::pin(async { Ok(Vec::new()) }) }
    /// #     fn get_db(&self) -> i64 { 0 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Redis;
    ///
    /// // `Server` answers `INFO` with this text.
    /// let full = Server("connected_clients:100\r\nmaxclients:100\r\n");
    /// let outcome = Redis::new(full).check().await?;
    /// assert_eq!((outcome.status(), outcome.reason()), (Status::Warn, Some(Reason::Busy)));
    ///
    /// // A value that is not reported matters only if it has a bound.
    /// let old = Server("connected_clients:100\r\n");
    /// assert_eq!(Redis::new(old.clone()).check().await?.reason(), None);
    /// let outcome = Redis::new(old).warn_connections_above(90.0).check().await?;
    /// assert_eq!(outcome.reason(), Some(Reason::UnexpectedAnswer));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_connections_above(mut self, percent: f64) -> Self {
        self.expected.warn_connections_above = Some(percent);
        self
    }

    /// Sets the time since a replica last heard from its primary above which the check warns. Use
    /// at least 10 s, because that is the interval between the primary's own pings. Defaults to no
    /// bound.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> redis::RedisResult<()> {
    /// # use redis::aio::{ConnectionManager, ConnectionManagerConfig};
    /// # let client = redis::Client::open("redis://cache.internal/")?;
    /// # let config = ConnectionManagerConfig::new();
    /// # let connection = ConnectionManager::new_lazy_with_config(client, config)?;
    /// use std::time::Duration;
    ///
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Redis;
    ///
    /// let check = Redis::new(connection)
    ///     .warn_lag_above(Duration::from_secs(30))
    ///     .fail_lag_above(Duration::from_secs(120));
    /// assert!(check.problems().is_empty());
    /// // It would fail before it warns.
    /// assert_eq!(check.fail_lag_above(Duration::from_secs(10)).problems().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_lag_above(mut self, lag: Duration) -> Self {
        self.expected.lag.warn = Some(lag);
        self
    }

    /// Sets the time since a replica [last heard](Self::warn_lag_above) from its primary above
    /// which the check fails. Defaults to no bound.
    ///
    /// ```
    /// # use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};
    /// # #[derive(Clone)]
    /// # struct Server(&'static str);
    /// # impl ConnectionLike for Server {
    /// #     fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
    /// #         Box::pin(async { Ok(Value::BulkString(self.0.into())) })
    /// #     }
    /// #     fn req_packed_commands<'a>(
    /// #         &'a mut self, _: &'a Pipeline, _: usize, _: usize,
    /// #     ) -> RedisFuture<'a, Vec<Value>> { Box::pin(async { Ok(Vec::new()) }) }
    /// #     fn get_db(&self) -> i64 { 0 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_health::Failure> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Redis;
    ///
    /// // `Server` answers `INFO` with this text. It has been without its primary for a minute.
    /// let stale = Server(
    ///     "role:slave\r\nmaster_link_status:down\r\nmaster_link_down_since_seconds:60\r\n",
    /// );
    /// let outcome = Redis::new(stale.clone()).check().await?;
    /// assert_eq!((outcome.status(), outcome.reason()), (Status::Warn, Some(Reason::Degraded)));
    ///
    /// let outcome = Redis::new(stale).fail_lag_above(Duration::from_secs(30)).check().await?;
    /// assert_eq!(outcome.status(), Status::Fail);
    /// assert_eq!(outcome.reason(), Some(Reason::LimitExceeded));
    /// # Ok(())
    /// # }
    /// ```
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
        let writes = if expected.primary && is_server {
            Some(self.connection.write().await)
        } else {
            None
        };
        let outcome = match answer {
            Ok(Answer::Info(info)) => expected.judge(&info),
            Ok(Answer::Outcome(outcome)) => outcome,
            Ok(Answer::InfoUnavailable(error)) => expected.judge_without_info(error, &writes),
            Err(error) => refusal(error),
        };
        Ok(match writes {
            Some(Err(error)) => outcome.merge(judge_rejected_write(error)),
            Some(Ok(())) | None => outcome,
        })
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }

    fn problems(&self) -> Vec<String> {
        let percentages = [
            ("warn_memory_above", self.expected.warn_memory_above),
            (
                "warn_connections_above",
                self.expected.warn_connections_above,
            ),
        ];
        let invalid = percentages.map(|(name, percent)| crate::not_a_percentage(name, percent));
        let lag = self.expected.lag.problems().into_iter();
        lag.chain(invalid.into_iter().flatten()).collect()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// The answer to a probe.
enum Answer {
    /// The fields of `INFO`.
    Info(InfoDict),
    /// The outcome of a cluster.
    #[cfg_attr(
        not(feature = "redis-cluster"),
        expect(dead_code, reason = "a cluster judges itself")
    )]
    Outcome(Outcome),
    /// The server responds, but rejects `INFO` with this error.
    InfoUnavailable(RedisError),
}

/// A server or a cluster.
#[async_trait]
trait Source: Send + Sync + 'static {
    /// Probes once.
    async fn ask(&self) -> Result<Answer, RedisError>;

    /// Sends a write that changes nothing.
    async fn write(&self) -> Result<(), RedisError>;
}

/// A single server.
struct Server<C>(C);

#[async_trait]
impl<C> Source for Server<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn ask(&self) -> Result<Answer, RedisError> {
        match self.command(&redis::cmd("INFO")).await {
            Ok(info) => Ok(Answer::Info(info)),
            Err(error) if is_forbidden(&error) => {
                self.command::<()>(&redis::cmd("PING")).await?;
                Ok(Answer::InfoUnavailable(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes an empty string at offset 0. A key that does not exist is not created, and an
    /// existing key stays as it is. Every condition that keeps the server from writing rejects this
    /// command too, including full memory.
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
    /// Runs a command. A connection manager reconnects only after a command has failed with a lost
    /// connection. Such a command is therefore repeated once, immediately.
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

/// Whether the connection was lost, so that the same command may succeed over another one. A
/// command that timed out is not such a case.
fn is_lost(error: &RedisError) -> bool {
    !error.is_timeout() && (error.is_io_error() || error.is_unrecoverable_error())
}

/// Whether the command is not available, to this user or to any user: an administrator may have
/// removed it, and proxies do not support all commands.
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

    /// A cluster. Its `CLUSTER INFO` comes from a random node, so that each run may notice the view
    /// of another one.
    pub(super) struct Cluster(pub(super) ClusterConnection);

    #[async_trait]
    impl Source for Cluster {
        async fn ask(&self) -> Result<Answer, RedisError> {
            let mut command = Cmd::new();
            command.arg("CLUSTER").arg("INFO");
            let random_node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
            let mut connection = self.0.clone();
            let told = connection.route_command(command, random_node).await?;
            let info: InfoDict = redis::from_redis_value(told)?;
            // Clients reach each slot at the address that the cluster announces, which may not be
            // reachable from here.
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

    /// The number of hash slots in every cluster.
    ///
    /// Source: [Redis cluster
    /// specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model).
    const SLOTS: u64 = 16_384;

    /// Judges the view that one node has of the cluster, and measures it.
    fn judge(info: &InfoDict) -> Outcome {
        let number = |key| info.get::<u64>(key);
        let (Some(state), Some(served), Some(nodes)) = (
            info.get::<String>("cluster_state"),
            number("cluster_slots_ok"),
            number("cluster_known_nodes"),
        ) else {
            let cause = "it does not report its state, its slots or its nodes";
            return Outcome::fail(Reason::UnexpectedAnswer).with_cause(cause);
        };
        let outcome = match (&*state, served) {
            // A cluster that does not require full coverage is `ok` even if it has lost slots.
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
        fn fails_unless_all_slots_are_served() {
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
    /// Judges a server that answers but rejects `INFO`. It passes, except that a requirement that
    /// cannot be verified fails the check.
    fn judge_without_info(
        &self,
        error: RedisError,
        writes: &Option<Result<(), RedisError>>,
    ) -> Outcome {
        let bound = self.warn_memory_above.or(self.warn_connections_above);
        let is_unverified = matches!(writes, Some(Err(error)) if proves_nothing(error));
        if is_unverified || bound.is_some() || self.lag.is_bound() {
            Outcome::fail(Reason::PermissionDenied).with_cause(error)
        } else {
            Outcome::pass()
        }
    }

    /// Judges the fields of `INFO`. A field that is missing counts as one that needs no attention,
    /// unless it has a bound.
    fn judge(&self, info: &InfoDict) -> Outcome {
        let word = |key| info.get::<String>(key).unwrap_or_default();
        let starting = match word("loading").as_str() {
            "1" => Outcome::fail(Reason::StartingUp).with_cause("it is loading its data"),
            _ => Outcome::pass(),
        };
        let disk = ["rdb_last_bgsave_status", "aof_last_write_status"];
        let disk = if disk.iter().any(|key| word(key) == "err") {
            Outcome::warn(Reason::Degraded).with_cause("it failed to write to its disk")
        } else {
            Outcome::pass()
        };
        starting
            .merge(self.judge_role(info))
            .merge(self.judge_memory(info))
            .merge(self.judge_connections(info))
            .merge(disk)
    }

    /// Judges whether the server is a primary, and if it is not, its link to the primary and its
    /// lag.
    fn judge_role(&self, info: &InfoDict) -> Outcome {
        let word = |key| info.get::<String>(key).unwrap_or_default();
        if word("role") != "slave" {
            return Outcome::pass();
        }
        let is_up = word("master_link_status") == "up";
        let seconds = if is_up {
            "master_last_io_seconds_ago"
        } else {
            "master_link_down_since_seconds"
        };
        let role = if self.primary {
            Outcome::fail(Reason::ReadOnly).with_cause("it is a replica")
        } else {
            Outcome::pass()
        };
        let link = if is_up {
            Outcome::pass()
        } else {
            Outcome::warn(Reason::Degraded).with_cause("it has lost its primary")
        };
        let lag = info
            .get::<i64>(seconds)
            .and_then(|lag| u64::try_from(lag).ok());
        // A replica that never had a primary counts as lagging since it started.
        let lag = lag.or_else(|| info.get("uptime_in_seconds"));
        let lag = self.lag.judge(Duration::from_secs(lag.unwrap_or_default()));
        role.merge(lag).merge(link)
    }

    /// Judges and measures the clients in relation to `maxclients`.
    fn judge_connections(&self, info: &InfoDict) -> Outcome {
        match (count(info, "connected_clients"), count(info, "maxclients")) {
            (Some(used), Some(allowed)) => {
                let server = Limit { used, allowed };
                server.judge(self.warn_connections_above.unwrap_or(DEFAULT_WARN_ABOVE))
            }
            _ => unreported("connections", self.warn_connections_above),
        }
    }

    /// Judges and measures the memory in relation to `maxmemory`, where 0 means no limit.
    fn judge_memory(&self, info: &InfoDict) -> Outcome {
        let (used, max) = (count(info, "used_memory"), count(info, "maxmemory"));
        let (Some(used), Some(max)) = (used, max) else {
            let outcome = unreported("memory", self.warn_memory_above);
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
            near if near > self.warn_memory_above.unwrap_or(DEFAULT_WARN_ABOVE) => {
                Outcome::warn(Reason::LimitNear)
            }
            _ => Outcome::pass(),
        };
        let outcome = crate::explain(outcome, format_args!("{used} of {max} bytes are in use"));
        outcome.measure("memory_used", used, "bytes").measure(
            "memory_utilization",
            utilization,
            "percent",
        )
    }
}

/// Judges a value that the server does not report. It is required only if it has a bound.
fn unreported(what: &str, bound: Option<f64>) -> Outcome {
    match bound {
        Some(_) => Outcome::fail(Reason::UnexpectedAnswer).with_cause(format_args!(
            "it does not report how much of its {what} is in use"
        )),
        None => Outcome::pass(),
    }
}

/// Returns a number, or `None` if the field is missing or is not a number.
fn count(info: &InfoDict, key: &str) -> Option<usize> {
    info.get(key)
}

/// Judges a rejected write. A write that the user may not make, or that another node of a cluster
/// would accept, proves nothing.
fn judge_rejected_write(error: RedisError) -> Outcome {
    match error.code() {
        _ if proves_nothing(&error) => Outcome::pass(),
        Some("NOREPLICAS" | "MISCONF" | "OOM" | "READONLY") => {
            Outcome::fail(Reason::ReadOnly).with_cause(error)
        }
        _ => refusal(error),
    }
}

/// Whether the error of a write says nothing about whether the server accepts writes.
fn proves_nothing(error: &RedisError) -> bool {
    is_forbidden(error) || matches!(error.code(), Some("MOVED" | "ASK" | "CROSSSLOT"))
}

/// Converts an error from a connection that a pool made.
#[cfg(feature = "pool")]
pub(crate) fn of_redis(error: &RedisError) -> crate::refusal::Refusal {
    let outcome = refusal(error.clone());
    if is_lost(error) || error.is_timeout() {
        crate::refusal::Refusal::lost_with(outcome)
    } else {
        crate::refusal::Refusal::said(outcome)
    }
}

/// Returns the outcome of a server that did not answer a command, or of a connection that was lost.
fn refusal(error: RedisError) -> Outcome {
    let outcome = match error.code() {
        // The server runs a script, and rejects other commands meanwhile.
        Some("BUSY") => Outcome::warn(Reason::Busy),
        _ => Outcome::fail(reason(&error)),
    };
    outcome.with_cause(error)
}

/// Returns the reason of an error: that of its kind, of its code, or of its source.
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
            _ if is_at_connection_limit(error) => Reason::Busy,
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

/// Whether a server at its connection limit rejected the connection. It sends this message, which
/// has no error code, and closes the connection.
fn is_at_connection_limit(error: &RedisError) -> bool {
    let told = error.detail().unwrap_or_default();
    told.contains("max number of clients reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_fail_if_they_have_a_bound() {
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
