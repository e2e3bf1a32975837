//! One run of a check, and the task that watches over it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{AbortHandle, JoinError, JoinHandle},
    time::timeout_at,
};

use super::{clock::Clock, state};
use crate::{
    check::{Code, Foreign, HealthCheck, guard, panicked},
    model::{Outcome, Reason},
};

/// What becomes of a run. [`Ended`](Self::Ended) always comes, and comes last.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its time is over. It may go on.
    GivenUp(state::Run),
    /// It ended, and this is what it said if it was not given up.
    Ended(Option<Ended>),
}

/// An outcome and the run that had it.
pub(crate) type Ended = (Outcome, state::Run);

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
    let deadline = clock.instant(began.mono) + limit;
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
    // Both go with the supervisor, also with one that is dropped before it was ever polled.
    let guard = AbortOnDrop::new(&run);
    let mut end = End { report, said: None };
    let supervisor = runtime.spawn(async move {
        let mut run = run;
        let _guard = guard;
        match timeout_at(deadline, &mut run).await {
            // On a runtime that was held up, the end of a run can be seen before the end of its time.
            Ok(Ok((_, run))) if run.duration > limit => {
                end.say((Outcome::fail(Reason::TimedOut), run));
            }
            Ok(Ok(ended)) => end.say(ended),
            Ok(Err(error)) => {
                discard(error);
                end.say((panicked(), began.run_until(clock.now())));
            }
            Err(_) => {
                if let Some(cancel) = cancel {
                    cancel.abort();
                }
                (end.report)(Event::GivenUp(began.run_until(clock.now())));
                if let Err(error) = run.await {
                    discard(error);
                }
            }
        }
    });
    AbortOnDrop::new(&supervisor)
}

/// Tells of the end of a run, whatever becomes of its supervisor.
struct End<R: Fn(Event)> {
    report: R,
    said: Option<Ended>,
}

impl<R: Fn(Event)> End<R> {
    fn say(&mut self, ended: Ended) {
        self.said = Some(ended);
    }
}

impl<R: Fn(Event)> Drop for End<R> {
    fn drop(&mut self) {
        (self.report)(Event::Ended(self.said.take()));
    }
}

/// Leaves the payload of a panic where it is: it may panic itself when it is dropped.
fn discard(error: JoinError) {
    if let Ok(payload) = error.try_into_panic() {
        std::mem::forget(payload);
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
    let thread = thread::Builder::new()
        .name("health-check".to_owned())
        .spawn(move || {
            // Measured here, for the runtime may be held up.
            let began = Instant::now();
            let run = || function.get().map_or_else(panicked, |function| function());
            let outcome = guard(run).unwrap_or_else(|panicked| panicked);
            // Nobody waits for it if the engine has ended.
            _ = answer.send((outcome, began.elapsed()));
        });
    let (outcome, duration) = match thread {
        Ok(_detached) => answered
            .await
            .unwrap_or_else(|_| (panicked(), Duration::ZERO)),
        Err(error) => {
            let outcome = Outcome::fail(Reason::LimitExceeded)
                .with_cause(format_args!("no thread could be started: {error}"));
            (outcome, Duration::ZERO)
        }
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
