//! Envoy in front of the replicas. It never retries a request.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    Proxy,
    process::{Process, python},
};

pub(crate) struct Envoy {
    _process: Process,
    directory: tempfile::TempDir,
}

impl Envoy {
    pub(crate) fn start(ports: [u16; 2], replicas: &[u16]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("envoy.json");
        fs::write(&config, configuration(ports, replicas).to_string()).unwrap();
        let mut command = Command::new(python().with_file_name("envoy"));
        command.args([
            "--log-level",
            "error",
            "--concurrency",
            "1",
            "--disable-hot-restart",
        ]);
        command.arg("--config-path").arg(&config);
        command
            .arg("--admin-address-path")
            .arg(directory.path().join("admin"));
        Self {
            _process: Process::start(&mut command),
            directory,
        }
    }

    fn admin(&self, path: &str) -> Option<String> {
        let address = fs::read_to_string(self.directory.path().join("admin")).ok()?;
        let mut stream = TcpStream::connect(address).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    }
}

impl Proxy for Envoy {
    fn serving(&self) -> Option<[usize; 2]> {
        self.admin("/ready")?;
        // The output has one line for each property of a host.
        let clusters = self.admin("/clusters")?;
        let serving = |cluster: &str| {
            let healthy = |line: &&str| {
                line.starts_with(&format!("{cluster}::127.0.0.1:"))
                    && line.ends_with("::health_flags::healthy")
            };
            clusters.lines().filter(healthy).count()
        };
        Some([serving("h1"), serving("h2")])
    }
}

const HTTP: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

fn of_type(name: &str) -> String {
    format!("type.googleapis.com/{name}")
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn configuration(ports: [u16; 2], replicas: &[u16]) -> Value {
    let names = ["h1", "h2"];
    let listeners = names.into_iter().zip(ports).map(|(name, port)| {
        let route = json!({"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "60s"}});
        let manager = json!({
            "@type": of_type(MANAGER),
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": of_type(ROUTER)}}],
        });
        let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
        json!({"name": name, "address": address(port), "filter_chains": [{"filters": [filter]}]})
    });
    let clusters = names.into_iter().map(|name| {
        let protocol = match name {
            "h1" => "http_protocol_options",
            _ => "http2_protocol_options",
        };
        let hosts = replicas.iter().map(|&port| json!({"endpoint": {"address": address(port)}}));
        let check = json!({
            "timeout": "2s",
            "interval": "0.2s",
            "no_traffic_interval": "0.2s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "http_health_check": {"path": "/ready"},
        });
        json!({
            "name": name,
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
            "health_checks": [check],
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": hosts.collect::<Value>()}],
            },
            "typed_extension_protocol_options": {
                HTTP: {"@type": of_type(HTTP), "explicit_http_config": {protocol: {}}},
            },
        })
    });
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": listeners.collect::<Value>(),
            "clusters": clusters.collect::<Value>(),
        },
    })
}
