//! A port of its own for probes: [`Health::serve`](crate::Health::serve).
//!
//! It answers what a [layer](crate::layer::probes) answers, and nothing else of the service is reached by it, so it
//! may show more:
//!
//! * [`Exposure::Full`](crate::Exposure::Full), if the [endpoints](ServerBuilder::endpoints) say so;
//! * `POST` to the path of a check runs that check at once, for callers whom a
//!   [rule](crate::Endpoints::authorize) knows: 401 for others, and 403 where there is no rule; the answer is that of
//!   `GET`, after the run;
//! * `POST /maintenance?ttl=10m&reason=reindexing` takes the instance [out of rotation](crate::Health::maintenance) for a while,
//!   and `DELETE /maintenance` puts it back, for the same callers; both, and `GET`, tell where it is in its life, and
//!   what is left;
//! * `GET /events` is a stream of [server-sent events]: each verdict as it is, and each that becomes another, as
//!   `event: readiness` with the verdict in health+json. At most 32 readers are told; one more gets a 503.
//!
//! These paths are the port's own: what the endpoints have there is hidden.
//!
//! HTTP/1 and HTTP/2 with prior knowledge are spoken, without TLS. Bind it to an address that only operators and
//! probers reach.
//!
//! # A thread of its own
//!
//! By default the port is served on the runtime that is current. With
//! [`own_thread`](ServerBuilder::own_thread) it has a thread and a runtime of its own, and answers while the
//! service's own is saturated, blocked or stopped: then probers see what is true, and not a time-out.
//!
//! # Bounds
//!
//! There are at most 256 connections: one more ends the oldest. One without a request for 75 s ends, as does one whose
//! request does not arrive, or whose answer is not read, within that. A request's head may have 64 KiB.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_health::{Endpoints, Exposure, Health};
//!
//! let health = Health::builder("orders").start()?;
//! let endpoints = Endpoints::default()
//!     .and(Endpoints::kubernetes())
//!     .exposure(Exposure::Full);
//! let management = health.serve("127.0.0.1:0").endpoints(endpoints).own_thread().start()?;
//! println!("probes are answered on {}", management.local_addr());
//! # Ok(())
//! # }
//! ```
//!
//! [server-sent events]: https://html.spec.whatwg.org/multipage/server-sent-events.html

mod body;
mod connection;
mod events;
mod management;
mod run;
mod switch;

use std::net::{SocketAddr, ToSocketAddrs};

use self::management::Management;
pub use self::run::RunHttp;
use crate::{
    Health,
    endpoint::{Endpoints, ProbeService},
    lifecycle::watchdog,
    listen::{Addresses, Listening, ServeError, addresses},
};

/// A management port to be: made by [`Health::serve`].
///
/// See the [module](self) for what is answered there.
#[derive(Debug)]
#[must_use = "nothing is served until `start()`"]
pub struct ServerBuilder {
    health: Health,
    addrs: Addresses,
    endpoints: Endpoints,
    own_thread: bool,
}

/// A management port. It is served until this is dropped, and keeps the checks running.
#[derive(Debug)]
#[must_use = "the port is closed when this is dropped"]
pub struct Server {
    listening: Listening,
}

impl Health {
    /// Serves probes on a port of their own, such as `"0.0.0.0:9000"`; see the [module](crate::server).
    ///
    /// If `addr` comes to several addresses, the first that can be listened on is taken. Port 0 is any that is free.
    pub fn serve(&self, addr: impl ToSocketAddrs) -> ServerBuilder {
        ServerBuilder {
            health: self.clone(),
            addrs: addresses(addr),
            endpoints: Endpoints::default(),
            own_thread: false,
        }
    }
}

impl ServerBuilder {
    /// What is answered where, to whom, and how. Here the [exposure](Endpoints::exposure) may be full. Defaults to
    /// [`Endpoints::default`].
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Serves on a thread and a runtime of its own, which answer whatever becomes of the service's. Defaults to the
    /// runtime that is current at [`start`](Self::start).
    pub fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// Listens and serves.
    ///
    /// # Errors
    ///
    /// [`ServeError`], and then nothing is served.
    pub fn start(self) -> Result<Server, ServeError> {
        let health = self.health.clone();
        let probes = ProbeService::trusted(self.health, self.endpoints);
        let management = Management::new(probes.map_err(ServeError::Endpoints)?);
        let serve = |listener| connection::serve(listener, management);
        let listening = Listening::start(self.addrs, self.own_thread, serve)?;
        if self.own_thread {
            watchdog::watch_own(&health);
        }
        Ok(Server { listening })
    }
}

impl Server {
    /// The address that is listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.addr()
    }
}
