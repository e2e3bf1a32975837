//! The results of real probers: HAProxy, Envoy, Caddy, Traefik, Varnish, Apache, monit,
//! `check_http`, Prometheus' blackbox exporter, curl, and a gRPC client in Python, in every state
//! of the service. The table in `docs/probers.md` states the expected results.

mod ask;
mod blackbox;
mod envoy;
mod haproxy;
mod monitors;
mod process;
mod proxies;
mod service;

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write as _},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tower_health::{Check, Status};

use self::{
    ask::{curl, grpc_in_python, program},
    blackbox::Blackbox,
    envoy::Envoy,
    haproxy::HaProxy,
    monitors::{Monit, check_http, consul},
    process::{Process, installed, python},
    proxies::Proxies,
    service::Service,
};

const DOCUMENT: &str = include_str!("../../../docs/probers.md");

/// The time in which a prober must detect a state.
const PATIENCE: Duration = Duration::from_secs(60);

const STATES: [&str; 8] = [
    "starting",
    "pass",
    "warn",
    "fail",
    "recovered",
    "maintenance",
    "draining",
    "replaced",
];

/// Returns the result that the document states for a prober in a state.
fn documented(prober: &str, state: usize) -> String {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
    let row = DOCUMENT
        .lines()
        .filter(|line| line.starts_with('|'))
        .find(|line| cells(line).next() == Some(prober));
    let row = row.unwrap_or_else(|| panic!("docs/probers.md has no row for {prober}"));
    cells(row)
        .nth(state + 1)
        .expect("a cell for each state")
        .to_owned()
}

struct Probers {
    haproxy: HaProxy,
    envoy: Envoy,
    blackbox: Blackbox,
    proxies: Proxies,
    monit: Monit,
}

type Row<'p> = (&'static str, Box<dyn Fn(&Service) -> Option<String> + 'p>);

impl Probers {
    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for (name, backend) in haproxy::ROWS {
            rows.push((name, Box::new(|_| self.haproxy.state(backend))));
        }
        for (name, cluster) in envoy::ROWS {
            rows.push((name, Box::new(|_| self.envoy.state(cluster))));
        }
        for (name, module) in blackbox::ROWS {
            rows.push((name, Box::new(|_| self.blackbox.state(module))));
        }
        for (index, name) in proxies::ROWS.into_iter().enumerate() {
            rows.push((name, Box::new(move |_| self.proxies.state(index))));
        }
        rows.push(("monit, `status = 200`", Box::new(|_| self.monit.state())));
        rows.push((
            "check_http, `-u /ready`",
            Box::new(|service| check_http(&service.addresses)),
        ));
        rows.push((
            "Consul's request, `Accept: text/plain, text/*, */*`",
            Box::new(|service| consul(&service.addresses)),
        ));
        rows.push((
            "curl, HTTP/2 with prior knowledge",
            Box::new(|service| curl(&service.addresses)),
        ));
        for (name, asked) in [
            ("gRPC in Python, `Check`", ""),
            ("gRPC in Python, `Check` of a check", "db"),
        ] {
            let check =
                move |service: &Service| Some(grpc_in_python(&service.addresses, "check", asked));
            rows.push((name, Box::new(check)));
        }
        let http = |service: &Service| program(&format!("http://{}/ready", service.addresses.http));
        let grpc = |service: &Service| program(&format!("grpc://{}", service.addresses.grpc));
        rows.push(("`tower-health-probe http://…/ready`", Box::new(http)));
        rows.push(("`tower-health-probe grpc://…`", Box::new(grpc)));
        rows
    }
}

