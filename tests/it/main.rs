//! The crate as its users meet it. Modules mirror `src`.

mod change;
mod config;
mod endpoint;
mod engine;
mod health;
mod hold_up;
mod layer;
mod on_demand;
mod place;
mod sockets;
mod support;
mod telemetry;
mod testing;
mod watch;
