//! Connections, bounded in number, in time and in memory.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{body::ManagementBody, management::Management};
use crate::listen::accept;

/// How many connections there may be. One more ends the oldest.
const CONNECTIONS: usize = 256;

/// For how long a connection may be without a request: longer than any prober waits between two.
const QUIET: Duration = Duration::from_secs(75);

/// How long a connection that was quiet has to end.
const GRACE: Duration = Duration::from_secs(5);

/// How much of a request's head is taken, in bytes.
const HEAD: usize = 64 * 1024;

/// How many requests a connection may have at a time.
const STREAMS: u32 = 64;

pub(super) async fn serve(listener: TcpListener, management: Management) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = accept(&listener).await;
        while connections.try_join_next().is_some() {}
        by_age.retain(|connection| !connection.is_finished());
        if by_age.len() >= CONNECTIONS
            && let Some(oldest) = by_age.pop_front()
        {
            oldest.abort();
        }
        by_age.push_back(connections.spawn(connection(stream, management.clone())));
    }
}

async fn connection(stream: TcpStream, management: Management) {
    // An answer is one small piece.
    _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new());
    let service = service_fn(|request: Request<Incoming>| {
        let busy = Busy::new(&activity);
        let answer = management.answer(request, busy);
        async { Ok::<Response<ManagementBody>, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(QUIET)
        .max_buf_size(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD as u32)
        .max_concurrent_streams(STREAMS);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            // What goes wrong on a connection is its client's to see.
            _ = served.as_mut() => return,
            () = sleep_until(activity.ends_at()) => {}
        }
        if activity.is_quiet() {
            break;
        }
    }
    served.as_mut().graceful_shutdown();
    _ = timeout(GRACE, served).await;
}

/// Whether a connection is of use to anyone.
#[derive(Debug)]
pub(super) struct Activity {
    /// How many requests have no answer yet.
    busy: AtomicUsize,
    began: Instant,
    /// When something happened last, in milliseconds since it began.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            busy: AtomicUsize::new(0),
            began: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Something happened that shows that it is.
    pub(super) fn note(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn is_busy(&self) -> bool {
        // Whoever sees that nothing is busy sees when that ended.
        self.busy.load(Ordering::Acquire) > 0
    }

    /// When it is quiet for too long if nothing happens.
    fn ends_at(&self) -> Instant {
        match self.is_busy() {
            true => Instant::now() + QUIET,
            false => self.last() + QUIET,
        }
    }

    fn is_quiet(&self) -> bool {
        !self.is_busy() && self.last() + QUIET <= Instant::now()
    }
}

/// Keeps a connection from being quiet.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    /// The activity that goes on when this is over.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Busy {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.busy.fetch_add(1, Ordering::Relaxed);
        activity.note();
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note();
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}
