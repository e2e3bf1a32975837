//! A check never harms its dependency. The servers count what a thousand runs of each check cause.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use futures_util::future::join_all;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower_health::{HealthCheck, Outcome, Status};
use tower_health_checks::{
    Certificate, HttpUpstream, MySql, Nats, Postgres, Redis, Schema, StartTls, Tcp,
};

use crate::{
    certificate, dns, mysql, nats, pool, postgres, rabbitmq, redis, schema,
    server::{Server, program},
    table::{LEFT_BEHIND, assert_row},
    upstream_grpc,
    wear::until,
};

const RUNS: usize = 1_000;

/// The counters of a server, as far as it has them.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Connections that ended without a regular close, or by a reset.
    aborted: Option<usize>,
    /// Connections that the server refused.
    refused: Option<usize>,
    /// Failed logins.
    denied: Option<usize>,
    /// Log lines above the level of information.
    log: Option<usize>,
}

/// Runs a check a thousand times, some of them concurrently, and drops it. Returns how many
/// additional client ports are in TIME_WAIT afterwards.
async fn thousand(
    check: impl HealthCheck,
    server: SocketAddr,
    at_a_time: usize,
    said: Status,
) -> usize {
    // Earlier connections, such as those that waited for the server to start, are closed by now.
    // They have ended once the server has closed them as well.
    tokio::time::sleep(Duration::from_millis(200)).await;
    until("earlier connections have ended", async || {
        sockets(server, &CLOSING) == 0
    })
    .await;
    let before = waiting(server);
    for _ in 0..RUNS / at_a_time {
        let runs = join_all((0..at_a_time).map(|_| check.check()));
        for outcome in runs.await {
            let outcome = outcome.unwrap_or_else(Outcome::from);
            assert_eq!(outcome.status(), said, "{outcome:?}");
        }
        // A client returns its connection to its pool shortly after the response. Real runs are
        // never closer than this.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    waiting(server).saturating_sub(before)
}

/// One run after another, over the one connection that such a check keeps.
async fn in_turn(check: impl HealthCheck, server: SocketAddr) -> Option<usize> {
    Some(thousand(check, server, 1, Status::Pass).await)
}

/// Concurrent runs, each with its own connection. The kernel keeps the port of a connection for a
/// minute, unless the server closes it first.
async fn at_once(check: impl HealthCheck, server: SocketAddr) -> Option<usize> {
    let ports = thousand(check, server, 20, Status::Pass).await;
    assert!(ports <= RUNS, "{ports}");
    None
}

/// The states of a socket that its process has closed, and the server has not: FIN_WAIT1,
/// FIN_WAIT2, LAST_ACK and CLOSING.
const CLOSING: [&str; 4] = ["04", "05", "09", "0B"];

/// Returns the number of client ports of that server in TIME_WAIT.
fn waiting(server: SocketAddr) -> usize {
    const TIME_WAIT: &str = "06";
    sockets(server, &[TIME_WAIT])
}

/// Returns the number of sockets of clients of that server in one of these states.
fn sockets(server: SocketAddr, states: &[&str]) -> usize {
    let port = format!(":{:04X}", server.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().skip(1).map(str::split_whitespace);
    let matching = lines.filter(|line| {
        let mut fields = line.clone().skip(2);
        let remote = fields.next().unwrap_or_default();
        remote.ends_with(&port) && fields.next().is_some_and(|state| states.contains(&state))
    });
    matching.count()
}

/// Asserts the row of a check: the counters of the server, and what is left behind.
fn assert_no_harm(
    check: &str,
    server: &str,
    counted: Counted,
    ports: Option<usize>,
    connections: usize,
) {
    let Counted {
        aborted,
        refused,
        denied,
        log,
    } = counted;
    let shown = |count: Option<usize>| count.map_or("–".to_owned(), |count| count.to_string());
    let [aborted, refused, denied, log] = [aborted, refused, denied, log].map(shown);
    let connections = connections.to_string();
    let ports = ports.map_or("at most one per run".to_owned(), |count| count.to_string());
    let cells = [
        check,
        server,
        &aborted,
        &refused,
        &denied,
        &log,
        &connections,
        &ports,
    ];
    assert_row(LEFT_BEHIND, &cells);
}

/// Returns the number of lines that contain one of the words.
fn lines(log: &str, words: &[&str]) -> usize {
    let has = |line: &&str| words.iter().any(|word| line.contains(word));
    let found: Vec<&str> = log.lines().filter(has).collect();
    found.iter().for_each(|line| println!("{line}"));
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_checks_do_no_harm() {
    let (server, admin) = postgres::primary().await;
    let address = server.address;
    let ended = async || -> (i64, i64) {
        let query = "SELECT sum(sessions_abandoned + sessions_fatal + sessions_killed)::bigint, \
            (SELECT count(*) FROM pg_stat_activity WHERE usename = 'app') \
            FROM pg_stat_database";
        let row = admin.query_one(query, &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    let options = |address: SocketAddr| -> PgPool {
        PgPoolOptions::new().connect_lazy_with(postgres::options(address))
    };
    let migrated = options(address);
    let mut read = server.log().len();
    let mut aborted = usize::try_from(ended().await.0).unwrap();
    let mut row = async |name: &str, ports: Option<usize>| {
        until("its connections are gone", async || ended().await.1 == 0).await;
        // A session is counted shortly after its end.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let log = server.log();
        let before = std::mem::replace(&mut read, log.len());
        let sessions = usize::try_from(ended().await.0).unwrap();
        let counted = Counted {
            aborted: Some(sessions - std::mem::replace(&mut aborted, sessions)),
            refused: Some(lines(&log[before..], &["too many", "remaining connection"])),
            denied: Some(lines(&log[before..], &["authentication"])),
            log: Some(lines(&log[before..], &["WARNING:", "ERROR:", "FATAL:"])),
        };
        assert_no_harm(name, "PostgreSQL", counted, ports, 0);
    };
    let check = Postgres::sqlx(options(address));
    row("sqlx-postgres", in_turn(check, address).await).await;
    let check = Postgres::deadpool(postgres::deadpool(address));
    row("deadpool-postgres", in_turn(check, address).await).await;
    let check = Postgres::config(postgres::config(address, "app"), tokio_postgres::NoTls);
    row("tokio-postgres", in_turn(check, address).await).await;
    for (name, check) in pool::BESIDE {
        row(name, in_turn(check(address), address).await).await;
    }
    let check = Schema::sqlx(migrated, &schema::migrator(&[]));
    row("schema", in_turn(check, address).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_checks_do_no_harm() {
    let mut server = mysql::server(&["--log-warnings=9"]);
    server.start();
    let mut admin = mysql::admin(server.address).await;
    let check = MySql::sqlx(mysql::pool(server.address, "app"));
    let figures: [&[&str]; 3] = [
        &["Aborted_clients", "Aborted_connects"],
        &[
            "Connection_errors_internal",
            "Connection_errors_max_connections",
            "Connection_errors_peer_address",
        ],
        &["Access_denied_errors"],
    ];
    let mut count = async || {
        let mut sums = [0; 3];
        for (sum, names) in sums.iter_mut().zip(figures) {
            for name in names {
                *sum += mysql::figure(&mut admin, name).await;
            }
        }
        sums.map(|sum| usize::try_from(sum).unwrap())
    };
    let before = count().await;
    let read = server.log().len();
    let ports = in_turn(check, server.address).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = count().await;
    let difference = |index: usize| Some(after[index] - before[index]);
    let log = server.log();
    let counted = Counted {
        aborted: difference(0),
        refused: difference(1),
        denied: difference(2),
        log: Some(lines(&log[read..], &["[Warning]", "[ERROR]"])),
    };
    let mut admin = mysql::admin(server.address).await;
    let left = mysql::count(&mut admin).await;
    assert_no_harm(
        "sqlx-mysql",
        "MariaDB",
        counted,
        ports,
        left.try_into().unwrap(),
    );
}

/// Cancels runs while a server hangs: a run over the kept connection, and runs that open another
/// one. Then starts concurrent runs.
async fn given_up(check: &impl HealthCheck, server: &Server) {
    assert!(check.check().await.is_ok());
    server.suspend();
    // One run over the kept connection, and as many handshakes as may be in progress.
    for _ in 0..1 + 3 {
        let given_up = tokio::time::timeout(Duration::from_millis(200), check.check()).await;
        assert!(given_up.is_err());
    }
    server.resume();
    for _ in 0..5 {
        for outcome in join_all((0..4).map(|_| check.check())).await {
            assert_eq!(outcome.unwrap().status(), Status::Pass);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_runs_close_their_connections_regularly() {
    let mut server = mysql::server(&["--log-warnings=9"]);
    server.start();
    let mut admin = mysql::admin(server.address).await;
    let figures = ["Aborted_clients", "Aborted_connects"];
    let mut before = Vec::new();
    for name in figures {
        before.push(mysql::figure(&mut admin, name).await);
    }
    let read = server.log().len();
    let check = MySql::sqlx(mysql::pool(server.address, "app"));
    given_up(&check, &server).await;
    drop(check);
    mysql::leaves(&mut admin, 0).await;
    for (name, before) in figures.into_iter().zip(before) {
        assert_eq!(mysql::figure(&mut admin, name).await, before, "{name}");
    }
    let log = server.log();
    assert_eq!(lines(&log[read..], &["[Warning]", "[ERROR]"]), 0);

    let (server, admin) = postgres::primary().await;
    let read = server.log().len();
    let options = postgres::options(server.address);
    let check = Postgres::sqlx(PgPoolOptions::new().connect_lazy_with(options));
    given_up(&check, &server).await;
    drop(check);
    let config = postgres::config(server.address, "app");
    let check = Postgres::config(config, tokio_postgres::NoTls);
    given_up(&check, &server).await;
    drop(check);
    until("all are gone", async || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        let count: i64 = admin.query_one(query, &[]).await.unwrap().get(0);
        count == 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let query = "SELECT sum(sessions_abandoned + sessions_fatal + sessions_killed)::bigint FROM pg_stat_database";
    let aborted: i64 = admin.query_one(query, &[]).await.unwrap().get(0);
    assert_eq!(aborted, 0);
    let log = server.log();
    assert_eq!(lines(&log[read..], &["WARNING:", "ERROR:", "FATAL:"]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_checks_do_no_harm() {
    let mut server = redis::server(&[]);
    server.start();
    let admin = redis::admin(server.address).await;
    let stats = async || -> [usize; 3] {
        let mut admin = admin.clone();
        let info: ::redis::InfoDict = ::redis::cmd("INFO").query_async(&mut admin).await.unwrap();
        [
            "rejected_connections",
            "acl_access_denied_auth",
            "connected_clients",
        ]
        .map(|name| info.get(name).unwrap_or_default())
    };
    let before = server.log().len();
    let connection = redis::manager(server.address, "default").await;
    let [refused, denied, clients] = stats().await;
    let check = Redis::new(connection.clone()).primary();
    // All concurrent runs use the one connection of the service.
    let ports = Some(thousand(check, server.address, 20, Status::Pass).await);
    let [refused_after, denied_after, clients_after] = stats().await;
    let counted = Counted {
        aborted: None,
        refused: Some(refused_after - refused),
        denied: Some(denied_after - denied),
        log: Some(lines(&server.log()[before..], &[" # "])),
    };
    assert_no_harm("redis", "Redis", counted, ports, clients_after - clients);
    drop(connection);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_checks_do_no_harm() {
    let broker = rabbitmq::Broker::start();
    let address = broker.server.address;
    let connection = rabbitmq::connect(address).await;
    rabbitmq::declare(
        &connection,
        "orders",
        lapin::options::QueueDeclareOptions::durable(),
    )
    .await;
    let before = broker.server.log().len();
    let row = async |name: &str, ports: Option<usize>| {
        until("the service's is left", async || broker.connections() == 1).await;
        let log = broker.server.log();
        let log = &log[before..];
        let counted = Counted {
            aborted: Some(lines(log, &["closed unexpectedly", "unexpectedly closed"])),
            refused: Some(lines(log, &["limit"])),
            denied: Some(lines(log, &["refused"])),
            log: Some(lines(log, &["[warning]", "[error]"])),
        };
        assert_no_harm(name, "RabbitMQ", counted, ports, 0);
    };
    let check = tower_health_checks::RabbitMq::new(std::sync::Arc::clone(&connection));
    row("rabbitmq", in_turn(check, address).await).await;
    let check = rabbitmq::queue(address, "orders");
    row("rabbitmq-queue", in_turn(check, address).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_checks_do_no_harm() {
    let mut server = nats::server("");
    server.start();
    let client = nats::client(server.address, "app").await;
    let before = server.log().len();
    for (name, check) in [
        ("nats", Nats::new(client.clone())),
        (
            "nats, with JetStream",
            Nats::new(client.clone()).jetstream(),
        ),
    ] {
        let ports = in_turn(check, server.address).await;
        let log = server.log();
        let counted = Counted {
            denied: Some(lines(&log[before..], &["authentication error"])),
            log: Some(lines(&log[before..], &["[WRN]", "[ERR]"])),
            ..Counted::default()
        };
        assert_no_harm(name, "NATS", counted, ports, 0);
    }
}

/// An HTTP server that reports the number of its accepted connections, and serves TLS with a
/// certificate. By default it ends a connection with its thousandth request. Which side closes it
/// first is then a matter of chance, so the limit is higher here.
fn nginx(pem: &str) -> (Server, SocketAddr) {
    let program = program("nginx", &["/usr/sbin"], "apt-get install nginx-light");
    let secure = crate::server::free_address();
    let mut server = Server::new(move |directory, _| {
        let mut nginx = Command::new(&program);
        nginx.arg("-c").arg(directory.join("conf"));
        nginx.arg("-p").arg(directory);
        nginx
    });
    let directory = server.directory.path();
    fs::write(directory.join("pem"), pem).unwrap();
    let path = directory.display();
    let configuration = format!(
        "daemon off; pid {path}/pid; error_log {path}/errors info;\n\
         events {{ }}\n\
         http {{ access_log off; keepalive_requests 10000; client_body_temp_path {path}/a; proxy_temp_path {path}/b;\n\
         fastcgi_temp_path {path}/c; uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n\
         server {{ listen {}; location = /status {{ stub_status; }}\n\
         location / {{ return 200 'well'; }} }}\n\
         server {{ listen {secure} ssl; ssl_certificate {path}/pem; ssl_certificate_key {path}/pem; }} }}\n",
        server.address,
    );
    fs::write(directory.join("conf"), configuration).unwrap();
    server.start();
    (server, secure)
}

/// Returns how many connections nginx accepted and did not serve, and how many are open besides the
/// connection of this request.
async fn connections(address: SocketAddr) -> (usize, usize) {
    let status = reqwest::get(format!("http://{address}/status")).await;
    let status = status.unwrap().text().await.unwrap();
    let numbers: Vec<usize> = status
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [active, accepted, handled, ..] = numbers[..] else {
        panic!("{status}");
    };
    (accepted - handled, active - 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_certificate_checks_do_no_harm_to_nginx() {
    let root = certificate::root();
    let (server, secure) = nginx(&certificate::leaf(&root, (1, 90)));
    let errors = || fs::read_to_string(server.directory.path().join("errors")).unwrap();
    let levels = ["[warn]", "[error]", "[crit]", "[alert]", "[emerg]"];
    let row = async |name: &str, ports: Option<usize>| {
        until("all are closed", async || {
            connections(server.address).await.1 == 0
        })
        .await;
        let log = errors();
        let counted = Counted {
            aborted: Some(lines(&log, &["reset by peer", "SSL_do_handshake"])),
            refused: Some(connections(server.address).await.0),
            denied: None,
            log: Some(lines(&log, &levels)),
        };
        assert_no_harm(name, "nginx", counted, ports, 0);
    };
    let client = reqwest::Client::new();
    let check = HttpUpstream::new(client, format!("http://{}/", server.address));
    row("upstream-http", in_turn(check, server.address).await).await;
    let check = certificate::check(secure, &root);
    let ports = at_once(check, secure).await;
    row("certificate", ports).await;
    let check = Tcp::new(server.address.to_string());
    let ports = at_once(check, server.address).await;
    row("tcp", ports).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_checks_do_no_harm_to_servers_that_count_connections_without_login() {
    let mut server = mysql::server(&["--log-warnings=9"]);
    server.start();
    let mut admin = mysql::admin(server.address).await;
    let before = mysql::figure(&mut admin, "Aborted_connects").await;
    let check = Tcp::new(server.address.to_string());
    let ports = Some(thousand(check, server.address, 1, Status::Warn).await);
    let after = mysql::figure(&mut admin, "Aborted_connects").await;
    let counted = Counted {
        aborted: Some((after - before).try_into().unwrap()),
        ..Counted::default()
    };
    assert_no_harm("tcp", "MariaDB", counted, ports, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_checks_with_start_tls_do_no_harm() {
    let root = certificate::root();
    let (server, admin) = postgres::secure(&certificate::leaf(&root, (1, 90))).await;
    let before = server.log().len();
    let check = Certificate::of_address(
        server.address.to_string(),
        certificate::trusting(root.der()),
    );
    let check = check.start_tls(StartTls::Postgres);
    let ports = at_once(check, server.address).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = server.log();
    let query = "SELECT sum(sessions_abandoned + sessions_fatal + sessions_killed)::bigint FROM pg_stat_database";
    let aborted: i64 = admin.query_one(query, &[]).await.unwrap().get(0);
    let counted = Counted {
        aborted: Some(aborted.try_into().unwrap()),
        refused: Some(lines(&log[before..], &["too many", "remaining connection"])),
        denied: Some(lines(&log[before..], &["authentication"])),
        log: Some(lines(
            &log[before..],
            &["WARNING:", "ERROR:", "FATAL:", "LOG:"],
        )),
    };
    assert_no_harm("certificate", "PostgreSQL", counted, ports, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_upstream_checks_do_no_harm() {
    let server = upstream_grpc::process();
    let check = upstream_grpc::check(server.address);
    let ports = in_turn(check, server.address).await;
    assert_no_harm("upstream-grpc", "tonic", Counted::default(), ports, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_checks_do_no_harm() {
    let server = dns::server();
    let before = server.log().len();
    for (name, check) in [
        ("dns", dns::udp(server.address)),
        ("dns, over TCP", dns::tcp(server.address)),
    ] {
        let ports = in_turn(check, server.address).await;
        let log = server.log();
        let counted = Counted {
            refused: Some(lines(&log[before..], &["Maximum number", "failed"])),
            log: Some(log[before..].lines().count()),
            ..Counted::default()
        };
        assert_no_harm(name, "dnsmasq", counted, ports, 0);
    }
}
