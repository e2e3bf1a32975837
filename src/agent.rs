//! HAProxy's [agent-check]: [`Health::agent_check`](crate::Health::agent_check).
//!
//! Each connection is told in one line what to do with this instance, and closed:
//!
//! | readiness | line |
//! | --- | --- |
//! | passes | `ready up 100% #ok` |
//! | warns | `ready up 100% #warn`, or with less [weight](AgentBuilder::warn_weight) |
//! | [draining](crate::Health::drain) | `drain #draining` |
//! | [maintenance](crate::Health::maintenance) | `maint #maintenance` |
//! | fails otherwise | `ready down #` and why, such as `postgres connection refused` |
//!
//! `drain` lets the sessions of persistent connections go on, which a failing check does not. To use it, let the agent say
//! when to drain, and the ordinary check ask for liveness:
//!
//! ```text
//! backend orders
//!     option httpchk
//!     http-check send meth GET uri /live
//!     server orders-1 10.0.0.7:8080 check agent-check agent-port 9001 agent-inter 2s weight 100
//! ```
//!
//! HAProxy keeps its state while the agent cannot be reached. An agent runs nothing: a check
//! [on demand](crate::Check::on_demand) that nobody else reads stays pending.
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

/// How many connections there may be. Those that come then wait.
const CONNECTIONS: usize = 64;

/// How long a connection may take until it was told.
const LIMIT: Duration = Duration::from_secs(1);

/// How long it is left open after that, for its client to close it.
const LINGER: Duration = Duration::from_millis(200);

/// How much of what a client sends is read, in bytes.
const READ: u64 = 4 * 1024;

/// An agent to be: made by [`Health::agent_check`].
#[derive(Debug)]
#[must_use = "nothing is served until `start()`"]
pub struct AgentBuilder {
    health: Health,
    addrs: Addresses,
    own_thread: bool,
    line: Line,
}

/// An agent. It answers until this is dropped, and keeps the checks running.
#[derive(Debug)]
#[must_use = "the port is closed when this is dropped"]
pub struct Agent {
    listening: Listening,
}

/// How readiness is put in a line.
#[derive(Clone, Copy, Debug)]
struct Line {
    warn_weight: u8,
    exposure: Exposure,
}

impl Health {
    /// Answers HAProxy's `agent-check` on a port of its own, such as `"0.0.0.0:9001"`; see the [module](crate::agent).
    ///
    /// If `addr` comes to several addresses, the first that can be listened on is taken. Port 0 is any that is free.
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
    /// The weight while readiness warns, in percent of the configured one; more than 100 is 100. Defaults to 100: what
    /// warns is ready.
    pub fn warn_weight(mut self, percent: u8) -> Self {
        self.line.warn_weight = percent.min(100);
        self
    }

    /// How much is told: with [`Exposure::Status`] nothing of checks. Defaults to [`Exposure::Checks`]; more than that is
    /// never told.
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.line.exposure = exposure;
        self
    }

    /// Answers on a thread and a runtime of its own. Defaults to the runtime that is current at
    /// [`start`](Self::start).
    pub fn own_thread(mut self) -> Self {
        self.own_thread = true;
        self
    }

    /// Listens and answers.
    ///
    /// # Errors
    ///
    /// [`ServeError`], and then nothing is served.
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
    /// The address that is listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.addr()
    }
}

async fn serve(listener: TcpListener, health: Health, line: Line) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        let stream = accept(&listener).await;
        while connections.try_join_next().is_some() {}
        let text = line.of(&health.verdict(Probe::Readiness));
        connections.spawn(tell(stream, text));
    }
}

/// Tells a client, and takes what it sends meanwhile: closed with that unread, a connection would be reset, and what it
/// was told lost.
async fn tell(mut stream: TcpStream, text: String) {
    let told = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    };
    // What goes wrong on a connection is its client's to see.
    if let Ok(Ok(())) = timeout(LIMIT, told).await {
        let mut rest = stream.take(READ);
        _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

impl Line {
    fn of(self, verdict: &Verdict) -> String {
        match (verdict.status, verdict.reason) {
            (Status::Pass, _) => "ready up 100% #ok\n".to_owned(),
            (Status::Warn, _) => format!("ready up {}% #warn\n", self.warn_weight),
            (Status::Fail, Some(VerdictReason::Draining)) => "drain #draining\n".to_owned(),
            (Status::Fail, Some(VerdictReason::Maintenance)) => "maint #maintenance\n".to_owned(),
            (Status::Fail, reason) => format!("ready down #{}\n", self.why(verdict, reason)),
        }
    }

    /// Why it fails: the first check that does, if it is for one.
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
