//! Proxies that probe readiness, and send requests to a service only while it is ready.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Command,
};

use serde_json::json;

use super::{
    ask::get,
    process::{Process, installed, python},
    service::Addresses,
};

pub(crate) struct Proxies(Vec<Proxy>);

struct Proxy {
    _process: Process,
    port: u16,
    _directory: tempfile::TempDir,
}

/// The name of each proxy in the table, in the order in which they are started.
pub(crate) const ROWS: [&str; 4] = [
    "Caddy, `health_uri /ready`",
    "Traefik, `healthCheck.path: /ready`",
    "Varnish, `.probe` with `.url = \"/ready\"`",
    "Apache, `hcmethod=GET hcuri=/ready`",
];

impl Proxies {
    pub(crate) fn start(addresses: &Addresses) -> Self {
        installed("varnishd", "-V", "apt-get install varnish");
        installed("apache2", "-v", "apt-get install apache2");
        let start = |command: fn(&Path, u16, &str) -> Command| {
            let directory = tempfile::tempdir().unwrap();
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut command = command(directory.path(), port, &addresses.http.to_string());
            Proxy {
                _process: Process::start(command.stderr(std::process::Stdio::null())),
                port,
                _directory: directory,
            }
        };
        Self([caddy, traefik, varnish, apache].map(start).into())
    }

    /// Returns whether a proxy sends requests to the service.
    pub(crate) fn state(&self, index: usize) -> Option<String> {
        let (code, _) = get(&format!("http://127.0.0.1:{}/orders", self.0[index].port))?;
        Some(match code {
            200 => "up".to_owned(),
            502 | 503 => "down".to_owned(),
            other => other.to_string(),
        })
    }
}

fn caddy(directory: &Path, port: u16, service: &str) -> Command {
    let active = json!({
        "uri": "/ready", "interval": "200ms", "timeout": "2s", "expect_status": 200,
    });
    let proxy = json!({
        "handler": "reverse_proxy",
        "upstreams": [{"dial": service}],
        "health_checks": {"active": active},
    });
    let server = json!({
        "listen": [format!("127.0.0.1:{port}")],
        "automatic_https": {"disable": true},
        "routes": [{"handle": [proxy]}],
    });
    let config = json!({
        "admin": {"disabled": true},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"http": {"servers": {"orders": server}}},
    });
    let file = directory.join("caddy.json");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(python().with_file_name("caddy"));
    command.args(["run", "--config"]).arg(file);
    command
        .env("HOME", directory)
        .env("XDG_DATA_HOME", directory);
    command.env("XDG_CONFIG_HOME", directory);
    command
}

fn traefik(directory: &Path, port: u16, service: &str) -> Command {
    let balancer = json!({
        "healthCheck": {"path": "/ready", "interval": "200ms", "timeout": "2s"},
        "servers": [{"url": format!("http://{service}")}],
    });
    let router = json!({"rule": "PathPrefix(`/`)", "service": "orders", "entryPoints": ["web"]});
    // JSON is valid YAML. A file with the name `traefik` would be read as the configuration of the
    // program itself.
    let config = json!({"http": {
        "routers": {"orders": router},
        "services": {"orders": {"loadBalancer": balancer}},
    }});
    let file = directory.join("orders.yml");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(python().with_file_name("traefik"));
    command.arg(format!("--entrypoints.web.address=127.0.0.1:{port}"));
    command.arg(format!("--providers.file.filename={}", file.display()));
    command.args([
        "--log.level=ERROR",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]);
    command.current_dir(directory);
    command
}

fn varnish(directory: &Path, port: u16, service: &str) -> Command {
    let (host, backend) = service.split_once(':').unwrap();
    let config = format!(
        r#"vcl 4.1;
backend default {{
    .host = "{host}";
    .port = "{backend}";
    .probe = {{
        .url = "/ready";
        .interval = 0.2s;
        .timeout = 2s;
        .window = 1;
        .threshold = 1;
    }}
}}
sub vcl_recv {{
    return (pass);
}}
"#
    );
    let file = directory.join("varnish.vcl");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("varnishd");
    command.args(["-F", "-j", "none", "-s", "malloc,16m", "-a"]);
    command.arg(format!("127.0.0.1:{port}"));
    command.arg("-f").arg(file);
    command.arg("-n").arg(directory.join("varnish"));
    command
}

fn apache(directory: &Path, port: u16, service: &str) -> Command {
    let modules: String = [
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "slotmem_shm",
        "proxy_balancer",
        "lbmethod_byrequests",
        "proxy_hcheck",
    ]
    .iter()
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
    .collect();
    let config = format!(
        r#"{modules}
ServerName localhost
ServerRoot "{directory}"
DefaultRuntimeDir "{directory}"
PidFile "{directory}/pid"
ErrorLog "{directory}/log"
LogLevel crit
User www-data
Group www-data
Listen 127.0.0.1:{port}
<Proxy "balancer://orders">
    BalancerMember "http://{service}" retry=0 hcmethod=GET hcuri=/ready hcinterval=1 hcpasses=1 hcfails=1
</Proxy>
ProxyPass "/" "balancer://orders/"
"#,
        directory = directory.display()
    );
    let file = directory.join("apache.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("apache2");
    command.arg("-f").arg(file).arg("-DFOREGROUND");
    command
}
