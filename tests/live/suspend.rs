//! A real process that is stopped and continued, a process whose machine slept, and a process whose
//! wall clock is set.
//!
//! The tests start themselves again as a child, which runs a service and prints what happens to it.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tower_health::{
    Check, Health, Probe, Status,
    event::{CheckTransition, Event, Subscription, VerdictTransition},
};

const CHILD: &str = "TOWER_HEALTH_SUSPEND_CHILD";
const SECOND: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_secs(2 * 60 * 60);

/// The view of a kubelet: no response for a minute, and then the current state.
#[test]
fn a_process_stopped_for_a_minute_stays_live_and_repeats_each_check_once() {
    if env::var_os(CHILD).is_some() {
        return service();
    }
    let directory = Scratch::new("stopped");
    let file = directory.join("spool");
    fs::write(&file, "").unwrap();
    let child = Running::start(
        "a_process_stopped_for_a_minute_stays_live_and_repeats_each_check_once",
        &[("SPOOL", file.as_os_str())],
    );
    child.wait_for("good", 30 * SECOND);
    // Stop it in the middle of a run.
    child.wait_for("run slow", 30 * SECOND);
    let pid = Pid::from_child(&child.process);
    kill_process(pid, Signal::STOP).unwrap();
    // The lines between the expected line and the signal.
    child.lines_for(SECOND);
    fs::remove_file(&file).unwrap();
    let meanwhile = child.lines_for(59 * SECOND);
    assert!(meanwhile.is_empty(), "it stood still: {meanwhile:#?}");
    kill_process(pid, Signal::CONT).unwrap();
    let after = child.lines_for(6 * SECOND);
    for check in ["run good", "run slow", "run spool"] {
        assert_eq!(times(&after, check), 1, "one round of runs: {after:#?}");
    }
    assert!(
        !after.iter().any(|line| line.starts_with("liveness")),
        "{after:#?}"
    );
    for reason in ["timed out", "still running", "panicked"] {
        assert!(
            !after.iter().any(|line| line.contains(reason)),
            "{after:#?}"
        );
    }
    // The verdict is correct afterwards: the spool was removed meanwhile.
    let last = after.iter().rfind(|line| line.starts_with("now "));
    assert_eq!(
        last.unwrap(),
        "now liveness pass, readiness fail: spool not found"
    );
}

/// The monotonic clock stands still while a machine sleeps. The other clocks do not.
#[test]
fn after_the_machine_slept_every_check_runs_again_immediately() {
    if env::var_os(CHILD).is_some() {
        return service();
    }
    let (child, clocks) = with_clocks("after_the_machine_slept_every_check_runs_again_immediately");
    clocks.set(8 * 3600, 8 * 3600);
    let after = child.lines_for(5 * SECOND);
    for check in ["run good", "run slow", "run spool"] {
        assert_eq!(times(&after, check), 1, "one round of runs: {after:#?}");
    }
    assert!(
        !after.iter().any(|line| line.starts_with("liveness")),
        "{after:#?}"
    );
    let last = after.iter().rfind(|line| line.starts_with("now "));
    assert_eq!(last.unwrap(), "now liveness pass, readiness pass");
}

/// As a time server does to a machine that booted with a wrong clock, or to a whole fleet.
#[test]
fn a_step_of_the_wall_clock_changes_nothing() {
    if env::var_os(CHILD).is_some() {
        return service();
    }
    let (child, clocks) = with_clocks("a_step_of_the_wall_clock_changes_nothing");
    let prober = Prober::start(child.address.clone().unwrap());
    for step in [3_600, -3_600, 10 * 365 * 24 * 3_600, 0] {
        clocks.set(step, 0);
        let after = child.lines_for(2 * SECOND);
        assert!(after.len() >= 5, "{step}: {after:#?}");
        for line in &after {
            assert_eq!(
                line, "now liveness pass, readiness pass",
                "{step}: {after:#?}"
            );
        }
    }
    let (asked, answers) = prober.stop();
    assert!(asked > 100, "{asked}");
    // One response for each path, whatever the clock is set to.
    assert_eq!(answers.len(), Prober::PATHS.len(), "{answers:#?}");
}

/// A prober that requests each path 20 times per second.
struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, BTreeSet<(&'static str, String)>)>,
}

impl Prober {
    const PATHS: [&str; 4] = ["/ready", "/live", "/startup", "/health"];

