//! Pools of several implementations, each with a PostgreSQL server.

use std::{net::SocketAddr, time::Duration};

use bb8_postgres::PostgresConnectionManager;
use diesel_async::{AsyncPgConnection, pooled_connection::AsyncDieselConnectionManager};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{Client, NoTls};
use tower_health::{
    BoxError, Cause, HealthCheck, Outcome, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::pool::{Pool, Pooled, Unavailable, Usage};

use crate::{
    postgres::{PASSWORD, assert_each_fault_documented, config, deadpool, primary},
    server::Server,
    table::assert_refusal,
    wear::{until, wear},
};

/// The number of connections in each pool.
const SIZE: u32 = 3;

fn bb8(address: SocketAddr) -> bb8::Pool<PostgresConnectionManager<NoTls>> {
    let manager = PostgresConnectionManager::new(config(address, "app"), NoTls);
    bb8::Pool::builder().max_size(SIZE).build_unchecked(manager)
}

fn by_bb8(address: SocketAddr) -> Pooled {
    of_bb8(bb8(address))
}

fn of_bb8(pool: bb8::Pool<PostgresConnectionManager<NoTls>>) -> Pooled {
    Pooled::bb8(pool, |client| {
        Box::pin(async move { client.simple_query("SELECT 1").await.map(drop) })
    })
}

fn by_deadpool(address: SocketAddr) -> Pooled {
    of_deadpool(deadpool(address))
}

fn of_deadpool(pool: deadpool_postgres::Pool) -> Pooled {
    Pooled::deadpool(pool, |client| {
        Box::pin(async move { client.simple_query("SELECT 1").await.map(drop) })
    })
}

type Blocking = r2d2_postgres::PostgresConnectionManager<NoTls>;

fn manager(address: SocketAddr) -> Blocking {
    let mut config = r2d2_postgres::postgres::Config::new();
    config
        .host(&address.ip().to_string())
        .port(address.port())
        .user("app")
        .password(PASSWORD)
        .dbname("postgres");
    Blocking::new(config, NoTls)
}

fn r2d2(address: SocketAddr) -> r2d2::Pool<Blocking> {
    let pool = r2d2::Pool::builder().max_size(SIZE).min_idle(Some(0));
    pool.build_unchecked(manager(address))
}

fn by_r2d2(address: SocketAddr) -> Pooled {
    Pooled::r2d2(r2d2(address), manager(address))
}

fn diesel(address: SocketAddr) -> AsyncDieselConnectionManager<AsyncPgConnection> {
    let url = format!("postgres://app:{PASSWORD}@{address}/postgres");
    AsyncDieselConnectionManager::new(url)
}

fn diesel_bb8(address: SocketAddr) -> bb8::Pool<AsyncDieselConnectionManager<AsyncPgConnection>> {
    bb8::Pool::builder()
        .max_size(SIZE)
        .build_unchecked(diesel(address))
}

fn by_diesel_bb8(address: SocketAddr) -> Pooled {
    Pooled::diesel_bb8(diesel_bb8(address))
}

fn by_diesel_deadpool(address: SocketAddr) -> Pooled {
    let pool = deadpool::managed::Pool::builder(diesel(address)).max_size(SIZE as usize);
    Pooled::diesel_deadpool(pool.build().unwrap())
}

/// A custom pool that consists of slots only. Each slot opens a connection when it is lent.
struct Slots {
    address: SocketAddr,
    free: std::sync::Arc<Semaphore>,
}

impl Slots {
    fn at(address: SocketAddr) -> Self {
        Self {
            address,
            free: std::sync::Arc::new(Semaphore::new(SIZE as usize)),
        }
    }
}

impl Pool for Slots {
    type Connection = (Client, OwnedSemaphorePermit);

    fn usage(&self) -> Usage {
        let size = SIZE as usize;
        Usage::new(size - self.free.available_permits(), size)
    }

    async fn get(&self, within: Duration) -> Result<Self::Connection, Unavailable> {
        let free = self.free.clone().acquire_owned();
        let Ok(permit) = tokio::time::timeout(within, free).await else {
            return Err(Unavailable::Full);
        };
        let connected = config(self.address, "app").connect(NoTls).await;
        let (client, connection) = connected?;
        tokio::spawn(connection);
        Ok((client, permit?))
    }

    async fn ping(&self, (client, _): &mut Self::Connection) -> Result<(), BoxError> {
        client.simple_query("SELECT 1").await?;
        Ok(())
    }
}

fn by_trait(address: SocketAddr) -> Pooled {
    Pooled::new(Slots::at(address))
}

/// The connection that such a check keeps still works when the server accepts no further
/// connections.
const LIMIT_UNSEEN: bool = false;

pub(crate) type Make = fn(SocketAddr) -> Pooled;

/// The pools whose check has its own connection.
pub(crate) const BESIDE: [(&str, Make); 5] = [
    ("bb8", by_bb8),
    ("deadpool", by_deadpool),
    ("r2d2", by_r2d2),
    ("diesel-async", by_diesel_bb8),
    ("diesel-async, deadpool", by_diesel_deadpool),
];

async fn told(check: &Pooled) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    // Printed if the test fails.
    println!("{:?}", outcome.cause().map(Cause::redacted));
    (outcome.status(), outcome.reason())
}

