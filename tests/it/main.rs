//! The crate as its users meet it. Modules mirror `src`.

#[cfg(feature = "agent")]
mod agent;
mod change;
mod config;
mod dialects;
mod endpoint;
mod endpoints;
mod engine;
#[cfg(feature = "exec")]
mod exec;
#[cfg(feature = "grpc")]
mod grpc;
mod health;
mod hold_up;
mod layer;
mod on_demand;
mod place;
#[cfg(feature = "server")]
mod server;
mod sockets;
mod support;
mod telemetry;
mod testing;
mod watch;
