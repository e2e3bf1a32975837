//! Pools of r2d2, whose connections block the thread.
//!
//! A run is one [`BlockingCall`], so that it blocks a thread of its own. On that thread, the
//! futures of a [`DedicatedConnection`] never wait, because those of [`Blocking`] do all their work
//! in the first poll.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use r2d2::ManageConnection;

use super::{Pooled, Usage, refusal::refusal, source::Source};
use tower_health::{Outcome, Reason, async_trait, checks::BlockingCall};

use crate::{
    dedicated::{Connector, DedicatedConnection},
    refusal::Refusal,
};

impl Pooled {
    /// Creates a check for an r2d2 pool.
    ///
    /// The `manager` must be configured like the manager of the pool. It opens a dedicated
    /// connection, which is not part of the pool, and validates it with
    /// [`is_valid`](ManageConnection::is_valid), as r2d2 does by default before it lends a
    /// connection. Because both calls block, they run on a separate thread, one run at a time.
    ///
    /// Set time limits on the manager, such as `connect_timeout` and `tcp_user_timeout` of
    /// PostgreSQL. If a run times out, its thread continues to block, and the next runs wait for
    /// it. If the host disappears silently, that lasts until the kernel gives up, which may take
    /// 15 minutes.
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
        let (own, link) = (
            DedicatedConnection::new::<Blocking<M>>(),
            Blocking(Arc::new(manager)),
        );
        // The closure owns everything that may block when it is dropped.
        Self::of(R2d2(BlockingCall::new(move || {
            let began = Instant::now();
            let outcome = poll_ready(own.ask(&link, |()| Outcome::pass()));
            (began, outcome.merge(usage(&pool).judge()))
        })))
    }
}

/// A run on a blocking thread. It returns when it began, and its outcome.
struct R2d2(BlockingCall<(Instant, Outcome)>);

#[async_trait]
impl Source for R2d2 {
    async fn ask(&self) -> Outcome {
        let began = Instant::now();
        let returned = match self.0.call().await {
            // This is the outcome of an earlier run, which timed out and has blocked until now. The
            // fault that it reports may be over, so run again.
            Ok((earlier, outcome)) if earlier < began && outcome.reason().is_some() => {
                self.0.call().await
            }
            returned => returned,
        };
        returned.map_or_else(Outcome::from, |(_, outcome)| outcome)
    }
}

/// Returns the usage of a pool. It takes the lock of the pool, so it runs on the thread of the run.
fn usage<M: ManageConnection>(pool: &r2d2::Pool<M>) -> Usage {
    let state = pool.state();
    let used = state.connections.saturating_sub(state.idle_connections);
    Usage::new(used as usize, pool.max_size() as usize)
}

/// A link whose calls block the thread. Each of its futures is therefore ready when it is first
/// polled.
struct Blocking<M>(Arc<M>);

impl<M: ManageConnection> Connector for Blocking<M> {
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

/// Returns the output of a future that is ready when it is first polled.
fn poll_ready(future: impl Future<Output = Outcome>) -> Outcome {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        // The futures of `Blocking` are never pending.
        Poll::Pending => Outcome::fail(Reason::Failed),
    }
}
