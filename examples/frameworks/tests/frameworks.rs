//! One `Health` in every framework, probed over sockets. Probers get the same responses from all of
//! them. The servers are those of the examples.

#[allow(dead_code, unreachable_pub)] // Here and below: their `main`.
#[path = "../actix_web.rs"]
mod in_actix_web;
#[allow(dead_code, unreachable_pub)]
#[path = "../../axum.rs"]
mod in_axum;
#[allow(dead_code, unreachable_pub)]
#[path = "../../hyper.rs"]
mod in_hyper;
#[allow(dead_code, unreachable_pub)]
#[path = "../../hyper_several.rs"]
mod in_hyper_several;
#[allow(dead_code, unreachable_pub)]
#[path = "../poem.rs"]
mod in_poem;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tonic.rs"]
mod in_tonic;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use http::{StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinSet,
    time::timeout,
};
use tonic_prost::ProstCodec;
use tower_health::{
    Check, Failure, Health, HealthCheck, Outcome, Probe, Reason, Status, async_trait,
};

/// A limit that nothing here reaches.
const DEADLINE: Duration = Duration::from_secs(60);

/// A check whose runs end only when the test sends an outcome. No run ends between two requests, so
/// that no body changes between them.
struct Told(Mutex<UnboundedReceiver<Outcome>>);

#[async_trait]
impl HealthCheck for Told {
    async fn check(&self) -> Result<Outcome, Failure> {
        let mut outcomes = self.0.lock().await;
        Ok(outcomes.recv().await.expect("a test that goes on"))
    }
}

fn told(name: &str) -> (UnboundedSender<Outcome>, Check) {
    let (tell, outcomes) = unbounded_channel();
    let check = Check::new(name, Told(Mutex::new(outcomes)))
        .period(Duration::from_secs(1))
        .retry_period(Duration::from_millis(100))
        .timeout(Duration::from_secs(3600));
    (tell, check)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, poll)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The servers of the examples for one `Health`, by framework. They end when the set is dropped.
struct Servers {
    running: JoinSet<()>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Servers {
    async fn start(health: &Health) -> Self {
        let mut running = JoinSet::new();
        let mut addresses = Vec::new();
        macro_rules! start {
            ($framework:literal, $serve:path) => {
                start!($framework, $serve, |listener| listener)
            };
            ($framework:literal, $serve:path, $into:expr) => {
                let (listener, address) = listener().await;
                let serving = $serve($into(listener), health.clone());
                running.spawn(async { serving.await.unwrap() });
                addresses.push(($framework, address));
            };
        }
        start!("axum", in_axum::serve);
        start!("hyper", in_hyper::serve);
        start!("actix-web", in_actix_web::serve, |listener: TcpListener| {
            listener.into_std().unwrap()
        });
        start!("tonic", in_tonic::serve);
        start!("poem", in_poem::serve);
        Self { running, addresses }
    }

    fn address(&self, framework: &str) -> SocketAddr {
        let mut addresses = self.addresses.iter();
        addresses.find(|(name, _)| *name == framework).unwrap().1
    }

    async fn stop(mut self) {
        timeout(DEADLINE, self.running.shutdown())
            .await
            .expect("an end");
    }
}

/// A response, without the order of its headers, its date, and its headers about the connection.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(DEADLINE, exchange)
        .await
        .expect("an answer, and its end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .unwrap();
    let mut headers = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = name.to_ascii_lowercase();
        if name != "date" && name != "connection" {
            let before = headers.insert(name, value.to_owned());
            assert_eq!(before, None, "twice: {line}");
        }
    }
    Answer {
        status: status[..3].parse().unwrap(),
        headers,
        body: body.to_owned(),
    }
}

const CHECKS: [&str; 3] = ["ledger", "postgres", "redis"];

const PATHS: [&str; 8] = [
    "/health",
    "/ready",
    "/live",
    "/startup",
    "/health/ledger",
    "/health/postgres",
    "/health/redis",
    "/health/unknown",
];

