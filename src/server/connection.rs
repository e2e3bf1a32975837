//! One connection, with a time limit in each of its states, and a graceful end.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    activity::{Activity, Busy, Limits},
    io::Watched,
};
use crate::BoxError;

/// How long a connection has to end after it was shut down because it was idle.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection without a request stays open while its server closes. A request that was
/// sent before may take this long to arrive.
const LINGER: Duration = Duration::from_secs(1);

/// How long a connection that never sent a request has to receive the notice that its server is
/// gone.
const FAREWELL: Duration = Duration::from_millis(250);

/// The age at which an HTTP/2 connection receives a GOAWAY. If every new connection received one
/// immediately, clients would give up, and some would lose a request.
const SETTLED: Duration = Duration::from_secs(1);

/// The state of the server, as published to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Serve,
    /// Clients with open connections are to go elsewhere.
    Finish,
    /// The server accepts no more connections.
    Close,
}

/// The settings of a connection.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) http: Builder<TokioExecutor>,
    pub(super) limits: Limits,
    pub(super) told: watch::Receiver<Told>,
}

/// Returns the HTTP settings of every port. The time limits of a connection are enforced in this
/// module.
pub(super) fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None);
    builder.http2().timer(TokioTimer::new());
    builder
}

/// Why the task of a connection woke up.
enum Event {
    Ended,
    Told,
    /// It is time for a graceful shutdown.
    Goodbye,
    /// It is time to end the connection.
    Late,
}

/// Whether the connection switches to another protocol after a response, to a `CONNECT` or to
/// another method.
fn upgrades(connects: bool, code: StatusCode) -> bool {
    code == StatusCode::SWITCHING_PROTOCOLS || (connects && code.is_success())
}

/// Serves a connection until it ends.
pub(super) async fn serve<A, F, B, E>(stream: TcpStream, answer: A, settings: Settings)
where
    A: Fn(Request<Incoming>, Busy) -> F,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Settings {
        http,
        limits,
        mut told,
    } = settings;
    // Responses are small, or are written by code that buffers them.
    _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new());
    let io = TokioIo::new(Watched::new(stream, &activity));
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(&activity, request.body().is_end_stream());
            let connects = request.method() == Method::CONNECT;
            let (answer, activity) = (answer(request, busy), Arc::clone(&activity));
            async move {
                let answered = answer.await;
                if let Ok(response) = &answered
                    && upgrades(connects, response.status())
                {
                    activity.upgrade();
                }
                answered
            }
        })
    };
    let mut served = pin!(http.serve_connection_with_upgrades(io, service));
    let mut timer = pin!(sleep_until(Instant::now() + limits.shortest()));
    // Whether the shutdown was announced, and when the connection must end.
    let (mut goodbye, mut end): (bool, Option<Instant>) = (false, None);
    let mut closing: Option<Instant> = None;
    // Whether the sender of the server's state was dropped.
    let mut is_alone = false;
    loop {
        let stage = *told.borrow_and_update();
        if stage == Told::Close {
            closing.get_or_insert_with(Instant::now);
        }
        let ends_at = || match (end, closing) {
            // Requests that arrived before the shutdown was announced are answered.
            (Some(_), _) if activity.is_busy() || activity.is_blocked() => {
                activity.ends_at(&limits)
            }
            (Some(end), _) => Some(end),
            (None, Some(since)) => activity.unused_since(since).map(|since| since + LINGER),
            (None, None) => activity.ends_at(&limits),
        };
        let goodbye_at = || match stage {
            _ if goodbye || !activity.has_had_a_request() => None,
            // HTTP/1 announces it in each response.
            Told::Finish if activity.is_http2() => Some(activity.began() + SETTLED),
            Told::Close => Some(activity.began()),
            Told::Serve | Told::Finish => None,
        };
        let mut changed = pin!(told.changed());
        let event = poll_fn(|cx| {
            // Errors of a connection are visible to its client.
            if served.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Ended);
            }
            if !is_alone {
                match changed.as_mut().poll(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Event::Told),
                    Poll::Ready(Err(_)) => is_alone = true,
                    Poll::Pending => {}
                }
            }
            loop {
                let (goodbye_at, ends_at) = (goodbye_at(), ends_at());
                let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
                if is_past(goodbye_at) {
                    return Poll::Ready(Event::Goodbye);
                }
                if is_past(ends_at) {
                    return Poll::Ready(Event::Late);
                }
                // Deadlines mostly move later, so the timer is only reset for an earlier one.
                // Otherwise they are checked again when it expires.
                let next = goodbye_at.into_iter().chain(ends_at).min();
                let next = next.unwrap_or_else(|| Instant::now() + limits.shortest());
                if next < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(next);
                }
                ready!(timer.as_mut().poll(cx));
            }
        });
        match event.await {
            Event::Ended => return,
            Event::Told => {}
            Event::Goodbye => {
                served.as_mut().graceful_shutdown();
                goodbye = true;
            }
            Event::Late if goodbye || end.is_some() => return,
            // The shutdown is announced even to a connection that never sent a request.
            Event::Late if closing.is_some() => {
                served.as_mut().graceful_shutdown();
                goodbye = true;
                end = Some(Instant::now() + FAREWELL);
            }
            Event::Late => {
                if activity.is_busy() || activity.is_blocked() {
                    // The client is gone, or does not read.
                    return;
                }
                served.as_mut().graceful_shutdown();
                goodbye = true;
                end = Some(Instant::now() + GRACE);
            }
        }
    }
}
