//! Waiting for a condition: register, look, wait.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::sync::{Notify, futures::OwnedNotified};

pin_project! {
    /// A waiter that is notified of every change, from the moment of its creation.
    #[derive(Debug)]
    pub(crate) struct Wait {
        changes: Arc<Notify>,
        #[pin]
        next: OwnedNotified,
    }
}

impl Wait {
    pub(crate) fn new(changes: &Arc<Notify>) -> Self {
        Self {
            changes: Arc::clone(changes),
            next: Arc::clone(changes).notified_owned(),
        }
    }

    /// Looks now and after each change, until `look` finds something.
    pub(crate) fn poll_until<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Option<T>,
    ) -> Poll<T> {
        let mut this = self.project();
        loop {
            // Register before looking, so that no wakeup is lost.
            this.next.as_mut().enable();
            if let Some(found) = look(cx) {
                return Poll::Ready(found);
            }
            ready!(this.next.as_mut().poll(cx));
            this.next.set(Arc::clone(this.changes).notified_owned());
        }
    }

    /// Future that resolves at the next change.
    #[cfg(all(unix, feature = "systemd"))]
    pub(crate) fn next(self) -> OwnedNotified {
        self.next
    }

    /// Waits until `look` finds something.
    pub(crate) async fn until<T>(self, mut look: impl FnMut() -> Option<T>) -> T {
        let mut wait = pin!(self);
        poll_fn(|cx| wait.as_mut().poll_until(cx, |_| look())).await
    }
}
