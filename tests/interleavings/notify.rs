//! [`Notify`] with the locks of loom. Of that of tokio it has what the engine uses.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use loom::sync::Mutex;

#[derive(Debug)]
pub(crate) struct Notify(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    notifications: usize,
    wakers: Vec<Waker>,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::default()))
    }

    /// Notifies everyone who has created a future before.
    pub(crate) fn notify_waiters(&self) {
        let mut state = self.0.lock().unwrap();
        state.notifications += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn notified_owned(self: Arc<Self>) -> OwnedNotified {
        let created = self.0.lock().unwrap().notifications;
        OwnedNotified {
            notify: self,
            created,
        }
    }
}

#[derive(Debug)]
pub(crate) struct OwnedNotified {
    notify: Arc<Notify>,
    /// The number of notifications before its creation.
    created: usize,
}

impl OwnedNotified {
    pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
        self.notify.0.lock().unwrap().notifications != self.created
    }
}

impl Future for OwnedNotified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.0.lock().unwrap();
        if state.notifications != self.created {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}
