//! `grpc.health.v1`, with the client of tonic.

use std::collections::BTreeMap;

use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, client::Grpc};
use tonic_prost::ProstCodec;
use tower_health::{Check, Health, Probe, Status, endpoint::Exposure, grpc::GrpcHealth};

use crate::support::{SECOND, Scripted, after, ms};

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, CheckResponse>,
}

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

fn path(method: &str) -> http::uri::PathAndQuery {
    format!("/grpc.health.v1.Health/{method}").parse().unwrap()
}

fn asked(service: &str) -> Request<CheckRequest> {
    Request::new(CheckRequest {
        service: service.to_owned(),
    })
}

async fn check(grpc: &GrpcHealth, service: &str) -> Result<i32, Code> {
    let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
    let mut client = Grpc::new(grpc.clone());
    client.ready().await.unwrap();
    let answer = client.unary(asked(service), path("Check"), codec).await;
    answer
        .map(|answer| answer.into_inner().status)
        .map_err(|status| status.code())
}

async fn list(grpc: &GrpcHealth) -> Result<BTreeMap<String, i32>, Code> {
    let codec = ProstCodec::<ListRequest, ListResponse>::default();
    let mut client = Grpc::new(grpc.clone());
    client.ready().await.unwrap();
    let answer = client
        .unary(Request::new(ListRequest {}), path("List"), codec)
        .await;
    let statuses = answer.map(|answer| answer.into_inner().statuses);
    let status = |(name, answer): (String, CheckResponse)| (name, answer.status);
    statuses
        .map(|statuses| statuses.into_iter().map(status).collect())
        .map_err(|status| status.code())
}

async fn watch(grpc: &GrpcHealth, service: &str) -> impl Stream<Item = i32> + Unpin + use<> {
    let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
    let mut client = Grpc::new(grpc.clone());
    client.ready().await.unwrap();
    let answer = client
        .server_streaming(asked(service), path("Watch"), codec)
        .await;
    answer
        .unwrap()
        .into_inner()
        .map(|answer| answer.unwrap().status)
}

/// Returns all statuses that the watch has sent by now.
async fn told(watch: &mut (impl Stream<Item = i32> + Unpin)) -> Vec<i32> {
    let mut told = Vec::new();
    while let Ok(Some(status)) = tokio::time::timeout(SECOND / 2, watch.next()).await {
        told.push(status);
    }
    told
}

async fn service() -> (Health, Scripted) {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(60 * SECOND))
        .check(Check::new("cache", || async { Status::Fail }).non_critical())
        .start()
        .unwrap();
    (health, db)
}

#[tokio::test(start_paused = true)]
async fn check_returns_readiness_liveness_startup_and_each_check() {
    let (health, db) = service().await;
    let grpc = health
        .grpc()
        .service("orders.v1.Orders", Probe::Readiness)
        .service_of_check("orders.v1.Archive", "cache")
        .unwrap();
    let all = [
        "",
        "readiness",
        "orders.v1.Orders",
        "startup",
        "liveness",
        "db",
        "cache",
        "orders.v1.Archive",
    ];
    let statuses = async || {
        let mut statuses = Vec::new();
        for service in all {
            statuses.push(check(&grpc, service).await.unwrap());
        }
        statuses
    };
    assert_eq!(statuses().await, [2, 2, 2, 2, 1, 2, 2, 2], "starting");
    after(SECOND).await;
    assert_eq!(
        statuses().await,
        [1, 1, 1, 1, 1, 1, 2, 2],
        "a warning is served"
    );
    db.set_outcome(Status::Fail);
    health.run_now("db").await.unwrap();
    assert_eq!(statuses().await, [2, 2, 2, 1, 1, 2, 2, 2], "failing");
    db.set_outcome(Status::Warn);
    health.run_now("db").await.unwrap();
    health.drain();
    assert_eq!(statuses().await, [2, 2, 2, 1, 1, 1, 2, 2], "draining");
    for unknown in ["nobody", "health", "Readiness", "orders.v1", "db ", "\u{0}"] {
        assert_eq!(
            check(&grpc, unknown).await,
            Err(Code::NotFound),
            "{unknown}"
        );
    }
    let error = health.grpc().service_of_check("x", "dbb").unwrap_err();
    assert!(error.to_string().contains("db"), "{error}");
}

/// A named service stops serving during a drain, whatever its check is.
#[tokio::test(start_paused = true)]
async fn a_service_of_a_check_stops_serving_during_a_drain() {
    let (health, _) = service().await;
    let grpc = health
        .grpc()
        .service_of_check("orders.v1.Orders", "db")
        .unwrap();
    after(SECOND).await;
    let mut watch = watch(&grpc, "orders.v1.Orders").await;
    assert_eq!(told(&mut watch).await, [SERVING]);
    health.maintenance("reindexing", 60 * SECOND);
    assert_eq!(told(&mut watch).await, [NOT_SERVING]);
    assert_eq!(check(&grpc, "").await, Ok(NOT_SERVING));
    health.end_maintenance();
    assert_eq!(told(&mut watch).await, [SERVING]);
    health.drain();
    assert_eq!(told(&mut watch).await, [NOT_SERVING]);
    assert_eq!(check(&grpc, "orders.v1.Orders").await, Ok(NOT_SERVING));
    assert_eq!(check(&grpc, "db").await, Ok(SERVING));
}

#[tokio::test(start_paused = true)]
async fn no_service_is_serving_before_its_state_is_known() {
    let (health, _) = service().await;
    let grpc = health.grpc();
    let mut watch = watch(&grpc, "").await;
    assert_eq!(check(&grpc, "").await, Ok(NOT_SERVING));
    assert_eq!(told(&mut watch).await, [NOT_SERVING, SERVING]);
}

