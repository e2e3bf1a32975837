//! Behavior that needs a separate process: that it ends, and what it prints.
//!
//! The test starts itself again as a child, which then runs a service with checks that misbehave.

use std::{
    env,
    future::pending,
    io::Read,
    process::{Command, Stdio},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::BodyExt;
use tower::Service;
use tower_health::{Check, Health, Probe, Reason, Status};

const CHILD: &str = "TOWER_HEALTH_CHILD";
const PATHS: [&str; 8] = [
    "/health",
    "/ready",
    "/live",
    "/startup",
    "/health/waits",
    "/health/blocks",
    "/health/panics",
    "/health/good",
];

#[test]
fn misbehaving_checks_do_not_block_the_exit_or_print_secrets() {
    if env::var_os(CHILD).is_some() {
        return child();
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("misbehaving_checks_do_not_block_the_exit_or_print_secrets")
        .env(CHILD, "1")
        .env("RUST_BACKTRACE", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The blocked thread sleeps for an hour. A process that waits for it would fail here.
    let deadline = Instant::now() + Duration::from_secs(120);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill().unwrap();
                panic!("the process waits for a hung check");
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    let mut printed = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    assert!(status.success(), "{printed}");
    assert!(printed.contains("/health/panics 503"), "{printed}");
    assert!(
        printed.contains("an ordinary panic"),
        "other panics are printed as ever: {printed}"
    );
    assert!(!printed.contains("hunter2"), "{printed}");
}

fn child() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::stdout)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve());
    // The runtime is dropped here. It waits for its blocking pool if the pool is not empty.
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("cannot log out with password=hunter2");
    }
}

async fn log_in() -> Status {
    panic!("cannot log in with password=hunter2")
}

async fn serve() {
    let fast = |check: Check| {
        check
            .timeout(Duration::from_millis(100))
            .period(Duration::from_millis(200))
    };
    let health = Health::builder("orders")
        .check(fast(Check::new("waits", pending::<Status>)))
        .check(fast(Check::blocking("blocks", || {
            thread::sleep(Duration::from_secs(3_600));
            Status::Pass
        })))
        .check(fast(Check::new("panics", log_in)))
        .check(fast(Check::new("panics-late", || async {
            let _guard = PanicsWhenDropped;
            pending::<Status>().await
        })))
        .check(fast(Check::blocking("panics-blocking", || -> Status {
            panic!("cannot log in with password=hunter2")
        })))
        .check(fast(Check::new("panics-again", || async {
            std::panic::panic_any(PanicsWhenDropped) as Status
        })))
        .check(fast(Check::new("good", || async { Status::Pass })))
        .start()
        .unwrap();
    _ = tokio::spawn(async { panic!("an ordinary panic") }).await;
    let reads = |check, reason| health.check(check).unwrap().reason == reason;
    while !(reads("waits", Some(Reason::TimedOut))
        && reads("blocks", Some(Reason::StillRunning))
        && reads("panics", Some(Reason::Panicked))
        && reads("panics-late", Some(Reason::TimedOut))
        && reads("panics-blocking", Some(Reason::Panicked))
        && reads("panics-again", Some(Reason::Panicked))
        && reads("good", None)
        && health.verdict(Probe::Startup).status == Status::Pass)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for path in PATHS {
        let request = Request::get(path).body(()).unwrap();
        // One poll, without waiting.
        let response = tokio_test::task::spawn(health.service().call(request)).poll();
        let Poll::Ready(Ok(response)) = response else {
            panic!("{path} waits");
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        println!("{path} {status} {}", String::from_utf8_lossy(&body));
    }
    println!(
        "{:?} {}",
        health.report(),
        serde_json::to_string(&health.report()).unwrap()
    );
}
