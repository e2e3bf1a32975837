//! Requests of the tests themselves.

use std::{process::Command, sync::LazyLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::runtime::Runtime;

use super::{
    process::{installed, python},
    service::Addresses,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Returns the code and the body of a response, if there is one.
pub(crate) fn get(url: &str) -> Option<(u16, String)> {
    RUNTIME.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let response = client.get(url.parse().ok()?).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    })
}

/// Returns the response to curl over HTTP/2 with prior knowledge.
pub(crate) fn curl(addresses: &Addresses) -> Option<String> {
    installed("curl", "--version", "apt-get install curl");
    let output = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "10",
            "--http2-prior-knowledge",
            "--output",
            "/dev/null",
        ])
        .args(["--write-out", "HTTP/%{http_version} %{http_code}"])
        .arg(format!("http://{}/ready", addresses.http))
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Returns the exit code of the program `tower-health-probe`.
pub(crate) fn program(target: &str) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_live-probe"));
    let output = command.args(["--timeout", "10", target]).output().ok()?;
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
    Some(format!("exit {}", output.status.code()?))
}

/// Returns the output of the gRPC client in Python.
pub(crate) fn grpc_in_python(addresses: &Addresses, method: &str, service: &str) -> String {
    let output = Command::new(python())
        .arg("probers/health.py")
        .args([&addresses.grpc.to_string(), method, service])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}
