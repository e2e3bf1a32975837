//! Detection of runtimes that do not poll, with real time and real threads.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};
use tower_health::{Check, Health, Probe, Reason, Status, error::ConfigError};

use crate::support::{SECOND, ms};

const BOUND: Duration = SECOND;

fn workers(count: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all().build().unwrap()
}

/// Waits until a condition holds, and returns how long that took. Panics if the condition never
/// holds.
#[track_caller]
fn until(what: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < 60 * SECOND, "it never is");
        thread::sleep(ms(5));
    }
    began.elapsed()
}

/// Blocks every worker of a runtime until the returned sender is dropped.
fn block(runtime: &Runtime, workers: usize) -> mpsc::Sender<()> {
    let (unblock, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
    let (tell, told) = mpsc::channel();
    for _ in 0..workers {
        let (blocked, tell) = (blocked.clone(), tell.clone());
        runtime.spawn(async move {
            tell.send(()).unwrap();
            _ = blocked.lock().map(|blocked| blocked.recv());
        });
    }
    for _ in 0..workers {
        told.recv().unwrap();
    }
    unblock
}

fn alive(health: &Health) -> Status {
    health.verdict(Probe::Liveness).status
}

fn reason(health: &Health, runtime: &str) -> Option<Reason> {
    health.check(runtime).unwrap().reason
}

#[test]
fn a_runtime_that_stalls_fails_liveness_and_recovers() {
    let runtime = workers(2);
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .watchdog(BOUND)
        .start()
        .unwrap();
    let (mut events, mut watch) = (health.subscribe(), health.watch(Probe::Liveness));
    until(|| health.check("runtime").unwrap().status == Status::Pass);
    let unblock = block(&runtime, 2);
    let began = std::time::SystemTime::now();
    // Waiters on other runtimes are woken, although the engine is stalled.
    let other = Builder::new_current_thread().enable_all().build().unwrap();
    let mut verdict = other.block_on(watch.changed()).unwrap();
    while verdict.status != Status::Fail {
        verdict = other.block_on(watch.changed()).unwrap();
    }
    assert_eq!(&*verdict.checks[0].name, "runtime");
    let report = health.check("runtime").unwrap();
    assert_eq!(report.reason, Some(Reason::RuntimeStalled));
    let cause = report.cause.unwrap();
    assert!(
        cause
            .redacted()
            .starts_with("no task of the runtime was polled for "),
        "{cause:?}"
    );
    let lag = report
        .measurements
        .iter()
        .find(|it| it.name == "lag")
        .unwrap();
    assert!(matches!(lag.value, tower_health::outcome::Value::Float(lag) if lag >= 1.0));
    assert!(report.since >= began);
    // The watchdog does not affect readiness.
    let readiness = health.verdict(Probe::Readiness);
    assert!(
        readiness
            .checks
            .iter()
            .all(|check| &*check.name != "runtime")
    );
    drop(unblock);
    until(|| alive(&health) == Status::Pass);
    // Subscribers receive all events, although late.
    let told = other.block_on(async {
        let mut told = Vec::new();
        while !told.ends_with(&[Status::Fail, Status::Pass]) {
            if let Some(tower_health::event::Event::Check(transition)) = events.next().await {
                told.push(transition.to);
            }
        }
        told
    });
    let each_once = told.windows(2).all(|two| two[0] != two[1]);
    assert!(each_once, "{told:?}");
    runtime.shutdown_background();
}

#[test]
fn a_runtime_of_one_thread_is_watched_like_any_other() {
    let (tell, told) = mpsc::channel();
    let (unblock, blocked) = mpsc::channel::<()>();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let health = Health::builder("orders").watchdog(BOUND).start().unwrap();
            tell.send(health).unwrap();
            _ = blocked.recv();
            _ = ended.await;
        });
    });
    let health = told.recv().unwrap();
    until(|| alive(&health) == Status::Fail);
    assert_eq!(reason(&health, "runtime"), Some(Reason::RuntimeStalled));
    unblock.send(()).unwrap();
    until(|| alive(&health) == Status::Pass);
    end.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_lagging_runtime_is_a_warning_first() {
    let runtime = workers(1);
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .watchdog(20 * SECOND)
        .start()
        .unwrap();
    until(|| health.check("runtime").unwrap().status == Status::Pass);
    let unblock = block(&runtime, 1);
    // From 2 s on, which is a tenth of the bound.
    until(|| alive(&health) == Status::Warn);
    assert_eq!(reason(&health, "runtime"), Some(Reason::RuntimeLags));
    drop(unblock);
    until(|| alive(&health) == Status::Pass);
    runtime.shutdown_background();
}

#[test]
fn a_runtime_with_one_free_worker_is_not_stalled() {
    let runtime = workers(3);
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .watchdog(BOUND)
        .start()
        .unwrap();
    until(|| health.check("runtime").unwrap().status == Status::Pass);
    let unblock = block(&runtime, 2);
    thread::sleep(2 * BOUND);
    assert_ne!(alive(&health), Status::Fail);
    drop(unblock);
    runtime.shutdown_background();
}

