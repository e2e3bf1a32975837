//! The event stream of a management port: `GET /events`.
//!
//! Its format is that of server-sent events: the name of the probe as the event, and the verdict in
//! health+json as its data. It ends when the checks end, because nothing changes after that.

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
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};

use super::activity::Activity;
use crate::{
    endpoint::{Exposure, event},
    engine::{Board, Wait},
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
        sent: [Option<(Verdict, String)>; Probe::ALL.len()],
        #[pin]
        wait: Wait,
        #[pin]
        still_there: Sleep,
        activity: Arc<Activity>,
        permit: OwnedSemaphorePermit,
    }
}

impl Events {
    /// `permit` is one of the [`READERS`]. It is released when the stream is dropped.
    pub(super) fn new(
        board: &Arc<Board>,
        exposure: Exposure,
        activity: &Arc<Activity>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            wait: board.wait(),
            board: Arc::clone(board),
            exposure,
            sent: Default::default(),
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
        let (board, exposure, sent) = (&*this.board, *this.exposure, this.sent);
        let changed = this.wait.poll_until(cx, |_| {
            let stopped = board.is_stopped();
            let events = changed_verdicts(board, exposure, sent);
            if !events.is_empty() {
                return Some(Some(events));
            }
            stopped.then_some(None)
        });
        if let Poll::Ready(Some(events)) = changed {
            this.still_there
                .as_mut()
                .reset(Instant::now() + STILL_THERE);
            return Poll::Ready(Some(events));
        }
        if changed.is_ready() {
            return Poll::Ready(None);
        }
        ready!(this.still_there.as_mut().poll(cx));
        this.still_there
            .as_mut()
            .reset(Instant::now() + STILL_THERE);
        Poll::Ready(Some(":\n\n".to_owned()))
    }
}

/// The events of the verdicts that are new since they were last sent.
///
/// It is empty if nothing has changed for this reader. `sent` is updated.
fn changed_verdicts(
    board: &Board,
    exposure: Exposure,
    sent: &mut [Option<(Verdict, String)>],
) -> String {
    let published = board.published();
    let mut events = String::new();
    for (probe, sent) in Probe::ALL.into_iter().zip(sent) {
        let verdict = &published.view.of(probe).verdict;
        let same = |(before, _): &(Verdict, String)| before.looks_the_same(verdict);
        if sent.as_ref().is_some_and(same) {
            continue;
        }
        let data = event(&board.service, verdict, exposure);
        // A reader with less exposure is not notified of changes that it cannot see.
        if sent.as_ref().is_none_or(|(_, before)| *before != data) {
            events.push_str(&format!("event: {probe}\ndata: {data}\n\n"));
        }
        *sent = Some((verdict.clone(), data));
    }
    events
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("exposure", &self.exposure)
            .finish_non_exhaustive()
    }
}
