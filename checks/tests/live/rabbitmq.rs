use std::{fs, net::SocketAddr, path::Path, process::Command, sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
    uri::AMQPUri,
};
use tower_health::{
    HealthCheck, Outcome, Reason, Status,
    outcome::Value,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::{RabbitMq, RabbitMqQueue};

use crate::{
    matrix::{DELAY, Row},
    server::{Server, free_address, program},
    table::assert_refusal,
    wear::{until, wear},
};

const PASSWORD: &str = "hunter2";
const NODE: &str = "test@localhost";
/// The program on the path switches to another user, who may not read the directory.
const PLACES: &[&str] = &["/usr/lib/rabbitmq/bin"];
const INSTALLS: &str = "apt-get install rabbitmq-server";

/// A server with its own port mapper, which ends together with the server.
pub(crate) struct Broker {
    pub(crate) server: Server,
    ports: SocketAddr,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let (ports, nodes) = (free_address(), free_address());
        let mapper = program("epmd", &[], INSTALLS);
        let rabbitmq = program("rabbitmq-server", PLACES, INSTALLS);
        let server = Server::new(move |directory, address| {
            fs::write(directory.join("plugins"), "[].\n").unwrap();
            let mut command = Command::new("sh");
            command
                .args(["-c", r#""$0" -address 127.0.0.1 & exec "$1""#])
                .args([&mapper, &rabbitmq])
                .env("RABBITMQ_NODE_IP_ADDRESS", address.ip().to_string())
                .env("RABBITMQ_NODE_PORT", address.port().to_string())
                .env("RABBITMQ_DIST_PORT", nodes.port().to_string())
                .env("RABBITMQ_MNESIA_BASE", directory.join("data"))
                .env("RABBITMQ_LOG_BASE", directory.join("logs"))
                .env("RABBITMQ_LOGS", "-")
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("plugins"))
                .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq"));
            environment(&mut command, directory, ports);
            command
        });
        let mut broker = Self { server, ports };
        broker.server.start();
        // The port is open before the users exist.
        broker.control(&["await_startup"]);
        broker.control(&["add_user", "app", PASSWORD]);
        broker.control(&["set_permissions", "app", ".*", ".*", ".*"]);
        broker
    }

    fn restart(&mut self) {
        self.server.start();
        self.control(&["await_startup"]);
    }

    fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("rabbitmqctl", PLACES, INSTALLS));
        command.args(["--quiet", "--node", NODE]).args(arguments);
        environment(&mut command, self.server.directory.path(), self.ports);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the number of open channels of the server.
    fn channels(&self) -> usize {
        self.count("list_channels")
    }

    /// Returns the number of open connections of the server.
    pub(crate) fn connections(&self) -> usize {
        self.count("list_connections")
    }

    fn count(&self, list: &str) -> usize {
        let list = self.control(&[list, "pid", "--no-table-headers"]);
        list.lines().count()
    }
}

fn environment(command: &mut Command, directory: &Path, ports: SocketAddr) {
    command
        .env("HOME", directory)
        .env("ERL_CRASH_DUMP", directory.join("crash"))
        .env("RABBITMQ_NODENAME", NODE)
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("ERL_EPMD_ADDRESS", ports.ip().to_string())
        .env("ERL_EPMD_PORT", ports.port().to_string());
}

pub(crate) async fn connect(address: SocketAddr) -> Arc<Connection> {
    let properties = ConnectionProperties::default()
        .enable_auto_recover()
        .configure_backoff(|backoff| {
            let backoff = backoff.with_min_delay(Duration::from_millis(20));
            backoff
                .with_max_delay(Duration::from_millis(50))
                .without_max_times()
        });
    let uri = format!("amqp://app:{PASSWORD}@{address}/%2f");
    Arc::new(Connection::connect(&uri, properties).await.unwrap())
}

/// Waits until the connection has recovered by itself, shortly after the server.
async fn is_back(connection: &Connection) {
    until("it is connected", async || connection.status().connected()).await;
}

/// A check with its own connection.
pub(crate) fn queue(address: SocketAddr, name: &str) -> RabbitMqQueue {
    let uri = format!("amqp://app:{PASSWORD}@{address}/%2f");
    let uri: AMQPUri = uri.parse().unwrap();
    RabbitMqQueue::new(name, move || {
        Connection::connect_uri(uri.clone(), ConnectionProperties::default())
    })
}

