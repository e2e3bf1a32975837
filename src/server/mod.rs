//! A separate port for probes: [`Health::serve`](crate::Health::serve).
//!
//! It serves what a [layer](crate::layer::probes) serves. Nothing else of the service is reachable
//! through it, so it may expose more:
//!
//! * [`Exposure::Full`], if its
//!   [exposure](ServerBuilder::exposure) is set to that.
//! * `POST` to the path of a check runs that check immediately, for callers that a
//!   [rule](crate::endpoint::EndpointsBuilder::authorize) accepts. The response is that of `GET`,
//!   after the run. Other callers receive 401. If there is no rule, all callers receive 403.
//! * `POST /maintenance?ttl=10m&reason=reindexing` takes the instance [out of
//!   rotation](crate::Health::maintenance) temporarily, and `DELETE /maintenance` ends that, for
//!   the same callers. Both, and `GET`, return the stage of the instance and the time that is left.
//!   With [`Exposure::Status`], `GET` is limited to these
//!   callers as well.
//! * If the port [enables them](ServerBuilder::drain_paths), `POST /drain` begins a
//!   [drain](crate::Health::drain), and `GET /drained` responds once nothing is in flight, for the
//!   same callers.
//! * `GET /events` is a stream of [server-sent events]. It contains each current verdict, and each
//!   verdict that changes later, as `event: readiness` with the verdict in health+json. It has at
//!   most 32 readers. A further reader receives 503.
//!
//! These paths belong to the port. They hide endpoints with the same paths.
//!
//! The port speaks HTTP/1 and HTTP/2 with prior knowledge, without TLS. Bind it to an address that
//! only operators and probers can reach.
//!
//! # A separate thread
//!
//! By default the port is served on the current runtime. With
//! [`own_thread`](ServerBuilder::own_thread) it has its own thread and runtime, and responds while
//! the runtime of the service is saturated, blocked or stopped. Probers then receive the actual
//! state, and not a timeout.
//!
//! # Bounds
//!
//! The table shows when a connection is closed in each of its states: on a management port, on a
//! port that `Health::run_http` serves, and on the port of the agent.
//!
//! | state | management | `run_http` | agent |
//! | --- | --- | --- | --- |
//! | nothing was sent | 75 s | 75 s, [configurable](RunHttp::idle_timeout) | answered immediately, then 1 s |
//! | partial request head | 75 s | 75 s, [configurable](RunHttp::head_timeout) | as above |
//! | partial HTTP/2 preface | 75 s | 75 s, configurable | as above |
//! | idle over HTTP/1 | 75 s | 75 s, configurable | as above |
//! | idle over HTTP/2 | 75 s | 75 s, configurable | as above |
//! | partial body | answered without the rest | as the handler allows | as above |
//! | the client does not read the response | 75 s | 75 s | 5 s |
//! | the client has sent a request without a body, has closed its sending side, and waits | answered; 10 s without a byte of the response | the same | answered |
//!
//! A client that is gone looks like a client that has closed its sending side. A handler of
//! `run_http` therefore continues for up to 10 s after its client is gone. A client that closes
//! after only a part of a body counts as gone immediately.
//!
//! A management port has at most 256 connections. A further connection closes the oldest. There, a
//! request's head has at most 64 KiB.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_health::{Endpoints, Health, endpoint::Exposure};
//!
//! let health = Health::builder("orders").start()?;
//! let endpoints = Endpoints::builder()
//!     .merge(Endpoints::kubernetes())
//!     .build()?;
//! let management = health
//!     .serve("127.0.0.1:0")
//!     .endpoints(endpoints)
//!     .exposure(Exposure::Full)
//!     .own_thread()
//!     .start()?;
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
    endpoint::{Endpoints, Exposure, ProbeService},
    lifecycle::watchdog,
    listen::{Addresses, Listening, ServeError, addresses},
};

/// Builder of a management port. Returned by [`Health::serve`].
///
/// See the [module](self) for what the port serves.
#[derive(Debug)]
#[must_use = "nothing is served until `start()`"]
pub struct ServerBuilder {
    health: Health,
    addrs: Addresses,
    endpoints: Endpoints,
    exposure: Option<Exposure>,
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
    /// Returns a builder for a separate port that serves probes, such as `"0.0.0.0:9000"`. See the
    /// [module](crate::server).
    ///
    /// If `addr` resolves to several addresses, the first that can be bound is used. Port 0 selects
    /// any free port.
    pub fn serve(&self, addr: impl ToSocketAddrs) -> ServerBuilder {
        ServerBuilder {
            health: self.clone(),
            addrs: addresses(addr),
            endpoints: Endpoints::default(),
            exposure: None,
            own_thread: false,
            drain_paths: false,
        }
    }
}

impl ServerBuilder {
    /// Sets the paths, their responses and their callers. Defaults to [`Endpoints::default`].
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Sets the exposure for every caller of this port, in place of the exposure of its endpoints.
    /// Defaults to the exposure of the endpoints.
    ///
    /// [`Exposure::Full`] shows causes and measurements to every caller that reaches the port. Do
    /// not expose such a port to public networks.
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = Some(exposure);
        self
    }

    /// Serves the port on its own thread and runtime, which respond whatever the state of the
    /// service's runtime. Defaults to the runtime that is current at [`start`](Self::start).
    ///
    /// The runtime of the checks is then watched, as by
    /// [`HealthBuilder::watchdog`](crate::HealthBuilder::watchdog) with a bound of 10 s. This adds
    /// a check named `runtime`, and liveness fails while that runtime does not poll.
    pub fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// Enables the paths `/drain` and `/drained`, which begin a [drain](Health::drain) and wait for
    /// it, for callers that a [rule](crate::endpoint::EndpointsBuilder::authorize) accepts.
    /// Defaults to disabled: these paths are then handled as any other.
    ///
    /// `POST /drain` begins a drain and returns 202 immediately. `GET /drain` does the same,
    /// because a `preStop` hook of Kubernetes can send nothing else. `GET /drained` returns 200
    /// once nothing is in flight, 503 if requests were cut, and 409 if no drain has begun.
    pub fn drain_paths(mut self) -> Self {
        self.drain_paths = true;
        self
    }

    /// Binds the port and starts to serve it.
    ///
    /// # Errors
    ///
    /// Returns a [`ServeError`] if the port cannot be served. Nothing is served then.
    pub fn start(self) -> Result<Server, ServeError> {
        let health = self.health.clone();
        let endpoints = match self.exposure {
            Some(exposure) => self.endpoints.with_exposure(exposure),
            None => self.endpoints,
        };
        let probes = ProbeService::new(self.health, endpoints);
        let management = Management::new(probes, self.drain_paths);
        let serve = |listener| management::serve(listener, management);
        let listening = Listening::start(self.addrs, self.own_thread, serve)?;
        if self.own_thread {
            watchdog::watch_own(&health);
        }
        Ok(Server { listening })
    }
}

impl Server {
    /// Returns the address that the port is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.addr()
    }
}
