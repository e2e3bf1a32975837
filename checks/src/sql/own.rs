//! A connection of a check's own.
//!
//! A check that borrowed its connection from the pool of its users would take a slot from them, wait in line with them when there is none,
//! and could not tell a pool that is exhausted from a database that is down. So it has one of its own, made with the pool's
//! options when it is first needed, and keeps it between runs: while all is well, and not for ever. A connection that is open tells nothing
//! of a password that was changed, or of a name that leads to another server now.

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use tower_health::{Cause, Failure, Outcome, Reason, Status};

/// How to make a connection, and what to ask over it.
pub(super) trait Link: Send + Sync {
    type Connection: Send + 'static;
    type Answer: Send;

    /// Whether the users of the pool get no connection any more, for it was closed.
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether a connection that works is of use to the next run.
    fn keeps(&self) -> bool {
        true
    }

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Refusal>> + Send;

    fn ask(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;

    /// Ends a connection as its protocol does. Servers count, and log, what is dropped without a word.
    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send + 'static;
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

    /// Whether the server answers, and not to this question: what it lacks, or keeps to itself.
    #[cfg(any(
        feature = "sqlx-mysql",
        feature = "sqlx-postgres",
        feature = "tokio-postgres"
    ))]
    pub(super) fn is_of_the_question(&self) -> bool {
        let reason = self.outcome.reason();
        let is_withheld = matches!(
            reason,
            Some(Reason::PermissionDenied | Reason::Incompatible | Reason::Failed)
        );
        self.said && is_withheld
    }
}

/// Keeps the connection between runs. A run that is dropped takes it along.
pub(super) struct Own<C: Send + 'static> {
    kept: Mutex<Option<Kept<C>>>,
    close: fn(C) -> Closing,
}

type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Kept<C> {
    connection: C,
    since: Instant,
}

/// How long a connection is kept. A new one costs the server about what one of a pool does that lives for half an hour, in a sixth of the time.
const LIFETIME: Duration = Duration::from_secs(300);

/// How long a goodbye may take. It is a few bytes.
const GOODBYE: Duration = Duration::from_secs(1);

impl<C: Send + 'static> Own<C> {
    pub(super) fn new<L: Link<Connection = C>>() -> Self {
        Self {
            kept: Mutex::new(None),
            close: |connection| Box::pin(L::close(connection)),
        }
    }

    /// Asks once, unless the pool is closed. A connection that was kept may have been lost since; then it is made anew, at once. It is
    /// kept while all is well.
    pub(super) async fn ask<L: Link<Connection = C>>(
        &self,
        link: &L,
        judge: impl FnOnce(L::Answer) -> Outcome + Send,
    ) -> Outcome {
        if link.is_closed() {
            self.part();
            return closed();
        }
        if let Some(mut kept) = self.take() {
            match link.ask(&mut kept.connection).await {
                Err(refusal) if !refusal.said => {}
                answer => return self.ended(link, kept, answer.map(judge)),
            }
        }
        let mut connection = match link.connect().await {
            Ok(connection) => connection,
            Err(refusal) => return refusal.outcome(),
        };
        match link.ask(&mut connection).await {
            Err(refusal) if !refusal.said => refusal.outcome(),
            answer => {
                let since = Instant::now();
                self.ended(link, Kept { connection, since }, answer.map(judge))
            }
        }
    }

    /// Over a connection that works.
    fn ended<L: Link<Connection = C>>(
        &self,
        link: &L,
        kept: Kept<C>,
        judged: Result<Outcome, Refusal>,
    ) -> Outcome {
        let is_good = matches!(&judged, Ok(outcome) if outcome.status() != Status::Fail);
        let stays = is_good && link.keeps() && kept.since.elapsed() < LIFETIME;
        *self.lock() = Some(kept);
        if !stays {
            self.part();
        }
        judged.unwrap_or_else(Refusal::outcome)
    }

    /// Says goodbye, if anything is kept, and waits for nobody.
    fn part(&self) {
        let Some(kept) = self.take() else {
            return;
        };
        // Without a runtime nothing can be said.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(GOODBYE, (self.close)(kept.connection)));
        }
    }

    fn take(&self) -> Option<Kept<C>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept<C>>> {
        // Nothing panics while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Send + 'static> Drop for Own<C> {
    fn drop(&mut self) {
        self.part();
    }
}

/// What becomes of a check whose pool was closed: a server that answers is of no use to the service then.
pub(super) fn closed() -> Outcome {
    Outcome::fail(Reason::Misconfigured).with_cause("the pool is closed")
}

/// The public word for what a server said, and its own.
pub(super) fn said(reason: Reason, text: impl std::fmt::Display) -> Refusal {
    let outcome = match reason {
        // It is there, and has no room.
        Reason::Busy => Outcome::warn(reason),
        _ => Outcome::fail(reason),
    };
    Refusal::said(outcome.with_cause(Cause::new(text).redacted()))
}
