//! The [agent-check] of HAProxy: [`Health::agent_check`](crate::Health::agent_check).
//!
//! The agent writes one line to each connection, which sets the state of this instance in HAProxy,
//! and closes the connection:
//!
//! | readiness | line |
//! | --- | --- |
//! | passes | `ready up 100% #ok` |
//! | warns | `ready up 100% #warn`, or with less [weight](AgentBuilder::warn_weight) |
//! | [draining](crate::Health::drain) | `drain #draining` |
//! | [maintenance](crate::Health::maintenance) | `maint #maintenance` |
//! | fails otherwise | `ready down #` and the reason, such as `postgres connection refused` |
//!
//! `drain` lets the sessions of persistent connections continue. A failing check does not. To use
//! it, let the agent control the drain, and let the ordinary check probe liveness:
//!
//! ```text
//! backend orders
//!     option httpchk
//!     http-check send meth GET uri /live
//!     server orders-1 10.0.0.7:8080 check agent-check agent-port 9001 agent-inter 2s weight 100
//! ```
//!
//! HAProxy keeps its state while the agent is unreachable. An agent runs no checks: a check [on
//! demand](crate::Check::on_demand) that no other reader requests stays pending.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::{io::AsyncReadExt, net::TcpStream};
//! use tower_health::Health;
//!
//! let health = Health::builder("orders").start()?;
//! let agent = health.agent_check("127.0.0.1:0").start()?;
//!
//! health.drain();
//! let mut line = String::new();
//! TcpStream::connect(agent.local_addr()).await?.read_to_string(&mut line).await?;
//! assert_eq!(line, "drain #draining\n");
//! # Ok(())
//! # }
//! ```
//!
//! [agent-check]: https://docs.haproxy.org/3.0/configuration.html#5.2-agent-check

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    Health,
    endpoint::Exposure,
    listen::{Addresses, Listening, ServeError, accept, addresses},
    model::{Probe, Status, Verdict, VerdictReason},
};

/// The maximum number of connections. Further connections wait.
const CONNECTIONS: usize = 64;

/// The time limit for writing the line to a connection.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a connection stays open after that, for its client to close it.
const LINGER: Duration = Duration::from_millis(200);

/// How much of what a client sends is read, in bytes.
const READ: u64 = 4 * 1024;

/// Builder of an agent. Returned by [`Health::agent_check`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, Status, endpoint::Exposure};
///
/// let agent = Health::fixed(Status::Pass)
///     .agent_check("127.0.0.1:0") // port 0: any free port
///     .warn_weight(50)
///     .exposure(Exposure::Status)
///     .start()?;
/// assert_ne!(agent.local_addr().port(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is served until `start()`"]
pub struct AgentBuilder {
    health: Health,
    addrs: Addresses,
    own_thread: bool,
    line: Line,
}

/// An agent. It responds until this is dropped, and keeps the checks running.
///
/// HAProxy then keeps the last state that it received, so drain the instance first.
///
/// ```
/// use std::{io::Read, net::TcpStream};
///
/// use tower_health::{Health, Status};
///
/// let health = Health::fixed(Status::Pass);
/// let agent = health.agent_check("127.0.0.1:0").own_thread().start()?;
/// let mut line = String::new();
/// TcpStream::connect(agent.local_addr())?.read_to_string(&mut line)?;
/// assert_eq!(line, "ready up 100% #ok\n");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the port is closed when this is dropped"]
pub struct Agent {
    listening: Listening,
}

/// How readiness is formatted as a line.
///
/// It is copied into each connection.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The weight while readiness warns, in percent.
    warn_weight: u8,
    exposure: Exposure,
}

impl Health {
    /// Returns a builder for HAProxy's `agent-check` on a separate port, such as `"0.0.0.0:9001"`.
    /// See the [module](crate::agent).
    ///
    /// If `addr` resolves to several addresses, the first that can be bound is used. Port 0 selects
    /// any free port.
    ///
    /// A name is resolved here, which blocks. An error of that is returned by
    /// [`start`](AgentBuilder::start).
    ///
    /// ```
    /// use std::{io::Read, net::TcpStream, time::Duration};
    ///
    /// use tower_health::{Health, Status};
    ///
    /// let health = Health::fixed(Status::Pass);
    /// let agent = health.agent_check("127.0.0.1:0").own_thread().start()?;
    /// health.maintenance("reindexing", Duration::from_secs(600));
    /// let mut line = String::new();
    /// TcpStream::connect(agent.local_addr())?.read_to_string(&mut line)?;
    /// assert_eq!(line, "maint #maintenance\n");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn agent_check(&self, addr: impl ToSocketAddrs) -> AgentBuilder {
        AgentBuilder {
            health: self.clone(),
            addrs: addresses(addr),
            own_thread: false,
            line: Line {
                warn_weight: 100,
                exposure: Exposure::default(),
            },
        }
    }
}

