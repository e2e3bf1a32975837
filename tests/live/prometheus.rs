//! A real Prometheus with the documented alert rules, while the engine of one service ends and the
//! engine of another stalls.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower_health::{Check, Health, Probe, Reason, Status, report::VerdictReason};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

const RULES: &str = include_str!("../../docs/prometheus-rules.yml");

#[test]
fn the_documented_alerts_fire_when_the_engine_ends_or_stalls() {
    let exporter = free_address();
    PrometheusBuilder::new()
        .with_http_listener(exporter)
        .install()
        .unwrap();
    let (ended, stalled, fine) = (runtime(), runtime(), runtime());
    let healths = [("ended", &ended), ("stalled", &stalled), ("fine", &fine)]
        .map(|(service, runtime)| health(service, runtime));
    // A check that passes until it flaps.
    let flaps = Arc::new(AtomicBool::new(false));
    let warned = AtomicBool::new(false);
    let flapping = Arc::clone(&flaps);
    let flapper = Check::blocking("flapper", move || {
        if flapping.load(Ordering::Relaxed) && !warned.fetch_not(Ordering::Relaxed) {
            Status::Warn
        } else {
            Status::Pass
        }
    });
    fine.block_on(healths[2].add(flapper.period(SECOND)))
        .unwrap();
    let prometheus = Prometheus::start(exporter);

    prometheus.wait_for("every service to be ready", |prometheus| {
        prometheus.query("count(health_status{probe=\"readiness\"} == 1)") == Some(3.0)
    });
    // Long enough that every rule sees only passing checks in its range.
    thread::sleep(6 * SECOND);
    assert_eq!(prometheus.firing(), BTreeSet::new());

    // A reader on another thread, at the end of the runtime.
    let (saw, seen) = mpsc::channel();
    let reader = healths[0].clone();
    thread::spawn(move || {
        let verdict = loop {
            let verdict = reader.verdict(Probe::Readiness);
            if verdict.status != Status::Pass {
                break verdict;
            }
            thread::yield_now();
        };
        // A reader that has seen the end once sees it everywhere.
        _ = saw.send((verdict, reader.check("clock"), reader.report()));
    });
    drop(ended);
    let (verdict, check, report) = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!(verdict.reason, Some(VerdictReason::EngineStopped));
    assert_eq!(check.unwrap().reason, Some(Reason::EngineStopped));
    assert_eq!(report.checks[0].reason, Some(Reason::EngineStopped));

    flaps.store(true, Ordering::Relaxed);

    // A task that blocks the only worker.
    let (release, released) = mpsc::channel::<()>();
    stalled.spawn(async move { _ = released.recv() });

    let expected = [
        ("CriticalHealthCheckFails", "ended"),
        ("HealthCheckFlaps", "fine"),
        ("HealthCheckNotGood", "ended"),
        ("HealthChecksCeased", "ended"),
        ("HealthChecksCeased", "stalled"),
        ("ServiceMostlyNotReady", "ended"),
        ("ServiceNotLive", "ended"),
        ("ServiceNotReady", "ended"),
    ];
    let expected = expected.map(|(alert, service)| (alert.to_owned(), service.to_owned()));
    prometheus.wait_for("the alerts", |prometheus| {
        prometheus.firing() == BTreeSet::from(expected.clone())
    });

    drop(release);
    prometheus.wait_for("the stall to be over", |prometheus| {
        !prometheus
            .firing()
            .iter()
            .any(|(_, service)| service == "stalled")
    });
}

/// Returns a runtime with one worker.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn health(service: &str, runtime: &Runtime) -> Health {
    let check = Check::new("clock", || async { Status::Pass });
    Health::builder(service)
        .check(check.period(SECOND))
        .runtime(runtime.handle().clone())
        .start()
        .unwrap()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

struct Prometheus {
    process: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes and evaluates often, with the documented rules. Minutes are
    /// replaced by seconds.
    fn start(exporter: SocketAddr) -> Self {
        let directory =
            env::temp_dir().join(format!("tower-health-prometheus-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let rules = RULES
            .replace("for: 1m", "for: 3s")
            .replace("> 300", "> 3")
            .replace("[2m]", "[5s]");
        for unlikely in ["1m", "300", "2m"] {
            assert!(!rules.contains(unlikely), "{unlikely} would be too long");
        }
        fs::write(directory.join("rules.yml"), rules).unwrap();
        let config = format!(
            "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: services, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
        );
        fs::write(directory.join("prometheus.yml"), config).unwrap();
        let address = free_address();
        let process = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                directory.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{error}: install Prometheus: apt-get install prometheus")
            });
        Self {
            process,
            address,
            directory,
        }
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(
                began.elapsed() < PATIENCE,
                "waited for {what}: {:?}",
                self.get("/api/v1/alerts")
            );
            thread::sleep(SECOND / 5);
        }
    }

    /// Returns the firing alerts, each with the name of the service.
    fn firing(&self) -> BTreeSet<(String, String)> {
        let answer = self.get("/api/v1/alerts").unwrap_or_default();
        let alerts = answer["data"]["alerts"].as_array().cloned();
        let firing = alerts
            .into_iter()
            .flatten()
            .filter(|alert| alert["state"] == "firing");
        firing
            .map(|alert| {
                let label = |name: &str| {
                    alert["labels"][name]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                };
                (label("alertname"), label("service"))
            })
            .collect()
    }

    /// Returns the value of an expression with a single value.
    fn query(&self, expression: &str) -> Option<f64> {
        let escaped: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}"))?;
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }

    fn get(&self, path: &str) -> Option<Value> {
        // Prometheus may not listen yet.
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
        _ = fs::remove_dir_all(&self.directory);
    }
}
