//! The crate as its users meet it. Modules mirror `src`.

mod endpoint;
mod engine;
mod health;
mod layer;
mod place;
mod sockets;
mod support;