const PASS: (Status, Option<Reason>) = (Status::Pass, None);
const BUSY: (Status, Option<Reason>) = (Status::Warn, Some(Reason::Busy));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_bb8_is_reported_as_documented() {
    assert_each_fault_documented("bb8", by_bb8, LIMIT_UNSEEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_deadpool_is_reported_as_documented() {
    assert_each_fault_documented("deadpool", by_deadpool, LIMIT_UNSEEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_r2d2_is_reported_as_documented() {
    assert_each_fault_documented("r2d2", by_r2d2, LIMIT_UNSEEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_diesel_async_is_reported_as_documented() {
    assert_each_fault_documented("diesel-async", by_diesel_bb8, LIMIT_UNSEEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_with_a_custom_pool_is_reported_as_documented() {
    assert_each_fault_documented("pool", by_trait, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_pool_has_its_own_connection_and_leaves_none_behind() {
    let (server, _admin) = primary().await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    for (make, check) in BESIDE {
        println!("{make}");
        let contract = Contract::new(|| check(proxy.address()));
        contract
            .expect(Status::Pass)
            .secret(PASSWORD)
            .assert()
            .await;
        until("all are closed", async || proxy.open() == 0).await;
        let check = check(proxy.address());
        wear(&check).await;
        assert_eq!(told(&check).await, PASS);
        until("all but the last are closed", async || proxy.open() == 1).await;
        let before = proxy.accepted();
        assert_eq!(told(&check).await, PASS);
        assert_eq!(proxy.accepted(), before);
        drop(check);
        until("the last is closed", async || proxy.open() == 0).await;
    }
    proxy.fail(Fault::Refuse).await;
    for (_, check) in BESIDE.into_iter().chain([("pool", by_trait as Make)]) {
        let contract = Contract::new(|| check(proxy.address()));
        contract
            .expect(Status::Fail)
            .secret(PASSWORD)
            .assert()
            .await;
    }
}

/// All connections of a pool are taken, and then its server ends.
async fn assert_full_is_not_down<T: Send + 'static>(
    check: Pooled,
    taken: Vec<T>,
    server: &mut Server,
    refused: Reason,
) {
    assert_eq!(told(&check).await, BUSY);
    assert_refusal("pool", "all connections of the pool are in use", &check).await;
    server.suspend();
    let hung = tokio::time::timeout(Duration::from_millis(500), check.check()).await;
    assert!(hung.is_err());
    server.resume();
    until("it is busy again", async || told(&check).await == BUSY).await;
    server.kill();
    assert_eq!(told(&check).await, (Status::Fail, Some(refused)));
    server.start();
    drop(crate::postgres::connect(server.address, "app").await);
    assert_eq!(told(&check).await, BUSY);
    // Blocking clients must not be dropped on a runtime.
    tokio::task::spawn_blocking(|| drop(taken)).await.unwrap();
    until("there is room", async || told(&check).await == PASS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_busy_and_fails_when_its_server_is_down() {
    let (mut server, _admin) = primary().await;
    let refused = Reason::ConnectionRefused;
    let pool = bb8(server.address);
    let mut taken = Vec::new();
    for _ in 0..SIZE {
        taken.push(pool.get_owned().await.unwrap());
    }
    assert_full_is_not_down(of_bb8(pool), taken, &mut server, refused).await;

    let pool = diesel_bb8(server.address);
    let mut taken = Vec::new();
    for _ in 0..SIZE {
        taken.push(pool.get_owned().await.unwrap());
    }
    // The driver does not report why it has no connection.
    let unreachable = Reason::Unreachable;
    assert_full_is_not_down(Pooled::diesel_bb8(pool), taken, &mut server, unreachable).await;

    let pool = deadpool(server.address);
    let mut taken = Vec::new();
    for _ in 0..SIZE {
        taken.push(pool.get().await.unwrap());
    }
    assert_full_is_not_down(of_deadpool(pool), taken, &mut server, refused).await;

    let (pool, manager) = (r2d2(server.address), manager(server.address));
    let taken = tokio::task::spawn_blocking({
        let pool = pool.clone();
        move || (0..SIZE).map(|_| pool.get().unwrap()).collect::<Vec<_>>()
    });
    let taken = taken.await.unwrap();
    assert_full_is_not_down(Pooled::r2d2(pool, manager), taken, &mut server, refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custom_pool_is_not_used_while_it_is_full() {
    let (server, _admin) = primary().await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let slots = Slots::at(proxy.address());
    let free = slots.free.clone();
    let check = Pooled::new(slots);
    for micros in (0..20).map(|run| run * 500) {
        assert_eq!(told(&check).await, PASS);
        let given_up = Duration::from_micros(micros);
        drop(tokio::time::timeout(given_up, check.check()).await);
    }
    until("all went back", async || free.available_permits() == 3).await;
    until("all are closed", async || proxy.open() == 0).await;
    let taken = free.clone().acquire_many_owned(3).await.unwrap();
    let before = proxy.accepted();
    assert_eq!(told(&check).await, BUSY);
    assert_eq!(proxy.accepted(), before);
    drop(taken);
    assert_eq!(told(&check).await, PASS);
    // The last free slot is lent, and the service gets it back.
    let taken = free.clone().acquire_many_owned(2).await.unwrap();
    assert_eq!(told(&check).await, PASS);
    drop(taken);
    proxy.fail(Fault::Refuse).await;
    assert_eq!(told(&check).await.0, Status::Fail);
}

/// The check holds the last clone of a pool whose clients must not be dropped on a runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_pool_that_blocks_is_dropped_by_a_runtime() {
    let (server, _admin) = primary().await;
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let pool = r2d2(proxy.address());
    let idle = pool.clone();
    let lent = tokio::task::spawn_blocking(move || drop(idle.get().unwrap()));
    lent.await.unwrap();
    let check = Pooled::r2d2(pool, manager(proxy.address()));
    assert_eq!(told(&check).await, PASS);
    assert_eq!(proxy.open(), 2);
    drop(check);
    until("both are closed", async || proxy.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_deadpool_pool_fails() {
    let (server, _admin) = primary().await;
    let pool = deadpool(server.address);
    let check = of_deadpool(pool.clone());
    assert_eq!(told(&check).await, PASS);
    pool.close();
    let closed = (Status::Fail, Some(Reason::Misconfigured));
    assert_eq!(told(&check).await, closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_server_are_reported_with_each_pool() {
    let (server, admin) = primary().await;
    for (make, check) in BESIDE {
        let fails = |reason| (Status::Fail, Some(reason));
        let wrong = "ALTER ROLE app PASSWORD 'another'";
        admin.batch_execute(wrong).await.unwrap();
        let denied = fails(Reason::AuthenticationFailed);
        assert_eq!(told(&check(server.address)).await, denied, "{make}");
        let right = format!("ALTER ROLE app PASSWORD '{PASSWORD}'");
        admin.batch_execute(&right).await.unwrap();
        let full = "ALTER ROLE app CONNECTION LIMIT 0";
        admin.batch_execute(full).await.unwrap();
        assert_eq!(told(&check(server.address)).await, BUSY, "{make}");
        let what = "a role at its connection limit";
        assert_refusal("pool", what, &check(server.address)).await;
        let room = "ALTER ROLE app CONNECTION LIMIT -1";
        admin.batch_execute(room).await.unwrap();
        assert_eq!(told(&check(server.address)).await, PASS, "{make}");
    }
}