async fn told(check: &impl HealthCheck) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

const PASSES: (Status, Option<Reason>) = (Status::Pass, None);

fn warns(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Warn, Some(reason))
}

fn fails(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Fail, Some(reason))
}

pub(crate) async fn declare(connection: &Connection, name: &str, options: QueueDeclareOptions) {
    let channel = connection.create_channel().await.unwrap();
    let declared = channel.queue_declare(name.into(), options, FieldTable::default());
    declared.await.unwrap();
    channel.close(200, "OK".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_connection_is_reported_as_documented() {
    let mut broker = Broker::start();
    let proxy = FaultProxy::start(broker.server.address).await.unwrap();
    let connection = connect(proxy.address()).await;
    let mut row = Row::of("rabbitmq", RabbitMq::new(Arc::clone(&connection))).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(async {
            proxy.heal().await;
            is_back(&connection).await;
        })
        .await;
    }
    until("one channel is left", async || broker.channels() == 1).await;

    let connection = connect(broker.server.address).await;
    let mut direct = Row::of("rabbitmq", RabbitMq::new(Arc::clone(&connection))).await;
    direct
        .when("suspended", async { broker.server.suspend() })
        .await;
    direct.over(async { broker.server.resume() }).await;
    direct
        .when("restarted", async { broker.server.kill() })
        .await;
    direct
        .over(async {
            broker.restart();
            is_back(&connection).await;
        })
        .await;
    direct
        .when("wrong password", async {
            broker.control(&["change_password", "app", "another"]);
            broker.control(&["close_all_connections", "maintenance"]);
        })
        .await;
    direct
        .over(async {
            broker.control(&["change_password", "app", PASSWORD]);
            // The server takes a second to refuse the login again.
            is_back(&connection).await;
        })
        .await;
    direct
        .when("not there", async { broker.server.kill() })
        .await;
    row.with(direct).assert_documented(&[PASSWORD, "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_queue_is_reported_as_documented() {
    let mut broker = Broker::start();
    let connection = connect(broker.server.address).await;
    declare(&connection, "orders", QueueDeclareOptions::durable()).await;
    drop(connection);
    let proxy = FaultProxy::start(broker.server.address).await.unwrap();
    let check = || queue(proxy.address(), "orders");
    let mut row = Row::of("rabbitmq-queue", check()).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }
    until("one connection is left", async || broker.connections() == 1).await;

    let mut direct = Row::of("rabbitmq-queue", queue(broker.server.address, "orders")).await;
    direct
        .when("suspended", async { broker.server.suspend() })
        .await;
    direct.over(async { broker.server.resume() }).await;
    direct
        .when("restarted", async { broker.server.kill() })
        .await;
    direct.over(async { broker.restart() }).await;
    direct
        .when("wrong password", async {
            broker.control(&["change_password", "app", "another"]);
            broker.control(&["close_all_connections", "maintenance"]);
        })
        .await;
    direct
        .over(async {
            broker.control(&["change_password", "app", PASSWORD]);
        })
        .await;
    direct
        .when("out of connections", async {
            let none = r#"{"max-connections": 0}"#;
            broker.control(&["set_user_limits", "app", none]);
            broker.control(&["close_all_connections", "maintenance"]);
        })
        .await;
    direct
        .over(async {
            broker.control(&["clear_user_limits", "app", "max-connections"]);
        })
        .await;
    direct
        .when("not there", async { broker.server.kill() })
        .await;
    row.with(direct).assert_documented(&[PASSWORD, "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_given_connection_is_used_and_nothing_is_left_behind() {
    let broker = Broker::start();
    let proxy = FaultProxy::start(broker.server.address).await.unwrap();
    let connection = connect(proxy.address()).await;
    let check = || RabbitMq::new(Arc::clone(&connection));
    let contract = |status| {
        let connection = Arc::clone(&connection);
        Contract::new(move || RabbitMq::new(Arc::clone(&connection)))
            .secret(PASSWORD)
            .expect(status)
            .assert()
    };
    contract(Status::Pass).await;
    let asking = check();
    wear(&asking).await;
    assert_eq!(told(&asking).await, PASSES);
    assert_eq!((proxy.open(), broker.channels()), (1, 1));
    // The connection recovers however often it is lost during a query.
    for _ in 0..20 {
        proxy.fail(Fault::Cut { after: 5 }).await;
        assert_ne!(told(&asking).await, PASSES);
        proxy.heal().await;
        until("it is back", async || told(&asking).await == PASSES).await;
    }
    // Runs that end without a response leave one query open in total.
    proxy.fail(Fault::Silence).await;
    for _ in 0..100 {
        let given_up = tokio::time::timeout(Duration::from_millis(5), asking.check()).await;
        assert!(given_up.is_err());
    }
    proxy.heal().await;
    until("it answers", async || told(&asking).await == PASSES).await;
    assert_eq!((proxy.open(), broker.channels()), (1, 1));
    proxy.fail(Fault::Refuse).await;
    // The driver does not recover from errors that it detects while writing.
    until("it is lost", async || !connection.status().connected()).await;
    contract(Status::Fail).await;
    proxy.heal().await;
    until("it is back", async || told(&asking).await == PASSES).await;
    drop(asking);
    drop(connection);
    until("it is closed with its last owner", async || {
        proxy.open() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_queried_over_one_connection() {
    let broker = Broker::start();
    let connection = connect(broker.server.address).await;
    declare(&connection, "orders", QueueDeclareOptions::durable()).await;
    drop(connection);
    let proxy = FaultProxy::start(broker.server.address).await.unwrap();
    let contract = |name: &'static str, status| {
        let address = proxy.address();
        Contract::new(move || queue(address, name))
            .secret(PASSWORD)
            .expect(status)
            .assert()
    };
    contract("orders", Status::Pass).await;
    contract("nobody's", Status::Fail).await;
    until("all are closed", async || proxy.open() == 0).await;
    let check = queue(proxy.address(), "orders");
    wear(&check).await;
    assert_eq!(told(&check).await, PASSES);
    assert_eq!((proxy.open(), broker.channels()), (1, 1));
    // However often the queue is missing.
    let missing = queue(proxy.address(), "nobody's");
    for _ in 0..2_100 {
        assert_eq!(told(&missing).await, fails(Reason::NotFound));
    }
    drop(missing);
    until("the first is left", async || proxy.open() == 1).await;
    proxy.fail(Fault::Silence).await;
    for _ in 0..100 {
        let given_up = tokio::time::timeout(Duration::from_millis(5), check.check()).await;
        assert!(given_up.is_err());
    }
    assert_eq!(proxy.open(), 1);
    proxy.heal().await;
    until("it answers", async || told(&check).await == PASSES).await;
    drop(check);
    until("it is closed", async || proxy.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bounds_of_a_queue_decide_the_status() {
    let broker = Broker::start();
    let connection = connect(broker.server.address).await;
    let check = |name: &str| queue(broker.server.address, name);
    assert_eq!(told(&check("orders")).await, fails(Reason::NotFound));
    let what = "a queue that does not exist";
    assert_refusal("rabbitmq-queue", what, &check("orders")).await;
    declare(&connection, "orders", QueueDeclareOptions::durable()).await;
    assert_eq!(told(&check("orders")).await, PASSES);
    for nonsense in ["", &"x".repeat(256)] {
        assert_eq!(told(&check(nonsense)).await, fails(Reason::Misconfigured));
    }
    assert_eq!(
        told(&check(&"x".repeat(255))).await,
        fails(Reason::NotFound)
    );
    declare(&connection, "private", QueueDeclareOptions::exclusive()).await;
    assert_eq!(
        told(&check("private")).await,
        fails(Reason::PermissionDenied)
    );
    let what = "a queue that is exclusive to another connection";
    assert_refusal("rabbitmq-queue", what, &check("private")).await;
    let uri = format!("amqp://app:{PASSWORD}@{}/elsewhere", broker.server.address);
    let uri: AMQPUri = uri.parse().unwrap();
    let elsewhere = RabbitMqQueue::new("orders", move || {
        Connection::connect_uri(uri.clone(), ConnectionProperties::default())
    });
    assert_eq!(told(&elsewhere).await, fails(Reason::PermissionDenied));
    assert!(!format!("{elsewhere:?}").contains(PASSWORD));

    let channel = connection.create_channel().await.unwrap();
    for _ in 0..3 {
        publish(&channel).await;
    }
    until("all are there", async || {
        let outcome = check("orders").check().await.unwrap();
        let messages = outcome.measurements().iter().find(|m| m.name == "messages");
        messages.unwrap().value == Value::from(3_u64)
    })
    .await;
    let full = check("orders").warn_above(3).fail_above(3);
    assert_eq!(told(&full).await, PASSES);
    let above = check("orders").warn_above(2);
    assert_eq!(told(&above).await, warns(Reason::LimitExceeded));
    assert_eq!(
        told(&above.fail_above(2)).await,
        fails(Reason::LimitExceeded)
    );
    let alone = check("orders").warn_consumers_below(1);
    assert_eq!(told(&alone).await, warns(Reason::LimitExceeded));
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(
        "orders".into(),
        "one".into(),
        options,
        FieldTable::default(),
    );
    let consumer = consumer.await.unwrap();
    assert_eq!(told(&alone).await, PASSES);
    drop(consumer);
}

async fn publish(channel: &Channel) {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let publish = channel.basic_publish("".into(), "orders".into(), options, b"new", properties);
    publish.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_short_of_memory_is_busy() {
    let broker = Broker::start();
    let connection = connect(broker.server.address).await;
    declare(&connection, "orders", QueueDeclareOptions::durable()).await;
    let check = RabbitMq::new(Arc::clone(&connection));
    assert_eq!(told(&check).await, PASSES);
    broker.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    // The server blocks connections that publish.
    publish(&connection.create_channel().await.unwrap()).await;
    until("it is blocked", async || connection.status().blocked()).await;
    assert_eq!(told(&check).await, warns(Reason::Busy));
    let what = "a server that is short of memory or disk";
    assert_refusal("rabbitmq", what, &check).await;
    broker.control(&["set_vm_memory_high_watermark", "0.9"]);
    until("it is open again", async || told(&check).await == PASSES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_channel_left_is_busy() {
    let broker = Broker::start();
    let uri = format!(
        "amqp://app:{PASSWORD}@{}/%2f?channel_max=2",
        broker.server.address
    );
    let connection = Connection::connect(&uri, ConnectionProperties::default())
        .await
        .unwrap();
    let connection = Arc::new(connection);
    let check = RabbitMq::new(Arc::clone(&connection));
    let mut channels = Vec::new();
    while let Ok(channel) = connection.create_channel().await {
        channels.push(channel);
    }
    assert_eq!(told(&check).await, warns(Reason::Busy));
    assert_refusal("rabbitmq", "no channel is left", &check).await;
    channels.clear();
    until("there is one", async || told(&check).await == PASSES).await;
    connection.close(200, "OK".into()).await.unwrap();
    assert_eq!(told(&check).await, fails(Reason::ConnectionLost));
    assert!(!format!("{check:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_changed_password_is_detected_after_five_minutes() {
    let broker = Broker::start();
    let address = broker.server.address;
    // Without heartbeats, because the clock skips them.
    let uri = format!("amqp://app:{PASSWORD}@{address}/%2f?heartbeat=0");
    let uri: AMQPUri = uri.parse().unwrap();
    let check = RabbitMqQueue::new("orders", move || {
        Connection::connect_uri(uri.clone(), ConnectionProperties::default())
    });
    let later = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    let missing = fails(Reason::NotFound);
    assert_eq!(told(&check).await, missing);
    declare(
        &*connect(address).await,
        "orders",
        QueueDeclareOptions::durable(),
    )
    .await;
    assert_eq!(told(&check).await, PASSES);
    broker.control(&["change_password", "app", "another"]);
    later(200).await;
    assert_eq!(told(&check).await, PASSES);
    later(200).await;
    assert_eq!(told(&check).await, fails(Reason::AuthenticationFailed));
    broker.control(&["change_password", "app", PASSWORD]);
    assert_eq!(told(&check).await, PASSES);
    until("one connection is left", async || broker.connections() == 1).await;
}
