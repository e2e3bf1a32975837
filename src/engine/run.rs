//! One run of a check: a task of its own, which reports its end in every case.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
};

use super::{clock::Clock, state};
use crate::{
    check::{Code, Foreign, HealthCheck, guard, no_thread, panicked},
    detached,
    model::Outcome,
};

/// The result of a run.
pub(crate) type Ended = (Outcome, state::Run);

/// Aborts a task when it is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    pub(crate) fn new(task: &JoinHandle<impl Sized>) -> Self {
        Self(task.abort_handle())
    }

    pub(crate) fn abort(&self) {
        self.0.abort();
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a run. Calls `report` with its result, or with `None` if the run was cancelled. Dropping
/// the returned value cancels the run; a thread with blocking code continues.
pub(crate) fn start(
    runtime: &Handle,
    clock: Clock,
    code: &Code,
    report: impl FnOnce(Option<Ended>) + Send + 'static,
) -> AbortOnDrop {
    let end = End {
        report: Some(report),
        ended: None,
    };
    spawn(
        runtime,
        match code {
            Code::Async(check) => Box::pin(end.after(run_async(Arc::clone(check), clock))),
            Code::Blocking(function) => {
                Box::pin(end.after(run_blocking(Arc::clone(function), clock)))
            }
        },
    )
}

/// Spawns a task. All tasks have one type, so that tokio's code for it is compiled once.
pub(crate) fn spawn(
    runtime: &Handle,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> AbortOnDrop {
    AbortOnDrop::new(&runtime.spawn(task))
}

/// Wakes another worker of the runtime.
///
/// The task that a worker spawned last waits in that worker's own slot. No other worker takes it
/// from there, and none is woken for it. If that is a run, and its code blocks its thread at the
/// first poll, no worker may be left to drive the timers. Another task pushes it out of the slot.
pub(crate) fn wake_another_worker(runtime: &Handle) {
    runtime.spawn(Box::pin(async {}) as Pin<Box<dyn Future<Output = ()> + Send>>);
}

/// Reports the end of a run, also of one that is dropped.
struct End<R: FnOnce(Option<Ended>)> {
    report: Option<R>,
    ended: Option<Ended>,
}

impl<R: FnOnce(Option<Ended>)> End<R> {
    async fn after(mut self, run: impl Future<Output = Ended>) {
        self.ended = Some(run.await);
    }
}

impl<R: FnOnce(Option<Ended>)> Drop for End<R> {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            report(self.ended.take());
        }
    }
}

fn run_async(check: Arc<Foreign<dyn HealthCheck>>, clock: Clock) -> impl Future<Output = Ended> {
    measured(clock, async move {
        let run = Guarded {
            future: Some(async move {
                match check.get() {
                    Some(check) => check.check().await.unwrap_or_else(Outcome::from),
                    None => panicked(),
                }
            }),
        };
        run.await
    })
}

async fn run_blocking(
    function: Arc<Foreign<dyn Fn() -> Outcome + Send + Sync>>,
    clock: Clock,
) -> Ended {
    let (answer, answered) = oneshot::channel();
    let run = move || {
        // Measured here, because the runtime may be stalled.
        let began = Instant::now();
        let run = || function.get().map_or_else(panicked, |function| function());
        let outcome = guard(run).unwrap_or_else(Outcome::from);
        // There may be no engine any more.
        _ = answer.send((outcome, began.elapsed()));
    };
    let (outcome, duration) = match detached::spawn("health-check", Box::new(run)) {
        Ok(()) => answered
            .await
            .unwrap_or_else(|_| (panicked(), Duration::ZERO)),
        Err(error) => (no_thread(error).into(), Duration::ZERO),
    };
    let ended = clock.now();
    (outcome, state::Run { ended, duration })
}

async fn measured(clock: Clock, run: impl Future<Output = Outcome>) -> Ended {
    let began = clock.now();
    let outcome = run.await;
    (outcome, began.run_until(clock.now()))
}

pin_project! {
    /// The future of a check. A panic in it becomes an outcome, also while it is dropped.
    struct Guarded<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Guarded<F> {
        fn drop(this: Pin<&mut Self>) {
            // The outcome of a run that is being dropped is ignored.
            _ = guard(|| this.project().future.set(None));
        }
    }
}

impl<F: Future<Output = Outcome>> Future for Guarded<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let future = self.project().future;
        match future.as_pin_mut() {
            Some(future) => {
                guard(|| future.poll(cx)).unwrap_or_else(|failure| Poll::Ready(failure.into()))
            }
            None => Poll::Pending,
        }
    }
}
