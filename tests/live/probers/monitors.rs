//! Monitoring systems that probe readiness: monit, `check_http` of the monitoring plugins, and the
//! request of Consul.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use super::{
    process::{Process, installed},
    service::Addresses,
};

pub(crate) struct Monit {
    _process: Process,
    config: PathBuf,
    _directory: tempfile::TempDir,
}

impl Monit {
    pub(crate) fn start(addresses: &Addresses) -> Self {
        installed("monit", "-V", "apt-get install monit");
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("monitrc");
        let at = directory.path().display();
        let text = format!(
            r#"set daemon 1
set log {at}/log
set pidfile {at}/pid
set idfile {at}/id
set statefile {at}/state
set httpd unixsocket {at}/socket
    allow localhost
check host orders with address 127.0.0.1
    if failed port {} protocol http request "/ready" status = 200 with timeout 2 seconds then alert
"#,
            addresses.http.port()
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new("monit");
        command.arg("-I").arg("-c").arg(&config);
        Self {
            _process: Process::start(&mut command),
            config,
            _directory: directory,
        }
    }

    /// Returns the state of the service in monit.
    pub(crate) fn state(&self) -> Option<String> {
        let output = Command::new("monit")
            .arg("-c")
            .arg(&self.config)
            .args(["-B", "summary", "orders"])
            .output()
            .ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        let row = said
            .lines()
            .find(|line| line.trim_start().starts_with("orders"))?;
        let state = row.trim_start().strip_prefix("orders")?.trim();
        Some(state.strip_suffix("Remote Host")?.trim().to_owned())
    }
}

/// Returns the output of `check_http`.
pub(crate) fn check_http(addresses: &Addresses) -> Option<String> {
    const PLUGIN: &str = "/usr/lib/nagios/plugins/check_http";
    let output = Command::new(PLUGIN)
        .args(["-I", "127.0.0.1", "-u", "/ready", "-p"])
        .arg(addresses.http.port().to_string())
        .output();
    let output = output.expect("check_http is missing: apt-get install monitoring-plugins-basic");
    Some(match output.status.code()? {
        0 => "OK".to_owned(),
        1 => "WARNING".to_owned(),
        2 => "CRITICAL".to_owned(),
        other => other.to_string(),
    })
}

/// Returns the response to a request as Consul's agent sends it. Consul shows the code and the body
/// to its users.
pub(crate) fn consul(addresses: &Addresses) -> Option<String> {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "10",
            "--user-agent",
            "Consul Health Check",
        ])
        .args(["--header", "Accept: text/plain, text/*, */*"])
        .args(["--write-out", "\n%{http_code}"])
        .arg(format!("http://{}/ready", addresses.http))
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let (body, code) = said.rsplit_once('\n')?;
    Some(format!("{code}, {}", body.lines().next()?))
}
