//! The management port, over real sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    sync::{Arc, mpsc},
    thread,
};

use axum::{Router, routing::get};
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};
use tower_health::{
    Check, Endpoints, Health, Outcome, Reason, Status,
    endpoint::{EndpointsBuilder, Exposure},
    error::{ServeError, ServerError},
    server::Server,
};

use crate::support::{SECOND, Scripted, cut, ms};

const TOKEN: &str = "c29tZS10b2tlbg==";

/// Returns the response to exactly these bytes, until the server closes the connection. It blocks,
/// so callers use a separate thread.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(60 * SECOND)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask(address: SocketAddr, method: &str, path: &str, header: &str) -> String {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{header}connection: close\r\n\r\n");
    raw(address, &request)
}

async fn asked(address: SocketAddr, method: &str, path: &str, header: &str) -> String {
    let (method, path, header) = (method.to_owned(), path.to_owned(), header.to_owned());
    let asking = move || ask(address, &method, &path, &header);
    tokio::task::spawn_blocking(asking).await.unwrap()
}

fn says(answer: &str, code: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {code} "))
}

async fn health_of(db: &Scripted) -> Health {
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(60 * SECOND))
        .start()
        .unwrap();
    health.run_now("db").await.unwrap();
    health
}

fn open() -> EndpointsBuilder {
    Endpoints::builder().bearer_token(TOKEN)
}

fn serve(health: &Health) -> Server {
    health
        .serve("127.0.0.1:0")
        .endpoints(open().build().unwrap())
        .exposure(Exposure::Full)
        .start()
        .unwrap()
}

fn private() -> Outcome {
    Outcome::fail(Reason::Failed).with_cause("role orders_rw at db.internal")
}

