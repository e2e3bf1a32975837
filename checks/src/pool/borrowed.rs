//! Pools that lend a connection to the check: the trait [`Pool`], which users implement.
//!
//! The check must not disturb the service, so it does not queue in a full pool, and it returns the
//! connection after one ping. A connection that was lost is replaced once, because it may have been
//! idle in the pool for a long time.

use std::{fmt, future::Future, time::Duration};

use super::{Usage, refusal::of_boxed, source::Source};
use tower_health::{BoxError, Failure, Outcome, Reason, async_trait};

use crate::refusal::{Refusal, closed, said};

/// A pool that lends a connection for the duration of a ping, for
/// [`Pooled::new`](super::Pooled::new).
///
/// The check takes a free slot of the pool for the duration of a ping. If the pool is full, the
/// check warns with *busy* without a ping, although the server may be the cause.
///
/// ```
/// use std::time::Duration;
///
/// use driver::{Client, Error};
/// use tower_health::{BoxError, HealthCheck, Status};
/// use tower_health_checks::pool::{Pool, Pooled, Unavailable, Usage};
///
/// /// The service's own pool.
/// struct Clients(driver::Pool);
///
/// impl Pool for Clients {
///     type Connection = Client;
///
///     fn usage(&self) -> Usage {
///         Usage::new(self.0.used(), self.0.size())
///     }
///
///     async fn get(&self, within: Duration) -> Result<Client, Unavailable> {
///         match self.0.get_within(within).await {
///             Err(Error::TimedOut) if self.0.used() == self.0.size() => Err(Unavailable::Full),
///             got => Ok(got?),
///         }
///     }
///
///     async fn ping(&self, client: &mut Client) -> Result<(), BoxError> {
///         Ok(client.ping().await?)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let check = Pooled::new(Clients(driver::Pool::of(2)));
/// assert_eq!(check.check().await.unwrap().status(), Status::Pass);
/// # Ok(())
/// # }
/// # mod driver {
/// #     use std::time::Duration;
/// #     pub struct Pool(usize);
/// #     pub struct Client;
/// #     #[derive(Debug)]
/// #     pub enum Error { TimedOut }
/// #     impl std::fmt::Display for Error {
/// #         fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #             f.write_str("timed out")
/// #         }
/// #     }
/// #     impl std::error::Error for Error {}
/// #     impl Pool {
/// #         pub fn of(size: usize) -> Self { Self(size) }
/// #         pub fn used(&self) -> usize { 0 }
/// #         pub fn size(&self) -> usize { self.0 }
/// #         pub async fn get_within(&self, _: Duration) -> Result<Client, Error> { Ok(Client) }
/// #     }
/// #     impl Client {
/// #         pub async fn ping(&mut self) -> Result<(), Error> { Ok(()) }
/// #     }
/// # }
/// ```
pub trait Pool: Send + Sync + 'static {
    /// The connection that the pool lends. It must return to the pool when it is dropped, also if a
    /// run is dropped before it ends.
    type Connection: Send + 'static;

    /// Returns the number of connections in use and the size of the pool.
    fn usage(&self) -> Usage;

    /// Returns whether the pool was permanently closed, so that it lends no connection any more.
    /// The check then fails with [`Reason::Misconfigured`]. Defaults to `false`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use tower_health::BoxError;
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::pool::{Pool, Pooled, Unavailable, Usage};
    ///
    /// struct Closed;
    ///
    /// impl Pool for Closed {
    ///     fn is_closed(&self) -> bool {
    ///         true
    ///     }
    ///     // ...
    /// #     type Connection = ();
    /// #     fn usage(&self) -> Usage { Usage::new(0, 8) }
    /// #     async fn get(&self, _: Duration) -> Result<(), Unavailable> { Ok(()) }
    /// #     async fn ping(&self, _: &mut ()) -> Result<(), BoxError> { Ok(()) }
    /// }
    ///
    /// let outcome = Pooled::new(Closed).check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::Misconfigured));
    /// # }
    /// ```
    fn is_closed(&self) -> bool {
        false
    }

    /// Borrows a connection. It may wait for a free one for up to `within`, which is 250 ms.
    ///
    /// The future is dropped if the run times out. This must not leak a slot of the pool.
    ///
    /// # Errors
    ///
    /// - [`Unavailable::Full`]: no connection became free in that time.
    /// - [`Unavailable::Failed`]: no connection can be opened.
    fn get(
        &self,
        within: Duration,
    ) -> impl Future<Output = Result<Self::Connection, Unavailable>> + Send;

    /// Sends a small request to the server. It should need the same permissions and resources as
    /// the requests of the service.
    ///
    /// # Errors
    ///
    /// Returns the error of the server or of the driver.
    fn ping(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Takes back a lost connection, which must not be lent again. Defaults to dropping it, which
    /// is correct for pools that validate a connection before they lend it.
    ///
    /// The check calls it if a ping fails in a way that shows that the connection was lost, such as
    /// a reset. It then borrows another connection once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use tower_health::BoxError;
    /// use std::{io, sync::{Arc, atomic::{AtomicUsize, Ordering}}};
    ///
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::pool::{Pool, Pooled, Unavailable, Usage};
    ///
    /// struct Lost(Arc<AtomicUsize>);
    ///
    /// impl Pool for Lost {
    ///     async fn ping(&self, _: &mut ()) -> Result<(), BoxError> {
    ///         Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
    ///     }
    ///     fn discard(&self, _: ()) {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///     }
    ///     // ...
    /// #     type Connection = ();
    /// #     fn usage(&self) -> Usage { Usage::new(0, 8) }
    /// #     async fn get(&self, _: Duration) -> Result<(), Unavailable> { Ok(()) }
    /// }
    ///
    /// let discarded = Arc::new(AtomicUsize::new(0));
    /// let outcome = Pooled::new(Lost(Arc::clone(&discarded))).check().await.unwrap();
    /// assert!(!outcome.status().is_good());
    /// assert_eq!(discarded.load(Ordering::Relaxed), 2, "the check tries exactly once more");
    /// # }
    /// ```
    fn discard(&self, connection: Self::Connection) {
        drop(connection);
    }
}

