//! The service of a management port. It adds operations to the probes of
//! [`ProbeService`]: runs of checks, maintenance, drain and events.
//!
//! Every request that changes something, or waits for a drain, passes `refuse`. Reading a probe or
//! the events needs no authorization, as on any other port.

use std::{collections::VecDeque, convert::Infallible, future::Future, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use hyper::body::Incoming;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tower_service::Service;

use super::{
    activity::{Busy, Limits},
    body::ManagementBody,
    connection::{self, ServerState, Settings, http},
    events::{Events, READERS},
    leave::{self, DRAIN, DRAINED},
    switch::{self, MAINTENANCE, switches},
};
use crate::endpoint::{
    Exposure, METHODS, ProbeBody, ProbeService, Target, method_not_allowed, problem,
};
use crate::{listen::accept, telemetry::RequestTarget};

/// The maximum number of connections. A further connection closes the oldest.
const CONNECTIONS: usize = 256;

/// The longest request head that is read, in bytes.
const HEAD: usize = 64 * 1024;

/// The maximum number of concurrent requests of a connection.
const STREAMS: u32 = 64;

/// The path of the event stream.
const EVENTS: &str = "/events";

/// How long the sender of a `POST` waits for the run. A run has its own timeout, but the runtime
/// may be stalled.
const RUN: Duration = Duration::from_secs(30);

/// The methods at the path of a check. Other probe paths do not support `POST`.
const METHODS_OF_CHECKS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// After how many seconds a reader of events retries when there are too many.
const A_WHILE: HeaderValue = HeaderValue::from_static("10");
/// The value of `WWW-Authenticate` in a 401. Rules may accept other schemes as well.
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

const UNAUTHORIZED: &str = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"authentication required"}"#;
const FORBIDDEN: &str = r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"no rule authorizes any caller"}"#;
const CROWDED: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"the limit of event streams is reached"}"#;

/// The service of a management port: probes, runs of checks, events.
#[derive(Clone, Debug)]
pub(super) struct Management {
    probes: ProbeService,
    /// A permit for each reader of events.
    readers: Arc<Semaphore>,
    /// Whether the port can begin a drain and wait for it.
    drains: bool,
}

/// Serves connections. Their number is bounded.
///
/// The oldest connection is closed if there are too many, because a prober that was just accepted
/// matters more than a client that is idle.
pub(super) async fn serve(listener: TcpListener, management: Management) {
    let mut http = http();
    http.http1().max_buf_size(HEAD);
    http.http2()
        .max_header_list_size(HEAD as u32)
        .max_concurrent_streams(STREAMS);
    let settings = Settings {
        http,
        limits: Limits::default(),
        // A management port serves until it is dropped.
        state: watch::channel(ServerState::Serving).1,
    };
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
        let management = management.clone();
        let answer = move |request: Request<Incoming>, busy| {
            let answer = management.answer(request, busy);
            async { Ok::<_, Infallible>(answer.await) }
        };
        let connection = connection::serve(stream, answer, settings.clone());
        by_age.push_back(connections.spawn(connection));
    }
}

