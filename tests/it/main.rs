//! The crate as its users meet it. Modules mirror `src`.

mod change;
mod endpoint;
mod engine;
mod health;
mod layer;
mod on_demand;
mod place;
mod sockets;
mod support;
mod watch;
