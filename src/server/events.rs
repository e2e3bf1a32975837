use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    sync::{OwnedSemaphorePermit, futures::OwnedNotified},
    time::{Instant, Sleep, sleep},
};

use super::activity::Activity;
use crate::{
    endpoint::{Exposure, event},
    engine::Board,
    model::{Probe, Verdict},
};

/// The maximum number of readers of events.
pub(super) const READERS: usize = 32;

/// The interval without an event after which a comment shows that the connection is alive.
const STILL_THERE: Duration = Duration::from_secs(15);

pin_project! {
    /// Every verdict, and each change of a verdict, as server-sent events. A slow reader misses
    /// intermediate verdicts. The last one that it receives is the current one.
    pub(super) struct Events {
        board: Arc<Board>,
        exposure: Exposure,
        // The last event that was sent for each verdict.
        told: [Option<(Verdict, String)>; Probe::ALL.len()],
        #[pin]
        bell: OwnedNotified,
        #[pin]
        still_there: Sleep,
        activity: Arc<Activity>,
        permit: OwnedSemaphorePermit,
    }
}

impl Events {
    pub(super) fn new(
        board: &Arc<Board>,
        exposure: Exposure,
        activity: &Arc<Activity>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            bell: board.change(),
            board: Arc::clone(board),
            exposure,
            told: Default::default(),
            still_there: sleep(STILL_THERE),
            activity: Arc::clone(activity),
            permit,
        }
    }

    /// Returns the next event, and `None` once nothing changes any more.
    pub(super) fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let mut this = self.project();
        // A stream that is not read is not polled either, once its buffer is full.
        this.activity.note();
        loop {
            let stopped = this.board.is_stopped();
            let published = this.board.published();
            let mut news = String::new();
            for (probe, told) in Probe::ALL.into_iter().zip(this.told.iter_mut()) {
                let verdict = &published.view.face(probe).verdict;
                let same = |(before, _): &(Verdict, String)| before.says_the_same(verdict);
                if told.as_ref().is_some_and(same) {
                    continue;
                }
                let data = event(&this.board.service, verdict, *this.exposure);
                // A reader with less exposure is not notified of changes that it cannot see.
                if told.as_ref().is_none_or(|(_, before)| *before != data) {
                    news.push_str(&format!("event: {probe}\ndata: {data}\n\n"));
                }
                *told = Some((verdict.clone(), data));
            }
            if !news.is_empty() {
                this.still_there
                    .as_mut()
                    .reset(Instant::now() + STILL_THERE);
                return Poll::Ready(Some(news));
            }
            if stopped {
                return Poll::Ready(None);
            }
            if this.bell.as_mut().poll(cx).is_ready() {
                // The new future covers changes from now on. Changes until now are read next.
                this.bell.set(this.board.change());
                continue;
            }
            ready!(this.still_there.as_mut().poll(cx));
            this.still_there
                .as_mut()
                .reset(Instant::now() + STILL_THERE);
            return Poll::Ready(Some(":\n\n".to_owned()));
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("exposure", &self.exposure)
            .finish_non_exhaustive()
    }
}
