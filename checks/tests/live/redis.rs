use std::{fs, net::SocketAddr, process::Command, time::Duration};

use redis::{
    Client, IntoConnectionInfo, ProtocolVersion,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    cluster::ClusterClient,
};
use tokio::net::TcpStream;
use tower_health::{
    HealthCheck, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::Redis;

use crate::{
    matrix::{DELAY, Row},
    server::{Server, free_address, program},
    table::{assert_optional, assert_refusal},
    wear::{until, wear},
};

const PASSWORD: &str = "hunter2";
const MAX_CLIENTS: usize = 20;

pub(crate) fn server(arguments: &[&str]) -> Server {
    let program = program("redis-server", &[], "apt-get install redis-server");
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    Server::new(move |directory, address| {
        let mut redis = Command::new(&program);
        redis
            .args(["--port", &address.port().to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(directory)
            .args(["--requirepass", PASSWORD, "--masterauth", PASSWORD])
            .args(["--maxclients", &MAX_CLIENTS.to_string()])
            .args(&arguments);
        redis
    })
}

fn started(arguments: &[&str]) -> Server {
    let mut server = server(arguments);
    server.start();
    server
}

fn client(address: SocketAddr, user: &str) -> Client {
    Client::open(format!("redis://{user}:{PASSWORD}@{address}/")).unwrap()
}

pub(crate) async fn manager(address: SocketAddr, user: &str) -> ConnectionManager {
    connect(client(address, user)).await
}

async fn manager_by(address: SocketAddr, password: &str) -> ConnectionManager {
    connect(Client::open(format!("redis://default:{password}@{address}/")).unwrap()).await
}

/// A connection that reconnects soon.
async fn connect(client: Client) -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_min_delay(Duration::from_millis(10))
        .set_max_delay(Duration::from_millis(50));
    ConnectionManager::new_with_config(client, config)
        .await
        .unwrap()
}

/// A connection that does not send the name of its library, so that the first message of the server
/// is read.
async fn connect_without_lib_name(
    address: SocketAddr,
    protocol: ProtocolVersion,
) -> ConnectionManager {
    let url = format!("redis://default:{PASSWORD}@{address}/");
    let info = url.into_connection_info().unwrap();
    let settings = info.redis_settings().clone();
    let settings = settings.set_protocol(protocol).set_skip_set_lib_name();
    connect(Client::open(info.set_redis_settings(settings)).unwrap()).await
}

/// Returns an administrator's connection to the server, without the proxy.
pub(crate) async fn admin(address: SocketAddr) -> MultiplexedConnection {
    let client = client(address, "default");
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn command(connection: &mut MultiplexedConnection, command: &str) {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| _ = command.arg(word));
    let () = command.query_async(connection).await.unwrap();
}

async fn told(check: &Redis) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap();
    (outcome.status(), outcome.reason())
}

const PASSES: (Status, Option<Reason>) = (Status::Pass, None);

fn warns(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Warn, Some(reason))
}

