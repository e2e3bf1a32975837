//! Health checks for the dependencies of a service, for use with [`tower_health`].
//!
//! Each type is a [`HealthCheck`](tower_health::HealthCheck) for
//! [`Check::new`](tower_health::Check::new). Where the service already has a pool or a client for
//! the dependency, the check is built from it. No feature is enabled by default, so only the
//! drivers that you enable are compiled:
//!
//! | dependency | feature | driver | check |
//! | --- | --- | --- | --- |
//! | PostgreSQL | `sqlx-postgres` | sqlx 0.9 | [`Postgres`] |
//! | | `deadpool-postgres` | deadpool-postgres 0.14 | [`Postgres`] |
//! | | `tokio-postgres` | tokio-postgres 0.7 | [`Postgres`] |
//! | MySQL, MariaDB | `sqlx-mysql` | sqlx 0.9 | [`MySql`] |
//! | SQLite | `sqlx-sqlite` | sqlx 0.9 | [`Sqlite`]; SQLite is bundled |
//! | any connection pool | `pool` | – | [`pool::Pooled`], for types that implement [`pool::Pool`] |
//! | | `bb8` | bb8 0.9 | [`pool::Pooled`] |
//! | | `deadpool` | deadpool 0.13 | [`pool::Pooled`] |
//! | | `r2d2` | r2d2 0.8 | [`pool::Pooled`] |
//! | | `diesel-async`, with `bb8` or `deadpool` | diesel-async 0.9 | [`pool::Pooled`] |
//! | database migrations | `sqlx-migrate`, with one of the sqlx features above | sqlx 0.9 | [`Schema`] |
//! | Redis, Valkey | `redis` | redis 1 | [`Redis`] |
//! | a Redis cluster | `redis-cluster` | redis 1 | [`Redis`] |
//! | RabbitMQ and its queues | `rabbitmq` | lapin 4 | [`RabbitMq`], [`RabbitMqQueue`] |
//! | NATS, JetStream | `nats` | async-nats 0.51 | [`Nats`]; with the `ring` provider of rustls |
//! | a service, over HTTP | `upstream-http` | reqwest 0.13 | [`HttpUpstream`] |
//! | a service, over gRPC | `upstream-grpc` | tonic 0.14 | [`GrpcUpstream`] |
//! | a TCP port | `tcp` | – | [`Tcp`] |
//! | a DNS name | `dns` | hickory-resolver 0.26 | [`Dns`] |
//! | a TLS certificate | `certificate` | rustls 0.23 | [`Certificate`], [`StartTls`] |
//! | disk space | `system`, on Unix | – | [`Disk`] |
//! | memory, file handles, CPU time | `system`, on Linux | – | [`Memory`], [`FileHandles`], [`CpuPressure`] |
//!
//! Checks that need no driver are in [`tower_health::checks`]: the age of a file, a queue in the
//! process, and a combination of several checks.
//!
//! ```
//! # #[cfg(feature = "tcp")] {
//! use tower_health::Check;
//! use tower_health_checks::Tcp;
//!
//! let mail = Check::new("mail", Tcp::new("mail.internal:25")).non_critical();
//! # }
//! ```
//!
//! # Common behavior
//!
//! * A run queries its dependency once. If a kept connection was lost between two runs, the same
//!   run opens a new one and queries once more. [`Check`](tower_health::Check) sets the period, the
//!   timeout, and the duration above which a run is [slow](tower_health::Check::warn_above).
//! * *Busy* is not *down*: a pool without a free connection and a server at its connection limit
//!   are warnings. Redis is the exception: if the server refuses the service's only connection, the
//!   check fails with *busy*.
//! * No check takes a slot of a pool or waits in its queue. The exceptions are
//!   [`pool::Pooled::new`] and [`Sqlite::through_pool`], which borrow a free connection for the
//!   duration of a run.
//! * No check blocks the thread that polls it, and a run may be dropped at any time. Its connection
//!   is then closed in the background. A blocking call, such as a lookup by the system's resolver,
//!   continues on its own thread. The next run waits for that call and starts no second thread.
//! * The first run that begins after the dependency has recovered passes. A connection manager of
//!   Redis that was refused is the exception: see [`faults`].
//! * No check reports a password.
//!
//! [`faults`] lists what each check reports for each fault, as observed on real servers.
//!
//! # Bounds
//!
//! A setter such as `warn_above` or `fail_below` sets a bound: `above` where high values are bad,
//! `below` where low values are. A value that is equal to a bound is within it. Two bounds that are
//! set and contradict each other are rejected at the start:
//!
//! ```
//! # #[cfg(feature = "certificate")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use tower_health::{Check, Health};
//! use tower_health_checks::Certificate;
//!
//! let file = Certificate::of_file("/etc/orders/tls/fullchain.pem").warn_below(7).fail_below(14);
//! let check = Check::new("certificate", file);
//! let error = Health::builder("orders").check(check).start().unwrap_err();
//! assert!(error.to_string().contains("`fail_below` (14) is above `warn_below` (7)"));
//! # }
//! # #[cfg(not(feature = "certificate"))]
//! # fn main() {}
//! ```
//!
//! Names and addresses are not validated at the start. A run fails with
//! [`Misconfigured`](tower_health::Reason::Misconfigured) if one of them is not valid.
//!
//! # Tests
//!
//! A check runs without an engine as well. A pass and a warning are always `Ok`. A failure is
//! either `Err` or an outcome that fails. Convert both to an [`Outcome`](tower_health::Outcome):
//!
//! ```
//! # #[cfg(feature = "tcp")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use tower_health::{HealthCheck, Outcome, Reason};
//! use tower_health_checks::Tcp;
//!
//! // Nothing listens on this port.
//! let outcome = Tcp::new("127.0.0.1:1").check().await.unwrap_or_else(Outcome::from);
//! assert_eq!(outcome.reason(), Some(Reason::ConnectionRefused));
//! # }
//! # #[cfg(not(feature = "tcp"))]
//! # fn main() {}
//! ```
//!
//! # Other clients
//!
//! [`recipes`] has checks for MongoDB, Kafka, S3, ClickHouse, Cassandra, Elasticsearch, SMTP,
//! Vault, etcd, MQTT and SeaORM. Each recipe lists the permissions that it needs and the faults
//! that it does not detect. Any client that is `Clone` can be checked in one line:
//!
//! ```
//! use tower_health::Check;
//! # #[derive(Clone)]
//! # struct Client;
//! # impl Client { async fn ping(&self) -> std::io::Result<()> { Ok(()) } }
//! # let client = Client;
//!
//! let valkey = Check::with("valkey", client, |client| async move { client.ping().await });
//! ```
//!
//! Make sure that the waits and retries of the client itself end within the
//! [timeout](tower_health::Check::timeout). For a connection pool, use [`pool`].
#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(
    feature = "redis",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "tokio-postgres"
))]
mod bounds;
#[cfg(feature = "certificate")]
mod certificate;
#[cfg(any(
    feature = "bb8",
    feature = "deadpool",
    feature = "r2d2",
    feature = "sqlx-migrate",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "tokio-postgres"
))]
mod dedicated;
#[cfg(feature = "dns")]
mod dns;
#[cfg(any(feature = "certificate", feature = "tcp"))]
mod lookup;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "pool")]
#[cfg_attr(docsrs, doc(cfg(feature = "pool")))]
pub mod pool;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "pool")]
mod refusal;
#[cfg(any(
    feature = "sqlx-migrate",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "sqlx-sqlite",
    feature = "tokio-postgres"
))]
mod sql;
#[cfg(all(feature = "system", unix))]
mod system;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(any(feature = "upstream-grpc", feature = "upstream-http"))]
mod upstream;

