//! HAProxy, with every kind of health check.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
};

use super::{
    process::{Process, installed},
    service::Addresses,
};

pub(crate) struct HaProxy {
    _process: Process,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

/// The name of a server in the table, and its backend.
pub(crate) const ROWS: [(&str, &str); 5] = [
    ("HAProxy, `option httpchk GET /ready`", "get"),
    ("HAProxy, bare `option httpchk`", "bare"),
    ("HAProxy, `option httpchk HEAD /ready`", "head"),
    ("HAProxy, `http-check expect rstring`", "body"),
    ("HAProxy, `agent-check`", "agent"),
];

impl HaProxy {
    pub(crate) fn start(addresses: &Addresses) -> Self {
        installed("haproxy", "-v", "apt-get install haproxy");
        // The path of a Unix socket is limited in length.
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("stats");
        let config = directory.path().join("haproxy.cfg");
        fs::write(&config, configuration(&socket, addresses)).unwrap();
        let process = Process::start(
            Command::new("haproxy")
                .args(["-db", "-q", "-f"])
                .arg(&config),
        );
        Self {
            _process: process,
            socket,
            _directory: directory,
        }
    }

    /// Returns the state of the server in a backend, once it has been checked.
    pub(crate) fn state(&self, backend: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.write_all(b"show stat\n").ok()?;
        let mut table = String::new();
        stream.read_to_string(&mut table).ok()?;
        let mut lines = table.lines();
        let names: Vec<&str> = lines.next()?.trim_start_matches("# ").split(',').collect();
        let row = lines
            .map(|line| line.split(',').collect::<Vec<_>>())
            .find(|row| row[..2] == [backend, "server"])?;
        let column = |name| row[names.iter().position(|&known| known == name).unwrap()];
        // During a check, and before the first check, there is no result yet.
        let asked = |status: &str| !status.starts_with('*') && status != "INI";
        let agent = backend != "agent" || asked(column("agent_status"));
        (asked(column("check_status")) && agent).then(|| {
            let weight = match (column("status"), column("weight")) {
                ("UP", weight) if weight != "100" => format!(", weight {weight}"),
                _ => String::new(),
            };
            format!("{}{weight}", column("status"))
        })
    }
}

fn configuration(socket: &std::path::Path, addresses: &Addresses) -> String {
    let (http, agent) = (addresses.http, addresses.agent);
    format!(
        r#"
global
    stats socket {} mode 600 level admin
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
    timeout check 2s
    default-server inter 200ms fastinter 200ms downinter 200ms rise 1 fall 1 weight 100
backend get
    option httpchk GET /ready
    server server {http} check
backend bare
    option httpchk
    server server {http} check
backend head
    option httpchk HEAD /ready
    server server {http} check
backend body
    option httpchk GET /ready
    http-check expect status 200
    http-check expect rstring '"status":"(pass|warn)"'
    server server {http} check
backend agent
    option httpchk GET /live
    server server {http} check agent-check agent-port {} agent-inter 200ms
"#,
        socket.display(),
        agent.port()
    )
}
