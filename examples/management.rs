//! A service with every transport: probes on its own port, more detail on a management port, gRPC,
//! HAProxy's agent-check, and a probe of itself for images without curl.
//!
//! Run `cargo run --example management --features agent,exec,grpc,server`, then:
//!
//! ```text
//! curl -i localhost:3000/ready            names and reasons, for anyone
//! curl -i localhost:3000/readyz?verbose   in the format of the Kubernetes API server
//! curl -i localhost:9000/health           causes and measurements too, on the management port
//! curl -N localhost:9000/events           each current verdict, and each verdict that changes
//! curl -i -X POST -H 'Authorization: Bearer let-me' localhost:9000/health/spool   runs it now
//! nc localhost 9001 < /dev/null           the response for HAProxy's agent-check
//! target/debug/examples/management --health-probe; echo $?
//! ```
//!
//! gRPC is on port 50051. Set `BASE` to use other ports: the four ports are then `BASE` and the
//! three ports above it.

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
    // With `--health-probe` this process probes the process that serves, and exits.
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

    // Anyone may query these endpoints, and sees names and reasons.
    let public = Endpoints::builder()
        .merge(Endpoints::kubernetes())
        .envoy_cluster("orders")
        .build()?;
    let app = Router::new()
        .route("/orders", get(|| async { "no orders" }))
        .layer(health.layer().endpoints(public)); // The last line, so that the layer is outermost.

    // For operators only. The port answers even while the runtime of the service is stalled.
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
