//! Notifications to systemd. A child of this test sends them to `NOTIFY_SOCKET`, which this test
//! listens on.
#![cfg(unix)]

use std::{
    env, fs,
    future::pending,
    io::Write,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use tower_health::{Check, Health, Outcome, Reason, Status};

const CHILD: &str = "TOWER_HEALTH_SYSTEMD_CHILD";
const TEST: &str = "systemd_is_notified_of_the_state_from_start_to_stop";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn systemd_is_notified_of_the_state_from_start_to_stop() {
    if env::var_os(CHILD).is_some() {
        return service();
    }
    let mut systemd = Systemd::start();
    assert_eq!(
        systemd.hear(),
        [
            "WATCHDOG=1",
            "STATUS=starting: db pending, warm-cache pending"
        ]
    );
    systemd.command("start");
    systemd.hears("READY=1");
    systemd.hears("STATUS=ready");
    // Repeatedly, at half the configured interval.
    let began = Instant::now();
    for _ in 0..4 {
        systemd.hears("WATCHDOG=1");
    }
    let took = began.elapsed();
    assert!(took >= SECOND && took < 30 * SECOND, "{took:?}");
    systemd.command("warn");
    systemd.hears("STATUS=ready: db busy");
    systemd.command("fail");
    systemd.hears("STATUS=not ready: db authentication failed");
    systemd.command("pass");
    systemd.hears("STATUS=ready");
    systemd.command("maintain");
    systemd.hears("STATUS=maintenance");
    // The process must be restarted, which is what the watchdog does.
    systemd.command("die");
    let silent = systemd.silence();
    assert!(silent >= SECOND, "{silent:?}");
    systemd.command("revive");
    systemd.hears("WATCHDOG=1");
    // A stalled runtime is detected after the bound, which is 1 s here.
    systemd.command("block");
    let silent = systemd.silence();
    assert!(silent >= SECOND, "{silent:?}");
    // The runtime resumes after a while.
    systemd.hears("WATCHDOG=1");
    systemd.command("drain");
    systemd.hears("STOPPING=1");
    systemd.hears("STATUS=draining");
    assert!(
        systemd
            .heard
            .iter()
            .filter(|line| *line == "READY=1")
            .count()
            == 1
    );
    assert!(systemd.heard.iter().all(|line| !line.contains("hunter2")));
}

/// The child: a service that follows commands on its standard input.
fn service() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            tell.send(line).unwrap();
        }
        std::process::exit(0);
    });
    runtime.block_on(async {
        let db = tower_health::testing::ScriptedCheck::new(Status::Pass);
        let (start, started) = tokio::sync::watch::channel(false);
        let health = Health::builder("orders")
            .check(Check::new("db", db.clone()))
            .startup_task("warm-cache", move || {
                let mut started = started.clone();
                async move { started.wait_for(|started| *started).await.map(|_| ()) }
            })
            .watchdog(SECOND)
            .systemd()
            .start()
            .unwrap();
        let mut beat = Some(
            health
                .heartbeat("worker", 3600 * SECOND)
                .liveness()
                .await
                .unwrap(),
        );
        tokio::task::spawn_blocking(move || {
            let handle = tokio::runtime::Handle::current();
            let run = || _ = handle.block_on(health.run_now("db"));
            for line in told {
                match &*line {
                    "start" => start.send(true).unwrap(),
                    "warn" => db.set_outcome(Outcome::warn(Reason::Busy)),
                    "fail" => db.set_outcome(
                        Outcome::fail(Reason::AuthenticationFailed).with_cause("password=hunter2"),
                    ),
                    "pass" => db.set_outcome(Status::Pass),
                    "maintain" => health.maintenance("password=hunter2", 3600 * SECOND),
                    "die" => drop(beat.take()),
                    "revive" => {
                        let again = health.heartbeat("worker", 3600 * SECOND).liveness();
                        beat = Some(handle.block_on(again.into_future()).unwrap());
                    }
                    "block" => drop(handle.spawn(async { thread::sleep(5 * SECOND) })),
                    "drain" => drop(health.drain()),
                    other => panic!("{other}"),
                }
                if matches!(&*line, "warn" | "fail" | "pass") {
                    run();
                }
            }
        });
        pending::<()>().await;
    });
}

/// The service manager that started the service.
struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
    service: Child,
    heard: Vec<String>,
    /// The number of lines that were expected or skipped so far.
    read: usize,
}

impl Systemd {
    fn start() -> Self {
        let path = env::temp_dir().join(format!("tower-health-{}-notify", std::process::id()));
        _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(60 * SECOND)).unwrap();
        let service = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", TEST])
            .env(CHILD, "1")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "1000000")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            socket,
            path,
            service,
            heard: Vec::new(),
            read: 0,
        }
    }

    fn command(&mut self, line: &str) {
        let stdin = self.service.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Returns the lines of the next message.
    fn hear(&mut self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        let message = String::from_utf8(message[..length].to_vec()).unwrap();
        let lines: Vec<String> = message.lines().map(str::to_owned).collect();
        self.heard.extend(lines.clone());
        lines
    }

    /// Waits for a line after the line of the previous call.
    #[track_caller]
    fn hears(&mut self, wanted: &str) {
        let deadline = Instant::now() + 60 * SECOND;
        loop {
            let news = self.heard.get(self.read..).unwrap_or_default();
            if let Some(found) = news.iter().position(|line| line == wanted) {
                self.read += found + 1;
                return;
            }
            assert!(Instant::now() < deadline, "{wanted} is not in {news:#?}");
            self.hear();
        }
    }

    /// Returns how long the keep-alive notifications are missing, once they stop.
    fn silence(&mut self) -> Duration {
        self.socket.set_read_timeout(Some(2 * SECOND)).unwrap();
        let mut last = Instant::now();
        let mut message = [0; 4096];
        let deadline = Instant::now() + 60 * SECOND;
        while last.elapsed() < Duration::from_millis(1_500) {
            assert!(Instant::now() < deadline, "it goes on");
            if let Ok(length) = self.socket.recv(&mut message)
                && String::from_utf8_lossy(&message[..length]).contains("WATCHDOG=1")
            {
                last = Instant::now();
            }
        }
        self.socket.set_read_timeout(Some(60 * SECOND)).unwrap();
        last.elapsed()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        _ = self.service.kill();
        _ = self.service.wait();
        _ = fs::remove_file(&self.path);
    }
}