/// The reason why a pool lends no connection.
///
/// It does not implement [`Error`](std::error::Error), so that `?` can convert any error to it.
///
/// ```
/// use std::io;
///
/// use tower_health_checks::pool::Unavailable;
///
/// let unavailable = Unavailable::from(io::Error::from(io::ErrorKind::ConnectionRefused));
/// assert!(matches!(unavailable, Unavailable::Failed(_)));
/// // The text of the error may contain a secret.
/// assert_eq!(format!("{unavailable:?}"), "Failed(withheld)");
/// ```
#[non_exhaustive]
pub enum Unavailable {
    /// All connections are in use. The check warns with [`Reason::Busy`]. If [`usage`](Pool::usage)
    /// reports a free connection at that time, the check fails with [`Reason::TimedOut`].
    Full,
    /// No connection can be opened. The check fails with the reason of the error.
    Failed(BoxError),
}

/// Converts any error to [`Unavailable::Failed`].
impl<E: Into<BoxError>> From<E> for Unavailable {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Withholds the text of the error, because it may contain a secret.
impl fmt::Debug for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "Full",
            Self::Failed(_) => "Failed(withheld)",
        })
    }
}

/// The maximum time that a run waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(250);

/// The source for a pool that lends its connections.
pub(super) struct Borrowed<P>(pub(super) P);

#[async_trait]
impl<P: Pool> Source for Borrowed<P> {
    async fn ask(&self) -> Outcome {
        if self.0.is_closed() {
            return closed();
        }
        let usage = self.0.usage();
        if usage.is_full() {
            // If the check queued, it would be ahead of later requests of the service.
            return usage.judge();
        }
        let asked = match self.ask_once().await {
            // The pool may have lent a connection that was lost while it was idle.
            Err(refusal) if refusal.is_lost() => self.ask_once().await,
            asked => asked,
        };
        let outcome = asked.map_or_else(Refusal::outcome, |()| Outcome::pass());
        // The usage is not judged, because the connection of the check itself may not have returned
        // to the pool yet.
        self.0.usage().measure(outcome)
    }
}

