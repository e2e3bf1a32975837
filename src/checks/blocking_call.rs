//! Calls of blocking code from async checks, each on a detached thread.

use std::{fmt, io, sync::Arc};

use tokio::sync::{
    Mutex,
    oneshot::{self, error::TryRecvError},
};

use crate::{
    check::{Foreign, guard, guard_panics, no_thread},
    detached,
    model::{Failure, Reason},
};

/// A call of a function that blocks its thread, such as the system's resolver or file system, for
/// use in an async check.
///
/// * Each run of the function has its own detached thread, named `health-check`. At most one run is
///   in progress at a time. Neither the exit of the process nor tokio's blocking pool waits for it.
/// * If the future of a [`call`](Self::call) is dropped, the function continues to run. The next
///   call waits for the same run. Calls that are dropped while the function hangs therefore add no
///   threads.
/// * If the function returns while no call is waiting, its return value is discarded, because it
///   may be out of date. The next call runs the function again.
///
/// Unlike with [`Check::blocking`](crate::Check::blocking), the check stays async, and can do other
/// work before and after the call. The function may be dropped on its own thread, because a
/// blocking client may require that. The caller that awaits the call drops the return value.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait, checks::BlockingCall};
///
/// struct Spool(BlockingCall<std::io::Result<usize>>);
///
/// #[async_trait]
/// impl HealthCheck for Spool {
///     async fn check(&self) -> Result<Outcome, Failure> {
///         let files = self.0.call().await??;
///         Ok(Outcome::pass().measure("files", files, ""))
///     }
/// }
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().to_owned();
/// let spool = Spool(BlockingCall::new(move || Ok(std::fs::read_dir(&path)?.count())));
/// assert_eq!(spool.check().await.unwrap(), Outcome::pass().measure("files", 0, ""));
///
/// drop(directory);
/// assert_eq!(spool.check().await.unwrap_err().reason(), Reason::NotFound);
/// # Ok(())
/// # }
/// ```
pub struct BlockingCall<T: 'static> {
    function: Arc<Foreign<Function<T>>>,
    /// The run in progress. A later call than the one that started it may wait for it.
    pending: Mutex<Option<oneshot::Receiver<Result<T, Failure>>>>,
}

/// The function, as every run calls it.
type Function<T> = dyn Fn() -> T + Send + Sync;

impl<T: Send + 'static> BlockingCall<T> {
    /// Creates a call of `function`. The function first runs in [`call`](Self::call).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    ///
    /// use tower_health::checks::BlockingCall;
    ///
    /// let runs = Arc::new(AtomicUsize::new(0));
    /// let counted = Arc::clone(&runs);
    /// let call = BlockingCall::new(move || counted.fetch_add(1, Ordering::Relaxed));
    /// assert_eq!(runs.load(Ordering::Relaxed), 0);
    /// call.call().await.unwrap();
    /// assert_eq!(runs.load(Ordering::Relaxed), 1);
    /// # }
    /// ```
    pub fn new(function: impl Fn() -> T + Send + Sync + 'static) -> Self {
        guard_panics();
        Self {
            function: Arc::new(Foreign::blocking(Box::new(function))),
            pending: Mutex::default(),
        }
    }

    /// Runs the function and resolves to its return value. Concurrent calls take turns. If an
    /// earlier call was dropped and its run is still in progress, this call waits for that run.
    ///
    /// The call itself has no time limit: set the check's [timeout](crate::Check::timeout). The
    /// call is cancel-safe.
    ///
    /// # Errors
    ///
    /// - [`Panicked`](Reason::Panicked): the function panicked. The cause contains the location of
    ///   the panic. The panic message is withheld.
    /// - [`LimitExceeded`](Reason::LimitExceeded): the operating system cannot start a thread.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Reason, checks::BlockingCall};
    ///
    /// let call = BlockingCall::new(|| -> u32 { panic!("password=hunter2") });
    /// let failure = call.call().await.unwrap_err();
    /// assert_eq!(failure.reason(), Reason::Panicked);
    /// assert!(!failure.cause().unwrap().redacted().contains("hunter2"));
    /// # }
    /// ```
    pub async fn call(&self) -> Result<T, Failure> {
        let mut pending = self.pending.lock().await;
        let is_over = |returned: &mut oneshot::Receiver<_>| {
            !matches!(returned.try_recv(), Err(TryRecvError::Empty))
        };
        if pending.as_mut().is_some_and(is_over) {
            *pending = None;
        }
        let returned = match &mut *pending {
            Some(returned) => returned,
            none => none.insert(self.start().map_err(no_thread)?),
        };
        let returned = returned.await;
        *pending = None;
        // A thread that ends without sending a result ended for an unforeseen reason.
        returned.unwrap_or_else(|_| Err(Failure::new(Reason::Panicked)))
    }

    /// Starts a run on its own thread. The receiver resolves when the run has ended.
    fn start(&self) -> io::Result<oneshot::Receiver<Result<T, Failure>>> {
        let (sender, receiver) = oneshot::channel();
        let function = Arc::clone(&self.function);
        let call = move || {
            let returned = match function.get() {
                Some(function) => guard(function),
                None => Err(Failure::new(Reason::Panicked)),
            };
            // If the receiver is gone, the return value is dropped here.
            _ = guard(|| sender.send(returned));
        };
        detached::spawn("health-check", Box::new(call))?;
        Ok(receiver)
    }
}

impl<T: 'static> fmt::Debug for BlockingCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingCall").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        pin::Pin,
        sync::{
            Mutex as StdMutex,
            atomic::{AtomicUsize, Ordering},
            mpsc::channel,
        },
        task::Poll,
        time::{Duration, Instant},
    };

    use super::*;

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn calls_given_up_while_the_function_hangs_share_one_thread() {
        let (open, gate) = channel::<()>();
        let gate = StdMutex::new(gate);
        let asked = Arc::new(AtomicUsize::new(0));
        let call = {
            let asked = Arc::clone(&asked);
            BlockingCall::new(move || {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                _ = gate.lock().unwrap().recv();
                number
            })
        };
        for _ in 0..10 {
            let given_up = tokio::time::timeout(Duration::from_millis(5), call.call()).await;
            assert!(given_up.is_err());
        }
        let mut waits = Box::pin(call.call());
        assert!(poll_once(&mut waits).await.is_none());
        drop(open);
        assert_eq!(waits.await.unwrap(), 0);
        assert_eq!(call.call().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_return_that_came_while_no_call_waited_is_discarded() {
        let (open, gate) = channel::<()>();
        let gate = StdMutex::new(gate);
        let answered = Arc::new(AtomicUsize::new(0));
        let call = {
            let answered = Arc::clone(&answered);
            BlockingCall::new(move || {
                _ = gate.lock().unwrap().recv();
                answered.fetch_add(1, Ordering::SeqCst)
            })
        };
        assert!(poll_once(&mut Box::pin(call.call())).await.is_none());
        drop(open);
        let began = Instant::now();
        while call.pending.lock().await.as_ref().unwrap().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
        assert_eq!(call.call().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_call_runs_again() {
        let call: BlockingCall<()> = BlockingCall::new(|| panic!("password=hunter2"));
        for _ in 0..2 {
            let failure = call.call().await.unwrap_err();
            assert_eq!(failure.reason(), Reason::Panicked);
            assert!(!format!("{failure:?}").contains("hunter2"));
        }
    }
}
