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

use tower_health::{Outcome, Status};

use crate::refusal::{Refusal, closed};

/// How to make a connection, and what to ask over it.
pub(crate) trait Link: Send + Sync {
    type Connection: Send + 'static;
    type Answer: Send;

    /// Whether the users of the pool get no connection any more, for it was closed.
    fn is_closed(&self) -> bool {
        false
    }

    /// How long a connection that works is of use to the next runs.
    fn keeps(&self) -> Duration {
        LIFETIME
    }

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Refusal>> + Send;

    fn ask(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;

    /// Ends a connection as its protocol does. Servers count, and log, what is dropped without a word.
    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send + 'static;
}

/// Keeps the connection between runs. A run that is dropped takes it along.
pub(crate) struct Own<C: Send + 'static> {
    kept: Mutex<Option<Kept<C>>>,
    close: fn(C) -> Closing,
}

type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Kept<C> {
    connection: C,
    since: Instant,
}

/// How long a connection is kept. A new one costs the server about what one of a pool does that lives for half an hour, in a sixth of the time.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);

/// How long one is kept whose driver ends it without a goodbye, which servers count: for as long as it is of use.
#[cfg(any(feature = "deadpool", feature = "diesel-async"))]
pub(crate) const WHILE_IT_WORKS: Duration = Duration::MAX;

/// How long a goodbye may take. It is a few bytes.
const GOODBYE: Duration = Duration::from_secs(1);

impl<C: Send + 'static> Own<C> {
    pub(crate) fn new<L: Link<Connection = C>>() -> Self {
        Self {
            kept: Mutex::new(None),
            close: |connection| Box::pin(L::close(connection)),
        }
    }

    /// Asks once, unless the pool is closed. A connection that was kept may have been lost since; then it is made anew, at once. It is
    /// kept while all is well.
    pub(crate) async fn ask<L: Link<Connection = C>>(
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
                Err(refusal) if refusal.is_lost() => {}
                answer => return self.ended(link, kept, answer.map(judge)),
            }
        }
        let mut connection = match link.connect().await {
            Ok(connection) => connection,
            Err(refusal) => return refusal.outcome(),
        };
        match link.ask(&mut connection).await {
            Err(refusal) if refusal.is_lost() => refusal.outcome(),
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
        let stays = is_good && kept.since.elapsed() < link.keeps();
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