impl AgentBuilder {
    /// Sets the weight while readiness warns, in percent of the configured weight. A value above
    /// 100 is reduced to 100. Defaults to 100, because an instance that warns is ready.
    ///
    /// ```
    /// use std::{io::Read, net::TcpStream};
    ///
    /// use tower_health::{Health, Status};
    ///
    /// let health = Health::fixed(Status::Warn);
    /// let agent = health.agent_check("127.0.0.1:0").warn_weight(40).own_thread().start()?;
    /// let mut line = String::new();
    /// TcpStream::connect(agent.local_addr())?.read_to_string(&mut line)?;
    /// assert_eq!(line, "ready up 40% #warn\n");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn warn_weight(mut self, percent: u8) -> Self {
        self.line.warn_weight = percent.min(100);
        self
    }

    /// Sets how much the line contains. With [`Exposure::Status`] it contains nothing about checks.
    /// Defaults to [`Exposure::Checks`]. A higher exposure adds nothing.
    ///
    /// ```
    /// use std::{io::Read, net::TcpStream};
    ///
    /// use tower_health::{Health, Status, endpoint::Exposure};
    ///
    /// let health = Health::fixed(Status::Fail);
    /// for (exposure, expected) in [
    ///     (Exposure::Status, "ready down #fail\n"),
    ///     (Exposure::Checks, "ready down #fixed failed\n"),
    /// ] {
    ///     let agent = health.agent_check("127.0.0.1:0").exposure(exposure).own_thread().start()?;
    ///     let mut line = String::new();
    ///     TcpStream::connect(agent.local_addr())?.read_to_string(&mut line)?;
    ///     assert_eq!(line, expected);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.line.exposure = exposure;
        self
    }

    /// Responds on a separate thread and runtime. Defaults to the runtime that is current at
    /// [`start`](Self::start).
    ///
    /// It then responds while the runtime of the service is blocked, and needs no runtime to start.
    /// Unlike a management port on its own thread, it adds no check of the runtime.
    pub fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// Binds the port and starts to respond.
    ///
    /// # Errors
    ///
    /// Returns a [`ServeError`] if the port cannot be served. Nothing is served then.
    ///
    /// ```
    /// use tower_health::{Health, Status, error::ServeError};
    ///
    /// let health = Health::fixed(Status::Pass);
    /// let error = health.agent_check("127.0.0.1:0").start().unwrap_err();
    /// assert!(matches!(error, ServeError::NoRuntime), "neither a runtime nor `own_thread()`");
    /// ```
    pub fn start(self) -> Result<Agent, ServeError> {
        let Self {
            health,
            addrs,
            own_thread,
            line,
        } = self;
        let serve = move |listener| serve(listener, health, line);
        Ok(Agent {
            listening: Listening::start(addrs, own_thread, serve)?,
        })
    }
}

impl Agent {
    /// Returns the address that the port is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.addr()
    }
}

/// Accepts connections, at most [`CONNECTIONS`] at a time. The line is made when a connection is
/// accepted.
async fn serve(listener: TcpListener, health: Health, line: Line) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        let stream = accept(&listener).await;
        while connections.try_join_next().is_some() {}
        let text = line.of(&health.verdict(Probe::Readiness));
        connections.spawn(send(stream, text));
    }
}

/// Writes the line, and reads what the client sends meanwhile. If that stayed unread, closing would
/// reset the connection, and the line would be lost.
async fn send(mut stream: TcpStream, text: String) {
    let sent = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    };
    // Errors of a connection are visible to its client.
    if let Ok(Ok(())) = timeout(LIMIT, sent).await {
        let mut rest = stream.take(READ);
        _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

impl Line {
    /// Returns the line for a verdict of readiness, with its line break.
    fn of(self, verdict: &Verdict) -> String {
        match (verdict.status, verdict.reason) {
            (Status::Pass, _) => "ready up 100% #ok\n".to_owned(),
            (Status::Warn, _) => format!("ready up {}% #warn\n", self.warn_weight),
            (Status::Fail, Some(VerdictReason::Draining)) => "drain #draining\n".to_owned(),
            (Status::Fail, Some(VerdictReason::Maintenance)) => "maint #maintenance\n".to_owned(),
            (Status::Fail, reason) => format!("ready down #{}\n", self.why(verdict, reason)),
        }
    }

    /// The reason for a failure: the first failing check, if checks are the reason.
    fn why(self, verdict: &Verdict, reason: Option<VerdictReason>) -> String {
        let failing = verdict.checks.iter().find(|check| !check.status.is_good());
        match (reason, failing) {
            _ if self.exposure == Exposure::Status => "fail".to_owned(),
            (Some(VerdictReason::Checks), Some(check)) => {
                let why = check.why().unwrap_or("fail".into());
                format!("{} {why}", check.name)
            }
            (Some(reason), _) => reason.to_string(),
            (None, _) => "fail".to_owned(),
        }
    }
}