#[cfg(feature = "certificate")]
#[cfg_attr(docsrs, doc(cfg(feature = "certificate")))]
pub use self::certificate::{Certificate, StartTls};
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use self::dns::Dns;
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use self::nats::Nats;
#[cfg(feature = "rabbitmq")]
#[cfg_attr(docsrs, doc(cfg(feature = "rabbitmq")))]
pub use self::rabbitmq::{RabbitMq, RabbitMqQueue};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::Redis;
#[cfg(feature = "sqlx-mysql")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlx-mysql")))]
pub use self::sql::MySql;
#[cfg(any(feature = "sqlx-postgres", feature = "tokio-postgres"))]
#[cfg_attr(
    docsrs,
    doc(cfg(any(
        feature = "sqlx-postgres",
        feature = "deadpool-postgres",
        feature = "tokio-postgres"
    )))
)]
pub use self::sql::Postgres;
#[cfg(feature = "sqlx-migrate")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlx-migrate")))]
pub use self::sql::Schema;
#[cfg(feature = "sqlx-sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlx-sqlite")))]
pub use self::sql::Sqlite;
#[cfg(all(feature = "system", unix))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "system", unix))))]
pub use self::system::Disk;
#[cfg(all(feature = "system", target_os = "linux"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "system", target_os = "linux"))))]
pub use self::system::{CpuPressure, FileHandles, Memory};
#[cfg(feature = "tcp")]
#[cfg_attr(docsrs, doc(cfg(feature = "tcp")))]
pub use self::tcp::Tcp;

#[cfg(feature = "upstream-grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "upstream-grpc")))]
pub use self::upstream::GrpcUpstream;
#[cfg(feature = "upstream-http")]
#[cfg_attr(docsrs, doc(cfg(feature = "upstream-http")))]
pub use self::upstream::HttpUpstream;

/// Returns `part` in percent of `whole`. Returns 100 if `whole` is 0.
#[cfg(any(feature = "nats", feature = "pool", feature = "redis"))]
fn percent(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 100.0,
        whole => part as f64 / whole as f64 * 100.0,
    }
}

/// Adds the cause of a warning or a failure. A pass has none.
#[cfg(any(
    feature = "redis",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "system",
    feature = "tokio-postgres"
))]
fn explain(outcome: tower_health::Outcome, cause: impl std::fmt::Display) -> tower_health::Outcome {
    if outcome.reason().is_some() {
        outcome.with_cause(cause)
    } else {
        outcome
    }
}

/// Returns the problem of a bound that is not a percentage. No value, or every value, would exceed
/// it.
#[cfg(any(
    feature = "nats",
    feature = "redis",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres",
    feature = "system",
    feature = "tokio-postgres"
))]
fn not_a_percentage(name: &str, percent: Option<f64>) -> Option<String> {
    percent
        .filter(|percent| !(0.0..=100.0).contains(percent))
        .map(|percent| format!("`{name}` is {percent}: set it to a percentage from 0 to 100"))
}

/// What each check reports for each fault of its dependency.
#[cfg(all(doc, not(doctest)))]
pub mod faults {
    #![doc = include_str!("../docs/checks.md")]
}

/// Checks for clients without a feature in this crate.
#[cfg(all(doc, not(doctest)))]
pub mod recipes {
    #![doc = include_str!("../docs/recipes.md")]
}

/// The changes of each release.
#[cfg(all(doc, not(doctest)))]
pub mod changelog {
    #![doc = include_str!("../CHANGELOG.md")]
}

#[cfg(all(doctest, feature = "tcp"))]
#[doc = include_str!("../README.md")]
struct Readme;
