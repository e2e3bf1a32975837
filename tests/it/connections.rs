//! When connections end, for each state that a client may leave them in and each port of the crate,
//! and when a probe ends whose server leaves the connection in such a state. The clock is paused,
//! so time advances as fast as possible while every task waits.

use std::{
    fmt::Write,
    future::pending,
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tower_health::{Check, Health, Status, exec};

use crate::support::{SECOND, ms};

const STATES: [&str; 8] = [
    "nothing was sent",
    "half a head",
    "half a preface of HTTP/2",
    "idle over HTTP/1",
    "idle over HTTP/2",
    "half a body",
    "the answer is not taken",
    "the client sends no more, and waits",
];

/// Longer than any bounded connection stays open.
const UNBOUNDED: Duration = Duration::from_secs(24 * 3600);

/// The paths that a client requests on a port: for an idle connection, for a long response, and for
/// a response that never comes.
#[derive(Clone, Copy)]
struct Paths {
    idle: &'static str,
    long: &'static str,
    waits: &'static str,
}

/// Returns how long a connection stays open in a state. Returns `None` if it is not ended.
async fn left(at: SocketAddr, state: &str, paths: Paths) -> Option<Duration> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = |path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let said = match state {
        "half a head" => "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned(),
        "half a preface of HTTP/2" => "PRI * HTTP/2.0\r\n\r\n".to_owned(),
        "half a body" => {
            "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx".to_owned()
        }
        "idle over HTTP/1" => request(paths.idle),
        "the answer is not taken" => request(paths.long),
        "the client sends no more, and waits" => request(paths.waits),
        _ => String::new(),
    };
    if state == "idle over HTTP/2" {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .ok()?;
        let connection = tokio::spawn(connection);
        let request = Request::get(format!("http://{at}{}", paths.idle));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        // A port without HTTP/2 closes the connection immediately.
        if let Ok(response) = sender.send_request(request).await {
            response.into_body().collect().await.unwrap();
        }
        let began = Instant::now();
        _ = timeout(UNBOUNDED, connection).await.ok()?;
        drop(sender);
        return Some(began.elapsed());
    }
    stream.write_all(said.as_bytes()).await.unwrap();
    if state == "the client sends no more, and waits" {
        stream.shutdown().await.unwrap();
    }
    let began = Instant::now();
    let ended = async {
        if state == "the answer is not taken" {
            // Until a write fails. The buffers of both sides are full before that.
            while stream.write_all(said.as_bytes()).await.is_ok() {}
        } else {
            _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    timeout(UNBOUNDED, ended)
        .await
        .ok()
        .map(|()| began.elapsed())
}

async fn service() -> (Health, SocketAddr) {
    let health = Health::builder("orders")
        .check(Check::new("db", || async { Status::Pass }))
        .start()
        .unwrap();
    let app = Router::new()
        .route("/", get(|| async { "orders" }))
        .route("/long", get(|| async { vec![b'x'; 32 * 1024 * 1024] }))
        .route("/waits", get(pending::<&'static str>))
        .route("/upload", post(|body: Bytes| async move { body }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(health.run_http(listener, health.wrap(app)));
    (health, at)
}

/// The table in the documentation of `server`. A row is a state, and a column is a port. The values
/// are the seconds after which the connection is closed.
const EXPECTED: [[Option<u32>; 3]; 8] = [
    [Some(75), Some(75), Some(0)],
    [Some(75), Some(75), Some(0)],
    [Some(75), Some(75), Some(0)],
    [Some(75), Some(75), Some(0)],
    [Some(75), Some(75), Some(0)],
    [Some(0), None, Some(0)],
    [Some(75), Some(75), Some(0)],
    [Some(0), Some(10), Some(0)],
];

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_in_every_state_as_documented() {
    let (health, service) = service().await;
    let management = health.serve("127.0.0.1:0").start().unwrap();
    let agent = health.agent_check("127.0.0.1:0").start().unwrap();
    let probes = Paths {
        idle: "/ready",
        long: "/health",
        waits: "/ready",
    };
    let ports = [
        (management.local_addr(), probes),
        (
            service,
            Paths {
                idle: "/",
                long: "/long",
                waits: "/waits",
            },
        ),
        (agent.local_addr(), probes),
    ];
    let mut table = "| state | management | run_http | agent | probe |\n".to_owned();
    table.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    let mut wrong = Vec::new();
    for (state, expected) in STATES.into_iter().zip(EXPECTED) {
        write!(table, "| {state} |").unwrap();
        for ((at, paths), expected) in ports.into_iter().zip(expected) {
            let left = left(at, state, paths).await;
            // A graceful close takes up to 5 s, and the agent waits 1 s for its client to close.
            let is_right = match (left, expected) {
                (Some(left), Some(expected)) => {
                    let expected = expected * SECOND;
                    left + ms(50) >= expected && left <= expected + 6 * SECOND
                }
                (left, expected) => left.is_none() && expected.is_none(),
            };
            match left {
                Some(left) => write!(table, " {:.1} s |", left.as_secs_f64()).unwrap(),
                None => table.push_str(" the handler's |"),
            }
            if !is_right {
                wrong.push((state, at, left, expected));
            }
        }
        let (took, healthy) = tokio::task::spawn_blocking(move || probed(state))
            .await
            .unwrap();
        writeln!(table, " {took:?} |").unwrap();
        assert!(!healthy && took < 10 * SECOND, "{state}: {took:?}");
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong:#?}\n{table}");
}

/// Returns how long a probe with a timeout of 300 ms waits for a server that leaves the connection
/// in a state, and whether it takes the server for healthy.
fn probed(state: &str) -> (Duration, bool) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (scheme, said) = match state {
        "half a head" => ("http", &b"HTTP/1.1 200 OK\r\ncontent-"[..]),
        "half a preface of HTTP/2" => ("grpc", &b"\0\0\x0c\x04"[..]),
        // SETTINGS, and nothing after that.
        "idle over HTTP/2" => ("grpc", &b"\0\0\0\x04\0\0\0\0\0"[..]),
        _ => ("http", &b""[..]),
    };
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A server that responds before it has received a request is another problem.
        _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(said).unwrap();
        // The server reads what is sent, and does not close the connection.
        _ = stream.read_to_end(&mut Vec::new());
    });
    let probe = exec::ExecProbe::new(&format!("{scheme}://{at}/")).unwrap();
    let began = std::time::Instant::now();
    let answer = probe.timeout(ms(300)).run();
    (began.elapsed(), answer.is_healthy())
}

/// As `nc -N` and old load balancers do: they close their sending side, and wait.
#[tokio::test]
async fn a_half_closed_client_is_answered_even_if_the_response_waits() {
    let health = Health::builder("orders")
        .check(
            Check::new("slow", || async {
                tokio::time::sleep(ms(300)).await;
                Status::Pass
            })
            .on_demand(10 * SECOND)
            .wait(5 * SECOND),
        )
        .start()
        .unwrap();
    let app = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(ms(300)).await;
            "orders"
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = listener.local_addr().unwrap();
    tokio::spawn(health.run_http(listener, health.wrap(app)));
    let management = health.serve("127.0.0.1:0").start().unwrap();
    for (at, path) in [
        (management.local_addr(), "/health/slow"),
        (service, "/health/slow"),
        (service, "/"),
    ] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{path}: {answer:?}"
        );
    }
}

/// A load balancer keeps a connection open for longer than the service would.
#[tokio::test(start_paused = true)]
async fn the_limits_of_a_service_port_can_be_set() {
    let health = Health::fixed(Status::Pass);
    let app = Router::new().route("/", get(|| async { "orders" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = health.run_http(listener, health.wrap(app));
    tokio::spawn(server.idle_timeout(620 * SECOND).head_timeout(10 * SECOND));
    let paths = Paths {
        idle: "/",
        long: "/",
        waits: "/",
    };
    for (state, expected) in [
        ("nothing was sent", 620),
        ("half a head", 10),
        ("half a preface of HTTP/2", 10),
        ("idle over HTTP/1", 620),
        ("idle over HTTP/2", 620),
    ] {
        let left = left(at, state, paths).await.unwrap();
        let expected = expected * SECOND;
        assert!(
            left + ms(50) >= expected && left <= expected + 6 * SECOND,
            "{state}: {left:?}"
        );
    }
}