impl Management {
    /// Creates the service of one port. Its clones share the readers of events.
    pub(super) fn new(probes: ProbeService, drains: bool) -> Self {
        Self {
            probes,
            drains,
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Returns the response to a request. The connection is `busy` until then.
    pub(super) fn answer<B>(
        &self,
        request: Request<B>,
        busy: Busy,
    ) -> impl Future<Output = Response<ManagementBody>> + Send + use<B> {
        // A request body is never read.
        let request = request.map(|_| ());
        let this = self.clone();
        async move {
            let path = request.uri().path();
            // These paths belong to the port, whatever the endpoints define.
            let bare = path.strip_suffix('/').unwrap_or(path);
            if bare == EVENTS {
                return this.events(&request, &busy);
            }
            let target = this
                .probes
                .find(request.method(), path)
                .map(|found| found.target);
            match (target, request.method()) {
                _ if bare == MAINTENANCE => this.maintenance(&request),
                _ if this.drains && bare == DRAIN => this.drain(&request),
                _ if this.drains && bare == DRAINED => this.drained(&request).await,
                (Some(Target::Check(name)), &Method::POST) => this.run(name, &request).await,
                (target, _) => {
                    let is_check = matches!(target, Some(Target::Check(_)));
                    let mut response = this.probe(request).await;
                    if is_check && response.headers().contains_key(ALLOW) {
                        response.headers_mut().insert(ALLOW, METHODS_OF_CHECKS);
                    }
                    response
                }
            }
            .map(|body| ManagementBody::Probe { body })
        }
    }

    /// Answers a probe as every other port does.
    async fn probe(&self, request: Request<()>) -> Response<ProbeBody> {
        match self.probes.clone().call(request).await {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        }
    }

    /// Runs a check, and then responds as for a `GET`.
    async fn run(&self, name: &str, request: &Request<()>) -> Response<ProbeBody> {
        if let Some(refused) = self.refuse(request) {
            let requests = &self.probes.health().board().requests;
            requests.count(RequestTarget::Check, refused.status().as_u16());
            return refused;
        }
        // The response contains the result of the run, and whether the check exists.
        _ = timeout(RUN, self.probes.health().run_now(name)).await;
        let mut asked = request.clone();
        *asked.method_mut() = Method::GET;
        self.probe(asked).await
    }

    /// Returns the response to a caller that is not authorized, and `None` for any other caller.
    fn refuse(&self, request: &Request<()>) -> Option<Response<ProbeBody>> {
        let method = request.method();
        match self.probes.is_authorized(request) {
            None => Some(problem(StatusCode::FORBIDDEN, FORBIDDEN, method)),
            Some(false) => {
                let mut response = problem(StatusCode::UNAUTHORIZED, UNAUTHORIZED, method);
                response.headers_mut().insert(WWW_AUTHENTICATE, BEARER);
                Some(response)
            }
            Some(true) => None,
        }
    }

    /// Answers at the path of the maintenance.
    fn maintenance(&self, request: &Request<()>) -> Response<ProbeBody> {
        let exposure = self.probes.exposure_to(request);
        // If only the verdict is exposed, reading the maintenance requires authorization as well.
        let refused = if switches(request.method()) || exposure == Exposure::Status {
            self.refuse(request)
        } else {
            None
        };
        refused.unwrap_or_else(|| switch::answer(self.probes.health(), request, exposure))
    }

    /// Begins a drain for a caller that may.
    fn drain(&self, request: &Request<()>) -> Response<ProbeBody> {
        let begin = || leave::begin(self.probes.health(), request.method());
        self.refuse(request).unwrap_or_else(begin)
    }

    /// Waits for a drain for a caller that may.
    async fn drained(&self, request: &Request<()>) -> Response<ProbeBody> {
        match self.refuse(request) {
            Some(refused) => refused,
            None => leave::wait(self.probes.health(), request).await,
        }
    }

    /// Answers at the path of the event stream. The stream ends with its connection, or with the
    /// checks.
    fn events(&self, request: &Request<()>, busy: &Busy) -> Response<ManagementBody> {
        let method = request.method();
        let probe = |body| ManagementBody::Probe { body };
        let mut response = match *method {
            Method::GET => match Arc::clone(&self.readers).try_acquire_owned() {
                Ok(permit) => {
                    let board = self.probes.health().board();
                    let exposure = self.probes.exposure_to(request);
                    let events = Events::new(board, exposure, busy.activity(), permit);
                    Response::new(ManagementBody::Events { events })
                }
                Err(_) => {
                    let mut crowded = problem(StatusCode::SERVICE_UNAVAILABLE, CROWDED, method);
                    crowded.headers_mut().insert(RETRY_AFTER, A_WHILE);
                    return crowded.map(probe);
                }
            },
            Method::HEAD | Method::OPTIONS => Response::new(probe(ProbeBody::default())),
            _ => {
                let mut refused = method_not_allowed(method).map(probe);
                refused.headers_mut().insert(ALLOW, METHODS);
                return refused;
            }
        };
        describe(response.headers_mut());
        if *method == Method::OPTIONS {
            response.headers_mut().insert(ALLOW, METHODS);
        }
        response
    }
}

/// Adds the headers of an event stream.
fn describe(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
}
