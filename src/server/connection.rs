//! One connection, with a time limit in each of its states, and a graceful end.

use std::{
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
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
    time::{Instant, Sleep, sleep_until},
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
pub(super) enum ServerState {
    Serving,
    /// Clients with open connections are to go elsewhere.
    Finishing,
    /// The server accepts no more connections.
    Closing,
}

/// The settings of a connection.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) http: Builder<TokioExecutor>,
    pub(super) limits: Limits,
    pub(super) state: watch::Receiver<ServerState>,
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

/// Serves a connection until it ends.
pub(super) async fn serve<A, F, B, E>(stream: TcpStream, answer: A, settings: Settings)
where
    A: Fn(Request<Incoming>, Busy) -> F,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (http, limits, mut state) = (settings.http, settings.limits, settings.state);
    // Responses are small, or are written by code that buffers them.
    _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new());
    let io = TokioIo::new(Watched::new(stream, &activity));
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(&activity, request.body().is_end_stream());
            let connects = request.method() == Method::CONNECT;
            noting_upgrade(answer(request, busy), connects, Arc::clone(&activity))
        })
    };
    let mut served = pin!(http.serve_connection_with_upgrades(io, service));
    let mut timer = pin!(sleep_until(Instant::now() + limits.shortest()));
    let mut life = Life::new(activity, limits);
    // Whether the sender of the server's state was dropped.
    let mut is_alone = false;
    loop {
        life.follow(*state.borrow_and_update());
        let mut changed = pin!(state.changed());
        let event = poll_fn(|cx| {
            // Errors of a connection are visible to its client.
            if served.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Ended);
            }
            if !is_alone {
                match changed.as_mut().poll(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Event::StateChanged),
                    Poll::Ready(Err(_)) => is_alone = true,
                    Poll::Pending => {}
                }
            }
            life.poll_deadline(timer.as_mut(), cx)
        });
        match event.await {
            Event::Ended => return,
            Event::StateChanged => {}
            Event::Goodbye => {
                served.as_mut().graceful_shutdown();
                life.said_goodbye = true;
            }
            Event::Late => {
                if life.expire().is_break() {
                    return;
                }
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Awaits a response, and notes that it upgrades the connection.
async fn noting_upgrade<B, E>(
    response: impl Future<Output = Result<Response<B>, E>>,
    connects: bool,
    activity: Arc<Activity>,
) -> Result<Response<B>, E> {
    let response = response.await?;
    if upgrades(connects, response.status()) {
        activity.upgrade();
    }
    Ok(response)
}

/// Whether the connection switches to another protocol after a response, to a `CONNECT` or to
/// another method.
fn upgrades(connects: bool, code: StatusCode) -> bool {
    code == StatusCode::SWITCHING_PROTOCOLS || (connects && code.is_success())
}

/// Why the task of a connection woke up.
enum Event {
    Ended,
    StateChanged,
    /// It is time for a graceful shutdown.
    Goodbye,
    /// It is time to end the connection.
    Late,
}

/// The deadlines of a connection.
struct Life {
    activity: Arc<Activity>,
    limits: Limits,
    state: ServerState,
    /// Since when the server has been closing.
    closing: Option<Instant>,
    /// Whether the shutdown was announced.
    said_goodbye: bool,
    /// When the connection must end.
    end: Option<Instant>,
}

impl Life {
    fn new(activity: Arc<Activity>, limits: Limits) -> Self {
        Self {
            activity,
            limits,
            state: ServerState::Serving,
            closing: None,
            said_goodbye: false,
            end: None,
        }
    }

    fn follow(&mut self, state: ServerState) {
        self.state = state;
        if state == ServerState::Closing {
            self.closing.get_or_insert_with(Instant::now);
        }
    }

    fn is_in_use(&self) -> bool {
        self.activity.is_busy() || self.activity.is_blocked()
    }

    /// When the connection has to end.
    fn ends_at(&self) -> Option<Instant> {
        match (self.end, self.closing) {
            // Requests that arrived before the shutdown was announced are answered.
            (Some(_), _) if self.is_in_use() => self.activity.ends_at(&self.limits),
            (Some(end), _) => Some(end),
            (None, Some(since)) => self
                .activity
                .unused_since(since)
                .map(|since| since + LINGER),
            (None, None) => self.activity.ends_at(&self.limits),
        }
    }

    /// When the shutdown has to be announced.
    fn goodbye_at(&self) -> Option<Instant> {
        match self.state {
            _ if self.said_goodbye || !self.activity.has_had_a_request() => None,
            // HTTP/1 announces it in each response.
            ServerState::Finishing if self.activity.is_http2() => {
                Some(self.activity.began() + SETTLED)
            }
            ServerState::Closing => Some(self.activity.began()),
            ServerState::Serving | ServerState::Finishing => None,
        }
    }

    /// Resolves when one of the deadlines has passed.
    fn poll_deadline(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Event> {
        let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        loop {
            let (goodbye_at, ends_at) = (self.goodbye_at(), self.ends_at());
            if is_past(goodbye_at) {
                return Poll::Ready(Event::Goodbye);
            }
            if is_past(ends_at) {
                return Poll::Ready(Event::Late);
            }
            // Deadlines mostly move later, so the timer is only reset for an earlier one.
            // Otherwise they are checked again when it expires.
            let next = goodbye_at.into_iter().chain(ends_at).min();
            let next = next.unwrap_or_else(|| Instant::now() + self.limits.shortest());
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    /// The time of the connection is over. Continues if a graceful shutdown is to come first.
    fn expire(&mut self) -> ControlFlow<()> {
        // Announced before, or the client is gone, or it does not read.
        if self.said_goodbye || self.end.is_some() {
            return ControlFlow::Break(());
        }
        let grace = if self.closing.is_some() {
            // The shutdown is announced even to a connection that never sent a request.
            FAREWELL
        } else if self.is_in_use() {
            return ControlFlow::Break(());
        } else {
            GRACE
        };
        self.said_goodbye = true;
        self.end = Some(Instant::now() + grace);
        ControlFlow::Continue(())
    }
}
