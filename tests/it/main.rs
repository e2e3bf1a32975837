//! Tests of the public interface. The modules mirror `src`.

#[cfg(feature = "agent")]
mod agent;
mod change;
mod checks;
mod config;
#[cfg(all(feature = "agent", feature = "exec", feature = "server"))]
mod connections;
mod depends_on;
mod dialects;
mod drain;
mod endpoint;
mod endpoints;
mod engine;
#[cfg(feature = "exec")]
mod exec;
mod flapping;
mod forms;
mod freshness;
#[cfg(feature = "grpc")]
mod grpc;
mod health;
mod hold_up;
mod layer;
mod on_demand;
mod place;
mod proxy;
mod pushed;
mod queue;
#[cfg(feature = "server")]
mod server;
mod sockets;
mod support;
mod telemetry;
mod testing;
mod watch;
mod watchdog;
