//! The management port, a separate port for probes: [`Health::serve`](crate::Health::serve).
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
//! In this example an operator begins maintenance. Only callers that a rule accepts may do that:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Request, StatusCode};
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_health::{Endpoints, Health, report::Stage};
//!
//! let health = Health::builder("orders").start()?;
//! let endpoints = Endpoints::builder().bearer_token("f3b1c0ffee").build()?;
//! let management = health.serve("127.0.0.1:0").endpoints(endpoints).start()?;
//!
//! let client = Client::builder(TokioExecutor::new()).build_http::<String>();
//! let uri = format!("http://{}/maintenance?ttl=10m&reason=reindexing", management.local_addr());
//! let anonymous = Request::post(&uri).body(String::new())?;
//! assert_eq!(client.request(anonymous).await?.status(), StatusCode::UNAUTHORIZED);
//!
//! let operator = Request::post(&uri).header("authorization", "Bearer f3b1c0ffee");
//! let response = client.request(operator.body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(health.stage(), Stage::Maintenance);
//! # Ok(())
//! # }
//! ```
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
//! | nothing was sent | 75 s | 75 s, [configurable](RunHttp::idle_timeout) | 200 ms after the answer, which is sent at once |
//! | partial request head | 75 s | 75 s, [configurable](RunHttp::head_timeout) | as above |
//! | partial HTTP/2 preface | 75 s | 75 s, configurable | as above |
//! | idle over HTTP/1 | 75 s | 75 s, configurable | as above |
//! | idle over HTTP/2 | 75 s | 75 s, configurable | as above |
//! | partial body | answered without the rest | as the handler allows | as above |
//! | the client does not read the response | 75 s | 75 s | 1 s |
//! | the client has sent a request without a body, has closed its sending side, and waits | after the response, or after 10 s in which no byte of it is written | the same | after the answer |
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
///
/// ```
/// use tower_health::{Health, Status, endpoint::Exposure};
///
/// let management = Health::fixed(Status::Pass)
///     .serve("127.0.0.1:0") // port 0: any free port
///     .exposure(Exposure::Full)
///     .own_thread() // needs no runtime
///     .start()?;
/// assert_ne!(management.local_addr().port(), 0);
/// # Ok::<_, tower_health::error::ServeError>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is served until `start()`"]
pub struct ServerBuilder {
    health: Health,
    addrs: Addresses,
    endpoints: Endpoints,
    /// `None` for the exposure of the endpoints.
    exposure: Option<Exposure>,
    own_thread: bool,
    drain_paths: bool,
}

/// A management port. It is served until this is dropped, and keeps the checks running.
///
/// Connections end immediately when it is dropped, even in the middle of a response. Keep it until
/// `main` ends.
///
/// ```
/// use std::net::TcpListener;
///
/// use tower_health::{Health, Status};
///
/// let health = Health::fixed(Status::Pass);
/// let management = health.serve("127.0.0.1:0").own_thread().start()?;
/// let addr = management.local_addr();
/// assert!(TcpListener::bind(addr).is_err(), "in use");
/// drop(management);
/// # Ok::<_, tower_health::error::ServeError>(())
/// ```
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
    ///
    /// A name is resolved here, which blocks. An error of that is returned by
    /// [`start`](ServerBuilder::start).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let management = health.serve("127.0.0.1:0").start()?;
    ///
    /// let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    /// let uri = format!("http://{}/ready", management.local_addr()).parse()?;
    /// assert_eq!(client.get(uri).await?.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// Their [rules](crate::endpoint::EndpointsBuilder::authorize) decide who may operate the
    /// instance. Without a rule, nobody may.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::{Request, StatusCode};
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use tower_health::{Check, Endpoints, Health, Status};
    ///
    /// let db = Check::new("db", || async { Status::Pass });
    /// let health = Health::builder("orders").check(db).start()?;
    /// let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    /// let without_rule = health.serve("127.0.0.1:0").start()?;
    /// let uri = format!("http://{}/health/db", without_rule.local_addr());
    /// let run = Request::post(uri).body(String::new())?;
    /// assert_eq!(client.request(run).await?.status(), StatusCode::FORBIDDEN);
    ///
    /// let endpoints = Endpoints::builder().bearer_token("f3b1c0ffee").build()?;
    /// let with_rule = health.serve("127.0.0.1:0").endpoints(endpoints).start()?;
    /// let uri = format!("http://{}/health/db", with_rule.local_addr());
    /// let run = Request::post(uri).header("authorization", "Bearer f3b1c0ffee");
    /// assert_eq!(client.request(run.body(String::new())?).await?.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Sets the exposure for every caller of this port, in place of the exposure of its endpoints.
    /// Defaults to the exposure of the endpoints.
    ///
    /// [`Exposure::Full`] shows causes and measurements to every caller that reaches the port. Do
    /// not expose such a port to public networks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http_body_util::BodyExt;
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use tower_health::{Check, Health, Outcome, Reason, endpoint::Exposure};
    ///
    /// let db = || async {
    ///     Outcome::fail(Reason::ConnectionRefused).with_cause("db-1.internal refused")
    /// };
    /// let health = Health::builder("orders").check(Check::new("db", db)).start()?;
    /// health.run_now("db").await?;
    /// let management = health.serve("127.0.0.1:0").exposure(Exposure::Full).start()?;
    ///
    /// let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    /// let uri = format!("http://{}/ready", management.local_addr()).parse()?;
    /// let body = client.get(uri).await?.collect().await?.to_bytes();
    /// assert!(String::from_utf8_lossy(&body).contains("db-1.internal refused"));
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let _management = health.serve("127.0.0.1:0").own_thread().start()?;
    /// tokio::task::yield_now().await;
    /// assert!(health.check("runtime").is_ok(), "the check that watches this runtime");
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use http::{Request, StatusCode};
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use tower_health::{Endpoints, Health, report::Stage};
    ///
    /// let health = Health::builder("orders").drain_delay(Duration::ZERO).start()?;
    /// let endpoints = Endpoints::builder().bearer_token("f3b1c0ffee").build()?;
    /// let management = health.serve("127.0.0.1:0").endpoints(endpoints).drain_paths().start()?;
    /// let addr = management.local_addr();
    /// let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    /// let get = |path| {
    ///     let request = Request::get(format!("http://{addr}{path}"));
    ///     let request = request.header("authorization", "Bearer f3b1c0ffee");
    ///     client.request(request.body(String::new()).expect("a valid request"))
    /// };
    ///
    /// assert_eq!(get("/drained").await?.status(), StatusCode::CONFLICT, "no drain has begun");
    /// assert_eq!(get("/drain").await?.status(), StatusCode::ACCEPTED);
    /// assert_eq!(health.stage(), Stage::Draining);
    /// assert_eq!(get("/drained").await?.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain_paths(mut self) -> Self {
        self.drain_paths = true;
        self
    }

    /// Binds the port and starts to serve it.
    ///
    /// # Errors
    ///
    /// Returns a [`ServeError`] if the port cannot be served. Nothing is served then.
    ///
    /// ```
    /// use tower_health::{Health, Status, error::ServeError};
    ///
    /// let health = Health::fixed(Status::Pass);
    /// let first = health.serve("127.0.0.1:0").own_thread().start()?;
    /// let second = health.serve(first.local_addr()).own_thread().start();
    /// assert!(matches!(second, Err(ServeError::Listen { .. })), "the port is in use");
    /// # Ok::<_, ServeError>(())
    /// ```
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
