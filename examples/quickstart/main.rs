//! A service that answers for its health, with three dependencies that you can break.
//!
//! `cargo run --example quickstart`, then `curl -i localhost:3000/ready`. `PORT` sets another port, and
//! `QUICKSTART_UPSTREAM=down` starts it without its upstream.

mod demo;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, ComponentType, Failure, Health, Outcome, Reason};

use self::demo::Demo;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port = match env::var("PORT") {
        Ok(port) => port
            .parse()
            .map_err(|_| format!("PORT is {port:?}: set a number up to 65535"))?,
        Err(_) => 3000,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| {
            format!("cannot listen on 127.0.0.1:{port}: {error}; set PORT to a free one")
        })?;
    let address = listener.local_addr()?;
    let demo = Arc::new(Demo::new(address.port()).await?);

    // Short periods, so that you see changes soon. Production wants the defaults: 10 s, and a timeout of 2 s.
    let soon = |check: Check| {
        check
            .period(Duration::from_secs(1))
            .timeout(Duration::from_millis(500))
    };
    let (file, disk) = (Arc::clone(&demo), Arc::clone(&demo));
    let health = Health::builder("quickstart")
        .release(env!("CARGO_PKG_VERSION"))
        .check(
            soon(Check::blocking("sqlite", move || ping_sqlite(&file.file)))
                .component_type(ComponentType::Datastore),
        )
        .check(soon(Check::with("upstream", demo.upstream, ping_upstream)).shared())
        .check(
            soon(Check::blocking("disk", move || {
                free_space(disk.directory(), disk.least_free())
            }))
            .non_critical(),
        )
        .start()?;

    let app = Router::new()
        .route("/", get(|| async { "Hello" }))
        .route("/demo/{action}/{thing}", post(demo::act).with_state(demo))
        .layer(health.layer()); // the last line: outermost
    introduce(address);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Opened anew each time: a handle that is open outlives its file.
fn ping_sqlite(file: &Path) -> Result<(), Failure> {
    let ping = || {
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?
            .execute_batch("BEGIN IMMEDIATE; ROLLBACK")
    };
    ping().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => Failure::new(Reason::NotFound).with_cause(error),
        _ => error.into(),
    })
}

async fn ping_upstream(upstream: SocketAddr) -> Result<Outcome, BoxError> {
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http::<Empty<&[u8]>>();
    let response = client.get(format!("http://{upstream}/").parse()?).await?;
    Ok(match response.status() {
        StatusCode::OK => Outcome::pass(),
        status => Outcome::fail(Reason::UnexpectedAnswer).with_cause(status),
    })
}

fn free_space(directory: &Path, least: u64) -> std::io::Result<Outcome> {
    let disk = rustix::fs::statvfs(directory)?;
    let free = disk.f_bavail * disk.f_frsize;
    let outcome = if free < least {
        Outcome::fail(Reason::LimitExceeded)
    } else {
        Outcome::pass()
    };
    Ok(outcome.measure("free", free, "bytes"))
}

fn introduce(address: SocketAddr) {
    println!("Listening on http://{address}. Ask it how it is:");
    for path in ["health", "ready", "live", "startup", "health/sqlite"] {
        println!("  curl -i http://{address}/{path}");
    }
    println!("Break something, ask again, and mend it:");
    for (thing, effect) in [
        ("sqlite", "critical: /ready is 503"),
        ("upstream", "shared: /ready is 200 and warns"),
        ("disk", "non-critical: /ready is 200 and warns"),
    ] {
        println!("  curl -X POST http://{address}/demo/break/{thing}  # {effect}");
        println!("  curl -X POST http://{address}/demo/mend/{thing}");
    }
}
