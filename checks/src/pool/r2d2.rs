use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use r2d2::ManageConnection;

use super::{Pooled, Usage, pooled::Source, refusal::refusal};
use tower_health::{Outcome, Reason, async_trait, checks::BlockingCall};

use crate::{
    own::{Link, Own},
    refusal::Refusal,
};

impl Pooled {
    /// A check of a pool of r2d2, which blocks its thread. The `manager` is one like that of the pool: it makes a connection beside the pool and asks
    /// the server whether that is valid, as r2d2 does when it lends one. Both run on a thread of their own, one at a time.
    ///
    /// Give the manager time limits of its own, such as `connect_timeout` and `tcp_user_timeout` of PostgreSQL: a run that is given up leaves its thread
    /// waiting, and the next ones wait for that. Where a host goes without a word, that is as long as the kernel tries, which may be 15 minutes.
    ///
    /// ```
    /// use r2d2::ManageConnection;
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::pool::Pooled;
    /// # use std::io;
    /// # #[derive(Clone)]
    /// # struct Manager;
    /// # impl ManageConnection for Manager {
    /// #     type Connection = ();
    /// #     type Error = io::Error;
    /// #     fn connect(&self) -> io::Result<()> { Ok(()) }
    /// #     fn is_valid(&self, _: &mut ()) -> io::Result<()> { Ok(()) }
    /// #     fn has_broken(&self, _: &mut ()) -> bool { false }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), r2d2::Error> {
    /// let manager = Manager;
    /// let pool = r2d2::Pool::builder().max_size(5).build(manager.clone())?;
    /// let check = Pooled::r2d2(pool, manager);
    /// assert!(check.check().await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "r2d2")))]
    pub fn r2d2<M: ManageConnection>(pool: r2d2::Pool<M>, manager: M) -> Self {
        let (own, link) = (Own::new::<Blocking<M>>(), Blocking(Arc::new(manager)));
        // All that may block when it is dropped is in there.
        Self::of(R2d2(BlockingCall::new(move || {
            let began = Instant::now();
            let outcome = at_once(own.ask(&link, |()| Outcome::pass()));
            (began, outcome.merge(usage(&pool).judge()))
        })))
    }
}

/// A run, on a thread that may block: when it began, and what comes of it.
struct R2d2(BlockingCall<(Instant, Outcome)>);

#[async_trait]
impl Source for R2d2 {
    async fn ask(&self) -> Outcome {
        let began = Instant::now();
        let returned = match self.0.call().await {
            // An earlier run, which was given up, has hung until now: what it met may be over.
            Ok((earlier, outcome)) if earlier < began && outcome.reason().is_some() => {
                self.0.call().await
            }
            returned => returned,
        };
        returned.map_or_else(Outcome::from, |(_, outcome)| outcome)
    }
}

fn usage<M: ManageConnection>(pool: &r2d2::Pool<M>) -> Usage {
    let state = pool.state();
    let used = state.connections.saturating_sub(state.idle_connections);
    Usage::new(used as usize, pool.max_size() as usize)
}

/// Each of its futures is ready when it is first polled, for what they do blocks the thread.
struct Blocking<M>(Arc<M>);

impl<M: ManageConnection> Link for Blocking<M> {
    type Connection = M::Connection;
    type Answer = ();

    fn connect(&self) -> impl Future<Output = Result<M::Connection, Refusal>> + Send + 'static {
        let manager = Arc::clone(&self.0);
        async move { manager.connect().map_err(|error| refusal(&error)) }
    }

    async fn ask(&self, connection: &mut M::Connection) -> Result<(), Refusal> {
        self.0.is_valid(connection).map_err(|error| refusal(&error))
    }

    async fn close(connection: M::Connection) {
        drop(connection);
    }
}

/// What a future returns that waits for nothing.
fn at_once(future: impl Future<Output = Outcome>) -> Outcome {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        // No future of `Blocking` is ever pending.
        Poll::Pending => Outcome::fail(Reason::Failed),
    }
}
