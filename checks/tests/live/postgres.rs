use std::{
    fs,
    future::{Ready, ready},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_postgres::{
    Client, NoTls,
    tls::{MakeTlsConnect, NoTlsStream, TlsConnect},
};
use tower_health::{
    BoxError, HealthCheck, Reason, Status,
    outcome::Value,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::{Postgres, Schema};

use crate::{
    matrix::{DELAY, Row, until_refused},
    server::{Server, program},
    table::{assert_optional, assert_refusal},
    wear::{until, wear},
};

pub(crate) const PASSWORD: &str = "hunter2";
pub(crate) const MAX_CONNECTIONS: usize = 20;

fn tool(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let mut places: Vec<String> = versions
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin").display().to_string())
        .collect();
    places.sort();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    program(name, &places, "apt-get install postgresql")
}

/// A command that does not run as root, because the server refuses to run as root.
fn command(name: &str) -> Command {
    let mut command = Command::new(tool(name));
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

/// Returns the user of the server, if it differs from the user of the tests.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let mut fields = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("the package has made a user")
        .split(':');
    Some((
        fields.nth(2)?.parse().unwrap(),
        fields.next()?.parse().unwrap(),
    ))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
}

/// A server whose data directory is created by `init`.
fn server(init: impl FnOnce(&Path)) -> Server {
    let server = Server::new(|directory, address| {
        let mut postgres = command("postgres");
        postgres
            .arg("-D")
            .arg(directory.join("data"))
            .args(["-c", &format!("port={}", address.port())])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "fsync=off"])
            .args(["-c", &format!("max_connections={MAX_CONNECTIONS}")]);
        postgres
    });
    let directory = server.directory.path();
    if let Some((user, group)) = owner() {
        chown(directory, Some(user), Some(group)).unwrap();
    }
    init(&directory.join("data"));
    server
}

/// A server with a role `app` that may only log in.
pub(crate) async fn primary() -> (Server, Client) {
    primary_with(|_| {}).await
}

/// The same, with TLS and this certificate and key.
pub(crate) async fn secure(pem: &str) -> (Server, Client) {
    primary_with(|data| {
        let path = data.join("pem");
        fs::write(&path, pem).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = owner() {
            chown(&path, Some(user), Some(group)).unwrap();
        }
        let settings = "ssl = on\nssl_cert_file = 'pem'\nssl_key_file = 'pem'\n";
        fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
    })
    .await
}

async fn primary_with(configure: impl FnOnce(&Path)) -> (Server, Client) {
    let mut server = server(|data| {
        let password = data.with_extension("password");
        fs::write(&password, PASSWORD).unwrap();
        run(command("initdb")
            .arg("-D")
            .arg(data)
            .args(["-U", "admin", "--auth=scram-sha-256", "--no-sync"])
            .arg(format!("--pwfile={}", password.display())));
        configure(data);
    });
    server.start();
    let admin = connect(server.address, "admin").await;
    admin
        .batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'"))
        .await
        .unwrap();
    (server, admin)
}

pub(crate) fn config(address: SocketAddr, user: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host(address.ip().to_string())
        .port(address.port())
        .user(user)
        .password(PASSWORD)
        .dbname("postgres");
    config
}