#[tokio::test(start_paused = true)]
async fn watch_sends_the_status_and_each_change_once() {
    let (health, db) = service().await;
    let grpc = health.grpc();
    after(SECOND).await;
    let (mut whole, mut one) = (watch(&grpc, "").await, watch(&grpc, "db").await);
    assert_eq!(told(&mut whole).await, [SERVING]);
    assert_eq!(told(&mut one).await, [SERVING]);
    for status in [Status::Warn, Status::Pass, Status::Warn] {
        db.set_outcome(status);
        health.run_now("db").await.unwrap();
        assert_eq!(
            told(&mut whole).await,
            [0; 0],
            "pass and warn are both served"
        );
    }
    db.set_outcome(Status::Fail);
    health.run_now("db").await.unwrap();
    assert_eq!(told(&mut whole).await, [NOT_SERVING]);
    assert_eq!(told(&mut one).await, [NOT_SERVING]);
    db.set_outcome(Status::Pass);
    health.run_now("db").await.unwrap();
    assert_eq!(told(&mut whole).await, [SERVING]);
    health.drain();
    assert_eq!(told(&mut whole).await, [NOT_SERVING]);
    assert_eq!(
        told(&mut one).await,
        [SERVING],
        "the database does not leave"
    );
}

#[tokio::test(start_paused = true)]
async fn watch_of_an_unknown_service_stays_open_until_it_is_known() {
    let (health, _) = service().await;
    let grpc = health.grpc();
    let mut tenant = watch(&grpc, "tenant-7").await;
    assert_eq!(told(&mut tenant).await, [SERVICE_UNKNOWN]);
    let check = Check::new("tenant-7", || async { Status::Pass });
    health.add(check).await.unwrap();
    assert_eq!(told(&mut tenant).await, [SERVING]);
    health.remove("tenant-7").await.unwrap();
    assert_eq!(told(&mut tenant).await, [SERVICE_UNKNOWN]);
}

#[tokio::test(start_paused = true)]
async fn watch_runs_nothing_and_ends_with_the_checks() {
    let slow = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("slow", slow.clone()).on_demand(SECOND))
        .start()
        .unwrap();
    let grpc = health.grpc();
    let mut watch = watch(&grpc, "").await;
    assert_eq!(told(&mut watch).await, [NOT_SERVING]);
    assert_eq!(slow.runs(), 0);
    drop((health, grpc));
    // The end of the engine is not reported as another status.
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn check_waits_for_a_run_on_demand_up_to_its_limit() {
    let slow = Scripted::new(Status::Pass).duration(ms(100));
    let hanging = Scripted::hanging();
    let health = Health::builder("orders")
        .check(Check::new("slow", slow.clone()).on_demand(SECOND))
        .check(
            Check::new("hanging", hanging)
                .on_demand(SECOND)
                .non_critical(),
        )
        .start()
        .unwrap();
    let grpc = health.grpc();
    assert_eq!(check(&grpc, "slow").await, Ok(SERVING));
    assert_eq!(slow.runs(), 1);
    let began = tokio::time::Instant::now();
    assert_eq!(check(&grpc, "hanging").await, Ok(NOT_SERVING));
    assert_eq!(began.elapsed(), ms(500));
    assert_eq!(list(&grpc).await.unwrap()["slow"], SERVING);
}

#[tokio::test(start_paused = true)]
async fn list_returns_all_services_or_an_error_if_there_are_too_many() {
    let (health, _) = service().await;
    let grpc = health.grpc().service("orders.v1.Orders", Probe::Liveness);
    after(SECOND).await;
    let expected = [
        ("", SERVING),
        ("cache", NOT_SERVING),
        ("db", SERVING),
        ("liveness", SERVING),
        ("orders.v1.Orders", SERVING),
        ("readiness", SERVING),
        ("startup", SERVING),
    ];
    let expected = expected.map(|(name, status)| (name.to_owned(), status));
    assert_eq!(list(&grpc).await.unwrap(), BTreeMap::from(expected));
    // Up to 100 in total, and then one more.
    for index in 0..93 {
        let check = Check::new(format!("tenant-{index}"), || async { Status::Pass });
        health.add(check).await.unwrap();
    }
    assert_eq!(list(&grpc).await.unwrap().len(), 100);
    health
        .add(Check::new("tenant", || async { Status::Pass }))
        .await
        .unwrap();
    assert_eq!(list(&grpc).await, Err(Code::ResourceExhausted));
    let status_only = grpc.exposure(Exposure::Status);
    assert_eq!(list(&status_only).await.unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn with_the_status_exposure_only_named_checks_are_services() {
    let (health, _) = service().await;
    let grpc = health.grpc().exposure(Exposure::Status);
    after(SECOND).await;
    for service in ["db", "nobody"] {
        assert_eq!(
            check(&grpc, service).await,
            Err(Code::NotFound),
            "{service}"
        );
        assert_eq!(
            told(&mut watch(&grpc, service).await).await,
            [SERVICE_UNKNOWN],
            "{service}"
        );
    }
    let grpc = grpc.service_of_check("db", "db").unwrap();
    assert_eq!(check(&grpc, "db").await, Ok(SERVING));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_is_rejected() {
    let (health, _) = service().await;
    let grpc = health.grpc();
    let codec = ProstCodec::<CheckRequest, CheckResponse>::default;
    let mut client = Grpc::new(grpc.clone());
    client.ready().await.unwrap();
    let unknown = client
        .unary(asked(""), path("Reset"), codec())
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let long = "x".repeat(100_000);
    client.ready().await.unwrap();
    let refused: Result<Response<CheckResponse>, _> =
        client.unary(asked(&long), path("Check"), codec()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(!refused.message().contains("xxxx"), "{refused}");
}
