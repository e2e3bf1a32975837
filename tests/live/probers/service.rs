//! The probed service, with every transport. It can be stopped and restarted at the same addresses.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
    sync::watch,
};
use tonic::transport::{Server, server::TcpIncoming};
use tower_health::{Check, Endpoints, Health, Outcome, Probe, Reason, Status, agent::Agent};

/// The name of the cluster in Envoy.
pub(crate) const CLUSTER: &str = "orders";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) agent: SocketAddr,
}

/// The service. It ends with all its ports when it is dropped.
pub(crate) struct Service {
    pub(crate) addresses: Addresses,
    pub(crate) health: Health,
    db: watch::Sender<Option<Outcome>>,
    runtime: Option<Runtime>,
    agent: Option<Agent>,
}

impl Service {
    /// Starts a service whose database state is not known yet.
    pub(crate) fn start(at: Option<Addresses>) -> Self {
        let runtime = Runtime::new().unwrap();
        let _entered = runtime.enter();
        let (db, says) = watch::channel(None);
        let check = Check::with("db", says, async |mut says| {
            let said: Option<Outcome> = says.wait_for(Option::is_some).await?.clone();
            Ok::<_, watch::error::RecvError>(said.unwrap_or_else(Outcome::pass))
        });
        let check = check
            .period(Duration::from_millis(100))
            .timeout(Duration::from_secs(600));
        let health = Health::builder("orders").check(check).start().unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listen = |at: Option<SocketAddr>| runtime.block_on(listener(at.unwrap_or(any)));
        let http = listen(at.map(|at| at.http));
        let grpc = listen(at.map(|at| at.grpc));
        let agent = health
            .agent_check(at.map_or(any, |at| at.agent))
            .warn_weight(50);
        let agent = agent.start().unwrap();
        let addresses = Addresses {
            http: http.local_addr().unwrap(),
            grpc: grpc.local_addr().unwrap(),
            agent: agent.local_addr(),
        };
        let endpoints = Endpoints::builder()
            .probe("/", Probe::Readiness)
            .envoy_cluster(CLUSTER);
        let app = Router::new()
            .route("/orders", get(|| async { "no orders" }))
            .layer(health.layer().endpoints(endpoints.build().unwrap()));
        runtime.spawn(axum::serve(http, app).into_future());
        let server = Server::builder().add_service(health.grpc());
        runtime.spawn(server.serve_with_incoming(TcpIncoming::from(grpc)));
        drop(_entered);
        Self {
            addresses,
            health,
            db,
            runtime: Some(runtime),
            agent: Some(agent),
        }
    }

    /// Sets the state of the database.
    pub(crate) fn is(&self, status: Status) {
        self.db.send_replace(Some(match status {
            Status::Pass => Outcome::pass(),
            Status::Warn => Outcome::warn(Reason::Busy),
            Status::Fail => Outcome::fail(Reason::ConnectionRefused),
        }));
    }

    /// Stops the service, and starts it again at the same addresses.
    pub(crate) fn restart(mut self) -> Self {
        let addresses = self.addresses;
        self.end();
        drop(self);
        Self::start(Some(addresses))
    }

    fn end(&mut self) {
        drop(self.agent.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

async fn listener(at: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at).unwrap();
    socket.listen(1024).unwrap()
}