#[tokio::test]
async fn the_port_shows_everything_at_full_exposure_and_serves_only_probes() {
    let health = health_of(&Scripted::new(private())).await;
    let server = serve(&health);
    let address = server.local_addr();
    let answer = asked(address, "GET", "/health", "").await;
    assert!(
        says(&answer, 503) && answer.contains("orders_rw at db.internal"),
        "{answer}"
    );
    let plain = health.serve("127.0.0.1:0").start().unwrap();
    let answer = asked(plain.local_addr(), "GET", "/health", "").await;
    assert!(
        says(&answer, 503) && !answer.contains("orders_rw"),
        "{answer}"
    );
    let answer = asked(address, "GET", "/orders", "").await;
    assert!(says(&answer, 404), "{answer}");
    for (method, allows) in [("OPTIONS", 503), ("DELETE", 405)] {
        let answer = asked(address, method, "/health/db", "").await;
        assert!(says(&answer, allows), "{answer}");
        assert!(
            answer.contains("allow: GET, HEAD, OPTIONS, POST\r\n"),
            "{answer}"
        );
        let answer = asked(address, method, "/ready", "").await;
        assert!(answer.contains("allow: GET, HEAD, OPTIONS\r\n"), "{answer}");
    }
    let closed = tokio::task::spawn_blocking(move || raw(address, "GET /ready HTTP/1.0\r\n\r\n"));
    assert!(closed.await.unwrap().starts_with("HTTP/1.0 503 "));
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_supported() {
    let health = health_of(&Scripted::new(Status::Pass)).await;
    let server = serve(&health);
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<bytes::Bytes>>();
    for (path, status) in [("ready", StatusCode::OK), ("orders", StatusCode::NOT_FOUND)] {
        let uri = format!("http://{}/{path}", server.local_addr());
        let request = Request::get(uri).body(Empty::new()).unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(
            (response.status(), response.version()),
            (status, Version::HTTP_2)
        );
        assert!(
            !response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn only_authorized_callers_can_run_a_check() {
    let db = Scripted::new(Status::Pass);
    let health = health_of(&db).await;
    let (server, unruled) = (serve(&health), health.serve("127.0.0.1:0").start().unwrap());
    let runs = db.runs();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    db.set_outcome(Status::Fail);
    for (address, header, code) in [
        (unruled.local_addr(), token.as_str(), 403),
        (server.local_addr(), "", 401),
        (server.local_addr(), "authorization: Bearer wrong\r\n", 401),
    ] {
        for name in ["db", "none"] {
            let answer = asked(address, "POST", &format!("/health/{name}"), header).await;
            assert!(says(&answer, code), "{answer}");
            assert_eq!(answer.contains("www-authenticate: Bearer\r\n"), code == 401);
            assert!(
                answer.contains("content-type: application/problem+json\r\n"),
                "{answer}"
            );
        }
    }
    assert_eq!(db.runs(), runs, "nothing ran");
    let answer = asked(server.local_addr(), "POST", "/health/db", &token).await;
    assert!(
        says(&answer, 503) && answer.contains("\"output\":\"failed\""),
        "{answer}"
    );
    assert_eq!(db.runs(), runs + 1);
    let answer = asked(server.local_addr(), "POST", "/health/none", &token).await;
    assert!(says(&answer, 404), "{answer}");
    let answer = asked(server.local_addr(), "POST", "/ready", &token).await;
    assert!(says(&answer, 405), "{answer}");
}

/// Reads events until the text contains `until`.
async fn read_until(stream: &mut TcpStream, until: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(until) {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(
            length > 0,
            "{until:?} in {:?}",
            String::from_utf8_lossy(&read)
        );
        read.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(read).unwrap()
}

async fn reader(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream
}

#[tokio::test]
async fn events_contain_each_current_verdict_and_each_change() {
    let db = Scripted::new(Status::Pass);
    let health = health_of(&db).await;
    let server = serve(&health);
    let mut stream = reader(server.local_addr()).await;
    let first = read_until(&mut stream, "event: health").await;
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(
        first.contains("content-type: text/event-stream\r\n"),
        "{first}"
    );
    assert!(first.contains("cache-control: no-store\r\n"), "{first}");
    for probe in ["liveness", "startup", "readiness", "health"] {
        assert!(
            first.contains(&format!("event: {probe}\ndata: {{\"status\":\"pass\"")),
            "{first}"
        );
    }
    db.set_outcome(private());
    health.run_now("db").await.unwrap();
    let change = read_until(&mut stream, "orders_rw").await;
    assert!(
        change.contains("event: readiness\ndata: {\"status\":\"fail\""),
        "{change}"
    );
    assert!(
        !change.contains("event: liveness"),
        "it has not changed: {change}"
    );
    health.drain();
    let change = read_until(&mut stream, "event: health").await;
    assert!(change.contains("\"output\":\"draining"), "{change}");
    for (method, code) in [("HEAD", 200), ("OPTIONS", 200), ("POST", 405)] {
        let answer = asked(server.local_addr(), method, "/events", "").await;
        assert!(says(&answer, code), "{answer}");
    }
}

#[tokio::test]
async fn events_respect_the_exposure_of_the_caller() {
    let (a, b) = (Scripted::new(Status::Pass), Scripted::new(Status::Pass));
    let health = Health::builder("orders")
        .check(Check::new("a", a.clone()).period(60 * SECOND))
        .check(Check::new("b", b.clone()).period(60 * SECOND))
        .start()
        .unwrap();
    for check in ["a", "b"] {
        health.run_now(check).await.unwrap();
    }
    let server = health
        .serve("127.0.0.1:0")
        .endpoints(crate::support::status_only().build().unwrap())
        .start()
        .unwrap();
    let mut stream = reader(server.local_addr()).await;
    read_until(&mut stream, "event: health").await;
    a.set_outcome(private());
    health.run_now("a").await.unwrap();
    let first = read_until(&mut stream, "event: health").await;
    assert!(first.contains("data: {\"status\":\"fail\"}\n"), "{first}");
    // A second failing check does not change the verdict at this exposure.
    b.set_outcome(private());
    health.run_now("b").await.unwrap();
    for (check, script) in [("a", &a), ("b", &b)] {
        script.set_outcome(Status::Pass);
        health.run_now(check).await.unwrap();
    }
    let next = read_until(&mut stream, "event: health").await;
    assert!(next.contains("data: {\"status\":\"pass\"}\n"), "{next}");
    assert!(
        !next.contains("fail") && !first.contains("orders_rw"),
        "{next}"
    );
}

#[tokio::test]
async fn the_number_of_event_readers_is_limited() {
    let health = health_of(&Scripted::new(Status::Pass)).await;
    let server = serve(&health);
    let mut readers = Vec::new();
    for _ in 0..32 {
        let mut stream = reader(server.local_addr()).await;
        read_until(&mut stream, "event: health").await;
        readers.push(stream);
    }
    let answer = asked(server.local_addr(), "GET", "/events", "").await;
    assert!(
        says(&answer, 503) && answer.contains("retry-after: 10\r\n"),
        "{answer}"
    );
    let answer = asked(server.local_addr(), "GET", "/ready", "").await;
    assert!(says(&answer, 200), "{answer}");
    // A reader that disconnects makes room for another one.
    readers.pop();
    loop {
        let mut stream = reader(server.local_addr()).await;
        if read_until(&mut stream, "\r\n\r\n")
            .await
            .contains("text/event-stream")
        {
            break;
        }
        tokio::time::sleep(ms(10)).await;
    }
}

#[tokio::test]
async fn events_end_when_the_engine_ends() {
    let runtime = thread::spawn(|| tokio::runtime::Runtime::new().unwrap())
        .join()
        .unwrap();
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    let server = health.serve("127.0.0.1:0").own_thread().start().unwrap();
    let mut stream = reader(server.local_addr()).await;
    read_until(&mut stream, "event: health").await;
    runtime.shutdown_background();
    let rest = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(rest.contains("engine stopped"), "{rest}");
    let answer = asked(server.local_addr(), "GET", "/live", "").await;
    assert!(says(&answer, 503), "the port answers to the end: {answer}");
}

/// Sends a request to `/stuck`, and waits until it is in the service.
async fn send_stuck_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn a_saturated_service_answers_every_probe_on_both_ports() {
    let health = health_of(&Scripted::new(Status::Pass)).await;
    let (began, end) = (
        std::sync::Arc::new(Notify::new()),
        std::sync::Arc::new(Notify::new()),
    );
    let (begins, ends) = (began.clone(), end.clone());
    let stuck = get(move || {
        let (begins, ends) = (begins.clone(), ends.clone());
        async move {
            begins.notify_one();
            ends.notified().await;
            "done"
        }
    });
    let limited = ServiceBuilder::new()
        .layer(axum::error_handling::HandleErrorLayer::new(
            async |_: tower::BoxError| StatusCode::OK,
        ))
        .layer(tower::buffer::BufferLayer::new(8))
        .layer(ConcurrencyLimitLayer::new(1));
    let app = Router::new()
        .route("/stuck", stuck)
        .layer(limited)
        .layer(health.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let server = serve(&health);
    let mut first = send_stuck_request(address).await;
    began.notified().await;
    let _second = send_stuck_request(address).await;
    for port in [address, server.local_addr()] {
        for path in ["/health", "/ready", "/live", "/startup", "/health/db"] {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let answer = asked(port, method, path, "").await;
                assert!(says(&answer, 200), "{method} {path}: {answer}");
            }
        }
    }
    end.notify_one();
    assert!(
        read_until(&mut first, "done")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn a_port_with_its_own_thread_answers_while_the_runtime_is_blocked() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (health, server, address) = runtime.block_on(async {
        let health = health_of(&Scripted::new(Status::Pass)).await;
        let server = health
            .serve("127.0.0.1:0")
            .endpoints(open().build().unwrap())
            .exposure(Exposure::Full)
            .own_thread()
            .start()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().layer(health.layer());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (health, server, address)
    });
    assert!(says(&ask(address, "GET", "/ready", ""), 200));
    let (unblock, blocked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    runtime.spawn(async move {
        tell.send(()).unwrap();
        blocked.recv()
    });
    told.recv().unwrap();
    // The service port is silent now. A prober is expected to see a timeout there.
    let mut silent = StdStream::connect(address).unwrap();
    silent
        .write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    silent.set_read_timeout(Some(ms(200))).unwrap();
    assert!(silent.read(&mut [0]).is_err());
    let management = server.local_addr();
    for path in ["/ready", "/live", "/health", "/health/db"] {
        let answer = ask(management, "GET", path, "");
        assert!(says(&answer, 200), "{answer}");
    }
    // A drain is visible there immediately, although the engine does not run.
    health.drain();
    assert!(says(&ask(management, "GET", "/ready", ""), 503));
    assert!(says(&ask(management, "GET", "/live", ""), 200));
    unblock.send(()).unwrap();
    assert!(says(&ask(address, "GET", "/ready", ""), 503));
    // The port can be dropped without a runtime.
    drop((runtime, server));
    let report = health.check("db").unwrap();
    assert_eq!(report.reason, Some(Reason::EngineStopped));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_complete_request_is_closed() {
    let health = Health::fixed(Status::Pass);
    let server = health.serve("127.0.0.1:0").start().unwrap();
    // The clock is paused and advances as fast as possible while every task waits.
    for said in [
        "",
        "G",
        "GET /ready HTTP/1.1\r\n",
        "GET /ready HTTP/1.1\r\nhost: x\r\nx-slow: ",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /health/fixed HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nx",
    ] {
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        _ = tokio::time::timeout(3_600 * SECOND, read).await;
        assert!(
            began.elapsed() <= 161 * SECOND,
            "{said:?} took {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_rejected() {
    let health = Health::fixed(Status::Pass);
    let server = health.serve("127.0.0.1:0").start().unwrap();
    let long = "x".repeat(100_000);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /ready?{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /ready HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
        format!(
            "GET /ready HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "x: y\r\n".repeat(10_000)
        ),
    ] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        // The server may close the connection before it has read everything.
        _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused && !answer.contains("xxxx"), "{answer}");
    }
    assert!(says(
        &asked(server.local_addr(), "GET", "/ready", "").await,
        200
    ));
}

#[tokio::test]
async fn one_connection_too_many_closes_the_oldest() {
    let health = Health::fixed(Status::Pass);
    let server = health.serve("127.0.0.1:0").start().unwrap();
    let mut oldest = TcpStream::connect(server.local_addr()).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..256 {
        others.push(TcpStream::connect(server.local_addr()).await.unwrap());
    }
    let ended = tokio::time::timeout(60 * SECOND, oldest.read(&mut [0]))
        .await
        .unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(says(
        &asked(server.local_addr(), "GET", "/ready", "").await,
        200
    ));
    drop(others);
}

#[tokio::test]
async fn the_port_is_served_until_it_is_dropped() {
    let health = Health::fixed(Status::Pass);
    for own_thread in [false, true] {
        let builder = health.serve("127.0.0.1:0");
        let server = if own_thread {
            builder.own_thread()
        } else {
            builder
        }
        .start()
        .unwrap();
        let address = server.local_addr();
        assert!(says(&asked(address, "GET", "/ready", "").await, 200));
        let mut open = reader(address).await;
        read_until(&mut open, "event: health").await;
        drop(server);
        let ended = tokio::time::timeout(60 * SECOND, open.read(&mut [0]))
            .await
            .unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        let gone = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(ms(5)).await;
            }
        };
        tokio::time::timeout(60 * SECOND, gone).await.unwrap();
    }
}

/// The checks run as long as a port is served.
#[tokio::test]
async fn the_port_keeps_the_checks_running() {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(ms(20)))
        .start()
        .unwrap();
    let server = health.serve("127.0.0.1:0").start().unwrap();
    drop(health);
    let runs = db.runs();
    let more = async {
        while db.runs() < runs + 3 {
            tokio::time::sleep(ms(10)).await;
        }
    };
    tokio::time::timeout(60 * SECOND, more).await.unwrap();
    drop(server);
}

#[test]
fn a_port_that_cannot_be_served_returns_an_error() {
    let health = Health::fixed(Status::Pass);
    let error = health.serve("127.0.0.1:0").start().unwrap_err();
    assert!(matches!(error, ServeError::NoRuntime), "{error}");
    assert!(error.to_string().contains("`.own_thread()`"), "{error}");
    for addr in ["nonsense", "127.0.0.1", "127.0.0.1:99999"] {
        let error = health.serve(addr).own_thread().start().unwrap_err();
        assert!(matches!(error, ServeError::Address(_)), "{error}");
    }
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = bare.block_on(async { health.serve("127.0.0.1:0").start().unwrap_err() });
    assert!(matches!(error, ServeError::MissingDrivers), "{error}");
    let first = health.serve("127.0.0.1:0").own_thread().start().unwrap();
    let error = health
        .serve(first.local_addr())
        .own_thread()
        .start()
        .unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    let taken = first.local_addr().to_string();
    assert!(error.to_string().contains(&taken), "{error}");
}

#[tokio::test]
async fn only_authorized_callers_can_change_maintenance() {
    let health = health_of(&Scripted::new(Status::Pass)).await;
    let nobody = health.serve("127.0.0.1:0").start().unwrap();
    let begin = "/maintenance?ttl=10m&reason=move+to+postgres%3A%2F%2Fapp%3Ahunter2%40db2";
    for method in ["POST", "DELETE"] {
        let answer = asked(nobody.local_addr(), method, begin, "").await;
        assert!(says(&answer, 403), "{answer}");
    }
    let server = serve(&health);
    let address = server.local_addr();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    for header in ["", "authorization: Bearer c29tZS1vdGhlcg==\r\n"] {
        let answer = asked(address, "POST", begin, header).await;
        assert!(says(&answer, 401), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    }
    for query in [
        "",
        "?ttl=",
        "?ttl=0s",
        "?ttl=-1",
        "?ttl=2000d",
        "?ttl=soon",
        "?reason=x",
    ] {
        let path = format!("/maintenance{query}");
        let answer = asked(address, "POST", &path, &token).await;
        assert!(says(&answer, 400), "{query}: {answer}");
    }
    let long = format!("/maintenance?ttl=1m&reason={}", "x".repeat(20_000));
    assert!(says(&asked(address, "POST", &long, &token).await, 400));
    assert_eq!(health.stage(), tower_health::report::Stage::Ready);
    let answer = asked(address, "POST", begin, &token).await;
    assert!(says(&answer, 200), "{answer}");
    assert!(
        answer.contains(r#"{"stage":"maintenance","seconds_left":600,"#),
        "{answer}"
    );
    assert!(
        answer.contains("postgres://***@db2") && !answer.contains("hunter2"),
        "{answer}"
    );
    let ready = asked(address, "GET", "/ready", "").await;
    assert!(
        says(&ready, 503) && ready.contains("retry-after: 60\r\n"),
        "{ready}"
    );
    assert!(says(&asked(address, "GET", "/live", "").await, 200));
    // The reason of a maintenance is visible to operators only.
    let told = asked(nobody.local_addr(), "GET", "/maintenance", "").await;
    assert!(says(&told, 200) && !told.contains("db2"), "{told}");
    // With an exposure of the status alone, only authorized callers may read it.
    let status = Endpoints::builder().exposure(Exposure::Status);
    let status = health
        .serve("127.0.0.1:0")
        .endpoints(status.build().unwrap())
        .start()
        .unwrap();
    let hidden = asked(status.local_addr(), "GET", "/maintenance", "").await;
    assert!(
        says(&hidden, 403) && !hidden.contains("seconds_left"),
        "{hidden}"
    );
    let refused = asked(address, "PUT", begin, &token).await;
    assert!(says(&refused, 405), "{refused}");
    assert!(
        refused.contains("allow: GET, HEAD, OPTIONS, POST, DELETE\r\n"),
        "{refused}"
    );
    let again = asked(address, "POST", "/maintenance?ttl=90", &token).await;
    assert!(
        again.contains(r#""seconds_left":90,"reason":"not given""#),
        "{again}"
    );
    for _ in 0..2 {
        let answer = asked(address, "DELETE", "/maintenance", &token).await;
        assert!(
            says(&answer, 200) && answer.contains(r#"{"stage":"ready"}"#),
            "{answer}"
        );
    }
    assert!(says(&asked(address, "GET", "/ready", "").await, 200));
    let head = asked(address, "HEAD", "/maintenance", "").await;
    assert!(says(&head, 200) && head.ends_with("\r\n\r\n"), "{head}");
}

/// Serves the application with `run_http` on its own port until the drain is over.
async fn run(health: &Health, app: Router) -> (SocketAddr, JoinHandle<Result<(), ServerError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(health.run_http(listener, health.wrap(app)));
    (address, server)
}

/// A service that drains with this delay and this time to finish, in milliseconds. `/slow` takes
/// 1.5 s, and `/stuck` never responds.
async fn drained_by(
    delay: u64,
    cap: u64,
) -> (Health, SocketAddr, JoinHandle<Result<(), ServerError>>) {
    let health = Health::builder("orders")
        .drain_delay(ms(delay))
        .drain_finish(ms(cap))
        .drain_close(SECOND)
        .start()
        .unwrap();
    let app = Router::new()
        .route("/", get(|| async { "orders" }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(ms(1_500)).await;
                "slow orders"
            }),
        )
        .route("/stuck", get(std::future::pending::<&'static str>));
    let (address, server) = run(&health, app).await;
    (health, address, server)
}

#[tokio::test]
async fn run_http_finishes_its_connections() {
    let (health, address, server) = drained_by(500, 60_000).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let http_2 = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<bytes::Bytes>>();
    let uri = |path: &str| format!("http://{address}{path}").parse().unwrap();
    let slow_2 = tokio::spawn(http_2.get(uri("/slow")));
    let http_1 = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let slow_1 = tokio::spawn(http_1.get(uri("/slow")));
    tokio::time::sleep(ms(100)).await;
    let drained = health.drain();
    // It accepts connections while it drains, and its responses over HTTP/1 announce that.
    let fresh = asked(address, "GET", "/", "").await;
    assert!(
        says(&fresh, 200) && fresh.contains("connection: close"),
        "{fresh}"
    );
    assert!(says(&asked(address, "GET", "/live", "").await, 200));
    assert!(says(&asked(address, "GET", "/ready", "").await, 503));
    drained.await;
    for slow in [slow_1, slow_2] {
        let response = slow.await.unwrap().unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "slow orders");
    }
    server.await.unwrap().unwrap();
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn run_http_cuts_stuck_requests() {
    let (health, address, server) = drained_by(100, 400).await;
    let stuck = tokio::spawn(asked(address, "GET", "/stuck", ""));
    let probed = tokio::spawn(asked(address, "GET", "/ready", ""));
    assert!(says(&probed.await.unwrap(), 200));
    drop(health.drain());
    let ended = server.await.unwrap();
    assert_eq!(cut(ended), 1);
    assert_eq!(stuck.await.unwrap(), "", "its connection went");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_paths_of_the_port_hide_endpoints_with_the_same_paths() {
    let events = Check::new("events", Scripted::new(Status::Pass));
    let health = Health::builder("orders").check(events).start().unwrap();
    let server = health
        .serve("127.0.0.1:0")
        .endpoints(
            Endpoints::none()
                .checks("/{check}")
                .bearer_token(TOKEN)
                .build()
                .unwrap(),
        )
        .start()
        .unwrap();
    for path in ["/events", "/events/"] {
        let answer = asked(server.local_addr(), "HEAD", path, "").await;
        assert!(
            answer.contains("content-type: text/event-stream"),
            "{answer}"
        );
    }
    for path in ["/maintenance", "/maintenance/"] {
        let answer = asked(server.local_addr(), "GET", path, "").await;
        assert!(answer.contains(r#"{"stage":""#), "{answer}");
    }
}

#[tokio::test]
async fn only_authorized_callers_can_begin_and_await_a_drain() {
    let health = Health::builder("orders")
        .drain_delay(ms(50))
        .start()
        .unwrap();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    // Without the setting, the port has no such paths.
    let without = serve(&health);
    for path in ["/drain", "/drained"] {
        let answer = asked(without.local_addr(), "GET", path, &token).await;
        assert!(says(&answer, 404), "{path}: {answer}");
    }
    let nobody = health.serve("127.0.0.1:0").drain_paths().start().unwrap();
    let server = health
        .serve("127.0.0.1:0")
        .endpoints(open().build().unwrap())
        .exposure(Exposure::Full)
        .drain_paths()
        .start()
        .unwrap();
    let address = server.local_addr();
    for path in ["/drain", "/drained"] {
        let answer = asked(nobody.local_addr(), "POST", path, &token).await;
        assert!(says(&answer, 403), "{path}: {answer}");
        let answer = asked(address, "POST", path, "").await;
        assert!(says(&answer, 401), "{path}: {answer}");
        let answer = asked(address, "PUT", path, &token).await;
        assert!(says(&answer, 405), "{path}: {answer}");
        let answer = asked(address, "OPTIONS", path, &token).await;
        assert!(says(&answer, 200), "{path}: {answer}");
    }
    assert!(says(&asked(address, "GET", "/drained", &token).await, 409));
    assert_eq!(
        health.stage(),
        tower_health::report::Stage::Ready,
        "nobody began"
    );
    let app = Router::new().route("/stuck", get(std::future::pending::<&'static str>));
    let request = http::Request::get("/stuck").body(axum::body::Body::empty());
    let mut stuck = Box::pin(tower::ServiceExt::oneshot(
        health.wrap(app),
        request.unwrap(),
    ));
    assert!(crate::support::poll_once(&mut stuck).is_pending());
    for method in ["POST", "GET"] {
        let answer = asked(address, method, "/drain", &token).await;
        assert!(says(&answer, 202), "{answer}");
        assert!(
            answer.ends_with(r#"{"stage":"draining","in_flight":1}"#),
            "{answer}"
        );
    }
    let waits = tokio::spawn(async move { asked(address, "GET", "/drained", &token).await });
    tokio::time::sleep(ms(300)).await;
    assert!(!waits.is_finished());
    drop(stuck);
    let answer = waits.await.unwrap();
    assert!(says(&answer, 200), "{answer}");
    assert!(
        answer.ends_with(r#"{"stage":"draining","in_flight":0}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn the_response_of_drained_reports_that_requests_were_cut() {
    let (health, address, server) = drained_by(50, 200).await;
    let port = health
        .serve("127.0.0.1:0")
        .endpoints(open().build().unwrap())
        .exposure(Exposure::Full)
        .drain_paths();
    let port = port.start().unwrap();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let stuck = send_stuck_request(address).await;
    drop(health.drain());
    let answer = asked(port.local_addr(), "GET", "/drained", &token).await;
    assert!(says(&answer, 503), "{answer}");
    assert_eq!(cut(server.await.unwrap()), 1);
    drop(stuck);
}

/// The first request on an open connection arrives when nothing is in flight any more.
#[tokio::test]
async fn a_request_that_arrives_while_servers_close_and_is_cut_is_reported() {
    let health = Health::builder("orders")
        .drain_delay(ms(100))
        .drain_close(SECOND)
        .start()
        .unwrap();
    let port = health
        .serve("127.0.0.1:0")
        .endpoints(open().build().unwrap())
        .exposure(Exposure::Full)
        .drain_paths();
    let port = port.start().unwrap();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let app = Router::new().route("/stuck", get(std::future::pending::<&'static str>));
    let (address, server) = run(&health, app).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    tokio::time::sleep(ms(100)).await;
    health.drain().await;
    let request = http::Request::get(format!("http://{address}/stuck"));
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let stuck = tokio::spawn(sender.send_request(request));
    tokio::time::sleep(ms(100)).await;
    let answer = asked(port.local_addr(), "GET", "/drained", &token).await;
    assert!(says(&answer, 503), "{answer}");
    assert_eq!(cut(server.await.unwrap()), 1);
    let answer = asked(port.local_addr(), "GET", "/drained", &token).await;
    assert!(says(&answer, 503), "{answer}");
    assert!(stuck.await.unwrap().is_err());
    // A fixed health runs nothing, so nothing is in flight.
    let fixed = Health::fixed(Status::Pass);
    let port = fixed
        .serve("127.0.0.1:0")
        .endpoints(open().build().unwrap())
        .exposure(Exposure::Full)
        .drain_paths();
    let port = port.start().unwrap();
    drop(fixed.drain());
    let answer = asked(port.local_addr(), "GET", "/drained", &token).await;
    assert!(says(&answer, 200), "{answer}");
}

/// Reads a frame of HTTP/2: its type, its flags, and its payload.
async fn frame(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, payload))
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_without_requests_gets_goaway_when_servers_close() {
    const GOAWAY: u8 = 7;
    let (health, address, server) = drained_by(100, 600_000).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    drop(health.drain());
    let mut kinds = Vec::new();
    while let Some((kind, ..)) = frame(&mut stream).await {
        kinds.push(kind);
    }
    assert!(kinds.contains(&GOAWAY), "{kinds:?}");
    server.await.unwrap().unwrap();
}

/// A service that speaks another protocol after an upgrade or a `CONNECT`. It sends this number of
/// bytes, and then echoes what it receives. It notifies `heard` when its peer has closed its
/// sending side.
fn echo_after_upgrade(bytes: usize, heard: &Arc<Notify>) -> Router {
    let heard = Arc::clone(heard);
    Router::new().fallback(move |mut request: Request<axum::body::Body>| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
            let (mut read, mut write) = tokio::io::split(io);
            let writes = tokio::spawn(async move {
                _ = write.write_all(&vec![b'x'; bytes]).await;
                write
            });
            match bytes {
                0 => _ = tokio::io::copy(&mut read, &mut writes.await.unwrap()).await,
                _ => _ = read.read_to_end(&mut Vec::new()).await,
            }
            heard.notify_one();
        });
        let code = match *request.method() {
            http::Method::CONNECT => StatusCode::OK,
            _ => StatusCode::SWITCHING_PROTOCOLS,
        };
        let mut response = http::Response::new(axum::body::Body::empty());
        *response.status_mut() = code;
        if code == StatusCode::SWITCHING_PROTOCOLS {
            let headers = response.headers_mut();
            headers.insert("connection", http::HeaderValue::from_static("upgrade"));
            headers.insert("upgrade", http::HeaderValue::from_static("x"));
        }
        response
    })
}

/// For example, a user closes a browser tab that is still receiving a lot of data.
#[tokio::test]
async fn an_upgraded_connection_detects_a_half_close_while_it_writes() {
    let health = Health::fixed(Status::Pass);
    let heard = Arc::new(Notify::new());
    let (address, _) = run(&health, echo_after_upgrade(64 * 1024 * 1024, &heard)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.read_exact(&mut [0; 1024]).await.unwrap();
    // The buffers are full, so no more bytes are accepted.
    tokio::time::sleep(ms(300)).await;
    stream.shutdown().await.unwrap();
    tokio::time::timeout(20 * SECOND, heard.notified())
        .await
        .expect("it hears so");
}

#[tokio::test]
async fn an_http_2_tunnel_with_traffic_is_not_idle() {
    let health = Health::fixed(Status::Pass);
    let heard = Arc::new(Notify::new());
    let app = echo_after_upgrade(0, &heard);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = health.run_http(listener, health.wrap(app));
    tokio::spawn(server.idle_timeout(SECOND));
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::connect("x:80");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    let tunnel = hyper::upgrade::on(&mut response).await.unwrap();
    let mut tunnel = hyper_util::rt::TokioIo::new(tunnel);
    // Longer than the limit, and longer than the time between GOAWAY and the cut.
    for _ in 0..80 {
        tunnel.write_all(b"x").await.unwrap();
        tunnel.read_exact(&mut [0]).await.unwrap();
        tokio::time::sleep(ms(100)).await;
    }
}

/// A client of HTTP/2 that has received a response, and then neither reads nor sends.
async fn deaf(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The preface, settings, and a request on stream 1: `:method GET`, `:scheme http`, `:path /`,
    // `:authority x`.
    let said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";
    stream.write_all(said).await.unwrap();
    let mut answer = [0; 1024];
    while !answer.windows(6).any(|window| window == b"orders") {
        _ = stream.read(&mut answer).await.unwrap();
    }
    stream
}

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_neither_delay_nor_fail_a_drain() {
    let (health, address, server) = drained_by(5_000, 600_000).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
    let deaf = deaf(address).await;
    let began = tokio::time::Instant::now();
    drop(health.drain());
    server.await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(took >= 5 * SECOND && took < 7 * SECOND, "{took:?}");
    drop((idle, half, deaf));
}

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_do_not_fail_a_drain_of_another_server() {
    let health = Health::builder("orders").start().unwrap();
    let app = Router::new().route("/", get(|| async { "orders" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = axum::serve(listener, app.layer(health.layer()));
    let server = tokio::spawn(health.run(server.with_graceful_shutdown(health.drained())));
    let idle = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
    let deaf = deaf(address).await;
    let began = tokio::time::Instant::now();
    drop(health.drain());
    server.await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(took >= 5 * SECOND && took < 8 * SECOND, "{took:?}");
    drop((idle, half, deaf));
}

#[tokio::test]
async fn a_response_that_its_client_reads_slowly_is_waited_for() {
    let health = Health::builder("orders")
        .drain_delay(ms(100))
        .drain_finish(ms(300))
        .drain_close(60 * SECOND)
        .start()
        .unwrap();
    let long = vec![b'x'; 32 * 1024 * 1024];
    let length = long.len();
    let app = Router::new().route("/", get(async move || long));
    let (address, server) = run(&health, app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = vec![0; 1024];
    stream.read_exact(&mut answer).await.unwrap();
    // For the service, its body has ended.
    health.drain().await;
    tokio::time::sleep(ms(2_500)).await;
    assert!(!server.is_finished());
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > length, "{}", answer.len());
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn http_2_connections_get_goaway_while_the_service_still_accepts() {
    let (health, address, server) = drained_by(5_000, 60_000).await;
    let connect = async || {
        let stream = TcpStream::connect(address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::get(format!("http://{address}/"));
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "orders"
        );
        (sender, connection)
    };
    let stuck = send_stuck_request(address).await;
    let (sender, connection) = connect().await;
    drop(health.drain());
    let began = tokio::time::Instant::now();
    connection.await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(took >= 5 * SECOND && took < 6 * SECOND, "{took:?}");
    drop(sender);
    // The same applies to each new connection, after its first requests.
    for _ in 0..3 {
        let (sender, connection) = connect().await;
        let began = tokio::time::Instant::now();
        connection.await.unwrap().unwrap();
        assert!(began.elapsed() <= 2 * SECOND, "{:?}", began.elapsed());
        drop(sender);
    }
    assert!(!server.is_finished());
    drop(stuck);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_asterisk_form_is_readiness() {
    let health = health_of(&Scripted::new(Status::Pass)).await;
    let management = health.serve("127.0.0.1:0").start().unwrap();
    let (service, _) = run(&health, Router::new()).await;
    for address in [management.local_addr(), service] {
        for version in ["1.0", "1.1"] {
            let request =
                format!("OPTIONS * HTTP/{version}\r\nhost: x\r\nconnection: close\r\n\r\n");
            for code in [200, 503] {
                let answer = {
                    let request = request.clone();
                    tokio::task::spawn_blocking(move || raw(address, &request))
                        .await
                        .unwrap()
                };
                assert!(answer.contains(&format!(" {code} ")), "{version}: {answer}");
                assert!(answer.contains("allow: GET, HEAD, OPTIONS\r\n"), "{answer}");
                health.maintenance("reindexing", SECOND * 60);
            }
            health.end_maintenance();
        }
    }
}

/// A service that responds with 4 MiB at once, and a client of HTTP/2 with a small window. Most of
/// the response waits in the server.
#[tokio::test]
async fn an_http_2_response_that_waits_for_its_window_is_waited_for() {
    let health = Health::builder("orders")
        .drain_delay(ms(100))
        .drain_finish(ms(200))
        .drain_close(60 * SECOND)
        .start()
        .unwrap();
    let long = bytes::Bytes::from(vec![b'x'; 4 * 1024 * 1024]);
    let length = long.len();
    let app = Router::new().route("/", get(async move || long));
    let (address, server) = run(&health, app).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://{address}/"));
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    // The client does not extend its window meanwhile.
    health.drain().await;
    tokio::time::sleep(ms(2_500)).await;
    assert!(!server.is_finished());
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(first.len() + rest.len(), length);
    server.await.unwrap().unwrap();
}

/// The client is slower than any limit of a connection, but reads continuously.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_continuously_is_never_cut() {
    let health = Health::builder("orders").start().unwrap();
    let long = vec![b'x'; 16 * 1024 * 1024];
    let length = long.len();
    let app = Router::new().route("/", get(async move || long));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        health
            .run_http(listener, health.wrap(app))
            .idle_timeout(5 * SECOND),
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let (mut read, mut piece) = (0, vec![0; 1024 * 1024]);
    loop {
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            n => read += n,
        }
        tokio::time::sleep(20 * SECOND).await;
    }
    assert!(read > length, "{read}");
}

#[tokio::test]
async fn an_upgraded_connection_with_a_slow_peer_does_not_delay_a_drain() {
    let health = Health::builder("orders")
        .drain_delay(ms(100))
        .start()
        .unwrap();
    let app = Router::new().route(
        "/socket",
        get(|mut request: http::Request<axum::body::Body>| async move {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
                // Nothing reads this.
                while io.write_all(&[0; 64 * 1024]).await.is_ok() {}
            });
            let response = http::Response::builder().status(101).header("upgrade", "x");
            response
                .header("connection", "upgrade")
                .body(axum::body::Body::empty())
                .unwrap()
        }),
    );
    let (address, server) = run(&health, app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.read_exact(&mut [0; 1024]).await.unwrap();
    tokio::time::sleep(ms(300)).await;
    health.drain().await;
    let ended = tokio::time::timeout(10 * SECOND, server)
        .await
        .expect("it ends");
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_cut_while_its_client_reads_nothing_is_counted_once() {
    let health = Health::builder("orders")
        .drain_delay(ms(50))
        .drain_finish(ms(200))
        .drain_close(ms(200))
        .start()
        .unwrap();
    // An endless stream.
    let pieces = || {
        tokio_stream::iter(std::iter::repeat_with(|| {
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'x'; 64 * 1024]))
        }))
    };
    let body = async move || axum::body::Body::from_stream(pieces());
    let (address, server) = run(&health, Router::new().route("/", get(body))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(ms(300)).await;
    drop(health.drain());
    let ended = server.await.unwrap();
    assert_eq!(cut(ended), 1);
}