/// Asserts that every framework returns the same response, and returns it.
async fn agreed(servers: &Servers, method: &str, path: &str) -> Answer {
    let mut answers = Vec::new();
    for &(framework, address) in &servers.addresses {
        answers.push((framework, ask(address, method, path).await));
    }
    let mut answers = answers.into_iter();
    let (one, agreed) = answers.next().unwrap();
    for (other, answer) in answers {
        assert_eq!(agreed, answer, "{method} {path}: {one} and {other} differ");
    }
    agreed
}

/// Sends requests for all `PATHS` with several methods to every framework, and asserts the expected
/// statuses.
async fn assert_all_agree(servers: &Servers, statuses: [u16; 8]) {
    for (path, status) in PATHS.into_iter().zip(statuses) {
        let get = agreed(servers, "GET", path).await;
        assert_eq!(get.status, status, "{path}: {}", get.body);
        assert_eq!(
            get.header("content-length"),
            Some(&*get.body.len().to_string()),
            "{path}"
        );
        assert_eq!(get.header("cache-control"), Some("no-store"));
        assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            get.header("retry-after"),
            (status == 503).then_some("1"),
            "{path}"
        );
        let content_type = match status {
            404 => "application/problem+json",
            _ => "application/health+json",
        };
        assert_eq!(get.header("content-type"), Some(content_type));

        let head = agreed(servers, "HEAD", path).await;
        let bodiless = Answer {
            body: String::new(),
            ..get.clone()
        };
        assert_eq!(head, bodiless, "HEAD {path}");

        let mut allowing = get;
        allowing
            .headers
            .insert("allow".to_owned(), "GET, HEAD, OPTIONS".to_owned());
        assert_eq!(
            agreed(servers, "OPTIONS", path).await,
            allowing,
            "OPTIONS {path}"
        );

        let post = agreed(servers, "POST", path).await;
        assert_eq!(
            (post.status, post.header("allow")),
            (405, Some("GET, HEAD, OPTIONS")),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_framework_returns_the_same_responses() {
    let (ledger, critical) = told("ledger");
    let (postgres, shared) = told("postgres");
    let (redis, non_critical) = told("redis");
    let health = Health::builder("orders")
        .release("1.4.2")
        .checks([critical, shared.shared(), non_critical.non_critical()])
        .start()
        .unwrap();
    let servers = Servers::start(&health).await;

    assert_all_agree(&servers, [503, 503, 200, 503, 503, 503, 503, 404]).await;

    for check in [&ledger, &postgres, &redis] {
        check
            .send(Outcome::pass().measure("used", 3, "connections"))
            .unwrap();
    }
    let passes = |name| health.check(name).unwrap().status == Status::Pass;
    until("all pass", || CHECKS.into_iter().all(passes)).await;
    assert_all_agree(&servers, [200, 200, 200, 200, 200, 200, 200, 404]).await;

    ledger
        .send(Outcome::fail(Reason::ConnectionRefused))
        .unwrap();
    redis.send(Outcome::fail(Reason::Busy)).unwrap();
    until("two fail", || {
        ["ledger", "redis"].into_iter().all(|name| !passes(name))
    })
    .await;
    assert_all_agree(&servers, [503, 503, 200, 200, 503, 200, 503, 404]).await;

    servers.stop().await;
}

/// Returns a health without checks, which passes.
fn passing_health() -> Health {
    Health::builder("orders").start().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_not_probes_reach_the_service() {
    let servers = Servers::start(&passing_health()).await;
    for framework in ["axum", "hyper", "actix-web", "poem"] {
        let hello = ask(servers.address(framework), "GET", "/").await;
        assert_eq!((hello.status, &*hello.body), (200, "Hello"), "{framework}");
    }
    for framework in ["axum", "actix-web", "poem"] {
        for path in ["/other", "/health/a/b", "/healthz"] {
            let none = ask(servers.address(framework), "GET", path).await;
            assert_eq!(none.status, 404, "{framework} {path}");
            assert_eq!(
                none.header("cache-control"),
                None,
                "{framework} {path} is answered by the probes"
            );
        }
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonic_serves_grpc_and_answers_probes_over_http_2() {
    let servers = Servers::start(&passing_health()).await;
    let origin = format!("http://{}", servers.address("tonic"));
    let http_2 = || {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http2_only(true).clone()
    };

    let mut greeter =
        tonic::client::Grpc::with_origin(http_2().build_http(), origin.parse().unwrap());
    let call = async {
        greeter.ready().await.unwrap();
        let name = in_tonic::Name {
            name: "Ann".to_owned(),
        };
        let path = http::uri::PathAndQuery::from_static("/hello.Greeter/Greet");
        greeter
            .unary(tonic::Request::new(name), path, ProstCodec::default())
            .await
    };
    let greeting: tonic::Response<in_tonic::Greeting> =
        timeout(DEADLINE, call).await.unwrap().unwrap();
    assert_eq!(greeting.get_ref().text, "Hello Ann");

    let prober = http_2().build_http::<Empty<bytes::Bytes>>();
    let answer = timeout(
        DEADLINE,
        prober.get(format!("{origin}/ready").parse().unwrap()),
    );
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        body,
        ask(servers.address("tonic"), "GET", "/ready").await.body
    );
    servers.stop().await;
}

#[tokio::test]
async fn several_healths_in_one_process_are_independent() {
    let (orders_say, check) = told("stock");
    let orders = Health::builder("orders").check(check).start().unwrap();
    let (billing_say, check) = told("ledger");
    let billing = Health::builder("billing").check(check).start().unwrap();
    let ready = |health: &Health| health.verdict(Probe::Readiness).status;

    let (listener, address) = listener().await;
    let parts = [("/orders", orders.clone()), ("/billing", billing.clone())];
    let mut running = JoinSet::new();
    running.spawn(async { in_hyper_several::serve(listener, parts).await.unwrap() });

    for (orders_fail, billing_fail) in [(false, true), (true, false)] {
        for (say, fail) in [(&orders_say, orders_fail), (&billing_say, billing_fail)] {
            let outcome = if fail {
                Outcome::fail(Reason::Busy)
            } else {
                Outcome::pass()
            };
            say.send(outcome).unwrap();
        }
        until("what was told", || {
            (ready(&orders) == Status::Fail) == orders_fail
                && (ready(&billing) == Status::Fail) == billing_fail
        })
        .await;
        for (part, fail) in [("orders", orders_fail), ("billing", billing_fail)] {
            let answer = ask(address, "GET", &format!("/{part}/ready")).await;
            assert_eq!(answer.status, if fail { 503 } else { 200 }, "{part}");
            assert!(
                answer.body.contains(&format!("\"serviceId\":\"{part}\"")),
                "{}",
                answer.body
            );
        }
    }
    for (path, status) in [
        ("/orders/health/stock", 503),
        ("/billing/health/ledger", 200),
        ("/orders/health/ledger", 404),
        ("/ready", 404),
        ("/ordersready", 404),
        ("/orders/other", 404),
        ("/", 200),
    ] {
        assert_eq!(ask(address, "GET", path).await.status, status, "{path}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn respond_answers_any_method_on_probe_paths_and_returns_none_for_other_paths() {
    let probes = passing_health().service();
    let none: [(&str, &[u8]); 0] = [];
    for method in ["get", "", "PROPFIND", "CONNECT", "GE T", "G\r\nX: y", "é"] {
        let answer = probes
            .respond(method, "/ready", None, none)
            .expect("a probe")
            .await;
        assert_eq!(
            answer.status(),
            StatusCode::METHOD_NOT_ALLOWED,
            "{method:?}"
        );
        assert_eq!(
            answer.headers()["allow"],
            "GET, HEAD, OPTIONS",
            "{method:?}"
        );
        assert_eq!(
            answer.headers()["content-length"],
            answer.body().len().to_string()
        );
    }
    for (query, headers) in [
        (None, vec![]),
        (
            Some("verbose"),
            vec![("accept", &b"text/html"[..]), ("x-odd", b"\xff\0")],
        ),
    ] {
        let answer = probes
            .respond("GET", "/ready", query, headers)
            .expect("a probe")
            .await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.body().is_empty());
    }
    for method in ["GET", "get", ""] {
        for path in ["/", "", "*", "/orders", "/ready?x", "http://x/ready"] {
            assert!(
                probes.respond(method, path, None, none).is_none(),
                "{method:?} {path:?}"
            );
        }
    }
}
