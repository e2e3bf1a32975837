use std::{env, net::SocketAddr, process::Command, sync::Mutex, time::Duration};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request,
    metadata::MetadataValue,
    service::{Interceptor, Routes, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tower_health::{
    Check, Failure, Health, HealthCheck, Outcome, Probe, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::GrpcUpstream;

use crate::{
    matrix::{DELAY, Row},
    server::{Server, free_address},
    table::assert_refusal,
    wear::{until, wear},
};

const ADDRESS: &str = "UPSTREAM_GRPC_ADDRESS";

/// Serves forever in a separate process.
async fn serve_alone(address: String) {
    let directory = env::var("UPSTREAM_GRPC_DIRECTORY").unwrap();
    let knows = move |request: Request<()>| {
        let password = std::fs::read_to_string(format!("{directory}/password")).unwrap();
        let given = request.metadata().get("authorization");
        if given.is_some_and(|given| given.as_bytes() == password.as_bytes()) {
            Ok(request)
        } else {
            Err(tonic::Status::unauthenticated("who are you?"))
        }
    };
    let health = Health::builder("stock").start().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let service = InterceptedService::new(health.grpc(), knows);
    serve(listener, Routes::new(service)).await;
}

async fn serve(listener: TcpListener, routes: Routes) {
    tonic::transport::Server::builder()
        .add_routes(routes)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .unwrap();
}

pub(crate) fn process() -> Server {
    let mut server = Server::new(|directory, address| {
        let mut this = Command::new(env::current_exe().unwrap());
        this.args([
            "--exact",
            "upstream_grpc::each_fault_is_reported_as_documented",
        ])
        .env(ADDRESS, address.to_string())
        .env("UPSTREAM_GRPC_DIRECTORY", directory);
        this
    });
    password(&server, "hunter2");
    server.start();
    server
}

fn password(server: &Server, password: &str) {
    let path = server.directory.path();
    // Atomically, so that the service never reads a partial file.
    std::fs::write(path.join("new"), password).unwrap();
    std::fs::rename(path.join("new"), path.join("password")).unwrap();
}

fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    endpoint.connect_lazy()
}

#[derive(Clone)]
pub(crate) struct LogIn;

impl Interceptor for LogIn {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        let password = MetadataValue::from_static("hunter2");
        request.metadata_mut().insert("authorization", password);
        Ok(request)
    }
}

pub(crate) fn check(address: SocketAddr) -> GrpcUpstream<InterceptedService<Channel, LogIn>> {
    GrpcUpstream::new(InterceptedService::new(channel(address), LogIn))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    if let Ok(address) = env::var(ADDRESS) {
        return serve_alone(address).await;
    }
    let mut server = process();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of("upstream-grpc", check(proxy.address())).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }
    row.when("wrong password", async { password(&server, "another") })
        .await;
    row.over(async { password(&server, "hunter2") }).await;

    let mut direct = Row::of("upstream-grpc", check(server.address)).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct).assert_documented(&["hunter2", "another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_uses_one_connection_and_leaves_none_behind() {
    let server = process();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let contract = |status| {
        Contract::new(|| check(proxy.address()))
            .expect(status)
            .secret("hunter2")
            .assert()
    };
    contract(Status::Pass).await;
    until("all are closed", async || proxy.open() == 0).await;
    let check = check(proxy.address());
    let before = proxy.accepted();
    wear(&check).await;
    assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    assert_eq!((proxy.accepted() - before, proxy.open()), (1, 1));
    drop(check);
    until("the last is closed", async || proxy.open() == 0).await;
    for fault in [Fault::Refuse, Fault::Cut { after: 20 }] {
        proxy.fail(fault).await;
        contract(Status::Fail).await;
    }
}

async fn told<C: HealthCheck>(check: &C) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

const PASS: (Status, Option<Reason>) = (Status::Pass, None);

fn fails(reason: Reason) -> (Status, Option<Reason>) {
    (Status::Fail, Some(reason))
}

#[tokio::test]
async fn serving_statuses_decide_the_status() {
    let outcome = std::sync::Arc::new(Mutex::new(Outcome::warn(Reason::Busy)));
    let code = {
        let outcome = outcome.clone();
        move || {
            let outcome = outcome.lock().unwrap().clone();
            async move { Ok::<_, Failure>(outcome) }
        }
    };
    let health = Health::builder("stock")
        .check(Check::new("ledger", code).period(Duration::from_millis(20)))
        .start()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = health.grpc().service("stock.v1.Stock", Probe::Liveness);
    tokio::spawn(serve(listener, Routes::new(service)));
    let all = GrpcUpstream::new(channel(address));
    let ledger = all.clone().service("ledger");
    // A warning is `SERVING`.
    until("it is started", async || told(&all).await == PASS).await;
    assert_eq!(told(&ledger).await, PASS);
    *outcome.lock().unwrap() = Outcome::fail(Reason::Failed);
    let unhealthy = fails(Reason::Unhealthy);
    until("it fails", async || told(&all).await == unhealthy).await;
    assert_eq!(told(&ledger).await, unhealthy);
    let what = "a service that is `NOT_SERVING`";
    assert_refusal("upstream-grpc", what, &all).await;
    let stock = all.clone().service("stock.v1.Stock");
    assert_eq!(told(&stock).await, PASS);
    let nobody = all.service("nobody");
    assert_eq!(told(&nobody).await, fails(Reason::NotFound));
}

#[tokio::test]
async fn each_grpc_code_has_its_reason() {
    for (code, is) in [
        (Code::NotFound, fails(Reason::NotFound)),
        (Code::Unimplemented, fails(Reason::Misconfigured)),
        (Code::Unauthenticated, fails(Reason::AuthenticationFailed)),
        (Code::PermissionDenied, fails(Reason::PermissionDenied)),
        (Code::ResourceExhausted, (Status::Warn, Some(Reason::Busy))),
        (Code::Unavailable, fails(Reason::Unhealthy)),
        (Code::DeadlineExceeded, fails(Reason::TimedOut)),
        (Code::Internal, fails(Reason::UnexpectedAnswer)),
        (Code::Unknown, fails(Reason::UnexpectedAnswer)),
    ] {
        let refuses = move |_: Request<()>| Err(tonic::Status::new(code, "password=hunter2"));
        let health = Health::builder("stock").start().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = InterceptedService::new(health.grpc(), refuses);
        tokio::spawn(serve(listener, Routes::new(service)));
        let check = GrpcUpstream::new(channel(address));
        assert_eq!(told(&check).await, is, "{code:?}");
        let contract = Contract::new(|| check.clone());
        contract.expect(is.0).secret("hunter2").assert().await;
    }
}

#[tokio::test]
async fn a_server_without_grpc_fails() {
    let nobody = GrpcUpstream::new(channel(free_address()));
    assert_eq!(told(&nobody).await, fails(Reason::ConnectionRefused));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, axum::Router::new()).into_future());
    let web = GrpcUpstream::new(channel(address));
    assert_eq!(told(&web).await, fails(Reason::Misconfigured));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            _ = stream.write_all(b"220 mail.internal ESMTP\r\n").await;
            tokio::spawn(async move {
                let mut sink = tokio::io::sink();
                _ = tokio::io::copy(&mut stream, &mut sink).await;
            });
        }
    });
    let mail = GrpcUpstream::new(channel(address));
    assert_eq!(told(&mail).await, fails(Reason::UnexpectedAnswer));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let late = GrpcUpstream::new(endpoint.timeout(Duration::from_millis(50)).connect_lazy());
    assert_eq!(told(&late).await, fails(Reason::TimedOut));
}
