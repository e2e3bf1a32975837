//! The probe for `main`, against servers of this crate and other servers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener as StdListener},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tower_health::{
    Check, Health, Outcome, Probe, Reason, Status,
    exec::{ExecAnswer, ExecProbe},
};

use crate::support::{SECOND, Scripted, ms};

fn run(target: &str) -> ExecAnswer {
    ExecProbe::new(target).unwrap().timeout(10 * SECOND).run()
}

/// A server that reads one request and responds with exactly these bytes.
fn answering(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let (listener, bytes) = (StdListener::bind("127.0.0.1:0").unwrap(), bytes.into());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        _ = stream.read(&mut [0; 4096]);
        _ = stream.write_all(&bytes);
    });
    address
}

async fn service() -> (Health, Scripted) {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(60 * SECOND))
        .start()
        .unwrap();
    health.run_now("db").await.unwrap();
    (health, db)
}

fn failure() -> Outcome {
    Outcome::fail(Reason::ConnectionRefused).with_cause("db.internal refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_over_http_and_unix_sockets_print_one_line() {
    let (health, db) = service().await;
    let app = Router::new().layer(health.layer());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.sock");
    let unix = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(axum::serve(tcp, app.clone()).into_future());
    tokio::spawn(axum::serve(unix, app).into_future());
    let targets = |path_asked: &str| {
        [
            format!("http://{address}{path_asked}"),
            format!("unix:{}:{path_asked}", path.display()),
        ]
    };
    // The probe works inside a runtime, too.
    for target in targets("/ready") {
        let answer = run(&target);
        assert!(answer.is_healthy(), "{target}: {answer}");
        assert_eq!(answer.to_string(), "healthy: 200 OK");
        assert_eq!(answer.exit_code(), ExitCode::SUCCESS);
    }
    db.set_outcome(failure());
    health.run_now("db").await.unwrap();
    for target in targets("/ready") {
        let answer = run(&target);
        assert_eq!(answer.to_string(), "unhealthy: 503, db connection refused");
        assert_eq!(answer.exit_code(), ExitCode::FAILURE);
    }
    for target in targets("/live") {
        assert!(run(&target).is_healthy(), "{target}");
    }
    for target in targets("/elsewhere") {
        assert_eq!(run(&target).to_string(), "unhealthy: 404 Not Found");
    }
    db.set_outcome(Status::Warn);
    health.run_now("db").await.unwrap();
    assert_eq!(
        run(&targets("/ready")[0]).to_string(),
        "healthy: 200, db degraded"
    );
    health.drain();
    assert_eq!(
        run(&targets("/ready")[0]).to_string(),
        "unhealthy: 503, draining: db degraded"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_over_grpc_print_one_line() {
    let (health, db) = service().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let grpc = health.grpc().service("orders.v1.Orders", Probe::Readiness);
    let server = Server::builder().add_service(grpc);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let asked = |service: &str| run(&format!("grpc://{address}{service}")).to_string();
    for service in ["", "/", "/liveness", "/orders.v1.Orders", "/db"] {
        assert_eq!(asked(service), "healthy: SERVING", "{service}");
    }
    db.set_outcome(failure());
    health.run_now("db").await.unwrap();
    for service in ["", "/orders.v1.Orders", "/db"] {
        assert_eq!(asked(service), "unhealthy: NOT_SERVING", "{service}");
    }
    assert!(asked("/nobody").starts_with("unhealthy: Some requested entity was not found"));
    // A server that does not support gRPC.
    let other = answering("HTTP/1.1 200 OK\r\n\r\n");
    assert!(!run(&format!("grpc://{other}")).is_healthy());
}

#[test]
fn every_response_is_summarized_in_one_short_line() {
    let long = "x".repeat(1_000_000);
    for (bytes, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(), "healthy: 200 OK"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "healthy: 204 No Content"),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n".to_owned(), "unhealthy: 302 Found"),
        ("HTTP/1.0 500 Oh\r\n\r\nno".to_owned(), "unhealthy: 500 Internal Server Error"),
        (
            "HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\n\r\n1b\r\n{\"output\":\"a\\nb\\u001b[31m\"}\r\n0\r\n\r\n"
                .to_owned(),
            "unhealthy: 503, a b [31m",
        ),
        (
            "HTTP/1.1 503 X\r\n\r\n{\"output\":\"a\u{202e}b\u{2028}c\"}".to_owned(),
            "unhealthy: 503, a b c",
        ),
        (format!("HTTP/1.1 503 X\r\n\r\n{long}"), "unhealthy: 503 Service Unavailable"),
    ] {
        let answer = run(&format!("http://{}/ready", answering(bytes)));
        assert_eq!(answer.to_string(), expected);
    }
    let long = format!(
        "HTTP/1.1 503 X\r\n\r\n{{\"output\":\"{}\"}}",
        "y".repeat(1_000)
    );
    let answer = run(&format!("http://{}/", answering(long)));
    assert_eq!(answer.line().chars().count(), 200);
    for bytes in [&b""[..], b"nonsense", b"\xff\xfe\r\n\r\n", b"HTTP/1.1 200"] {
        let answer = run(&format!("http://{}/", answering(bytes)));
        assert!(
            !answer.is_healthy() && answer.line().lines().count() == 1,
            "{answer}"
        );
    }
}

#[test]
fn the_probe_times_out_and_reports_connection_errors() {
    let silent = StdListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    for target in [
        format!("http://{address}/ready"),
        format!("grpc://{address}"),
    ] {
        let began = Instant::now();
        let answer = ExecProbe::new(&target).unwrap().timeout(ms(100)).run();
        assert_eq!(answer.to_string(), "unhealthy: no response within 100ms");
        assert!(began.elapsed() >= ms(100));
    }
    // Nothing listens on this port.
    let answer = run("http://127.0.0.1:1/ready");
    assert!(answer.line().contains("refused"), "{answer}");
    let answer = run("unix:/nowhere/orders.sock:/ready");
    assert!(!answer.is_healthy(), "{answer}");
    let answer = ExecProbe::new("http://127.0.0.1:1/")
        .unwrap()
        .timeout(Duration::ZERO)
        .run();
    assert!(!answer.is_healthy(), "{answer}");
}

/// The program, as a prober runs it.
#[cfg(unix)]
#[test]
fn the_program_always_exits_with_0_or_1() {
    use std::{
        ffi::OsStr,
        os::unix::ffi::OsStrExt,
        process::{Command, Stdio},
    };

    let program = || Command::new(env!("CARGO_BIN_EXE_tower-health-probe"));
    let healthy = || format!("http://{}/", answering("HTTP/1.1 200 OK\r\n\r\n"));
    for (args, code, said) in [
        (vec!["--timeout", "10", &healthy()], 0, "healthy: 200 OK\n"),
        (vec![&*healthy(), "--timeout", "10"], 0, "healthy: 200 OK\n"),
        (vec!["ready"], 1, "\"ready\" is not a valid target"),
        (
            vec!["http://u:hunter2@127.0.0.1/"],
            1,
            "contains a user or a password",
        ),
        (vec![], 1, "usage: tower-health-probe"),
        (vec!["--timeout"], 1, "usage: tower-health-probe"),
        (
            vec!["--timeout", "-1", "http://127.0.0.1:1/"],
            1,
            "usage: tower-health-probe",
        ),
        (vec!["--help"], 1, "usage: tower-health-probe"),
    ] {
        let output = program().args(&args).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}");
        assert!(
            stdout.contains(said) && !stdout.contains("hunter2"),
            "{args:?}: {stdout}"
        );
        assert!(output.stderr.is_empty());
    }
    let broken = program()
        .arg(OsStr::from_bytes(b"\xff\xfe"))
        .output()
        .unwrap();
    assert_eq!(broken.status.code(), Some(1));
    // The program cannot write its output.
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut deaf = program();
    let ended = deaf
        .arg(healthy())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_decides_even_if_the_body_never_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 16];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut request)
            .await
            .unwrap();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"o\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head)
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let answer = run(&format!("http://{address}/events"));
    assert!(answer.is_healthy(), "{answer}");
}
