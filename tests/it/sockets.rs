//! Real sockets: HTTP/1.0, HTTP/2, and clients that disconnect.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_health::{Check, Health, Status};

use crate::support::{Scripted, ms};

/// Serves `app` on a free port.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn health_of(db: &Scripted) -> Health {
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()))
        .start()
        .unwrap();
    while db.runs() == 0 || health.check("db").unwrap().is_pending() {
        tokio::time::sleep(ms(5)).await;
    }
    health
}

async fn started(says: Status) -> (Health, SocketAddr) {
    let health = health_of(&Scripted::new(says)).await;
    let app = Router::new()
        .route("/", get(|| async { "app" }))
        .layer(health.layer());
    (health, serve(app).await)
}

/// Returns the response to exactly these bytes, until the server closes the connection.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn haproxys_default_probe_gets_the_readiness() {
    for (says, line) in [
        (Status::Pass, "HTTP/1.0 200 OK"),
        (Status::Fail, "HTTP/1.0 503 Service Unavailable"),
    ] {
        let (_health, address) = started(says).await;
        let answer = raw(address, "OPTIONS /ready HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with(line), "{answer}");
        assert!(answer.contains("allow: GET, HEAD, OPTIONS\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn http_1_0_without_host_or_accept_is_answered() {
    let (_health, address) = started(Status::Fail).await;
    let answer = raw(address, "GET /health?x=%00&y HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.0 503") && answer.contains("\"db:responseTime\""),
        "{answer}"
    );
}

#[tokio::test]
async fn head_has_the_length_of_get_and_no_body() {
    let (_health, address) = started(Status::Fail).await;
    let request =
        |method| format!("{method} /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let get = raw(address, &request("GET")).await;
    let head = raw(address, &request("HEAD")).await;
    let (get_head, body) = get.split_once("\r\n\r\n").unwrap();
    let (head_head, nothing) = head.split_once("\r\n\r\n").unwrap();
    let undated = |head: &str| {
        head.split("\r\n")
            .filter(|line| !line.starts_with("date:"))
            .count()
    };
    assert_eq!(undated(head_head), undated(get_head));
    assert!(head_head.contains(&format!("content-length: {}", body.len())));
    assert_eq!(nothing, "");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_answered() {
    let (_health, address) = started(Status::Pass).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    for (method, path) in [
        ("GET", "/ready"),
        ("HEAD", "/health"),
        ("OPTIONS", "/live"),
        ("GET", "/"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(
            (response.status(), response.version()),
            (StatusCode::OK, Version::HTTP_2)
        );
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn a_prober_that_disconnects_cancels_nothing() {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(
            Check::new("db", db.clone().duration(ms(50)))
                .period(ms(100))
                .timeout(ms(90)),
        )
        .start()
        .unwrap();
    let address = serve(Router::new().layer(health.layer())).await;
    while health.check("db").unwrap().is_pending() {
        tokio::time::sleep(ms(5)).await;
    }
    for i in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        // Some clients disconnect in the middle of their request, others before the response.
        let sent = if i % 2 == 0 {
            request.len() / 2
        } else {
            request.len()
        };
        stream.write_all(&request.as_bytes()[..sent]).await.unwrap();
        drop(stream);
        tokio::time::sleep(ms(2)).await;
        assert_eq!(health.check("db").unwrap().reason, None);
    }
    assert_eq!(db.max_running(), 1);
}

#[tokio::test]
async fn a_thousand_concurrent_connections_cause_no_additional_run() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(Duration::from_secs(600)))
        .start()
        .unwrap();
    let address = serve(Router::new().layer(health.layer())).await;
    let mut probes = tokio::task::JoinSet::new();
    for i in 0..1_000 {
        let path = ["/health", "/ready", "/live", "/startup", "/health/db"][i % 5];
        probes.spawn(async move { raw(address, &format!("GET {path} HTTP/1.0\r\n\r\n")).await });
    }
    for answer in probes.join_all().await {
        assert!(
            answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.0 503"),
            "{answer}"
        );
    }
    while db.runs() == 0 || health.check("db").unwrap().is_pending() {
        tokio::time::sleep(ms(5)).await;
    }
    assert_eq!(db.runs(), 1);
}

/// `Health::wrap` wraps the finished router, and axum serves the result.
#[tokio::test]
async fn a_wrapped_router_is_served() {
    let health = health_of(&Scripted::new(Status::Pass)).await;
    let app = Router::new().route("/", get(|| async { "app" }));
    let address = serve(Router::new().fallback_service(health.wrap(app))).await;
    assert!(
        raw(address, "GET /ready HTTP/1.0\r\n\r\n")
            .await
            .starts_with("HTTP/1.0 200")
    );
    assert!(
        raw(address, "GET / HTTP/1.0\r\n\r\n")
            .await
            .ends_with("app")
    );
}