    fn start(address: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut asked, mut answers) = (0, BTreeSet::new());
            while !stopped.load(Ordering::Relaxed) {
                for path in Self::PATHS {
                    asked += 1;
                    answers.insert((path, ask(&address, path)));
                }
                thread::sleep(Duration::from_millis(50));
            }
            (asked, answers)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (usize, BTreeSet<(&'static str, String)>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Returns the code and the body of a response, without the time of the last run and that of the
/// body, because they follow the clock of that moment.
fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
    body.as_object_mut().unwrap().remove("asOf");
    for checks in body.get_mut("checks").into_iter() {
        let rows = checks.as_object_mut().unwrap().values_mut();
        rows.for_each(|row| _ = row[0].as_object_mut().unwrap().remove("time"));
    }
    format!("{}\n{body}", head.lines().next().unwrap())
}

/// Starts a service whose clocks can be set.
fn with_clocks(test: &str) -> (Running, Clocks) {
    let directory = Scratch::new(test);
    let library = directory.join("clocks.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, Path::new("clocks.c")])
        .args(["-ldl"])
        .status()
        .expect("install what compiles C: apt-get install gcc libc6-dev");
    assert!(compiled.success());
    let spool = directory.join("spool");
    fs::write(&spool, "").unwrap();
    let clocks = Clocks(directory);
    clocks.set(0, 0);
    let mut child = Running::start(
        test,
        &[
            ("SPOOL", spool.as_os_str()),
            ("LD_PRELOAD", library.as_os_str()),
            ("CLOCKS", clocks.0.join("clocks").as_os_str()),
        ],
    );
    child.wait_for("good", 30 * SECOND);
    child.wait_for("run slow", 30 * SECOND);
    let address = child.lines_for(2 * SECOND);
    let address = address.iter().find_map(|line| line.strip_prefix("at "));
    child.address = address.map(str::to_owned);
    (child, clocks)
}

/// The offsets of the clocks of a child.
struct Clocks(Scratch);

impl Clocks {
    /// Sets the offsets in seconds: of the wall clock, and of the clock that counts suspension.
    fn set(&self, wall: i64, suspended: u64) {
        let next = self.0.join("next");
        fs::write(&next, format!("{wall} {suspended}")).unwrap();
        fs::rename(&next, self.0.join("clocks")).unwrap();
    }
}

fn times(printed: &[String], line: &str) -> usize {
    printed.iter().filter(|told| *told == line).count()
}

/// The child: a service that prints what happens to it. Its checks are due so rarely that every
/// further run was caused by a resumption.
fn service() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let spool = env::var_os("SPOOL").unwrap();
        let health = Health::builder("orders")
            .check(
                Check::new("good", || async {
                    println!("run good");
                    Status::Pass
                })
                .period(RARELY),
            )
            .check(
                Check::new("slow", || async {
                    println!("run slow");
                    tokio::time::sleep(SECOND).await;
                    Status::Pass
                })
                .period(RARELY),
            )
            .check(
                Check::blocking("spool", move || {
                    println!("run spool");
                    fs::metadata(&spool).map(|_| ())
                })
                .period(RARELY)
                .retry_period(RARELY),
            )
            .watchdog(2 * SECOND)
            .start()
            .unwrap();
        tokio::spawn(print_events(health.subscribe()));
        let beat = health.heartbeat("worker", SECOND).liveness().await.unwrap();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                beat.tick();
            }
        });
        // A thread that reads continuously sees every state, including the first one after a
        // suspension.
        let reader = health.clone();
        thread::spawn(move || {
            loop {
                let verdict = reader.verdict(Probe::Liveness);
                if verdict.status != Status::Pass {
                    println!("liveness was seen to be {verdict:?}");
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        health.wait_until_good(Probe::Readiness).await.unwrap();
        println!("good");
        let port = health.serve("127.0.0.1:0").own_thread().start().unwrap();
        // Starts a run that a test can interrupt. A request during the run at start would share
        // that run.
        tokio::time::sleep(SECOND).await;
        drop(health.run_now("slow"));
        // After the output of that run has begun.
        tokio::time::sleep(Duration::from_millis(500)).await;
        println!("at {}", port.local_addr());
        loop {
            print_verdicts(&health);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

async fn print_events(mut events: Subscription) {
    while let Some(event) = events.next().await {
        match event {
            Event::Check(CheckTransition {
                name, to, reason, ..
            }) => {
                let reason = reason.map_or("fine", |reason| reason.as_str());
                println!("{name}: {to}, {reason}");
            }
            Event::Verdict(VerdictTransition {
                probe, from, to, ..
            }) => {
                println!("{probe}: {from} → {to}");
            }
            other => println!("{other:?}"),
        }
    }
}

fn print_verdicts(health: &Health) {
    let liveness = health.verdict(Probe::Liveness).status;
    let readiness = health.verdict(Probe::Readiness);
    let why: String = readiness
        .checks
        .iter()
        .filter_map(|check| Some(format!(": {} {}", check.name, check.reason?)))
        .collect();
    println!(
        "now liveness {liveness}, readiness {}{why}",
        readiness.status
    );
}

/// A child and its output.
struct Running {
    process: Child,
    printed: Receiver<String>,
    /// The address of its port, once it was printed.
    address: Option<String>,
}

impl Running {
    fn start(test: &str, variables: &[(&str, &OsStr)]) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env(CHILD, "1")
            .envs(variables.iter().copied())
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
        Self {
            process,
            printed,
            address: None,
        }
    }

    /// Returns the lines since the last call.
    fn lines(&self) -> Vec<String> {
        self.printed.try_iter().collect()
    }

    fn lines_for(&self, time: Duration) -> Vec<String> {
        thread::sleep(time);
        self.lines()
    }

    fn wait_for(&self, wanted: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line| line != wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error}: {wanted:?} is not in {seen:#?}"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A directory of this test. It is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("tower-health-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
