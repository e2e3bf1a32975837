use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use sqlx::{
    Connection, MySqlConnection, MySqlPool, Row as _,
    mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode},
};
use tower_health::{
    HealthCheck, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::MySql;

use crate::{
    matrix::{DELAY, Row, until_refused},
    server::{Server, free_address, program},
    table::{assert_optional, assert_refusal},
    wear::{until, wear},
};

const PASSWORD: &str = "hunter2";
const MAX_CONNECTIONS: usize = 20;

/// A server with a user that has privileges on its own database only.
pub(crate) fn server(arguments: &'static [&str]) -> Server {
    let installs = "apt-get install mariadb-server";
    let places = ["/usr/sbin", "/usr/bin"];
    let daemon = program("mariadbd", &places, installs);
    let server = Server::new(move |directory, address| {
        let mut mariadbd = Command::new(&daemon);
        mariadbd
            .arg("--no-defaults")
            .arg(format!("--datadir={}", directory.join("data").display()))
            .arg(format!("--tmpdir={}", directory.display()))
            .arg(format!("--socket={}", directory.join("socket").display()))
            .arg(format!("--init-file={}", directory.join("init").display()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--max-connections={MAX_CONNECTIONS}"))
            .args(["--bind-address=127.0.0.1", "--user=root"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"])
            .args(arguments);
        mariadbd
    });
    let directory: &Path = server.directory.path();
    let users = format!(
        "CREATE DATABASE IF NOT EXISTS orders;\n\
         CREATE USER IF NOT EXISTS admin IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO admin WITH GRANT OPTION;\n\
         CREATE USER IF NOT EXISTS app IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON orders.* TO app;\n"
    );
    fs::write(directory.join("init"), users).unwrap();
    let output = Command::new(program("mariadb-install-db", &places, installs))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", directory.join("data").display()))
        .arg(format!("--tmpdir={}", directory.display()))
        .args(["--user=root", "--skip-test-db"])
        .arg("--auth-root-authentication-method=normal")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    server
}

fn options(address: SocketAddr, user: &str) -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .host(&address.ip().to_string())
        .port(address.port())
        .username(user)
        .password(PASSWORD)
        .ssl_mode(MySqlSslMode::Disabled)
}

pub(crate) fn pool(address: SocketAddr, user: &str) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(3)
        .connect_lazy_with(options(address, user).database("orders"))
}

fn check(address: SocketAddr) -> MySql {
    MySql::sqlx(pool(address, "app"))
}

/// Returns an administrator's connection to the server, without the proxy.
pub(crate) async fn admin(address: SocketAddr) -> MySqlConnection {
    let options = options(address, "admin");
    let began = std::time::Instant::now();
    // A server that has just begun to listen may not know its users yet.
    loop {
        match MySqlConnection::connect_with(&options).await {
            Ok(connection) => return connection,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn execute(connection: &mut MySqlConnection, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// Returns the number of connections of the service on the server.
pub(crate) async fn count(connection: &mut MySqlConnection) -> i64 {
    let query = "SELECT count(*) FROM information_schema.processlist WHERE user = 'app'";
    sqlx::query_scalar(query)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Waits until the server has at most this many of these connections.
pub(crate) async fn leaves(connection: &mut MySqlConnection, left: i64) {
    let connection = tokio::sync::Mutex::new(connection);
    until("the server has noticed", async || {
        let mut connection = connection.lock().await;
        count(&mut connection).await <= left
    })
    .await;
}

async fn told(check: &MySql) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap();
    (outcome.status(), outcome.reason())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    let mut server = server(&[]);
    server.start();
    let mut admin = admin(server.address).await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of("sqlx-mysql", check(proxy.address()).primary()).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }

    let mut password = async |password: &str| {
        let change = format!("ALTER USER app IDENTIFIED BY '{password}'");
        execute(&mut admin, &change).await;
        execute(&mut admin, "KILL USER app").await;
    };
    row.when("wrong password", password("another")).await;
    row.over(password(PASSWORD)).await;

    let mut taken = Vec::new();
    let options = options(server.address, "app");
    let all = until_refused(&mut taken, async || {
        MySqlConnection::connect_with(&options).await.ok()
    });
    row.when("out of connections", all).await;
    row.over(async {
        taken.clear();
        leaves(&mut admin, 1).await;
    })
    .await;

    let mut direct = Row::of("sqlx-mysql", check(server.address).primary()).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct).assert_documented(&[PASSWORD, "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_uses_one_connection_and_leaves_none_behind() {
    let mut server = server(&[]);
    server.start();
    let mut admin = admin(server.address).await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let contract = || Contract::new(|| check(proxy.address())).secret(PASSWORD);
    contract().expect(Status::Pass).assert().await;
    let check = check(proxy.address());
    wear(&check).await;
    assert_eq!(told(&check).await, (Status::Pass, None));
    until("all but the last are closed", async || proxy.open() == 1).await;
    leaves(&mut admin, 1).await;
    drop(check);
    until("the last is closed", async || proxy.open() == 0).await;
    proxy.fail(Fault::Refuse).await;
    contract().expect(Status::Fail).assert().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_is_busy_and_a_stopped_database_fails() {
    let mut server = server(&[]);
    server.start();
    drop(admin(server.address).await);
    let pool = pool(server.address, "app");
    let check = MySql::sqlx(pool.clone());
    let mut taken = Vec::new();
    for _ in 0..3 {
        assert_eq!(told(&check).await, (Status::Pass, None));
        taken.push(pool.acquire().await.unwrap());
    }
    assert_eq!(told(&check).await, (Status::Warn, Some(Reason::Busy)));
    server.kill();
    let gone = (Status::Fail, Some(Reason::ConnectionRefused));
    assert_eq!(told(&check).await, gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pool_fails_although_its_server_responds() {
    let mut server = server(&[]);
    server.start();
    drop(admin(server.address).await);
    let pool = pool(server.address, "app");
    let check = MySql::sqlx(pool.clone());
    assert_eq!(told(&check).await, (Status::Pass, None));
    pool.close().await;
    let closed = (Status::Fail, Some(Reason::Misconfigured));
    assert_eq!(told(&check).await, closed);
}

#[tokio::test]
async fn tls_without_tls_support_in_sqlx_is_misconfigured() {
    // The server sends the first packet, and the client then requests TLS.
    let mut server = server(&[]);
    server.start();
    drop(admin(server.address).await);
    let options = options(server.address, "app").ssl_mode(MySqlSslMode::Required);
    let check = MySql::sqlx(MySqlPoolOptions::new().connect_lazy_with(options));
    let misconfigured = (Status::Fail, Some(Reason::Misconfigured));
    assert_eq!(told(&check).await, misconfigured);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expectations_of_the_server_decide_the_status() {
    let mut server = server(&[]);
    server.start();
    let mut admin = admin(server.address).await;
    let near = check(server.address).warn_connections_above(20.0);
    assert_eq!(told(&near).await, (Status::Pass, None));
    let options = options(server.address, "app");
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(MySqlConnection::connect_with(&options).await.unwrap());
    }
    assert_eq!(told(&near).await, (Status::Warn, Some(Reason::LimitNear)));

    let (any, primary) = (check(server.address), check(server.address).primary());
    assert_eq!(told(&primary).await, (Status::Pass, None));
    execute(&mut admin, "SET GLOBAL read_only = 1").await;
    assert_eq!(told(&primary).await, (Status::Fail, Some(Reason::ReadOnly)));
    assert_eq!(told(&any).await, (Status::Pass, None));
    let what = "a server that is set read-only, as a replica is";
    assert_refusal("mysql, as a primary", what, &primary).await;

    // The other settings need privileges that this user lacks, or objects that do not exist.
    let lag = check(server.address).warn_lag_above(Duration::from_secs(1));
    let denied = (Status::Fail, Some(Reason::PermissionDenied));
    assert_eq!(told(&lag).await, denied);
    assert_optional("mysql", "the lag, for its user", &any, &lag).await;
    let certificate = check(server.address).warn_certificate_below(21);
    let what = "the expiry of its certificate, without TLS";
    assert_optional("mysql", what, &any, &certificate).await;
    let at = |database| {
        let options = options.clone().database(database);
        MySql::sqlx(MySqlPoolOptions::new().connect_lazy_with(options))
    };
    assert_eq!(told(&at("mysql")).await, denied);
    execute(&mut admin, "GRANT ALL ON *.* TO app").await;
    let missing = (Status::Fail, Some(Reason::NotFound));
    assert_eq!(told(&at("no_such")).await, missing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lag_of_a_replica_decides_the_status() {
    let mut primary = server(&["--server-id=1", "--log-bin"]);
    primary.start();
    let mut replica = server(&["--server-id=2", "--read-only"]);
    replica.start();
    let (mut at_primary, mut at_replica) =
        (admin(primary.address).await, admin(replica.address).await);
    execute(&mut at_primary, "RESET MASTER").await;
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'admin', \
         MASTER_PASSWORD = '{PASSWORD}', MASTER_USE_GTID = slave_pos; START SLAVE",
        primary.address.port(),
    );
    execute(&mut at_replica, &follow).await;
    let near = Duration::from_millis(500);
    let bounded = |user| MySql::sqlx(pool(replica.address, user));
    let (warns, fails) = (
        bounded("admin").warn_lag_above(near),
        bounded("admin").fail_lag_above(near),
    );
    let passes = (Status::Pass, None);
    until("it replicates", async || told(&fails).await == passes).await;

    execute(&mut at_replica, "FLUSH TABLES WITH READ LOCK").await;
    execute(&mut at_primary, "CREATE TABLE orders.t (n INT)").await;
    let exceeded = |status| (status, Some(Reason::LimitExceeded));
    until("it lags", async || {
        told(&fails).await == exceeded(Status::Fail)
    })
    .await;
    assert_eq!(told(&warns).await, exceeded(Status::Warn));
    assert_eq!(told(&bounded("app")).await, passes);
    execute(&mut at_replica, "UNLOCK TABLES").await;
    until("it has caught up", async || told(&fails).await == passes).await;

    execute(&mut at_replica, "STOP SLAVE").await;
    assert_eq!(told(&fails).await, (Status::Fail, Some(Reason::Degraded)));
    // A server that does not replicate is not behind.
    execute(&mut at_replica, "RESET SLAVE ALL").await;
    assert_eq!(told(&fails).await, passes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worst_of_several_named_sources_counts() {
    let mut primary = server(&["--server-id=1", "--log-bin"]);
    primary.start();
    let mut replica = server(&["--server-id=2", "--read-only"]);
    replica.start();
    let (mut at_primary, mut at_replica) =
        (admin(primary.address).await, admin(replica.address).await);
    execute(&mut at_primary, "RESET MASTER").await;
    let follow = |name: &str, port: u16| {
        format!(
            "CHANGE MASTER '{name}' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
             MASTER_USER = 'admin', MASTER_PASSWORD = '{PASSWORD}', \
             MASTER_USE_GTID = slave_pos; START SLAVE '{name}'"
        )
    };
    execute(&mut at_replica, &follow("one", primary.address.port())).await;
    let near = Duration::from_millis(500);
    let check = MySql::sqlx(pool(replica.address, "admin")).fail_lag_above(near);
    let passes = (Status::Pass, None);
    until("it replicates", async || told(&check).await == passes).await;
    let outcome = check.check().await.unwrap();
    let lag = outcome.measurements().iter().find(|m| m.name == "lag");
    assert!(lag.is_some(), "{outcome:?}");

    execute(&mut at_replica, "FLUSH TABLES WITH READ LOCK").await;
    execute(&mut at_primary, "CREATE TABLE orders.t (n INT)").await;
    let exceeded = (Status::Fail, Some(Reason::LimitExceeded));
    until("it lags", async || told(&check).await == exceeded).await;
    execute(&mut at_replica, "UNLOCK TABLES").await;
    until("it has caught up", async || told(&check).await == passes).await;

    execute(&mut at_replica, &follow("two", free_address().port())).await;
    let degraded = (Status::Fail, Some(Reason::Degraded));
    assert_eq!(told(&check).await, degraded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_checks_follow_releases() {
    let mut server = server(&[]);
    server.start();
    drop(admin(server.address).await);
    crate::schema::releases(pool(server.address, "app")).await;
}

/// Returns the value of a status variable of the server.
pub(crate) async fn figure(connection: &mut MySqlConnection, name: &str) -> i64 {
    let query = format!("SHOW GLOBAL STATUS LIKE '{name}'");
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(query));
    let row = row.fetch_one(connection).await.unwrap();
    row.get_unchecked::<String, _>(1).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_not_kept_is_closed_regularly() {
    let mut server = server(&["--log-warnings=9"]);
    server.start();
    let mut admin = admin(server.address).await;
    execute(&mut admin, "SET GLOBAL read_only = 1").await;
    let figures = ["Aborted_clients", "Aborted_connects"];
    let mut aborted = Vec::new();
    for name in figures {
        aborted.push(figure(&mut admin, name).await);
    }
    let before = figure(&mut admin, "Connections").await;
    let check = check(server.address).primary();
    for _ in 0..20 {
        assert_eq!(told(&check).await, (Status::Fail, Some(Reason::ReadOnly)));
    }
    execute(&mut admin, "SET GLOBAL read_only = 0").await;
    assert_eq!(told(&check).await, (Status::Pass, None));
    assert!(figure(&mut admin, "Connections").await >= before + 20);
    drop(check);
    leaves(&mut admin, 0).await;
    for (name, before) in figures.into_iter().zip(aborted) {
        assert_eq!(figure(&mut admin, name).await, before, "{name}");
    }
    assert!(!server.log().contains("user: 'app'"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_galera_node_that_refuses_queries_does_not_pass() {
    let provider = program(
        "libgalera_smm.so",
        &["/usr/lib/galera"],
        "apt-get install galera-4",
    );
    let port = free_address().port();
    let arguments = [
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={}", provider.display()),
        "--wsrep-cluster-address=gcomm://".to_owned(),
        "--wsrep-node-address=127.0.0.1".to_owned(),
        format!(
            "--wsrep-provider-options=base_port={port};gmcast.listen_addr=tcp://127.0.0.1:{port}"
        ),
        "--binlog-format=ROW".to_owned(),
        "--innodb-autoinc-lock-mode=2".to_owned(),
    ];
    let arguments: Vec<&'static str> = arguments.map(|text| &*text.leak()).to_vec();
    let mut server = server(arguments.leak());
    server.start();
    // The server closes its existing connections when it becomes a member.
    until("it is a member", async || {
        let mut admin = self::admin(server.address).await;
        let ready = "SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_ready' AND Value = 'ON'";
        let create = "CREATE TABLE IF NOT EXISTS orders.t (n INT PRIMARY KEY)";
        let ready = sqlx::raw_sql(ready).fetch_one(&mut admin).await;
        ready.is_ok() && sqlx::raw_sql(create).execute(&mut admin).await.is_ok()
    })
    .await;
    let mut admin = admin(server.address).await;
    let service = pool(server.address, "app");
    // The responses that the service itself gets.
    let served = async || {
        let read = sqlx::raw_sql("SELECT n FROM orders.t")
            .execute(&service)
            .await;
        read.is_ok()
    };
    let (any, primary) = (check(server.address), check(server.address).primary());
    let passes = (Status::Pass, None);
    until("it is ready", async || told(&any).await == passes).await;
    assert!(served().await);

    let unhealthy = (Status::Fail, Some(Reason::Unhealthy));
    execute(&mut admin, "SET GLOBAL wsrep_reject_queries = ALL").await;
    assert!(!served().await);
    assert_eq!(told(&any).await, unhealthy);
    let what = "a node of Galera that rejects queries";
    assert_refusal("mysql", what, &any).await;
    execute(&mut admin, "SET GLOBAL wsrep_reject_queries = NONE").await;
    assert!(served().await);
    assert_eq!(told(&primary).await, passes);

    // The node leaves its cluster for a cluster that does not exist.
    let nowhere = format!("gcomm://127.0.0.1:{}", free_address().port());
    let leave = format!("SET GLOBAL wsrep_cluster_address = '{nowhere}'");
    let mut other = self::admin(server.address).await;
    let leave = tokio::spawn(async move {
        // This waits for the other node until the server ends.
        _ = sqlx::raw_sql(sqlx::AssertSqlSafe(leave))
            .execute(&mut other)
            .await;
    });
    until("it has left", async || told(&any).await == unhealthy).await;
    assert!(!served().await);
    assert_eq!(told(&primary).await, unhealthy);
    let what = "a node of Galera that has left its cluster";
    assert_refusal("mysql", what, &any).await;
    // The node closed its existing connections when it left.
    let mut admin = self::admin(server.address).await;
    execute(&mut admin, "SET GLOBAL wsrep_dirty_reads = ON").await;
    assert_eq!(told(&any).await, (Status::Warn, Some(Reason::Degraded)));
    assert_eq!(told(&primary).await, (Status::Fail, Some(Reason::ReadOnly)));
    let what = "the same, where it may be read";
    assert_refusal("mysql", what, &any).await;
    assert_refusal("mysql, as a primary", what, &primary).await;
    leave.abort();
}
