//! A connection of a check's own.
//!
//! A check that borrowed its connection from the pool of its users would take a slot from them, wait in line with them when there is none,
//! and could not tell a pool that is exhausted from a database that is down. So it has one of its own, made with the pool's
//! options when it is first needed, and keeps it between runs: while all is well, and not for ever. A connection that is open tells nothing
//! of a password that was changed, or of a name that leads to another server now.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    time::{Instant, sleep, timeout},
};

use tower_health::{Failure, Outcome, Reason, Status};

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

    /// It borrows nothing, for it may outlive the run that asks for it.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Refusal>> + Send + 'static;

    fn ask(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;

    /// Ends a connection as its protocol does. Servers count, and log, what is dropped without a word.
    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send + 'static;
}

/// Keeps the connection between runs. Whatever is not kept is ended as its protocol does it, that of a run which is given up as well.
pub(crate) struct Own<C: Send + 'static> {
    kept: Mutex<Option<Held<C>>>,
    close: Close<C>,
    handshakes: Arc<Semaphore>,
}

type Close<C> = fn(C) -> Closing;
type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a connection is kept. A new one costs the server about what one of a pool does that lives for half an hour, in a sixth of the time.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);

/// How long one is kept whose driver ends it without a goodbye, which servers count: for as long as it is of use.
#[cfg(any(feature = "deadpool", all(feature = "bb8", feature = "diesel-async")))]
pub(crate) const WHILE_IT_WORKS: Duration = Duration::MAX;

/// How long what nobody waits for goes on: a goodbye, and a handshake that a run gave up on.
const GOODBYE: Duration = Duration::from_secs(10);

/// How many handshakes may go on at once. With runs that are a few seconds apart there are never more within that time; whoever gives up runs
/// faster than that does not take the server's connections from its users.
const HANDSHAKES: usize = 3;

impl<C: Send + 'static> Own<C> {
    pub(crate) fn new<L: Link<Connection = C>>() -> Self {
        Self {
            kept: Mutex::new(None),
            close: |connection| Box::pin(L::close(connection)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        }
    }

    /// Asks once, unless the pool is closed. A connection that was kept may have been lost since; then it is made anew, at once. It is
    /// kept while all is well.
    pub(crate) async fn ask<L: Link<Connection = C>>(
        &self,
        link: &L,
        judge: impl FnOnce(L::Answer) -> Outcome + Send,
    ) -> Outcome {
        let kept = self.lock().take();
        if link.is_closed() {
            return closed();
        }
        if let Some(mut held) = kept {
            match held.ask(link).await {
                Err(refusal) if refusal.is_lost() => {}
                answer => return self.ended(link, held, answer.map(judge)),
            }
        }
        let mut held = match self.connect(link).await {
            Ok(held) => held,
            Err(refusal) => return refusal.outcome(),
        };
        let answer = held.ask(link).await;
        self.ended(link, held, answer.map(judge))
    }

    /// A server may count a handshake that is given up as an error of the host, and block that: so it goes on for a while.
    async fn connect<L: Link<Connection = C>>(&self, link: &L) -> Result<Held<C>, Refusal> {
        let close = self.close;
        let held = move |connection| Held::new(connection, close);
        let Ok(runtime) = Handle::try_current() else {
            // On a thread that may block, no run is given up on its way.
            return link.connect().await.map(held);
        };
        let (mut sender, receiver) = oneshot::channel();
        let connect = link.connect();
        let permit = Arc::clone(&self.handshakes).try_acquire_owned();
        runtime.spawn(async move {
            let patience = permit.as_ref().map_or(Duration::ZERO, |_| GOODBYE);
            let connected = {
                let mut connect = pin!(connect);
                let mut given_up = pin!(async {
                    sender.closed().await;
                    sleep(patience).await;
                });
                poll_fn(|cx| match connect.as_mut().poll(cx) {
                    Poll::Ready(connected) => Poll::Ready(Some(connected)),
                    Poll::Pending => given_up.as_mut().poll(cx).map(|()| None),
                })
                .await
            };
            if let Some(connected) = connected {
                // Where nobody waits for it, it is ended.
                _ = sender.send(connected.map(held));
            }
        });
        let lost = |_| Err(Refusal::lost(Failure::new(Reason::Panicked)));
        receiver.await.unwrap_or_else(lost)
    }

    fn ended<L: Link<Connection = C>>(
        &self,
        link: &L,
        held: Held<C>,
        judged: Result<Outcome, Refusal>,
    ) -> Outcome {
        let is_good = matches!(&judged, Ok(outcome) if outcome.status() != Status::Fail);
        if is_good && held.since.elapsed() < link.keeps() {
            let other = self.lock().replace(held);
            // Of another run, at the same time.
            drop(other);
        }
        judged.unwrap_or_else(Refusal::outcome)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held<C>>> {
        // Nothing panics while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is ended as its protocol does it once it is dropped, by a task of its own.
struct Held<C: Send + 'static> {
    /// None is one that is being ended.
    connection: Option<C>,
    close: Close<C>,
    since: Instant,
}

impl<C: Send + 'static> Held<C> {
    fn new(connection: C, close: Close<C>) -> Self {
        Self {
            connection: Some(connection),
            close,
            since: Instant::now(),
        }
    }

    async fn ask<L: Link<Connection = C>>(&mut self, link: &L) -> Result<L::Answer, Refusal> {
        match &mut self.connection {
            Some(connection) => link.ask(connection).await,
            None => Err(Refusal::lost(Failure::new(Reason::ConnectionLost))),
        }
    }
}

impl<C: Send + 'static> Drop for Held<C> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        // Without a runtime nothing can be said.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(GOODBYE, (self.close)(connection)));
        }
    }
}