#[test]
fn a_second_runtime_is_watched_and_fails_liveness_when_it_has_ended() {
    let (main, batch) = (workers(1), workers(1));
    let health = Health::builder("orders")
        .runtime(main.handle().clone())
        .watch_runtime("batch", batch.handle())
        .start()
        .unwrap();
    until(|| health.check("batch").unwrap().status == Status::Pass);
    assert!(health.check("runtime").is_err(), "that was not asked for");
    batch.shutdown_background();
    // On a busy machine a stall may be reported first.
    until(|| reason(&health, "batch") == Some(Reason::RuntimeEnded));
    assert_eq!(alive(&health), Status::Fail);
    // The end of the runtime of the checks ends everything.
    main.shutdown_background();
    until(|| reason(&health, "batch") == Some(Reason::EngineStopped));
}

#[test]
fn without_a_watchdog_a_blocked_worker_fails_readiness_and_not_liveness() {
    let runtime = workers(1);
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .check(
            Check::new("db", || async { Status::Pass })
                .period(ms(100))
                .timeout(ms(100))
                .max_age(ms(500)),
        )
        .start()
        .unwrap();
    until(|| health.verdict(Probe::Readiness).status == Status::Pass);
    let unblock = block(&runtime, 1);
    until(|| health.verdict(Probe::Readiness).status == Status::Fail);
    assert_eq!(reason(&health, "db"), Some(Reason::Stale));
    assert_eq!(alive(&health), Status::Pass, "nobody watches");
    drop(unblock);
    runtime.shutdown_background();
}

#[test]
fn invalid_watchdog_settings_are_reported_with_all_other_problems() {
    let runtime = workers(1);
    let error = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .check(Check::new("runtime", || async { Status::Pass }))
        .watchdog(ms(10))
        .watch_runtime("No", runtime.handle())
        .start()
        .unwrap_err();
    let told = error.to_string();
    assert!(
        matches!(
            error.problems(),
            [
                ConfigError::Watchdog(_),
                ConfigError::DuplicateName(_),
                ConfigError::CheckName(_)
            ]
        ),
        "{told}"
    );
    assert!(
        told.contains("the bound of the watchdog is 10ms: set it to a value from 1 s to 1 h"),
        "{told}"
    );
}

#[cfg(feature = "server")]
#[test]
fn a_management_port_on_its_own_thread_detects_a_stall() {
    let runtime = workers(1);
    let (health, server) = runtime.block_on(async {
        let health = Health::builder("orders")
            .check(Check::new("runtime", || async { Status::Pass }))
            .start()
            .unwrap();
        let server = health.serve("127.0.0.1:0").own_thread().start().unwrap();
        (health, server)
    });
    // No watchdog was requested, and a check of the application already has that name.
    until(|| {
        health
            .check("runtime.watchdog")
            .is_ok_and(|check| check.status == Status::Pass)
    });
    let other = health.serve("127.0.0.1:0").own_thread().start().unwrap();
    assert!(health.report().checks.len() == 2, "it is watched once");
    drop((other, server));
    runtime.shutdown_background();
}

/// Requests a path as a kubelet does.
#[cfg(feature = "server")]
fn code_of(address: std::net::SocketAddr, path: &str) -> Option<u16> {
    use std::io::{Read, Write};

    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(2 * SECOND)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[cfg(feature = "server")]
#[test]
fn the_management_port_reports_a_stall_within_the_bound_and_its_end() {
    let runtime = workers(2);
    let (health, server) = runtime.block_on(async {
        let health = Health::builder("orders").watchdog(BOUND).start().unwrap();
        let server = health.serve("127.0.0.1:0").own_thread().start().unwrap();
        (health, server)
    });
    let address = server.local_addr();
    until(|| health.check("runtime").unwrap().status == Status::Pass);
    assert_eq!(code_of(address, "/live"), Some(200));
    let unblock = block(&runtime, 2);
    // The bound, minus the quarter of a second between two looks, plus the delay of a busy machine.
    let took = until(|| code_of(address, "/live") == Some(503));
    assert!(took >= BOUND - ms(250), "{took:?}");
    println!("the stall was reported after {took:?}");
    drop(unblock);
    until(|| code_of(address, "/live") == Some(200));
    drop(server);
    runtime.shutdown_background();
}

/// A hanging worker is detected even if its runtime is busy from time to time.
#[test]
fn a_hanging_worker_on_a_busy_runtime_is_detected() {
    let runtime = workers(1);
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    let heartbeat = health.heartbeat("worker", 3 * SECOND).liveness();
    let _hangs = runtime.block_on(heartbeat.into_future()).unwrap();
    let began = Instant::now();
    while alive(&health) == Status::Pass {
        assert!(began.elapsed() < 30 * SECOND, "it is excused for ever");
        let unblock = block(&runtime, 1);
        thread::sleep(ms(1_700));
        drop(unblock);
        thread::sleep(SECOND);
    }
    assert!(began.elapsed() >= 3 * SECOND);
    runtime.shutdown_background();
}

/// A paused clock advances as fast as possible, so that the thread can confirm nothing in that
/// time.
#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_count_as_a_stall() {
    let health = Health::builder("orders").watchdog(BOUND).start().unwrap();
    for _ in 0..50 {
        tokio::time::sleep(1_800 * SECOND).await;
        assert_eq!(alive(&health), Status::Pass);
    }
}