#[test]
fn every_prober_sees_the_documented_state() {
    let mut service = Service::start(None);
    let probers = Probers {
        haproxy: HaProxy::start(&service.addresses),
        envoy: Envoy::start(&service.addresses),
        blackbox: Blackbox::start(&service.addresses),
        proxies: Proxies::start(&service.addresses),
        monit: Monit::start(&service.addresses),
    };
    let rows = probers.rows();
    let mut seen = vec![Vec::new(); rows.len()];
    for (index, state) in STATES.into_iter().enumerate() {
        match state {
            "starting" => {}
            "pass" | "recovered" => service.is(Status::Pass),
            "warn" => service.is(Status::Warn),
            "fail" => service.is(Status::Fail),
            "maintenance" => service.health.maintenance("a move", PATIENCE * 10),
            "draining" => drop(service.health.drain()),
            _ => {
                service = service.restart();
                service.is(Status::Pass);
            }
        }
        for ((prober, sees), seen) in rows.iter().zip(&mut seen) {
            let expected = documented(prober, index);
            let began = Instant::now();
            let mut last = sees(&service);
            while last.as_ref() != Some(&expected) && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(50));
                last = sees(&service);
            }
            let last = last.unwrap_or_else(|| "nothing".to_owned());
            assert_eq!(last, expected, "{prober}, {state}");
            seen.push(last);
        }
    }
    let mut table = String::new();
    writeln!(table, "| prober | {} |", STATES.join(" | ")).unwrap();
    writeln!(table, "|{}", " --- |".repeat(STATES.len() + 1)).unwrap();
    for ((prober, _), seen) in rows.iter().zip(&seen) {
        writeln!(table, "| {prober} | {} |", seen.join(" | ")).unwrap();
    }
    // Not captured, because this output is the purpose of the test.
    std::io::stdout()
        .write_all(format!("\n{table}\n").as_bytes())
        .unwrap();
    assert!(
        DOCUMENT.contains(&table),
        "the table of docs/probers.md is another"
    );
}

#[test]
fn a_watch_in_python_receives_each_status() {
    let service = Service::start(None);
    let address = service.addresses.grpc.to_string();
    let watch = |name: &str| {
        let mut command = Command::new(python());
        command.args(["-u", "probers/health.py", &address, "watch", name]);
        let (process, output) = Process::piped(&mut command);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                _ = tell.send(line);
            }
        });
        (process, told)
    };
    let (_whole, whole) = watch("");
    let (_tenant, tenant) = watch("tenant-7");
    let next = |told: &mpsc::Receiver<String>| told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (next(&whole), next(&tenant)),
        ("NOT_SERVING".into(), "SERVICE_UNKNOWN".into())
    );
    service.is(Status::Pass);
    assert_eq!(next(&whole), "SERVING");
    service.is(Status::Fail);
    assert_eq!(next(&whole), "NOT_SERVING");
    service.is(Status::Warn);
    assert_eq!(next(&whole), "SERVING");
    let added = service
        .health
        .add(Check::new("tenant-7", || async { Status::Pass }));
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(added)
        .unwrap();
    assert_eq!(next(&tenant), "SERVING");
    let list = grpc_in_python(&service.addresses, "list", "");
    assert_eq!(
        list.lines().collect::<Vec<_>>(),
        [
            "'' SERVING",
            "'db' SERVING",
            "'liveness' SERVING",
            "'readiness' SERVING",
            "'startup' SERVING",
            "'tenant-7' SERVING",
        ]
    );
    assert_eq!(
        grpc_in_python(&service.addresses, "check", "nobody"),
        "NOT_FOUND"
    );
    service.health.drain();
    assert_eq!(next(&whole), "NOT_SERVING");
    assert_eq!(
        grpc_in_python(&service.addresses, "check", "liveness"),
        "SERVING"
    );
}

#[test]
fn the_documented_configurations_are_valid() {
    installed("haproxy", "-v", "apt-get install haproxy");
    let mut haproxy = Command::new("haproxy");
    haproxy.args(["-c", "-q", "-f", "../../docs/haproxy.cfg"]);
    let mut envoy = Command::new(python().with_file_name("envoy"));
    envoy.args([
        "--mode",
        "validate",
        "--log-level",
        "error",
        "-c",
        "../../docs/envoy.yml",
    ]);
    let mut kubernetes = Command::new(python().with_file_name("kubernetes-validate"));
    kubernetes.args(["--strict", "../../docs/kubernetes.yml"]);
    for mut command in [haproxy, envoy, kubernetes] {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
}
