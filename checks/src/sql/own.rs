//! A connection of a check's own.
//!
//! A check that borrowed its connection from the pool of its users would take a slot from them, wait in line with them when there is none,
//! and could not tell a pool that is exhausted from a database that is down. So it has one of its own, made with the pool's
//! options when it is first needed, and keeps it between runs: while all is well, and not for ever. A connection that is open tells nothing
//! of a password that was changed, or of a name that leads to another server now.

use std::{
    fmt,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use tower_health::{Cause, Failure, Outcome, Reason};

/// How to make a connection, and what to ask over it.
pub(super) trait Link: Send + Sync {
    type Connection: Send;
    type Answer: Send;

    /// Whether the users of the pool get no connection any more, for it was closed.
    fn is_closed(&self) -> bool {
        false
    }

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Refusal>> + Send;

    fn ask(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    outcome: Outcome,
    /// Whether it was the server that said so, over a connection that works.
    said: bool,
}

impl Refusal {
    /// What the server says.
    pub(super) fn said(outcome: Outcome) -> Self {
        Self {
            outcome,
            said: true,
        }
    }

    /// What became of the connection.
    pub(super) fn lost(failure: impl Into<Failure>) -> Self {
        Self {
            outcome: failure.into().into(),
            said: false,
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        self.outcome
    }
}

/// Keeps the connection between runs. A run that is dropped takes it along.
pub(super) struct Own<C>(Mutex<Option<Kept<C>>>);

struct Kept<C> {
    connection: C,
    since: Instant,
}

/// How long a connection is kept. A new one costs the server about what one of a pool does that lives for half an hour, in a sixth of the time.
const LIFETIME: Duration = Duration::from_secs(300);

impl<C> Default for Own<C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<C: Send> Own<C> {
    /// Asks once, unless the pool is closed. A connection that was kept may have been lost since; then it is made anew, at once.
    pub(super) async fn ask<L: Link<Connection = C>>(
        &self,
        link: &L,
    ) -> Result<L::Answer, Outcome> {
        if link.is_closed() {
            self.forget();
            return Err(closed());
        }
        if let Some(mut kept) = self.take() {
            match link.ask(&mut kept.connection).await {
                Err(refusal) if !refusal.said => {}
                answer => return self.keep(kept, answer),
            }
        }
        let mut connection = link.connect().await.map_err(Refusal::outcome)?;
        let answer = link.ask(&mut connection).await;
        let since = Instant::now();
        self.keep(Kept { connection, since }, answer)
    }

    /// Has the next run make a new connection, for what was answered is not good.
    pub(super) fn forget(&self) {
        drop(self.take());
    }

    fn keep<T>(&self, kept: Kept<C>, answer: Result<T, Refusal>) -> Result<T, Outcome> {
        if answer.is_ok() && kept.since.elapsed() < LIFETIME {
            *self.lock() = Some(kept);
        }
        answer.map_err(Refusal::outcome)
    }

    fn take(&self) -> Option<Kept<C>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept<C>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a check whose pool was closed: a server that answers is of no use to the service then.
pub(super) fn closed() -> Outcome {
    Outcome::fail(Reason::Misconfigured).with_cause("the pool is closed")
}

/// The public word for what a server said, and its own.
pub(super) fn said(reason: Reason, text: impl fmt::Display) -> Refusal {
    let outcome = match reason {
        // It is there, and has no room.
        Reason::Busy => Outcome::warn(reason),
        _ => Outcome::fail(reason),
    };
    Refusal::said(outcome.with_cause(Cause::new(text).redacted()))
}
