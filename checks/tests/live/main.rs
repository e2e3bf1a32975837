//! Each check of `checks` against a real server, healthy and broken. `docs/checks.md` records the
//! results.

mod bounds;
mod certificate;
mod dns;
#[cfg(target_os = "linux")]
mod harm;
mod matrix;
mod mysql;
mod nats;
mod pool;
mod postgres;
mod rabbitmq;
mod redis;
mod schema;
mod server;
mod sqlite;
#[cfg(target_os = "linux")]
mod system;
mod table;
mod tcp;
mod upstream_grpc;
mod upstream_http;
mod wear;
