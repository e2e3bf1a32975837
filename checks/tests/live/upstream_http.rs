use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect},
    routing::get,
};
use reqwest::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_health::{
    Cause, Check, Failure, Health, HealthCheck, Outcome, Reason, Status,
    outcome::Value,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::HttpUpstream;

use crate::{
    matrix::{DELAY, Row},
    server::{Server, free_address, program},
    table::assert_refusal,
    wear::{until, wear},
};

/// A service that uses Python's HTTP server. It requires the password in a file, and responds with
/// health+json.
const SERVICE: &str = r#"
import base64, http.server, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        password = pathlib.Path(sys.argv[2], "password").read_text()
        wanted = "Basic " + base64.b64encode(f"app:{password}".encode()).decode()
        known = self.headers.get("Authorization") == wanted
        body = b'{"status":"pass"}' if known else b""
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/health+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

fn service() -> Server {
    let mut server = Server::new(|directory, address| {
        let mut python = Command::new(program("python3", &[], "apt-get install python3"));
        python
            .args(["-c", SERVICE])
            .arg(address.port().to_string())
            .arg(directory);
        python
    });
    password(&server, "hunter2");
    server.start();
    server
}

fn password(server: &Server, password: &str) {
    let path = server.directory.path();
    // Atomically, so that the service never reads a partial file.
    fs::write(path.join("new"), password).unwrap();
    fs::rename(path.join("new"), path.join("password")).unwrap();
}

fn check(address: SocketAddr) -> HttpUpstream {
    let url = format!("http://app:hunter2@{address}/ready?token=hunter3");
    HttpUpstream::new(Client::new(), url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    let mut server = service();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of("upstream-http", check(proxy.address())).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }
    row.when("wrong password", async { password(&server, "another") })
        .await;
    row.over(async { password(&server, "hunter2") }).await;

    let mut direct = Row::of("upstream-http", check(server.address)).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct)
        .assert_documented(&["hunter2", "hunter3", "another", "ready"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_uses_one_connection_and_leaves_none_behind() {
    let server = service();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let contract = |status| {
        Contract::new(|| check(proxy.address()))
            .expect(status)
            .secret("hunter2")
            .secret("hunter3")
            .assert()
    };
    contract(Status::Pass).await;
    until("all are closed", async || proxy.open() == 0).await;
    let check = check(proxy.address());
    let before = proxy.accepted();
    wear(&check).await;
    // Each dropped run may have cost a connection.
    assert!(proxy.accepted() - before <= 1 + 100);
    assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    until("all but the last are closed", async || proxy.open() == 1).await;
    drop(check);
    until("the last is closed", async || proxy.open() == 0).await;
    for fault in [Fault::Refuse, Fault::Cut { after: 20 }] {
        proxy.fail(fault).await;
        contract(Status::Fail).await;
    }
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    format!("http://{address}")
}

fn answers(code: u16, media_type: &'static str, body: impl Into<Bytes>) -> Router {
    let body = body.into();
    let code = StatusCode::from_u16(code).unwrap();
    let answer = move || async move { (code, [(header::CONTENT_TYPE, media_type)], body) };
    Router::new().route("/", get(answer))
}

fn at(url: &str) -> HttpUpstream {
    HttpUpstream::new(Client::new(), url)
}

async fn told(check: &HttpUpstream) -> (Status, Option<Reason>) {
    let outcome = run(check).await;
    (outcome.status(), outcome.reason())
}

async fn run(check: &HttpUpstream) -> Outcome {
    check.check().await.unwrap_or_else(Outcome::from)
}

const PASS: (Status, Option<Reason>) = (Status::Pass, None);

fn fails(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Fail, Some(reason))
}

#[tokio::test]
async fn status_codes_and_bodies_decide_the_status() {
    let warns = |reason| (Status::Warn, Some(reason));
    let (health, json, text) = (
        "application/health+json",
        "application/json; charset=utf-8",
        "text/plain",
    );
    for (code, media_type, body, is) in [
        (200, text, "whatever", PASS),
        (204, text, "", PASS),
        (200, health, r#"{"status":"pass"}"#, PASS),
        (200, json, r#"{"status":"UP","components":{}}"#, PASS),
        (200, json, r#"{"name":"stock"}"#, PASS),
        (200, text, r#"{"status":"fail"}"#, PASS),
        (207, health, r#"{"status":"warn"}"#, warns(Reason::Degraded)),
        (
            200,
            health,
            r#"{"status":"fail"}"#,
            fails(Reason::Unhealthy),
        ),
        (
            503,
            health,
            r#"{"status":"fail"}"#,
            fails(Reason::Unhealthy),
        ),
        (
            503,
            health,
            r#"{"status":"pass"}"#,
            fails(Reason::Unhealthy),
        ),
        (500, json, r#"{"status":"down"}"#, fails(Reason::Unhealthy)),
        (
            500,
            json,
            r#"{"status":"up"}"#,
            fails(Reason::UnexpectedAnswer),
        ),
        (
            500,
            json,
            r#"{"status":500}"#,
            fails(Reason::UnexpectedAnswer),
        ),
        (
            200,
            health,
            r#"{"status":"great"}"#,
            fails(Reason::UnexpectedAnswer),
        ),
        (200, health, "pass", fails(Reason::UnexpectedAnswer)),
        (503, text, "no", fails(Reason::Unhealthy)),
        (
            401,
            json,
            r#"{"status":"error"}"#,
            fails(Reason::AuthenticationFailed),
        ),
        (403, text, "no", fails(Reason::PermissionDenied)),
        (404, text, "no", fails(Reason::NotFound)),
        (429, json, r#"{"status":"error"}"#, warns(Reason::Busy)),
        (418, text, "no", fails(Reason::UnexpectedAnswer)),
    ] {
        let check = at(&serve(answers(code, media_type, body)).await);
        let outcome = run(&check).await;
        let cause = outcome.cause().map(Cause::redacted);
        assert_eq!(
            (outcome.status(), outcome.reason()),
            is,
            "{code} {body}: {cause:?}"
        );
        let [measured] = outcome.measurements() else {
            panic!("{outcome:?}")
        };
        assert_eq!(measured.name, "code");
        assert_eq!(measured.value, Value::from(u64::from(code)));
    }
}

#[tokio::test]
async fn custom_expectations_decide_the_status() {
    let url = serve(answers(
        418,
        "application/json",
        r#"{"status":"short and stout"}"#,
    ))
    .await;
    let teapot = || at(&url).expect(|code| code == 418);
    assert_eq!(told(&teapot()).await, fails(Reason::UnexpectedAnswer));
    let teapot = || teapot().ignore_health_json();
    assert_eq!(told(&teapot()).await, PASS);
    let is_stout = |body: &[u8]| body.ends_with(b"stout\"}");
    assert_eq!(told(&teapot().expect_body(is_stout)).await, PASS);
    let other = teapot().expect_body(|body| body == b"OK");
    assert_eq!(told(&other).await, fails(Reason::UnexpectedAnswer));
    let url = serve(answers(200, "application/json", r#"{"status":"warn"}"#)).await;
    let both = at(&url).expect_body(|body| body == b"OK");
    assert_eq!(told(&both).await, fails(Reason::UnexpectedAnswer));
}

#[tokio::test]
async fn the_client_decides_about_redirects() {
    let app = answers(200, "text/plain", "OK")
        .route("/moved", get(|| async { Redirect::temporary("/") }))
        .route(
            "/round",
            get(|| async { Redirect::temporary("/round?token=hunter2") }),
        );
    let url = serve(app).await;
    assert_eq!(told(&at(&format!("{url}/moved"))).await, PASS);
    let staying = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let moved = HttpUpstream::new(staying, format!("{url}/moved"));
    assert_eq!(told(&moved).await, fails(Reason::UnexpectedAnswer));
    let outcome = run(&at(&format!("{url}/round"))).await;
    assert_eq!(outcome.reason(), Some(Reason::UnexpectedAnswer));
    let cause = outcome.cause().unwrap().redacted().to_owned();
    assert!(
        cause.contains("redirect") && !cause.contains("round"),
        "{cause}"
    );
}

#[tokio::test]
async fn the_request_has_the_documented_headers() {
    let echo = |headers: axum::http::HeaderMap| async move {
        let of = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        format!("{} {}", of("accept"), of("user-agent"))
    };
    let url = serve(Router::new().route("/", get(echo))).await;
    let client = Client::builder().user_agent("orders/7").build().unwrap();
    let check = HttpUpstream::new(client, url).expect_body(|body| {
        body == b"application/health+json, application/json;q=0.9, */*;q=0.1 orders/7"
    });
    assert_eq!(told(&check).await, PASS);
}

/// An endless body.
fn endless(start: &'static str, chunk: &'static [u8]) -> Body {
    let start = tokio_stream::once(Bytes::from(start));
    let rest = tokio_stream::iter(std::iter::repeat(Bytes::from_static(chunk)));
    let chunks = tokio_stream::StreamExt::chain(start, rest);
    Body::from_stream(tokio_stream::StreamExt::map(
        chunks,
        Ok::<_, std::convert::Infallible>,
    ))
}

#[tokio::test]
async fn the_start_of_an_endless_body_is_checked() {
    let health = || [(header::CONTENT_TYPE, "application/health+json")];
    let app = Router::new()
        .route("/plain", get(|| async { endless("OK", b"xxxxxxxx") }))
        .route(
            "/warn",
            get(move || async move {
                let body = endless(r#"{"status":"warn","notes":["x""#, br#","xxxxxxxxxxx""#);
                (health(), body).into_response()
            }),
        )
        .route(
            "/never",
            get(move || async move { (health(), endless(r#"{"notes":["x""#, br#","x""#)) }),
        );
    // No body data follows the head.
    let stalls = || Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
    let app = app
        .route(
            "/503",
            get(move || async move { (StatusCode::SERVICE_UNAVAILABLE, health(), stalls()) }),
        )
        .route(
            "/429",
            get(move || async move { (StatusCode::TOO_MANY_REQUESTS, stalls()) }),
        );
    let url = serve(app).await;
    let stalled = async |path| told(&at(&format!("{url}{path}"))).await;
    assert_eq!(stalled("/503").await, fails(Reason::Unhealthy));
    assert_eq!(stalled("/429").await, (Status::Warn, Some(Reason::Busy)));
    let plain = || at(&format!("{url}/plain"));
    assert_eq!(told(&plain()).await, PASS);
    let read = plain().expect_body(|body| body.len() == 64 * 1024 && body.starts_with(b"OKx"));
    assert_eq!(told(&read).await, PASS);
    assert_eq!(
        told(&at(&format!("{url}/warn"))).await,
        (Status::Warn, Some(Reason::Degraded))
    );
    assert_eq!(
        told(&at(&format!("{url}/never"))).await,
        fails(Reason::UnexpectedAnswer)
    );
}

#[tokio::test]
async fn a_status_beyond_the_read_limit_is_not_a_pass() {
    const READ: usize = 64 * 1024;
    let long = |length: usize| {
        let (start, end) = (r#"{"notes":""#, r#"","status":"fail"}"#);
        let notes = "x".repeat(length - start.len() - end.len());
        format!("{start}{notes}{end}")
    };
    let unhealthy = fails(Reason::Unhealthy);
    let unexpected = fails(Reason::UnexpectedAnswer);
    for media_type in [
        "application/json",
        "application/health+json",
        "application/vnd.stock+json",
    ] {
        for (length, is) in [
            (READ, unhealthy),
            // Without the last brace, and without the quote that ends the value.
            (READ + 1, unhealthy),
            (READ + 2, unexpected),
            (4 * READ, unexpected),
        ] {
            let url = serve(answers(200, media_type, long(length))).await;
            assert_eq!(told(&at(&url)).await, is, "{media_type} {length}");
            assert_eq!(told(&at(&url).ignore_health_json()).await, PASS);
        }
    }
    let about_else = format!(r#"{{"notes":"{}"}}"#, "x".repeat(READ - 12));
    assert_eq!(about_else.len(), READ);
    let url = serve(answers(200, "application/json", about_else)).await;
    assert_eq!(told(&at(&url)).await, PASS);
    let url = serve(answers(200, "text/plain", long(4 * READ))).await;
    assert_eq!(told(&at(&url)).await, PASS);
}

#[tokio::test]
async fn invalid_http_and_invalid_urls_fail() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut answer = &b"220 mail.internal ESMTP\r\n"[..];
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            _ = stream.read(&mut [0; 1024]).await;
            _ = stream.write_all(answer).await;
            // The next connection is closed without a response.
            answer = b"";
        }
    });
    let check = at(&format!("http://{address}"));
    assert_eq!(told(&check).await, fails(Reason::UnexpectedAnswer));
    assert_eq!(told(&check).await, fails(Reason::ConnectionLost));
    for nonsense in [
        "",
        "stock",
        "/ready",
        "http://",
        "mailto:hunter2",
        "ftp://hunter2/",
    ] {
        let check = at(nonsense);
        let outcome = run(&check).await;
        assert_eq!(outcome.reason(), Some(Reason::Misconfigured), "{nonsense}");
        let cause = outcome.cause().unwrap().redacted().to_owned();
        assert!(!cause.contains("hunter2"), "{cause}");
        assert!(!format!("{check:?}").contains("hunter2"));
    }
    // This client was built without TLS.
    let tls = at(&format!("https://{address}/"));
    assert_eq!(told(&tls).await, fails(Reason::Misconfigured));
    let nowhere = at("http://no-such-host.invalid/");
    assert_eq!(told(&nowhere).await, fails(Reason::Unreachable));
    let nobody = at(&format!("http://{}/", free_address()));
    assert_eq!(told(&nobody).await, fails(Reason::ConnectionRefused));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let impatient = Client::builder()
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let late = HttpUpstream::new(impatient, url);
    assert_eq!(told(&late).await, fails(Reason::TimedOut));
}

#[tokio::test]
async fn the_verdict_of_a_tower_health_service_is_used() {
    let outcome = Arc::new(std::sync::Mutex::new(Outcome::warn(Reason::Busy)));
    let code = {
        let outcome = Arc::clone(&outcome);
        move || {
            let outcome = outcome.lock().unwrap().clone();
            async move { Ok::<_, Failure>(outcome) }
        }
    };
    let health = Health::builder("stock")
        .check(Check::new("ledger", code).period(Duration::from_millis(20)))
        .start()
        .unwrap();
    let url = serve(Router::new().layer(health.layer())).await;
    let check = at(&format!("{url}/ready"));
    until("it warns", async || {
        told(&check).await == (Status::Warn, Some(Reason::Degraded))
    })
    .await;
    *outcome.lock().unwrap() = Outcome::fail(Reason::Busy);
    until("it fails", async || {
        told(&check).await == fails(Reason::Unhealthy)
    })
    .await;
    *outcome.lock().unwrap() = Outcome::pass();
    until("it passes", async || told(&check).await == PASS).await;
}

/// A server that closes each connection at the moment at which a second request arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_closed_during_a_request_does_not_fail() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                _ = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                _ = stream.write_all(answer).await;
                // As a server whose idle timeout ends at this moment.
                _ = stream.read(&mut request).await;
            });
        }
    });
    // A client keeps a second connection only if a request starts before the first one has ended.
    let keeps_one = Client::builder().pool_max_idle_per_host(1).build().unwrap();
    for (client, pause) in [(keeps_one, 0), (Client::new(), 5)] {
        let check = HttpUpstream::new(client, format!("http://{address}/"));
        for run in 0..200 {
            let outcome = self::run(&check).await;
            let cause = outcome.cause().map(Cause::redacted);
            assert_eq!(outcome.status(), Status::Pass, "run {run}: {cause:?}");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// A server that never responds, and closes each connection when a request arrives.
#[tokio::test]
async fn a_request_on_a_lost_connection_is_retried_only_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            _ = stream.read(&mut request).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let check = HttpUpstream::new(Client::new(), format!("http://{address}/"));
    let lost = (Status::Fail, Some(Reason::ConnectionLost));
    for run in 1..=3 {
        assert_eq!(told(&check).await, lost);
        assert_eq!(requests.load(Ordering::SeqCst), 2 * run);
    }
}

#[tokio::test]
async fn an_unreadable_body_is_not_a_pass_and_text_encodings_are_read() {
    let said = async |media_type: &'static str, encoding: &'static str, body: &'static str| {
        let answer = move || async move {
            let headers = [
                (header::CONTENT_TYPE, media_type),
                (header::CONTENT_ENCODING, encoding),
            ];
            (headers, body)
        };
        let url = serve(Router::new().route("/", get(answer))).await;
        let outcome = HttpUpstream::new(Client::new(), url).check().await;
        let outcome = outcome.unwrap_or_else(Outcome::from);
        (outcome.status(), outcome.reason())
    };
    for (what, media_type, body) in [
        (
            "Elasticsearch in red",
            "application/json",
            r#"{"cluster_name":"orders","status":"red"}"#,
        ),
        ("ASP.NET that is unhealthy", "text/plain", "Unhealthy"),
        (
            "a gateway of gRPC that does not serve",
            "application/json",
            r#"{"status":"NOT_SERVING"}"#,
        ),
        (
            "MicroProfile that is down",
            "application/json",
            r#"{"status":"DOWN","checks":[]}"#,
        ),
    ] {
        let check = at(&serve(answers(200, media_type, body)).await);
        assert_refusal("upstream-http", what, &check).await;
    }
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_ENCODING, "gzip"),
    ];
    let compressed = get(move || async move { (headers, "\u{1f}\u{8b}") });
    let check = at(&serve(Router::new().route("/", compressed)).await);
    let what = "a body with a compression that the client does not support";
    assert_refusal("upstream-http", what, &check).await;
    let unexpected = (Status::Fail, Some(Reason::UnexpectedAnswer));
    let unhealthy = (Status::Fail, Some(Reason::Unhealthy));
    let passes = (Status::Pass, None);
    for (media_type, encoding, body, expected) in [
        ("application/json", "gzip", "\u{1f}\u{8b}", unexpected),
        ("application/health+json", "br", "x", unexpected),
        ("image/png", "gzip", "x", passes),
        (
            "application/json",
            "identity",
            "\u{feff}{\"status\":\"red\"}",
            unhealthy,
        ),
        ("text/plain", "identity", "Unhealthy", unhealthy),
        (
            "text/plain",
            "identity",
            "Degraded",
            (Status::Warn, Some(Reason::Degraded)),
        ),
        ("text/plain", "identity", "Healthy", passes),
        ("text/plain", "identity", "hello", passes),
    ] {
        assert_eq!(
            said(media_type, encoding, body).await,
            expected,
            "{media_type} {encoding}"
        );
    }
}