fn fails(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Fail, Some(reason))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    let mut server = started(&[]);
    let admin = admin(server.address).await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let connection = manager(proxy.address(), "default").await;
    let mut row = Row::of("redis", Redis::new(connection).primary()).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }

    let mut taken = Vec::new();
    let all = async {
        for _ in 0..MAX_CLIENTS {
            taken.push(TcpStream::connect(server.address).await.unwrap());
        }
    };
    row.when("out of connections", all).await;
    row.over(async {
        taken.clear();
        until("the server has noticed", async || {
            let mut admin = admin.clone();
            let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut admin).await.unwrap();
            info.get("connected_clients") == Some(2)
        })
        .await;
    })
    .await;

    let connection = manager(server.address, "default").await;
    let mut direct = Row::of("redis", Redis::new(connection).primary()).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    let refuse = async {
        let mut admin = self::admin(server.address).await;
        command(&mut admin, "CONFIG SET requirepass another").await;
        command(&mut admin, "CLIENT KILL TYPE normal SKIPME yes").await;
    };
    // A manager does not recover from this.
    direct.when("wrong password", refuse).await;
    let connection = manager_by(server.address, "another").await;
    let mut other = Row::of("redis", Redis::new(connection)).await;
    other.when("not there", async { server.kill() }).await;
    row.with(direct)
        .with(other)
        .assert_documented(&[PASSWORD, "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_given_connection_is_used() {
    let server = started(&[]);
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let connection = manager(proxy.address(), "default").await;
    let check = Redis::new(connection.clone());
    let check = check.warn_lag_above(2 * DELAY).fail_lag_above(DELAY);
    assert_eq!(check.problems().len(), 1);
    let contract = || Contract::new(|| Redis::new(connection.clone())).secret(PASSWORD);
    contract().expect(Status::Pass).assert().await;
    wear(&Redis::new(connection.clone())).await;
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    proxy.fail(Fault::Refuse).await;
    contract().expect(Status::Fail).assert().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_connection_that_was_lost_stays_lost() {
    let mut server = started(&[]);
    let check = Redis::new(admin(server.address).await);
    assert_eq!(told(&check).await, PASSES);
    server.kill();
    server.start();
    assert_eq!(told(&check).await, fails(Reason::ConnectionLost));
    assert_eq!(told(&check).await, fails(Reason::ConnectionLost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_checked_unless_keys_may_be_evicted() {
    let server = started(&[]);
    let mut admin = admin(server.address).await;
    let check = Redis::new(manager(server.address, "default").await);
    assert_eq!(told(&check).await, PASSES);
    for (limit, policy, expected) in [
        ("1gb", "noeviction", PASSES),
        ("100", "noeviction", warns(Reason::LimitExceeded)),
        ("100", "volatile-lru", warns(Reason::LimitExceeded)),
        ("100", "allkeys-lru", PASSES),
        ("0", "noeviction", PASSES),
    ] {
        command(&mut admin, &format!("CONFIG SET maxmemory-policy {policy}")).await;
        command(&mut admin, &format!("CONFIG SET maxmemory {limit}")).await;
        assert_eq!(told(&check).await, expected, "{limit} {policy}");
    }
    command(&mut admin, "CONFIG SET maxmemory 100mb").await;
    let early = Redis::new(manager(server.address, "default").await).warn_memory_above(0.1);
    assert_eq!(told(&early).await, warns(Reason::LimitNear));
    let measured = early.check().await.unwrap();
    let measured = measured.measurements().iter().map(|m| &*m.name);
    let names = [
        "memory_used",
        "memory_utilization",
        "connections",
        "connection_utilization",
    ];
    assert_eq!(measured.collect::<Vec<_>>(), names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_near_the_limit_are_a_warning() {
    let server = started(&[]);
    let check = Redis::new(manager(server.address, "default").await).warn_connections_above(50.0);
    assert_eq!(told(&check).await, PASSES);
    let mut taken = Vec::new();
    for _ in 0..MAX_CLIENTS / 2 {
        taken.push(TcpStream::connect(server.address).await.unwrap());
    }
    let near = warns(Reason::LimitNear);
    until("it is near its limit", async || told(&check).await == near).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_refused_by_the_connection_limit_fails() {
    let server = started(&[]);
    let mut admin = admin(server.address).await;
    let busy = Redis::new(connect_without_lib_name(server.address, ProtocolVersion::RESP3).await);
    // The driver does not report that the password is not the reason.
    let refused =
        Redis::new(connect_without_lib_name(server.address, ProtocolVersion::RESP2).await);
    assert_eq!(told(&busy).await, PASSES);
    assert_eq!(told(&refused).await, PASSES);
    command(&mut admin, "CONFIG SET maxclients 1").await;
    command(&mut admin, "CLIENT KILL TYPE normal SKIPME yes").await;
    let ends = [
        (&busy, fails(Reason::Busy)),
        (&refused, fails(Reason::AuthenticationFailed)),
    ];
    for (check, end) in ends {
        until("it is turned away", async || told(check).await == end).await;
    }
    // A manager does not retry, even when connections are available again.
    command(&mut admin, &format!("CONFIG SET maxclients {MAX_CLIENTS}")).await;
    for (check, end) in ends {
        assert_eq!(told(check).await, end);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_fails_as_primary_and_when_it_loses_its_primary() {
    let mut primary = started(&[]);
    let port = primary.address.port();
    let replica = started(&["--replicaof", "127.0.0.1", &port.to_string()]);
    let manager = async || manager(replica.address, "default").await;
    let any = Redis::new(manager().await);
    let bounded = Redis::new(manager().await).fail_lag_above(Duration::from_secs(20));
    until("it follows", async || told(&any).await == PASSES).await;
    assert_eq!(told(&bounded).await, PASSES);
    let writes = Redis::new(manager().await).primary();
    assert_eq!(told(&writes).await, fails(Reason::ReadOnly));
    primary.kill();
    until("it is alone", async || {
        told(&any).await == warns(Reason::Degraded)
    })
    .await;
    let late = Redis::new(manager().await).warn_lag_above(Duration::ZERO);
    until("it lags", async || {
        told(&late).await == warns(Reason::LimitExceeded)
    })
    .await;
    let late = Redis::new(manager().await).fail_lag_above(Duration::from_secs(1));
    until("too far", async || {
        told(&late).await == fails(Reason::LimitExceeded)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_its_data_is_starting() {
    let mut server = server(&[
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    server.start();
    let mut admin = admin(server.address).await;
    let mut pipe = redis::pipe();
    for key in 0..3_000 {
        pipe.cmd("SET")
            .arg(key)
            .arg("a value of some length")
            .ignore();
    }
    let () = pipe.query_async(&mut admin).await.unwrap();
    command(&mut admin, "SAVE").await;
    server.kill();
    server.start();
    let check = Redis::new(manager(server.address, "default").await);
    assert_eq!(told(&check).await, fails(Reason::StartingUp));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_save_to_disk_is_a_warning() {
    let server = started(&[]);
    let mut admin = admin(server.address).await;
    let check = Redis::new(manager(server.address, "default").await);
    // A directory with the name of the file prevents the save.
    fs::create_dir(server.directory.path().join("dump.rdb")).unwrap();
    command(&mut admin, "SET a b").await;
    command(&mut admin, "BGSAVE").await;
    let degraded = warns(Reason::Degraded);
    until("it has failed to", async || told(&check).await == degraded).await;
    // If saves are configured, the server refuses writes in this state.
    let save = redis::cmd("CONFIG")
        .arg("SET")
        .arg("save")
        .arg("3600 1")
        .to_owned();
    let () = save.query_async(&mut admin).await.unwrap();
    let primary = Redis::new(manager(server.address, "default").await).primary();
    assert_eq!(told(&primary).await, fails(Reason::ReadOnly));
    assert_eq!(told(&check).await, degraded);
    let what = "a disk that rejects writes (`MISCONF`)";
    assert_refusal("redis, as a primary", what, &primary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_ping_rights_only_gets_a_pass() {
    let server = started(&[]);
    let mut admin = admin(server.address).await;
    command(&mut admin, "ACL SETUSER app on >hunter2 -@all +ping").await;
    let check = Redis::new(manager(server.address, "app").await);
    assert_eq!(told(&check).await, PASSES);
    assert_eq!(check.check().await.unwrap().measurements(), []);
    command(&mut admin, "ACL SETUSER app -ping").await;
    assert_eq!(told(&check).await, fails(Reason::PermissionDenied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_that_cannot_be_queried_fails() {
    let server = started(&[]);
    let mut admin = admin(server.address).await;
    command(
        &mut admin,
        "ACL SETUSER app on >hunter2 ~* +@all -@dangerous",
    )
    .await;
    let check = async || Redis::new(manager(server.address, "app").await);
    assert_eq!(told(&check().await).await, PASSES);
    let denied = fails(Reason::PermissionDenied);
    // A write shows the role as well.
    assert_eq!(told(&check().await.primary()).await, PASSES);
    let lag = Duration::from_secs(20);
    assert_eq!(told(&check().await.warn_lag_above(lag)).await, denied);
    assert_eq!(told(&check().await.fail_lag_above(lag)).await, denied);
    assert_eq!(
        told(&check().await.warn_connections_above(90.0)).await,
        denied
    );
    assert_eq!(told(&check().await.warn_memory_above(90.0)).await, denied);
    let bounded = check().await.warn_memory_above(90.0);
    assert_optional("redis", "`INFO`, for its user", &check().await, &bounded).await;

    let renamed = started(&["--rename-command", "INFO", "nobodys"]);
    let check = async || Redis::new(manager(renamed.address, "default").await);
    assert_eq!(told(&check().await).await, PASSES);
    assert_eq!(told(&check().await.primary()).await, PASSES);
    assert_eq!(told(&check().await.warn_lag_above(lag)).await, denied);
    let bounded = check().await.warn_lag_above(lag);
    let what = "`INFO`, where it is renamed";
    assert_optional("redis", what, &check().await, &bounded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_script_makes_the_server_busy() {
    let server = started(&["--lua-time-limit", "50"]);
    let check = Redis::new(manager(server.address, "default").await);
    let mut killer = admin(server.address).await;
    let mut other = admin(server.address).await;
    let script = tokio::spawn(async move {
        let forever = "while true do end";
        let script = redis::cmd("EVAL").arg(forever).arg(0).to_owned();
        script.query_async::<()>(&mut other).await
    });
    let busy = warns(Reason::Busy);
    until("it is busy", async || told(&check).await == busy).await;
    command(&mut killer, "SCRIPT KILL").await;
    assert!(script.await.unwrap().is_err());
    assert_eq!(told(&check).await, PASSES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_passes_while_all_its_slots_are_served() {
    let mut server = started(&["--cluster-enabled", "yes"]);
    let mut admin = admin(server.address).await;
    command(&mut admin, "CLUSTER ADDSLOTSRANGE 0 16383").await;
    let url = format!("redis://default:{PASSWORD}@{}/", server.address);
    let client = ClusterClient::builder([url]).retries(0).build().unwrap();
    // A node that has just started must first be configured as a complete cluster.
    until("the cluster is whole", async || {
        client.get_async_connection().await.is_ok()
    })
    .await;
    let connection = client.get_async_connection().await.unwrap();
    let check = Redis::cluster(connection.clone());
    until("its slots are served", async || {
        told(&check).await == PASSES
    })
    .await;
    let contract = || Contract::new(|| Redis::cluster(connection.clone())).secret(PASSWORD);
    contract().expect(Status::Pass).assert().await;
    command(&mut admin, "CLUSTER DELSLOTS 0").await;
    let unhealthy = fails(Reason::Unhealthy);
    until("one is not", async || told(&check).await == unhealthy).await;
    command(&mut admin, "CLUSTER ADDSLOTS 0").await;
    until("all are again", async || told(&check).await == PASSES).await;
    // This holds even for a cluster that continues with its remaining slots.
    command(&mut admin, "CONFIG SET cluster-require-full-coverage no").await;
    command(&mut admin, "CLUSTER DELSLOTS 0").await;
    until("one is not", async || told(&check).await == unhealthy).await;
    let what = "a slot that no node serves";
    assert_refusal("redis, of a cluster", what, &check).await;
    command(&mut admin, "CLUSTER ADDSLOTS 0").await;
    until("all are again", async || told(&check).await == PASSES).await;

    // Nodes are queried at the addresses that they announce.
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let port = proxy.address().port();
    command(
        &mut admin,
        &format!("CONFIG SET cluster-announce-port {port}"),
    )
    .await;
    let url = format!("redis://default:{PASSWORD}@{}/", proxy.address());
    let client = ClusterClient::builder([url]).retries(0).build().unwrap();
    let past = client.get_async_connection().await.unwrap();
    let mut past = Row::of("redis-cluster", Redis::cluster(past)).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        past.when(fault, proxy.fail(how)).await;
        past.over(proxy.heal()).await;
    }
    // As behind NAT: the given node is reachable, and the announced address is not.
    let nobody = free_address().port();
    let announce = format!("CONFIG SET cluster-announce-port {nobody}");
    command(&mut admin, &announce).await;
    let url = format!("redis://default:{PASSWORD}@{}/", server.address);
    let client = ClusterClient::builder([url]).retries(0).build().unwrap();
    match client.get_async_connection().await {
        Ok(connection) => {
            let what = "addresses that are announced and cannot be reached";
            let check = Redis::cluster(connection);
            assert_refusal("redis, of a cluster", what, &check).await;
        }
        Err(error) => println!("the client has no connection to give to a check: {error}"),
    }
    command(&mut admin, "CONFIG SET cluster-announce-port 0").await;

    let mut row = Row::of("redis-cluster", check).await;
    row.when("suspended", async { server.suspend() }).await;
    row.over(async { server.resume() }).await;
    row.when("restarted", async { server.kill() }).await;
    row.over(async {
        server.start();
        let mut admin = self::admin(server.address).await;
        until("the cluster is whole again", async || {
            let mut admin = admin.clone();
            let info: redis::InfoDict = redis::cmd("CLUSTER")
                .arg("INFO")
                .query_async(&mut admin)
                .await
                .unwrap();
            info.get::<String>("cluster_state").as_deref() == Some("ok")
        })
        .await;
        command(&mut admin, "PING").await;
    })
    .await;
    row.when("not there", async { server.kill() }).await;
    past.with(row).assert_documented(&[PASSWORD]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_refuses_writes_fails_as_primary() {
    let server = started(&[]);
    let mut admin = admin(server.address).await;
    let connection = manager(server.address, "default").await;
    let (any, primary) = (
        Redis::new(connection.clone()),
        Redis::new(connection).primary(),
    );
    assert_eq!(told(&primary).await, PASSES);
    for (what, refuses, takes) in [
        // There are no replicas.
        (
            "too few replicas (`NOREPLICAS`)",
            "min-replicas-to-write 1",
            "min-replicas-to-write 0",
        ),
        ("full memory (`OOM`)", "maxmemory 100", "maxmemory 0"),
    ] {
        command(&mut admin, &format!("CONFIG SET {refuses}")).await;
        let set = redis::cmd("SET").arg("orders").arg(1).to_owned();
        let served: redis::RedisResult<()> = set.query_async(&mut admin).await;
        assert!(served.is_err(), "{refuses}");
        assert_eq!(told(&primary).await, fails(Reason::ReadOnly), "{refuses}");
        assert!(told(&any).await.0.is_good(), "{refuses}");
        assert_refusal("redis, as a primary", what, &primary).await;
        command(&mut admin, &format!("CONFIG SET {takes}")).await;
        assert_eq!(told(&primary).await, PASSES, "{takes}");
    }
    let keys: i64 = redis::cmd("DBSIZE").query_async(&mut admin).await.unwrap();
    assert_eq!(keys, 0, "it writes nothing");
    // An existing value of that key is not changed.
    command(&mut admin, "SET tower-health:takes-writes theirs").await;
    assert_eq!(told(&primary).await, PASSES);
    let theirs: String = redis::cmd("GET")
        .arg("tower-health:takes-writes")
        .query_async(&mut admin)
        .await
        .unwrap();
    assert_eq!(theirs, "theirs");

    // A user that may not write that key gets the role. A user that may not query the role either
    // gets an error.
    for (rights, expected) in [
        ("~orders:* +@all", PASSES),
        ("~* +@all -info", PASSES),
        ("~orders:* +@all -info", fails(Reason::PermissionDenied)),
    ] {
        let user = format!("ACL SETUSER app reset on >{PASSWORD} {rights}");
        command(&mut admin, &user).await;
        let check = Redis::new(manager(server.address, "app").await).primary();
        assert_eq!(told(&check).await, expected, "{rights}");
    }
}
