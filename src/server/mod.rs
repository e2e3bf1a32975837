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
//! * where the port is [told to](ServerBuilder::drain_paths), `POST /drain` begins a [drain](crate::Health::drain), and `GET /drained`
//!   answers once nothing is in flight, for the same callers;
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
//! What ends a connection in each of its states, on a management port, on one that is served by `Health::run_http`, and for the agent:
//!
//! | state | management | `run_http` | agent |
//! | --- | --- | --- | --- |
//! | nothing was sent | 75 s | 75 s, [settable](RunHttp::idle_timeout) | told at once, then 1 s |
//! | half a head | 75 s | 75 s, [settable](RunHttp::head_timeout) | as above |
//! | half a preface of HTTP/2 | 75 s | 75 s, settable | as above |
//! | idle over HTTP/1 | 75 s | 75 s, settable | as above |
//! | idle over HTTP/2 | 75 s | 75 s, settable | as above |
//! | half a body | answered without it | what the handler allows | as above |
//! | the answer is not taken | 75 s | 75 s | 5 s |
//! | the client has asked without a body, sends no more, and waits | answered; 10 s without a byte of it | the same | told |
//!
//! A client that is gone looks like one that sends no more, so a handler of `run_http` runs on for up to 10 s after that. Who has sent
//! only a part of a body is gone at once.
//!
//! A management port has at most 256 connections: one more ends the oldest. A request's head may have 64 KiB there.
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

mod activity;
mod body;
mod connection;
mod events;
mod io;
mod leave;
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
    drain_paths: bool,
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
            drain_paths: false,
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
    ///
    /// The runtime of the checks is watched then, as by [`HealthBuilder::watchdog`](crate::HealthBuilder::watchdog) with a bound of
    /// 10 s: a check named `runtime` is listed that nobody registered, and liveness fails while that runtime does not poll.
    pub fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// Has a [drain](Health::drain) begun and waited for at `/drain` and `/drained`, by callers whom a [rule](Endpoints::authorize)
    /// knows. Defaults to neither: then these paths are answered as any other.
    ///
    /// `POST /drain` begins a drain and answers 202 at once; so does `GET`, for a `preStop` hook of Kubernetes can send nothing else.
    /// `GET /drained` answers 200 once nothing is in flight, 503 if requests were cut, and 409 where no drain has begun.
    pub fn drain_paths(mut self) -> Self {
        self.drain_paths = true;
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
        let management = Management::new(probes.map_err(ServeError::Endpoints)?, self.drain_paths);
        let serve = |listener| management::serve(listener, management);
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
