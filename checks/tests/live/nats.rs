use std::{fs, net::SocketAddr, process::Command, time::Duration};

use async_nats::{Client, ConnectOptions, connection::State};
use tower_health::{
    HealthCheck, Outcome, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::Nats;

use crate::{
    matrix::{DELAY, Row},
    server::{Server, program},
    table::{assert_optional, assert_refusal},
    wear::{until, wear},
};

const PASSWORD: &str = "hunter2";

/// A server that reloads its configuration on request.
pub(crate) fn server(jetstream: &str) -> Server {
    let program = program("nats-server", &["/usr/sbin"], "apt-get install nats-server");
    let server = Server::new(move |directory, _| {
        let mut nats = Command::new(&program);
        nats.arg("-c").arg(directory.join("conf"));
        nats
    });
    configure(&server, PASSWORD, jetstream);
    server
}

fn configure(server: &Server, password: &str, jetstream: &str) {
    let directory = server.directory.path();
    let configuration = format!(
        "listen: \"{}\"\n\
         jetstream {{ store_dir: {:?}, {jetstream} }}\n\
         accounts {{ APP {{ users: [{{user: app, password: {password:?}}}], jetstream: {{ max_file: 1000000, max_mem: 100000 }} }},\n\
         BARE {{ users: [{{user: bare, password: {password:?}}}] }} }}\n",
        server.address,
        directory.join("store"),
    );
    fs::write(directory.join("conf"), configuration).unwrap();
}

pub(crate) async fn client(address: SocketAddr, user: &str) -> Client {
    let client = ConnectOptions::with_user_and_password(user.into(), PASSWORD.into())
        .reconnect_delay_callback(|_| Duration::from_millis(20))
        .connect(address.to_string())
        .await
        .unwrap();
    until("it is connected", async || {
        client.connection_state() == State::Connected
    })
    .await;
    client
}

async fn told(check: &Nats) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

const PASSES: (Status, Option<Reason>) = (Status::Pass, None);

fn fails(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Fail, Some(reason))
}

async fn api(client: &Client, question: &str, payload: &str) {
    let subject = format!("$JS.API.{question}");
    let answer = client.request(subject, payload.to_owned().into()).await;
    let answer = answer.unwrap().payload;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("\"error\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    let mut server = server("");
    server.start();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of("nats", Nats::new(client(proxy.address(), "app").await)).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }
    let mut direct = Row::of("nats", Nats::new(client(server.address, "app").await)).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    direct
        .when("wrong password", async {
            configure(&server, "another", "");
            server.kill();
            server.start();
        })
        .await;
    direct
        .over(async {
            configure(&server, PASSWORD, "");
            server.kill();
            server.start();
        })
        .await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct).assert_documented(&[PASSWORD, "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_given_connection_is_used() {
    let mut server = server("");
    server.start();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let client = client(proxy.address(), "app").await;
    let contract = |make: fn(Client) -> Nats| {
        let client = client.clone();
        Contract::new(move || make(client.clone())).secret(PASSWORD)
    };
    contract(Nats::new).expect(Status::Pass).assert().await;
    let streams = |client| Nats::new(client).jetstream();
    contract(streams).expect(Status::Pass).assert().await;
    wear(&Nats::new(client.clone())).await;
    wear(&Nats::new(client.clone()).jetstream()).await;
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    proxy.fail(Fault::Refuse).await;
    contract(Nats::new).expect(Status::Fail).assert().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_to_all_subjects_does_not_affect_the_check() {
    let mut server = server("");
    server.start();
    let app = client(server.address, "app").await;
    let deaf = ConnectOptions::with_user_and_password("app".into(), PASSWORD.into())
        .no_echo()
        .connect(server.address.to_string())
        .await
        .unwrap();
    assert_eq!(told(&Nats::new(deaf)).await, PASSES);
    let tap = client(server.address, "app").await;
    let _all = tap.subscribe(">").await.unwrap();
    tap.flush().await.unwrap();
    for check in [Nats::new(app.clone()), Nats::new(app).jetstream()] {
        let answered = tokio::time::timeout(Duration::from_secs(30), told(&check)).await;
        assert_eq!(answered, Ok(PASSES));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_account_and_stream_limits_decide_the_status() {
    let mut server = server("");
    server.start();
    let app = client(server.address, "app").await;
    let bare = client(server.address, "bare").await;
    assert_eq!(told(&Nats::new(bare.clone())).await, PASSES);
    let without = Nats::new(bare.clone()).jetstream();
    assert_eq!(told(&without).await, fails(Reason::Misconfigured));
    let what = "JetStream, for its account";
    assert_optional("nats", what, &Nats::new(bare), &without).await;

    let check = Nats::new(app.clone()).stream("ORDERS");
    assert_eq!(told(&check).await, fails(Reason::NotFound));
    assert_eq!(
        told(&Nats::new(app.clone()).stream("a b")).await,
        fails(Reason::Misconfigured)
    );
    for (name, discard) in [("ORDERS", "new"), ("LOG", "old")] {
        let stream = format!(
            r#"{{"name": "{name}", "subjects": ["{name}.*"], "max_msgs": 10, "max_bytes": 100000, "discard": "{discard}"}}"#
        );
        api(&app, &format!("STREAM.CREATE.{name}"), &stream).await;
    }
    assert_eq!(told(&check).await, PASSES);
    let log = Nats::new(app.clone()).stream("LOG");
    for (count, expected) in [
        (9, PASSES),
        (1, (Status::Warn, Some(Reason::LimitExceeded))),
    ] {
        for stream in ["ORDERS", "LOG"] {
            for _ in 0..count {
                let subject = format!("{stream}.new");
                app.request(subject, "an order".into()).await.unwrap();
            }
        }
        assert_eq!(told(&check).await, expected);
        assert_eq!(told(&log).await, PASSES);
    }
    let what = "its stream is full and discards new messages";
    assert_refusal("nats, with JetStream", what, &check).await;
    let near = Nats::new(app.clone()).warn_storage_above(0.01).jetstream();
    assert_eq!(told(&near).await, (Status::Warn, Some(Reason::LimitNear)));
    let outcome = check.check().await.unwrap();
    let measured: Vec<&str> = outcome.measurements().iter().map(|m| &*m.name).collect();
    for name in [
        "storage_used",
        "memory_used",
        "storage_utilization",
        "messages",
        "bytes",
        "stream_utilization",
    ] {
        assert!(measured.contains(&name), "{measured:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_limits_count_like_storage_and_a_domain_is_checked_by_name() {
    let mut server = server("domain: hub");
    server.start();
    let app = client(server.address, "app").await;
    let check = Nats::new(app.clone()).domain("hub");
    assert_eq!(told(&check).await, PASSES);
    // Requests to a domain that does not exist reach nothing.
    let elsewhere = Nats::new(app.clone()).domain("edge");
    assert_eq!(told(&elsewhere).await, fails(Reason::Misconfigured));
    let stream = r#"{"name": "HOT", "subjects": ["hot.*"], "storage": "memory", "discard": "old"}"#;
    api(&app, "STREAM.CREATE.HOT", stream).await;
    let order = "an order".repeat(1_000);
    let mut last = PASSES;
    for _ in 0..12 {
        // The last requests are refused.
        _ = app.request("hot.new", order.clone().into()).await;
        last = told(&check).await;
    }
    assert_eq!(last.0, Status::Warn);
    let what = "the account's memory is full";
    assert_refusal("nats, with JetStream", what, &check).await;
    let outcome = check.check().await.unwrap();
    let cause = outcome.cause().unwrap().redacted();
    assert!(cause.contains("memory of the account"), "{cause}");
}