/// Returns a connection to the server itself, without the proxy. A server that has just begun to
/// listen may not accept logins yet.
pub(crate) async fn connect(address: SocketAddr, user: &str) -> Client {
    let began = std::time::Instant::now();
    loop {
        match config(address, user).connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return client;
            }
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn options(address: SocketAddr) -> PgConnectOptions {
    PgConnectOptions::new()
        .host(&address.ip().to_string())
        .port(address.port())
        .username("app")
        .password(PASSWORD)
        .database("postgres")
}

fn pool(address: SocketAddr) -> PgPool {
    PgPoolOptions::new()
        .max_connections(3)
        .connect_lazy_with(options(address))
}

fn by_sqlx(address: SocketAddr) -> Postgres {
    Postgres::sqlx(pool(address))
}

pub(crate) fn deadpool(address: SocketAddr) -> deadpool_postgres::Pool {
    let manager = deadpool_postgres::Manager::new(config(address, "app"), NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(3);
    pool.build().unwrap()
}

fn by_deadpool(address: SocketAddr) -> Postgres {
    Postgres::deadpool(deadpool(address))
}

fn bare(address: SocketAddr) -> Postgres {
    Postgres::config(config(address, "app"), NoTls)
}

async fn told(check: &Postgres) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap();
    (outcome.status(), outcome.reason())
}

/// A row of the matrix for a check of a PostgreSQL server. `sees_limit` is whether the check
/// detects that the server accepts no further connections.
pub(crate) async fn assert_each_fault_documented<C: HealthCheck>(
    name: &'static str,
    check: impl Fn(SocketAddr) -> C,
    sees_limit: bool,
) {
    let (mut server, admin) = primary().await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of(name, check(proxy.address())).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }

    let password = async |password: &str| {
        let change = format!("ALTER ROLE app PASSWORD '{password}'");
        admin.batch_execute(&change).await.unwrap();
        let log_out =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
        admin.batch_execute(log_out).await.unwrap();
    };
    row.when("wrong password", password("another")).await;
    row.over(password(PASSWORD)).await;

    let mut taken = Vec::new();
    let all = until_refused(&mut taken, async || {
        let (client, connection) = config(server.address, "app").connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    });
    if sees_limit {
        row.when("out of connections", all).await;
    } else {
        row.passes_when("out of connections", all).await;
    }
    row.over(async {
        taken.clear();
        until("the server has noticed", async || {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
            let count: i64 = admin.query_one(query, &[]).await.unwrap().get(0);
            count <= 1
        })
        .await;
    })
    .await;

    // The proxy would accept connections for a server that is gone.
    let mut direct = Row::of(name, check(server.address)).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct
        .over(async {
            server.start();
            drop(connect(server.address, "app").await);
        })
        .await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct).assert_documented(&[PASSWORD, "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_sqlx_is_reported_as_documented() {
    assert_each_fault_documented("sqlx-postgres", |address| by_sqlx(address).primary(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_deadpool_is_reported_as_documented() {
    let check = |address| by_deadpool(address).primary();
    assert_each_fault_documented("deadpool-postgres", check, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_a_bare_client_is_reported_as_documented() {
    assert_each_fault_documented("tokio-postgres", |address| bare(address).primary(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_uses_one_connection_and_leaves_none_behind() {
    let (server, admin) = primary().await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    for check in [by_sqlx, by_deadpool, bare] {
        let contract = Contract::new(|| check(proxy.address()));
        contract
            .expect(Status::Pass)
            .secret(PASSWORD)
            .assert()
            .await;
        let check = check(proxy.address());
        wear(&check).await;
        assert_eq!(check.check().await.unwrap().status(), Status::Pass);
        until("all but the last are closed", async || {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
            let count: i64 = admin.query_one(query, &[]).await.unwrap().get(0);
            (count, proxy.open()) == (1, 1)
        })
        .await;
        let before = proxy.accepted();
        assert_eq!(check.check().await.unwrap().status(), Status::Pass);
        assert_eq!(proxy.accepted(), before);
        drop(check);
        until("the last is closed", async || proxy.open() == 0).await;
    }
    proxy.fail(Fault::Refuse).await;
    for check in [by_sqlx, by_deadpool, bare] {
        let contract = Contract::new(|| check(proxy.address()));
        contract
            .expect(Status::Fail)
            .secret(PASSWORD)
            .assert()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_is_busy_and_a_stopped_database_fails() {
    let (mut server, _admin) = primary().await;
    let pool = pool(server.address);
    let row = Row::of("postgres", Postgres::sqlx(pool.clone())).await;
    let mut taken = Vec::new();
    for _ in 0..2 {
        taken.push(pool.acquire().await.unwrap());
    }
    let check = Postgres::sqlx(pool.clone());
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass);
    let utilization = outcome.measurements().iter();
    let utilization = utilization.clone().find(|m| m.name == "pool_utilization");
    assert!(matches!(utilization.unwrap().value, Value::Float(v) if (66.0..67.0).contains(&v)));
    // The last slot belongs to the users.
    taken.push(pool.acquire().await.unwrap());
    let outcome = check.check().await.unwrap();
    assert_eq!(
        (outcome.status(), outcome.reason()),
        (Status::Warn, Some(Reason::Busy))
    );
    until("it is busy", async || row.now() == "warn: busy").await;
    server.suspend();
    until("it is down", async || row.now() == "fail: timed out").await;
    server.resume();
    until("it is busy again", async || row.now() == "warn: busy").await;
    server.kill();
    until("it is gone", async || {
        row.now() == "fail: connection refused"
    })
    .await;
    server.start();
    taken.clear();
    until("all is well", async || row.now() == "pass").await;
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_deadpool_pool_is_busy_and_a_stopped_database_fails() {
    let (mut server, _admin) = primary().await;
    let pool = deadpool(server.address);
    let check = Postgres::deadpool(pool.clone());
    let mut taken = Vec::new();
    for _ in 0..3 {
        assert_eq!(told(&check).await, (Status::Pass, None));
        taken.push(pool.get().await.unwrap());
    }
    assert_eq!(told(&check).await, (Status::Warn, Some(Reason::Busy)));
    server.kill();
    let gone = (Status::Fail, Some(Reason::ConnectionRefused));
    assert_eq!(told(&check).await, gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pool_fails_although_its_server_responds() {
    let (server, _admin) = primary().await;
    let closed = (Status::Fail, Some(Reason::Misconfigured));
    let by_sqlx = pool(server.address);
    let check = Postgres::sqlx(by_sqlx.clone());
    assert_eq!(told(&check).await, (Status::Pass, None));
    by_sqlx.close().await;
    assert_eq!(told(&check).await, closed);
    let by_deadpool = deadpool(server.address);
    let check = Postgres::deadpool(by_deadpool.clone());
    assert_eq!(told(&check).await, (Status::Pass, None));
    by_deadpool.close();
    assert_eq!(told(&check).await, closed);
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.cause().unwrap().redacted(), "the pool is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes_fails_as_primary() {
    let (server, admin) = primary().await;
    let set = async |to: &str| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {to}");
        admin.batch_execute(&set).await.unwrap();
        admin
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .unwrap();
    };
    let (any, primary) = (by_sqlx(server.address), by_sqlx(server.address).primary());
    assert_eq!(told(&primary).await, (Status::Pass, None));
    set("on").await;
    let read_only = (Status::Fail, Some(Reason::ReadOnly));
    until("it is read-only", async || {
        told(&primary).await == read_only
    })
    .await;
    let what = "transactions that are read-only, as on a standby";
    assert_refusal("postgres, as a primary", what, &primary).await;
    assert_eq!(told(&any).await, (Status::Pass, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_lags_when_it_does_not_replay_or_receive_wal() {
    let (mut server, admin) = primary().await;
    let (host, port) = (server.address.ip(), server.address.port());
    admin.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    fs::write(
        server.directory.path().join("data/pg_hba.conf"),
        "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 trust\n",
    )
    .unwrap();
    admin
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let mut replica = self::server(|data| {
        run(command("pg_basebackup")
            .arg("-D")
            .arg(data)
            .args(["-h", &host.to_string(), "-p", &port.to_string()])
            .args(["-U", "admin", "--no-password", "-R", "-X", "stream"])
            .args(["-c", "fast", "--no-sync"]));
    });
    replica.start();
    let at_replica = connect(replica.address, "admin").await;
    let passes = (Status::Pass, None);
    let lag = Duration::from_millis(100);
    let any = by_sqlx(replica.address);
    let near = by_sqlx(replica.address).warn_lag_above(lag);
    let bounded = by_sqlx(replica.address).fail_lag_above(lag);
    assert_eq!(told(&any).await, passes);
    until("it streams", async || told(&bounded).await == passes).await;
    let primary = by_sqlx(replica.address).primary();
    assert_eq!(told(&primary).await, (Status::Fail, Some(Reason::ReadOnly)));

    // Received WAL is not replayed. An idle primary does not make a replica late.
    at_replica
        .batch_execute("SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    admin
        .batch_execute("INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let exceeded = |status| (status, Some(Reason::LimitExceeded));
    until("it lags", async || {
        told(&bounded).await == exceeded(Status::Fail)
    })
    .await;
    assert_eq!(told(&near).await, exceeded(Status::Warn));
    assert_eq!(told(&any).await, passes);
    at_replica
        .batch_execute("SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    until("it has caught up", async || told(&bounded).await == passes).await;

    // It is unknown whether a primary that is gone would have sent anything.
    server.kill();
    until("it lags again", async || {
        told(&bounded).await == exceeded(Status::Fail)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_near_the_limit_of_the_server_are_a_warning() {
    let (server, _admin) = primary().await;
    let check = by_sqlx(server.address).warn_connections_above(50.0);
    let told = async || {
        let outcome = check.check().await.unwrap();
        (outcome.status(), outcome.reason())
    };
    assert_eq!(told().await, (Status::Pass, None));
    let mut taken = Vec::new();
    // Three of twenty are reserved.
    for _ in 0..8 {
        taken.push(connect(server.address, "app").await);
    }
    let near = (Status::Warn, Some(Reason::LimitNear));
    until("it is near its limit", async || told().await == near).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_checks_follow_releases() {
    let (server, admin) = primary().await;
    admin
        .batch_execute("GRANT ALL ON SCHEMA public TO app")
        .await
        .unwrap();
    crate::schema::releases(pool(server.address)).await;
    // A PostgreSQL-compatible server may not know whether a table exists before it is queried.
    let rename = "ALTER FUNCTION pg_catalog.to_regclass(text) RENAME TO none_such; \
        DROP TABLE public._sqlx_migrations, public.a, public.b, public.c";
    admin.batch_execute(rename).await.unwrap();
    crate::schema::releases(pool(server.address)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_schema_check_uses_a_new_connection_next() {
    let (server, _admin) = primary().await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let lacks = crate::schema::migrator(&["CREATE TABLE a (n INTEGER)"]);
    let check = Schema::sqlx(pool(proxy.address()), &lacks);
    for accepted in 1..=2 {
        let outcome = check.check().await.unwrap();
        assert_eq!(outcome.reason(), Some(Reason::MigrationsPending));
        assert_eq!(proxy.accepted(), accepted);
    }
    until("both are closed", async || proxy.open() == 0).await;
    // As long as all is well, there is only one connection.
    let nothing = Schema::sqlx(pool(proxy.address()), &crate::schema::migrator(&[]));
    for _ in 0..2 {
        assert_eq!(nothing.check().await.unwrap().status(), Status::Pass);
        assert_eq!(proxy.accepted(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_work_are_misconfigured() {
    let (server, _admin) = primary().await;
    let address = server.address;
    let mut no_password = tokio_postgres::Config::new();
    no_password
        .host(address.ip().to_string())
        .port(address.port())
        .user("app")
        .dbname("postgres");
    let mut no_host = tokio_postgres::Config::new();
    no_host.user("app").password(PASSWORD);
    let mut secured = config(address, "app");
    secured.ssl_mode(tokio_postgres::config::SslMode::Require);
    let options = PgConnectOptions::new()
        .host(&address.ip().to_string())
        .port(address.port())
        .ssl_mode(PgSslMode::Require);
    let manager = deadpool_postgres::Manager::new(secured.clone(), NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).build().unwrap();
    for check in [
        Postgres::config(no_password, NoTls),
        Postgres::config(no_host, NoTls),
        // This server has no TLS, and neither do these clients.
        Postgres::config(secured, NoTls),
        Postgres::deadpool(pool),
        Postgres::sqlx(PgPoolOptions::new().connect_lazy_with(options)),
    ] {
        let outcome = check.check().await.unwrap();
        let found = (outcome.status(), outcome.reason());
        let cause = outcome.cause().unwrap().redacted();
        assert_eq!(
            found,
            (Status::Fail, Some(Reason::Misconfigured)),
            "{cause}"
        );
        assert!(cause.contains(": ") || cause.contains("TLS"), "{cause}");
    }
}

/// A TLS handshake that ends with this error.
#[derive(Clone, Copy)]
struct Handshake(fn() -> BoxError);

impl<S> MakeTlsConnect<S> for Handshake {
    type Stream = NoTlsStream;
    type TlsConnect = Self;
    type Error = BoxError;

    fn make_tls_connect(&mut self, _domain: &str) -> Result<Self, BoxError> {
        Ok(*self)
    }
}

impl<S> TlsConnect<S> for Handshake {
    type Stream = NoTlsStream;
    type Error = BoxError;
    type Future = Ready<Result<NoTlsStream, BoxError>>;

    fn connect(self, _stream: S) -> Self::Future {
        ready(Err(self.0()))
    }
}

#[tokio::test]
async fn an_interrupted_handshake_is_not_reported_as_untrusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap(), "app");
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    // The server agrees to TLS for every client.
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asks = [0; 8];
            stream.read_exact(&mut asks).await.unwrap();
            stream.write_all(b"S").await.unwrap();
        }
    });
    let cases: [(fn() -> BoxError, Reason); 3] = [
        (
            || io::Error::from(io::ErrorKind::UnexpectedEof).into(),
            Reason::ConnectionLost,
        ),
        (
            || "error:0A000086:SSL routines::certificate verify failed".into(),
            Reason::Untrusted,
        ),
        (|| "no ciphers in common".into(), Reason::Misconfigured),
    ];
    for (how, reason) in cases {
        let check = Postgres::config(config.clone(), Handshake(how));
        assert_eq!(told(&check).await, (Status::Fail, Some(reason)));
    }
    server.abort();
}

/// Returns the number of server connections in use, as the check reports it.
async fn connections(check: &Postgres) -> u64 {
    let outcome = check.check().await.unwrap();
    let measured = outcome.measurements().iter();
    let connections = measured.clone().find(|m| m.name == "connections");
    match connections.unwrap().value {
        Value::Integer(count) => count.try_into().unwrap(),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_connections_that_count_towards_the_limit_are_measured() {
    let (server, admin) = primary().await;
    let check = by_sqlx(server.address);
    until("admin's and its own", async || {
        connections(&check).await == 2
    })
    .await;
    // The state of other users' sessions is visible to administrators only, so these sessions count
    // as connections in use.
    let other = connect(server.address, "admin").await;
    until("another's", async || connections(&check).await == 3).await;
    drop(other);
    until("it is gone", async || connections(&check).await == 2).await;

    let works = connect(server.address, "app").await;
    let in_parallel = "SELECT set_config(name, 'on', false) FROM pg_settings \
        WHERE name IN ('force_parallel_mode', 'debug_parallel_query')";
    works.batch_execute(in_parallel).await.unwrap();
    let works = tokio::spawn(async move { works.batch_execute("SELECT pg_sleep(60)").await });
    until("it works in parallel", async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'";
        let count: i64 = admin.query_one(query, &[]).await.unwrap().get(0);
        count == 1
    })
    .await;
    assert_eq!(connections(&check).await, 3);
    works.abort();
}

/// Only administrators may query the optional values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_were_not_requested_cannot_fail() {
    let (server, admin) = primary().await;
    let second = Duration::from_secs(1);
    let denied = (Status::Fail, Some(Reason::PermissionDenied));
    let passes = (Status::Pass, None);
    for (what, revoke, grant, of_connections, of_lag) in [
        (
            "`pg_stat_activity`, for its role",
            "REVOKE SELECT ON pg_catalog.pg_stat_activity FROM PUBLIC",
            "GRANT SELECT ON pg_catalog.pg_stat_activity TO PUBLIC",
            denied,
            passes,
        ),
        (
            "whether it is in recovery, for its role",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_is_in_recovery() FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_is_in_recovery() TO PUBLIC",
            passes,
            denied,
        ),
    ] {
        admin.batch_execute(revoke).await.unwrap();
        for check in [by_sqlx, by_deadpool, bare] {
            let check = || check(server.address).primary();
            assert_eq!(told(&check()).await, passes, "{revoke}");
            let bounded = told(&check().warn_connections_above(90.0)).await;
            assert_eq!(bounded, of_connections, "{revoke}");
            assert_eq!(
                told(&check().warn_lag_above(second)).await,
                of_lag,
                "{revoke}"
            );
            assert_eq!(told(&check().fail_lag_above(second)).await, of_lag);
        }
        let check = || by_sqlx(server.address).primary();
        let bounded = check().warn_connections_above(90.0).warn_lag_above(second);
        assert_optional("postgres", what, &check(), &bounded).await;
        admin.batch_execute(grant).await.unwrap();
    }
    // A PostgreSQL-compatible server has no such function.
    let rename = "ALTER FUNCTION pg_catalog.pg_last_wal_receive_lsn() RENAME TO none_such";
    admin.batch_execute(rename).await.unwrap();
    assert_eq!(told(&by_sqlx(server.address)).await, passes);
    let bounded = by_sqlx(server.address).warn_lag_above(second);
    let what = "a function, on a database derived from PostgreSQL";
    assert_optional("postgres", what, &by_sqlx(server.address), &bounded).await;
    let lag = bounded.check().await;
    let lag = lag.unwrap();
    assert_eq!(lag.reason(), Some(Reason::Incompatible));
    let cause = lag.cause().unwrap().redacted();
    assert!(cause.contains("pg_last_wal_receive_lsn"), "{cause}");
}

/// A connection pooler in front of a server.
fn pooler(server: SocketAddr) -> Server {
    let program = program("pgbouncer", &["/usr/sbin"], "apt-get install pgbouncer");
    let pooler = Server::new(move |directory, _| {
        let mut pgbouncer = Command::new(&program);
        if let Some((user, group)) = owner() {
            pgbouncer.uid(user).gid(group);
        }
        pgbouncer.arg(directory.join("ini"));
        pgbouncer
    });
    let directory = pooler.directory.path();
    let (users, ini) = (directory.join("users"), directory.join("ini"));
    fs::write(
        &users,
        format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n"),
    )
    .unwrap();
    let configuration = format!(
        "[databases]\n\
         postgres = host=127.0.0.1 port={} dbname=postgres\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
         auth_type = plain\nauth_file = {}\n\
         max_client_conn = 3\npool_mode = transaction\nignore_startup_parameters = extra_float_digits\nserver_login_retry = 1\nadmin_users = admin\n",
        server.port(),
        pooler.address.port(),
        users.display(),
    );
    fs::write(&ini, configuration).unwrap();
    if let Some((user, group)) = owner() {
        for path in [directory, &users, &ini] {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
    pooler
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_a_pooler_have_the_correct_reason() {
    let (server, _admin) = primary().await;
    let mut pooler = pooler(server.address);
    pooler.start();
    let passes = (Status::Pass, None);
    let fails = |reason| (Status::Fail, Some(reason));
    for check in [by_sqlx, by_deadpool, bare] {
        let check = check(pooler.address);
        assert_eq!(told(&check).await, passes);
        drop(check);
    }
    let by = |change: fn(&mut tokio_postgres::Config)| {
        let mut config = config(pooler.address, "app");
        change(&mut config);
        Postgres::config(config, NoTls)
    };
    let sqlx = |options: PgConnectOptions| {
        let options = options
            .host("127.0.0.1")
            .port(pooler.address.port())
            .password(PASSWORD);
        Postgres::sqlx(PgPoolOptions::new().connect_lazy_with(options))
    };
    let known = || PgConnectOptions::new().username("app").database("postgres");
    for check in [
        by(|config| _ = config.dbname("no_such")),
        sqlx(known().database("no_such")),
    ] {
        assert_eq!(told(&check).await, fails(Reason::NotFound));
        let what = "a PgBouncer that does not know the database";
        assert_refusal("postgres", what, &check).await;
    }
    for check in [
        by(|config| _ = config.user("nobody")),
        by(|config| _ = config.password("another")),
        sqlx(known().username("nobody")),
    ] {
        assert_eq!(told(&check).await, fails(Reason::AuthenticationFailed));
        let what = "a PgBouncer that does not know the user";
        assert_refusal("postgres", what, &check).await;
    }
    for check in [
        by(|config| _ = config.options("-c geqo=off")),
        sqlx(known().options([("geqo", "off")])),
    ] {
        assert_eq!(told(&check).await, fails(Reason::Misconfigured));
        let what = "a PgBouncer that does not know a parameter";
        assert_refusal("postgres", what, &check).await;
    }
    // All client connections are taken, and then released.
    let mut taken = Vec::new();
    until("the pooler has noticed who went", async || {
        match config(pooler.address, "app").connect(NoTls).await {
            Ok((client, connection)) => {
                drop(client);
                _ = connection.await;
                true
            }
            Err(_) => false,
        }
    })
    .await;
    while let Ok((client, connection)) = config(pooler.address, "app").connect(NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
    for check in [by_sqlx, by_deadpool, bare] {
        let busy = (Status::Warn, Some(Reason::Busy));
        assert_eq!(told(&check(pooler.address)).await, busy);
    }
    let what = "a PgBouncer at its client limit";
    assert_refusal("postgres", what, &bare(pooler.address)).await;
    taken.clear();
    let check = bare(pooler.address);
    until("there is room", async || told(&check).await == passes).await;
}
