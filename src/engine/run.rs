//! One run of a check, and the task that watches over it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use super::{
    clock::Clock,
    guard::{guard, panicked},
    state,
};
use crate::{
    check::{Code, HealthCheck},
    model::{Outcome, Reason},
};

/// What a run tells the engine.
#[derive(Debug)]
pub(crate) enum Event {
    /// It ended in time.
    Finished(Outcome, state::Run),
    /// Its time is over. It may go on.
    TimedOut(state::Run),
    /// It ended after its time was over.
    EndedLate,
}

/// Ends a task when it is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    pub(crate) fn new(task: &JoinHandle<impl Sized>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a run, and what watches over it and tells `report` what becomes of it. Dropping what is returned
/// ends both; a thread of blocking code is left to itself.
///
/// The order matters. Spawned by a worker of a multi-threaded runtime, a single task waits in that worker's
/// own slot, where no other takes it and none is woken for it; code that then blocks its thread at the first
/// poll would leave nobody to drive the timers. The second task pushes the first out of the slot and wakes
/// another worker.
pub(crate) fn start(
    runtime: &Handle,
    clock: Clock,
    code: &Code,
    limit: Duration,
    report: impl Fn(Event) + Send + 'static,
) -> AbortOnDrop {
    let began = clock.now();
    let (run, cancel) = match code {
        Code::Async(check) => {
            let run = runtime.spawn(run_async(Arc::clone(check), clock));
            let cancel = run.abort_handle();
            (run, Some(cancel))
        }
        Code::Blocking(function) => (
            runtime.spawn(run_blocking(Arc::clone(function), clock)),
            None,
        ),
    };
    let supervisor = runtime.spawn(async move {
        let mut run = run;
        // If this task is dropped, so is the run.
        let _guard = AbortOnDrop::new(&run);
        let so_far = || began.run_until(clock.now());
        match timeout(limit, &mut run).await {
            Ok(Ok((outcome, run))) => report(Event::Finished(outcome, run)),
            // The code of a check is guarded, but its future may still panic when it is dropped.
            Ok(Err(error)) if error.is_panic() => report(Event::Finished(panicked(), so_far())),
            // The runtime is shutting down.
            Ok(Err(_)) => {}
            Err(_) => {
                if let Some(cancel) = cancel {
                    cancel.abort();
                }
                report(Event::TimedOut(so_far()));
                _ = run.await;
                report(Event::EndedLate);
            }
        }
    });
    AbortOnDrop::new(&supervisor)
}

type Ended = (Outcome, state::Run);

fn run_async(check: Arc<dyn HealthCheck>, clock: Clock) -> impl Future<Output = Ended> {
    measured(clock, async move {
        let run = Guarded {
            future: Some(async { check.check().await.unwrap_or_else(Outcome::from) }),
        };
        run.await
    })
}

fn run_blocking(
    function: Arc<dyn Fn() -> Outcome + Send + Sync>,
    clock: Clock,
) -> impl Future<Output = Ended> {
    measured(clock, async move {
        let (answer, outcome) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("health-check".to_owned())
            .spawn(move || {
                let outcome = guard(|| function()).unwrap_or_else(|panicked| panicked);
                // Nobody waits for it if the engine has ended.
                _ = answer.send(outcome);
            });
        match thread {
            Ok(_detached) => outcome.await.unwrap_or_else(|_| panicked()),
            Err(error) => Outcome::fail(Reason::LimitExceeded)
                .with_cause(format_args!("no thread could be started: {error}")),
        }
    })
}

async fn measured(clock: Clock, run: impl Future<Output = Outcome>) -> Ended {
    let began = clock.now();
    let outcome = run.await;
    (outcome, began.run_until(clock.now()))
}

pin_project! {
    /// The future of a check; a panic in it becomes an outcome, also while it is dropped.
    struct Guarded<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Guarded<F> {
        fn drop(this: Pin<&mut Self>) {
            // A run that is being dropped has no outcome to give.
            _ = guard(|| this.project().future.set(None));
        }
    }
}

impl<F: Future<Output = Outcome>> Future for Guarded<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let future = self.project().future;
        match future.as_pin_mut() {
            Some(future) => guard(|| future.poll(cx)).unwrap_or_else(Poll::Ready),
            None => Poll::Pending,
        }
    }
}
