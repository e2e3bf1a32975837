//! Prometheus' blackbox exporter.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

use super::{
    ask::get,
    process::{Process, installed},
    service::Addresses,
};

pub(crate) struct Blackbox {
    _process: Process,
    port: u16,
    targets: [(&'static str, String); 3],
    _directory: tempfile::TempDir,
}

/// The name of a module in the table, and the module.
pub(crate) const ROWS: [(&str, &str); 3] = [
    ("blackbox exporter, `http`", "http"),
    (
        "blackbox exporter, `fail_if_body_not_matches_regexp`",
        "body",
    ),
    ("blackbox exporter, `grpc`", "grpc"),
];

const MODULES: &str = r#"
modules:
  http:
    prober: http
    http: {preferred_ip_protocol: ip4}
  body:
    prober: http
    http:
      preferred_ip_protocol: ip4
      valid_status_codes: [200, 503]
      fail_if_body_not_matches_regexp: ['"status":"(pass|warn)"']
  grpc:
    prober: grpc
    grpc: {preferred_ip_protocol: ip4}
"#;

impl Blackbox {
    pub(crate) fn start(addresses: &Addresses) -> Self {
        const PROGRAM: &str = "prometheus-blackbox-exporter";
        installed(
            PROGRAM,
            "--version",
            "apt-get install prometheus-blackbox-exporter",
        );
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("blackbox.yml");
        fs::write(&config, MODULES).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(PROGRAM);
        command.args([
            "--log.level=error",
            &format!("--web.listen-address=127.0.0.1:{port}"),
        ]);
        command.arg(format!("--config.file={}", config.display()));
        let ready = format!("http://{}/ready", addresses.http);
        Self {
            _process: Process::start(&mut command),
            port,
            targets: [
                ("http", ready.clone()),
                ("body", ready),
                ("grpc", addresses.grpc.to_string()),
            ],
            _directory: directory,
        }
    }

    /// Returns the result of a probe with a module.
    pub(crate) fn state(&self, module: &str) -> Option<String> {
        let (_, target) = self.targets.iter().find(|(name, _)| *name == module)?;
        let port = self.port;
        let asked = format!("http://127.0.0.1:{port}/probe?module={module}&target={target}");
        let (_, metrics) = get(&asked)?;
        let metric = |name: &str| {
            let of = |line: &str| {
                line.strip_prefix(name)?
                    .strip_prefix(' ')
                    .map(str::to_owned)
            };
            metrics.lines().find_map(of)
        };
        let code = metric("probe_http_status_code").filter(|_| module == "http");
        let code = code.map_or(String::new(), |code| format!(", {code}"));
        Some(match metric("probe_success")?.as_str() {
            "1" => format!("success{code}"),
            _ => format!("failure{code}"),
        })
    }
}
