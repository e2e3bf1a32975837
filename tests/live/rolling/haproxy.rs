//! HAProxy in front of the replicas. It never retries a request.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Proxy,
    process::{Process, installed},
};

pub(crate) struct HaProxy {
    _process: Process,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl HaProxy {
    pub(crate) fn start(ports: [u16; 2], replicas: &[u16]) -> Self {
        installed("haproxy", "-v", "apt-get install haproxy");
        // The path of a Unix socket is limited in length.
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("stats");
        let config = directory.path().join("haproxy.cfg");
        fs::write(&config, configuration(&socket, ports, replicas)).unwrap();
        let mut haproxy = Command::new("haproxy");
        Self {
            _process: Process::start(haproxy.args(["-db", "-q", "-f"]).arg(&config)),
            socket,
            _directory: directory,
        }
    }
}

impl Proxy for HaProxy {
    fn serving(&self) -> Option<[usize; 2]> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.write_all(b"show stat\n").ok()?;
        let mut table = String::new();
        stream.read_to_string(&mut table).ok()?;
        let mut lines = table.lines();
        let names: Vec<&str> = lines.next()?.trim_start_matches("# ").split(',').collect();
        let column = |name| names.iter().position(|&known| known == name);
        let (status, asked) = (column("status")?, column("check_status")?);
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        let serves = |row: &&Vec<&str>| row[status] == "UP" && row[asked].starts_with('L');
        Some(["h1", "h2"].map(|backend| {
            let servers = rows.iter().filter(|row| {
                row[0] == backend && row.get(1).is_some_and(|name| name.starts_with("replica"))
            });
            servers.filter(serves).count()
        }))
    }
}

fn configuration(socket: &Path, [h1, h2]: [u16; 2], replicas: &[u16]) -> String {
    let servers = |protocol: &str| {
        let mut servers = String::new();
        for port in replicas {
            writeln!(
                servers,
                "    server replica{port} 127.0.0.1:{port} check {protocol}"
            )
            .unwrap();
        }
        servers
    };
    format!(
        r#"
global
    stats socket {} mode 600 level admin
    nbthread 1
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    option httpchk GET /ready
    default-server inter 200ms fastinter 200ms downinter 200ms rise 1 fall 1
frontend in1
    bind 127.0.0.1:{h1}
    default_backend h1
frontend in2
    bind 127.0.0.1:{h2} proto h2
    default_backend h2
backend h1
{}
backend h2
{}
"#,
        socket.display(),
        servers(""),
        servers("proto h2"),
    )
}