impl<P: Pool> Borrowed<P> {
    /// Borrows a connection and pings once.
    async fn ask_once(&self) -> Result<(), Refusal> {
        let mut connection = match self.0.get(ACQUIRE_TIMEOUT).await {
            Ok(connection) => connection,
            Err(Unavailable::Full) if self.0.usage().is_full() => {
                return Err(said(Reason::Busy, "the pool has no free connection"));
            }
            Err(Unavailable::Full) => {
                let cause = "the pool is not full but lent no connection in time";
                return Err(Refusal::lost(
                    Failure::new(Reason::TimedOut).with_cause(cause),
                ));
            }
            Err(Unavailable::Failed(error)) => return Err(of_boxed(error)),
        };
        let pinged = self.0.ping(&mut connection).await.map_err(of_boxed);
        match pinged {
            Err(refusal) if refusal.is_lost() => {
                self.0.discard(connection);
                Err(refusal)
            }
            pinged => pinged,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use super::*;
    use tower_health::{HealthCheck, Status};

    use crate::pool::Pooled;

    /// Lends the connection that was returned last, without validating it.
    #[derive(Default)]
    struct Lifo {
        kept: Mutex<Vec<bool>>,
        discarded: Mutex<usize>,
        has_room: bool,
        answers: bool,
    }

    struct Connection(&'static Lifo, bool);

    impl Drop for Connection {
        fn drop(&mut self) {
            self.0.kept.lock().unwrap().push(self.1);
        }
    }

    impl Pool for &'static Lifo {
        type Connection = Connection;

        fn usage(&self) -> Usage {
            Usage::new(1, if self.has_room { usize::MAX } else { 1 })
        }

        async fn get(&self, _: Duration) -> Result<Connection, Unavailable> {
            if !self.answers {
                return Err(Unavailable::Full);
            }
            let works = self.kept.lock().unwrap().pop().unwrap_or(true);
            Ok(Connection(self, works))
        }

        async fn ping(&self, connection: &mut Connection) -> Result<(), BoxError> {
            if connection.1 {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
            }
        }

        fn discard(&self, connection: Connection) {
            *self.discarded.lock().unwrap() += 1;
            std::mem::forget(connection);
        }
    }

    async fn outcome_of(pool: &'static Lifo) -> (Status, Option<Reason>) {
        let outcome = Pooled::new(pool).check().await.unwrap();
        (outcome.status(), outcome.reason())
    }

    fn pool(kept: &[bool], has_room: bool, answers: bool) -> &'static Lifo {
        Box::leak(Box::new(Lifo {
            kept: Mutex::new(kept.to_vec()),
            has_room,
            answers,
            ..Lifo::default()
        }))
    }

    #[tokio::test]
    async fn a_connection_that_was_lost_is_not_lent_again() {
        let lost = pool(&[false], true, true);
        assert_eq!(outcome_of(lost).await, (Status::Pass, None));
        assert_eq!(*lost.discarded.lock().unwrap(), 1);
        // The check tries exactly once more.
        let all = pool(&[false, false, false], true, true);
        let fails = (Status::Fail, Some(Reason::ConnectionLost));
        assert_eq!(outcome_of(all).await, fails);
        assert_eq!(*all.discarded.lock().unwrap(), 2);
        assert_eq!(outcome_of(all).await, (Status::Pass, None));
    }

    #[tokio::test]
    async fn full_is_what_the_usage_says() {
        let busy = (Status::Warn, Some(Reason::Busy));
        assert_eq!(outcome_of(pool(&[], false, true)).await, busy);
        let timed_out = (Status::Fail, Some(Reason::TimedOut));
        assert_eq!(outcome_of(pool(&[], true, false)).await, timed_out);
        let unavailable = Unavailable::Failed("hunter2".into());
        assert_eq!(format!("{unavailable:?}"), "Failed(withheld)");
    }
}
