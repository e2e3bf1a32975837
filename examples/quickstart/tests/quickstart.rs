//! Drives the quickstart from outside, as a new user would.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// The time in which a change is visible, according to the README.
const SOON: Duration = Duration::from_secs(3);

struct Quickstart {
    process: Child,
    address: String,
    printed: Arc<Mutex<String>>,
}

impl Quickstart {
    fn start(upstream: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_quickstart"))
            .env("PORT", "0")
            .env("QUICKSTART_UPSTREAM", upstream)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap()
            .split(". ")
            .next()
            .unwrap()
            .to_owned();
        let printed = Arc::<Mutex<String>>::default();
        let told = Arc::clone(&printed);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut told = told.lock().unwrap();
                told.push_str(&line);
                told.push('\n');
            }
        });
        Self {
            process,
            address,
            printed,
        }
    }

    /// Waits for a log line that contains all of `wanted`.
    fn logs(&self, wanted: &[&str]) {
        let began = Instant::now();
        loop {
            let printed = self.printed.lock().unwrap().clone();
            let has = |line: &str| wanted.iter().all(|wanted| line.contains(wanted));
            if printed.lines().any(has) {
                return;
            }
            assert!(
                began.elapsed() < 10 * SOON,
                "{wanted:?} is not in {printed}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the head and the body of a response.
    fn ask(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(10 * SOON)).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn code(&self, path: &str) -> u16 {
        self.ask("GET", path)
            .0
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    fn act(&self, path: &str) {
        assert!(self.ask("POST", path).0.contains(" 200 "), "{path}");
    }

    /// Waits until `/ready` returns this code and a body that contains this text. It allows more
    /// time than the README promises, for slow machines, and prints the actual time.
    fn ready(&self, code: u16, says: &str) -> (String, String) {
        let began = Instant::now();
        loop {
            let (head, body) = self.ask("GET", "/ready");
            if head.contains(&format!(" {code} ")) && body.contains(says) {
                println!("/ready says {code} {says} after {:?}", began.elapsed());
                return (head, body);
            }
            assert!(
                began.elapsed() < 10 * SOON,
                "/ready does not become {code} {says}: {head}\n{body}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[test]
fn each_broken_dependency_changes_ready_and_repair_restores_it() {
    let quickstart = Quickstart::start("up");
    quickstart.ready(200, "\"pass\"");
    for path in ["/", "/health", "/live", "/startup", "/health/database"] {
        assert_eq!(quickstart.code(path), 200, "{path}");
    }

    let metric = "health_check_status{service=\"quickstart\",check=\"database\"}";
    assert!(
        quickstart
            .ask("GET", "/metrics")
            .1
            .contains(&format!("{metric} 1"))
    );

    quickstart.act("/demo/break/database");
    let (head, body) = quickstart.ready(503, "database");
    assert!(head.to_lowercase().contains("\r\nretry-after: 1"), "{head}");
    assert!(
        body.contains("not found") && !body.contains(".redb") && !body.contains("tmp"),
        "{body}"
    );
    quickstart.logs(&["WARN", "database", "not found"]);
    quickstart.logs(&["ERROR", "readiness", "fail"]);
    assert_eq!(quickstart.code("/live"), 200);
    assert_eq!(quickstart.code("/startup"), 200);
    assert_eq!(quickstart.code("/health/database"), 503);
    assert_eq!(quickstart.code("/"), 200, "a layer takes nothing away");
    let (head, metrics) = quickstart.ask("GET", "/metrics");
    assert!(
        head.contains(" 200 ") && metrics.contains(&format!("{metric} 0")),
        "{metrics}"
    );
    quickstart.act("/demo/mend/database");
    quickstart.ready(200, "\"pass\"");

    for (thing, reason) in [
        ("upstream", "connection refused"),
        ("disk", "limit exceeded"),
    ] {
        quickstart.act(&format!("/demo/break/{thing}"));
        let (_, body) = quickstart.ready(200, "\"status\":\"warn\"");
        assert!(body.contains(reason), "{body}");
        quickstart.act(&format!("/demo/mend/{thing}"));
        quickstart.ready(200, "{\"status\":\"pass\"");
    }
}

#[test]
fn a_shared_dependency_that_has_never_passed_fails_readiness_but_not_startup() {
    let quickstart = Quickstart::start("down");
    quickstart.ready(503, "\"output\":\"upstream connection refused\"");
    assert_eq!(quickstart.code("/startup"), 200);
    assert_eq!(quickstart.code("/live"), 200);
    quickstart.act("/demo/mend/upstream");
    quickstart.ready(200, "\"pass\"");
}

#[test]
fn unknown_things_wrong_methods_and_a_taken_port_are_errors() {
    let quickstart = Quickstart::start("up");
    assert!(
        quickstart
            .ask("POST", "/demo/break/moon")
            .0
            .contains(" 404 ")
    );
    assert!(
        quickstart
            .ask("GET", "/demo/break/database")
            .0
            .contains(" 405 ")
    );
    let port = quickstart.address.rsplit(':').next().unwrap();
    let taken = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .env("PORT", port)
        .output()
        .unwrap();
    assert!(!taken.status.success());
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(said.contains("set PORT to a free one"), "{said}");
}
