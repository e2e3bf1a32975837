//! Envoy, with active checks over HTTP and gRPC, and with the headers of ordinary responses.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{
    ask::get,
    process::{Process, python},
    service::{Addresses, CLUSTER},
};

pub(crate) struct Envoy {
    _process: Process,
    directory: tempfile::TempDir,
}

/// The name of a cluster in the table, and the cluster.
pub(crate) const ROWS: [(&str, &str); 5] = [
    ("Envoy, HTTP", "get"),
    ("Envoy, HTTP `HEAD`", "head"),
    ("Envoy, `service_name_matcher`", "named"),
    ("Envoy, gRPC", "grpc"),
    ("Envoy, by an ordinary response", "traffic"),
];

impl Envoy {
    pub(crate) fn start(addresses: &Addresses) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("envoy.json");
        fs::write(&config, configuration(addresses).to_string()).unwrap();
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

    /// Returns the health of the host in a cluster, as Envoy sees it.
    pub(crate) fn state(&self, cluster: &str) -> Option<String> {
        if cluster == "traffic" {
            // Envoy learns the state from the response to an ordinary request.
            let listeners = self.admin("/listeners?format=json")?;
            let port = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
            get(&format!("http://127.0.0.1:{}/orders", port["port_value"]))?;
        }
        let clusters = self.admin("/clusters?format=json")?;
        let clusters = clusters["cluster_statuses"].as_array()?;
        let cluster = clusters.iter().find(|known| known["name"] == cluster)?;
        let flags = &cluster["host_statuses"][0]["health_status"];
        let has = |flag: &str| flags[flag] == true;
        Some(if has("excluded_via_immediate_hc_fail") {
            "excluded".to_owned()
        } else if has("failed_active_health_check") {
            "unhealthy".to_owned()
        } else if has("failed_active_degraded_check") {
            "degraded".to_owned()
        } else {
            "healthy".to_owned()
        })
    }

    fn admin(&self, path: &str) -> Option<Value> {
        let address = fs::read_to_string(self.admin_file()).ok()?;
        if address.is_empty() || get(&format!("http://{address}/ready"))?.0 != 200 {
            return None;
        }
        let (_, body) = get(&format!("http://{address}{path}"))?;
        serde_json::from_str(&body).ok()
    }

    fn admin_file(&self) -> PathBuf {
        self.directory.path().join("admin")
    }
}

fn configuration(addresses: &Addresses) -> Value {
    use serde_json::json;

    let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let cluster = |name: &str, port: u16, interval: &str, check: (&str, Value)| {
        let mut checks = json!({
            "timeout": "2s",
            "interval": interval,
            "no_traffic_interval": interval,
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
        });
        checks[check.0] = check.1;
        let host = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        json!({
            "name": name,
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
            "health_checks": [checks],
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": host}}]}],
            },
        })
    };
    let http = |name, interval, check| {
        cluster(
            name,
            addresses.http.port(),
            interval,
            ("http_health_check", check),
        )
    };
    let grpc_check = ("grpc_health_check", json!({"service_name": ""}));
    let mut grpc = cluster("grpc", addresses.grpc.port(), "0.2s", grpc_check);
    grpc["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "traffic"}});
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                },
            }],
        },
    });
    json!({
        "admin": {"address": any_port},
        "static_resources": {
            "listeners": [{
                "name": "in",
                "address": any_port,
                "filter_chains": [{"filters": [manager]}],
            }],
            "clusters": [
                http("get", "0.2s", json!({"path": "/ready"})),
                http("head", "0.2s", json!({"path": "/ready", "method": "HEAD"})),
                http(
                    "named",
                    "0.2s",
                    json!({"path": "/ready", "service_name_matcher": {"exact": CLUSTER}}),
                ),
                // The active check probes liveness only. The drain is visible in the traffic alone.
                http("traffic", "2s", json!({"path": "/live"})),
                grpc,
            ],
        },
    })
}
