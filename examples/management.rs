//! A service with every face: probes on its own port, more of them on a management port, gRPC, HAProxy's agent-check,
//! and a probe of itself for images without curl.
//!
//! `cargo run --example management --features agent,exec,grpc,server`, then
//!
//! ```text
//! curl -i localhost:3000/ready            anyone is told names and reasons
//! curl -i localhost:3000/readyz?verbose   as the Kubernetes API server would say it
//! curl -i localhost:9000/health           on the management port causes and measurements, too
//! curl -N localhost:9000/events           each verdict, and each that becomes another
//! curl -i -X POST -H 'Authorization: Bearer let-me' localhost:9000/health/spool    runs a check now
//! nc localhost 9001 < /dev/null           what HAProxy's agent-check is told
//! target/debug/examples/management --health-probe; echo $?
//! ```
//!
//! gRPC is on 50051. `BASE` sets another base for all ports, which are 0, 1, 2 and 3 above it.

use std::{env, net::Ipv4Addr, process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tower_health::{BoxError, Check, Endpoints, Health, Outcome, Probe, endpoint::Exposure, exec};

/// The ports of the application, of management, of the agent and of gRPC.
fn ports() -> Result<[u16; 4], BoxError> {
    Ok(match env::var("BASE") {
        Ok(base) => {
            let base: u16 = base.parse()?;
            [0, 1, 2, 3].map(|offset| base.saturating_add(offset))
        }
        Err(_) => [3000, 9000, 9001, 50051],
    })
}

fn main() -> ExitCode {
    // With `--health-probe` this process asks the one that serves, and ends.
    let port = ports().map_or(3000, |[port, ..]| port);
    if let Some(code) = exec::run_if_asked(&format!("http://127.0.0.1:{port}/ready")) {
        return code;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve() -> Result<(), BoxError> {
    let [port, management, agent, grpc] = ports()?;
    let here = |port| (Ipv4Addr::LOCALHOST, port);

    let health = Health::builder("orders")
        .release(env!("CARGO_PKG_VERSION"))
        .check(
            Check::blocking("spool", || {
                let files = std::fs::read_dir(env::temp_dir())?.count();
                Ok::<_, std::io::Error>(Outcome::pass().measure("files", files, ""))
            })
            .period(Duration::from_secs(5))
            .runbook("https://wiki.example/orders/spool"),
        )
        .start()?;

    // Anyone may ask these, and sees names and reasons.
    let public = Endpoints::builder()
        .merge(Endpoints::kubernetes())
        .envoy_cluster("orders")
        .build()?;
    let app = Router::new()
        .route("/orders", get(|| async { "no orders" }))
        .layer(health.layer().endpoints(public)); // the last line: outermost

    // Only operators reach these; while all else stands still they are answered.
    let operators = Endpoints::builder().bearer_token("let-me").build()?;
    let _management = health
        .serve(here(management))
        .endpoints(operators)
        .exposure(Exposure::Full)
        .own_thread()
        .start()?;
    let _agent = health
        .agent_check(here(agent))
        .warn_weight(50)
        .own_thread()
        .start()?;

    let grpc = TcpListener::bind(here(grpc)).await?;
    let health_of_orders = health.grpc().service("orders.v1.Orders", Probe::Readiness);
    tokio::spawn(
        Server::builder()
            .add_service(health_of_orders)
            .serve_with_incoming(TcpIncoming::from(grpc)),
    );

    let listener = TcpListener::bind(here(port)).await?;
    println!("listening on {port}");
    axum::serve(listener, app).await?;
    Ok(())
}
