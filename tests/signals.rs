//! Processes that receive signals. Each of them is a separate process.
//!
//! The tests start themselves again as a child, which runs a service and prints what happens to it.
#![cfg(unix)]

use std::{
    env, fs,
    future::pending,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use rustix::process::{Pid, Signal, kill_process};
use tower_health::{Health, HealthBuilder, Probe, Status};

const CHILD: &str = "TOWER_HEALTH_SIGNALS_CHILD";
const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything in these tests takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn builder() -> HealthBuilder {
    Health::builder("orders")
        .drain_delay(SECOND)
        .drain_finish(SECOND)
        .drain_close(SECOND)
}

/// Runs `main` on a runtime with one worker if this process is a child. Returns whether it is one.
fn is_child(main: impl Future<Output = ()>) -> bool {
    if env::var_os(CHILD).is_none() {
        return false;
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(main);
    true
}

/// Runs one part of a test in a child, and the other part in the test itself, once with each kind
/// of child.
macro_rules! both {
    ($test:ident, $main:expr, |$child:ident| $body:block) => {{
        if is_child($main) {
            return;
        }
        Kind::each(stringify!($test), |mut $child| $body);
    }};
}

#[test]
fn after_sigterm_a_service_drains_and_ends_by_itself() {
    both!(
        after_sigterm_a_service_drains_and_ends_by_itself,
        async {
            let health = builder().handle_signals().start().unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let app = Router::new()
                .route("/", get(|| async { "orders" }))
                .layer(health.layer());
            println!("ready");
            let server = axum::serve(listener, app).with_graceful_shutdown(health.drained());
            health.run(server).await.unwrap();
            println!(
                "{}, after {}",
                health.stage(),
                health.verdict(Probe::Liveness).status
            );
        },
        |child| {
            child.wait_for("ready");
            let told = Instant::now();
            child.send(Signal::TERM);
            child.wait_for("draining, after pass");
            assert!(told.elapsed() >= SECOND, "it served on");
            assert!(child.ended().success());
        }
    );
}

#[test]
fn a_process_that_does_not_wait_for_the_drain_is_ended_by_the_signal() {
    let main = async {
        let health = builder().handle_signals().start().unwrap();
        println!("ready");
        // A future that is never polled and a future that was dropped do not end anything.
        let _unpolled = health.drained();
        tokio::select! {
            () = health.drained() => {}
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
        pending().await
    };
    if is_child(main) {
        return;
    }
    for (signal, delay) in [(Signal::TERM, SECOND), (Signal::INT, Duration::ZERO)] {
        for kind in Kind::ALL {
            let test = "a_process_that_does_not_wait_for_the_drain_is_ended_by_the_signal";
            let Some(mut child) = Running::start_as(kind, test, "NOTHING_MORE") else {
                continue;
            };
            child.wait_for("ready");
            thread::sleep(Duration::from_millis(100));
            let told = Instant::now();
            child.send(signal);
            child.is_ended_by(signal);
            assert!(told.elapsed() >= delay);
        }
    }
}

#[test]
fn a_signal_is_not_handled_unless_requested() {
    both!(
        a_signal_is_not_handled_unless_requested,
        async {
            let _health = builder().drain_delay(600 * SECOND).start().unwrap();
            println!("ready");
            pending().await
        },
        |child| {
            child.wait_for("ready");
            child.send(Signal::TERM);
            if child.kind == Kind::First {
                // The kernel ignores the signal for the first process, whatever that process is.
                thread::sleep(Duration::from_millis(200));
                assert!(child.process.try_wait().unwrap().is_none());
                return;
            }
            child.is_ended_by(Signal::TERM);
        }
    );
}

#[test]
fn a_signal_during_startup_ends_the_process() {
    both!(
        a_signal_during_startup_ends_the_process,
        async {
            let health = builder()
                .handle_signals()
                .startup_task("warm-cache", || async {
                    Err::<(), _>(std::io::Error::other("no"))
                })
                .start()
                .unwrap();
            println!("starting");
            tokio::select! {
                started = health.wait_until_good(Probe::Startup) => println!("{started:?}"),
                () = health.drained() => println!("ends as {}", health.stage()),
            }
        },
        |child| {
            child.wait_for("starting");
            child.send(Signal::TERM);
            child.wait_for("ends as draining");
            assert!(child.ended().success());
        }
    );
}

#[test]
fn each_further_signal_ends_a_phase_of_the_drain() {
    both!(
        each_further_signal_ends_a_phase_of_the_drain,
        async {
            let health = builder()
                .drain_delay(600 * SECOND)
                .drain_finish(600 * SECOND)
                .drain_close(600 * SECOND)
                .handle_signals()
                .start()
                .unwrap();
            // Before any signal can arrive.
            let mut readiness = health.watch(Probe::Readiness);
            let mut app = health.wrap(tower::service_fn(|_: http::Request<()>| async {
                println!("ready");
                pending::<Result<http::Response<String>, std::io::Error>>().await
            }));
            let request = http::Request::new(());
            tokio::spawn(tower::Service::call(&mut app, request));
            tokio::spawn(async move {
                while let Ok(verdict) = readiness.changed().await {
                    if verdict.status == Status::Fail {
                        println!("not ready");
                    }
                }
            });
            let unfinished = health.run(pending::<()>()).await.unwrap_err();
            println!("{unfinished}");
        },
        |child| {
            child.wait_for("ready");
            child.send(Signal::TERM);
            child.wait_for("not ready");
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(1_100));
                assert!(child.process.try_wait().unwrap().is_none(), "it waits");
                child.send(Signal::TERM);
            }
            child.wait_for("the server was stopped with 1 request in flight");
            assert!(child.ended().success());
        }
    );
}

#[test]
fn a_stalled_runtime_does_not_prevent_the_process_from_ending() {
    both!(
        a_stalled_runtime_does_not_prevent_the_process_from_ending,
        async {
            let health = builder().handle_signals().start().unwrap();
            let drained = health.drained();
            println!("ready");
            // These block the only worker, and the thread that drives the runtime.
            tokio::spawn(async { thread::sleep(3600 * SECOND) });
            thread::sleep(3600 * SECOND);
            drained.await;
        },
        |child| {
            child.wait_for("ready");
            child.send(Signal::TERM);
            child.is_ended_by(Signal::TERM);
        }
    );
}

#[test]
fn sigint_skips_the_delay_even_in_a_drain_begun_otherwise_or_on_a_stalled_runtime() {
    let test = "sigint_skips_the_delay_even_in_a_drain_begun_otherwise_or_on_a_stalled_runtime";
    let stalls = env::var_os("STALLS").is_some();
    let main = async {
        let health = builder()
            .drain_delay(600 * SECOND)
            .handle_signals()
            .start()
            .unwrap();
        let drained = health.drain();
        println!("ready");
        if stalls {
            tokio::spawn(async { thread::sleep(3600 * SECOND) });
            thread::sleep(3600 * SECOND);
        }
        drained.await;
    };
    if is_child(main) {
        return;
    }
    for kind in Kind::ALL {
        let Some(mut child) = Running::start_as(kind, test, "NOTHING_MORE") else {
            continue;
        };
        child.wait_for("ready");
        child.send(Signal::INT);
        assert!(child.ended().success());
        let mut child = Running::start_as(kind, test, "STALLS").unwrap();
        child.wait_for("ready");
        child.send(Signal::INT);
        child.is_ended_by(Signal::INT);
    }
}

#[test]
fn a_worker_that_waits_for_the_drain_does_not_prevent_the_process_from_ending() {
    both!(
        a_worker_that_waits_for_the_drain_does_not_prevent_the_process_from_ending,
        async {
            let health = builder().handle_signals().start().unwrap();
            tokio::spawn(health.drained());
            println!("ready");
            // In addition to a server that nothing closes.
            pending().await
        },
        |child| {
            child.wait_for("ready");
            thread::sleep(Duration::from_millis(200));
            let told = Instant::now();
            child.send(Signal::TERM);
            child.is_ended_by(Signal::TERM);
            // The phases take 1 s each.
            assert!(told.elapsed() >= 3 * SECOND, "{:?}", told.elapsed());
        }
    );
}

#[test]
fn a_stalled_service_next_to_an_ended_one_does_not_prevent_the_process_from_ending() {
    both!(
        a_stalled_service_next_to_an_ended_one_does_not_prevent_the_process_from_ending,
        async {
            let health = builder().handle_signals().start().unwrap();
            // On a separate runtime whose only worker is blocked.
            let stuck = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let _other = builder()
                .runtime(stuck.handle().clone())
                .handle_signals()
                .start()
                .unwrap();
            stuck.spawn(async { thread::sleep(3600 * SECOND) });
            println!("ready");
            let drained = health.drained();
            health.run(drained).await.unwrap();
            println!("one has ended");
            pending().await
        },
        |child| {
            child.wait_for("ready");
            thread::sleep(Duration::from_millis(200));
            child.send(Signal::TERM);
            child.wait_for("one has ended");
            child.is_ended_by(Signal::TERM);
        }
    );
}

#[test]
fn two_sigterms_within_a_second_count_as_one() {
    both!(
        two_sigterms_within_a_second_count_as_one,
        async {
            let health = builder()
                .drain_delay(2 * SECOND)
                .handle_signals()
                .start()
                .unwrap();
            println!("ready");
            health.drained().await;
        },
        |child| {
            child.wait_for("ready");
            let told = Instant::now();
            for _ in 0..3 {
                child.send(Signal::TERM);
                thread::sleep(Duration::from_millis(200));
            }
            assert!(child.ended().success());
            assert!(told.elapsed() >= 2 * SECOND, "{:?}", told.elapsed());
        }
    );
}

/// The hook of a container begins the drain, and the signal follows after the hook.
#[test]
fn after_a_signal_late_in_a_drain_begun_otherwise_the_process_ends_by_itself() {
    both!(
        after_a_signal_late_in_a_drain_begun_otherwise_the_process_ends_by_itself,
        async {
            let health = builder()
                .drain_delay(Duration::ZERO)
                .handle_signals()
                .start()
                .unwrap();
            let server = health.run(health.drained());
            drop(health.drain());
            server.await.unwrap();
            println!("ready");
            // It writes its data.
            tokio::time::sleep(SECOND).await;
            println!("written");
        },
        |child| {
            child.wait_for("ready");
            child.send(Signal::TERM);
            child.wait_for("written");
            assert!(child.ended().success());
        }
    );
}

/// Process managers do this when the terminal has already signalled their children.
#[test]
fn a_sigterm_directly_after_a_sigint_counts_as_the_same_signal() {
    both!(
        a_sigterm_directly_after_a_sigint_counts_as_the_same_signal,
        async {
            let health = builder().handle_signals().start().unwrap();
            let message = health.in_flight();
            println!("ready");
            let drained = health.drained();
            tokio::spawn(async move {
                tokio::time::sleep(SECOND / 2).await;
                drop(message);
                println!("acknowledged");
            });
            drained.await;
            println!("drained");
        },
        |child| {
            child.wait_for("ready");
            child.send(Signal::INT);
            thread::sleep(Duration::from_millis(20));
            child.send(Signal::TERM);
            child.wait_for("acknowledged");
            child.wait_for("drained");
            assert!(child.ended().success());
        }
    );
}

/// A terminal sends the signal to a whole process group, and some processes forward it to their
/// children.
#[cfg(feature = "server")]
#[test]
fn a_forwarded_sigint_counts_as_the_same_signal() {
    both!(
        a_forwarded_sigint_counts_as_the_same_signal,
        async {
            let health = builder().handle_signals().start().unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let slow = get(async || tokio::time::sleep(SECOND / 2).await);
            let app = Router::new().route("/slow", slow);
            tokio::spawn(async move {
                println!("ready");
                let answer =
                    tokio::task::spawn_blocking(move || ask(&address.to_string(), "/slow"));
                println!("answered: {}", answer.await.unwrap().is_some());
            });
            health.run_http(listener, health.wrap(app)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        },
        |child| {
            child.wait_for("ready");
            thread::sleep(Duration::from_millis(100));
            for _ in 0..3 {
                child.send(Signal::INT);
                thread::sleep(Duration::from_millis(20));
            }
            child.wait_for("answered: true");
            assert!(child.ended().success());
        }
    );
}

#[test]
fn handlers_that_outlive_their_service_do_nothing() {
    both!(
        handlers_that_outlive_their_service_do_nothing,
        async {
            let health = builder()
                .drain_delay(600 * SECOND)
                .handle_signals()
                .start()
                .unwrap();
            let drained = health.drained();
            drop(health);
            drained.await;
            println!("ready");
            pending().await
        },
        |child| {
            child.wait_for("ready");
            child.send(Signal::INT);
            child.is_ended_by(Signal::INT);
        }
    );
}

#[test]
fn a_signal_after_the_drain_ends_a_process_that_hangs() {
    both!(
        a_signal_after_the_drain_ends_a_process_that_hangs,
        async {
            let health = builder().start().unwrap();
            println!("ready");
            health.drain_on_signal().unwrap().await;
            println!("drained");
            pending().await
        },
        |child| {
            child.wait_for("ready");
            thread::sleep(Duration::from_millis(200));
            child.send(Signal::INT);
            child.wait_for("drained");
            // Later than a forwarded signal would arrive.
            thread::sleep(Duration::from_millis(1_100));
            assert!(
                child.process.try_wait().unwrap().is_none(),
                "it was waited for, and ends by itself"
            );
            child.send(Signal::TERM);
            child.is_ended_by(Signal::TERM);
        }
    );
}

#[test]
fn both_of_two_services_drain_before_the_process_ends() {
    both!(
        both_of_two_services_drain_before_the_process_ends,
        async {
            let quick = builder()
                .drain_delay(Duration::ZERO)
                .handle_signals()
                .start()
                .unwrap();
            let slow = builder()
                .drain_delay(2 * SECOND)
                .handle_signals()
                .start()
                .unwrap();
            println!("ready");
            slow.drained().await;
            println!("{}, {}", quick.stage(), slow.stage());
        },
        |child| {
            child.wait_for("ready");
            thread::sleep(Duration::from_millis(200));
            let told = Instant::now();
            child.send(Signal::TERM);
            child.wait_for("draining, draining");
            assert!(told.elapsed() >= 2 * SECOND);
            assert!(child.ended().success());
        }
    );
}

/// Each probe uses a new connection, as a kubelet does. The port of the service answers until it
/// stops accepting. The management port has its own thread, and answers until the process ends.
#[cfg(feature = "server")]
#[test]
fn liveness_passes_during_a_drain_with_a_stuck_request() {
    both!(
        liveness_passes_during_a_drain_with_a_stuck_request,
        async {
            let health = builder().handle_signals().start().unwrap();
            let management = health.serve("127.0.0.1:0").own_thread().start().unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = Router::new().route("/stuck", get(pending::<&'static str>));
            tokio::spawn(async move {
                // Until the process ends, because the handler never responds.
                let mut stuck = tokio::net::TcpStream::connect(address).await.unwrap();
                let request = b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n";
                tokio::io::AsyncWriteExt::write_all(&mut stuck, request)
                    .await
                    .unwrap();
                pending::<()>().await;
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            println!("{address} {}", management.local_addr());
            println!("ready");
            let unfinished = health
                .run_http(listener, health.wrap(app))
                .await
                .unwrap_err();
            println!("{unfinished}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        },
        |child| {
            let line = child.lines_until("ready");
            let addresses = line[line.len() - 2].split_once(' ').unwrap();
            let told = Instant::now();
            child.send(Signal::TERM);
            let (mut accepted, mut answers) = (true, 0);
            while child.process.try_wait().unwrap().is_none() {
                if accepted {
                    let answer = ask(addresses.0, "/live");
                    accepted = answer.is_some();
                    // The phases take 1 s each.
                    assert!(
                        accepted || told.elapsed() >= 2 * SECOND,
                        "{:?}",
                        told.elapsed()
                    );
                    assert!(answer.is_none_or(|answer| answer.contains(" 200 OK")));
                    answers += usize::from(accepted);
                }
                match ask(addresses.1, "/live") {
                    Some(answer) => assert!(answer.contains(" 200 OK"), "{answer}"),
                    // The process has ended since.
                    None => break,
                }
                thread::sleep(Duration::from_millis(10));
            }
            assert!(answers > 10, "{answers}");
            child.wait_for("the server was stopped with 1 request in flight");
            assert!(child.ended().success());
            assert!(told.elapsed() < PATIENCE / 2);
        }
    );
}

/// Returns the response to a probe on a new connection. Returns `None` if nothing answers there.
#[cfg(feature = "server")]
fn ask(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};

    let mut stream = std::net::TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// The role of a child in its system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// The first process, as in a container without an init. By default, signals have no effect on
    /// it.
    First,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Ordinary, Self::First];

    /// Tests both kinds of child concurrently.
    fn each(test: &str, body: impl Fn(Running) + Sync) {
        thread::scope(|scope| {
            for kind in Self::ALL {
                let body = &body;
                scope.spawn(move || {
                    if let Some(child) = Running::start_as(kind, test, "NOTHING_MORE") {
                        body(child);
                    }
                });
            }
        });
    }

    /// Returns the command that runs a program as this kind of child. Returns `None` if that is not
    /// permitted.
    fn command(self, program: &Path) -> Option<Command> {
        let unshare = || {
            let mut command = Command::new("unshare");
            // An unprivileged user is root in a new user namespace.
            if !rustix::process::geteuid().is_root() {
                command.args(["--user", "--map-root-user"]);
            }
            command.args(["--pid", "--fork", "--kill-child"]);
            command
        };
        match self {
            Self::Ordinary => Some(Command::new(program)),
            Self::First => {
                let tried = unshare().arg("true").output();
                if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
                    // The only output that is visible for a test that passes.
                    _ = writeln!(io::stderr(), "NOT TESTED as the first process: {tried:?}");
                    return None;
                }
                let mut command = unshare();
                command.arg(program);
                Some(command)
            }
        }
    }
}

/// A child and its output.
struct Running {
    /// The child, or the process that waits for it.
    process: Child,
    pid: Pid,
    kind: Kind,
    printed: Receiver<String>,
}

impl Running {
    fn start_as(kind: Kind, test: &str, variable: &str) -> Option<Self> {
        let mut process = kind
            .command(&env::current_exe().unwrap())?
            .args(["--exact", "--nocapture", test])
            .env(CHILD, "1")
            .env(variable, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (print, printed) = channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| print.send(line))
        });
        let pid = match kind {
            Kind::Ordinary => Pid::from_child(&process),
            Kind::First => child_of(&process),
        };
        Some(Self {
            process,
            pid,
            kind,
            printed,
        })
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Asserts that the child ended as if the signal had not been handled. The first process exits
    /// with the code that a shell would report.
    #[track_caller]
    fn is_ended_by(&mut self, signal: Signal) {
        let ended = self.ended();
        match self.kind {
            Kind::Ordinary => assert_eq!(ended.signal(), Some(signal.as_raw()), "{ended}"),
            Kind::First => assert_eq!(ended.code(), Some(128 + signal.as_raw()), "{ended}"),
        }
    }

    #[track_caller]
    fn wait_for(&self, wanted: &str) {
        self.lines_until(wanted);
    }

    /// Returns the printed lines up to this one.
    #[track_caller]
    fn lines_until(&self, wanted: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line| line != wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{wanted:?} is not in {seen:#?}")
                }
            }
        }
        seen
    }

    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.process.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > deadline => panic!("it does not end"),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Returns the process that this process has started and waits for.
fn child_of(process: &Child) -> Pid {
    let id = process.id();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        if let Some(child) = children.split_whitespace().next() {
            return Pid::from_raw(child.parse().unwrap()).unwrap();
        }
        assert!(Instant::now() < deadline, "it starts nothing");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
