//! The paths that begin a drain and wait for it, for operators and the `preStop` hook of a
//! container.
//!
//! Both paths exist only if the port enables them, and only for callers that a rule accepts. A
//! container whose image has no shell can use them as its `preStop` hook. `/drained` then keeps the
//! hook open until the requests of the instance are done.

use http::{HeaderValue, Method, Request, Response, StatusCode, header::ALLOW};
use serde::Serialize;

use crate::{
    Health,
    endpoint::{ProbeBody, json, method_not_allowed, problem},
    lifecycle::until,
    model::Stage,
};

/// The path that begins a drain.
pub(super) const DRAIN: &str = "/drain";

/// The path that responds once nothing is in flight.
pub(super) const DRAINED: &str = "/drained";

/// The methods of [`DRAIN`].
const BEGINS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
/// The methods of [`DRAINED`].
const WAITS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// The body of a response to a caller that waits although no drain has begun. Such a request does
/// not wait, because nothing would ever end it.
const NOT_YET: &str = r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"no drain has begun: begin one by a POST to /drain, or by SIGTERM"}"#;

/// The state of a drain in a response.
#[derive(Serialize)]
struct State {
    /// The stage of the instance after the request.
    stage: Stage,
    /// The number of requests that are in flight.
    in_flight: usize,
}

/// Responds to a caller that may begin a drain. `POST` begins it. `GET` does as well, for hooks
/// that can send nothing else.
///
/// The response is immediate, because a drain takes longer than a client waits. A second drain
/// changes nothing.
pub(super) fn begin(health: &Health, method: &Method) -> Response<ProbeBody> {
    let code = match *method {
        Method::GET | Method::POST => {
            drop(health.drain());
            StatusCode::ACCEPTED
        }
        Method::HEAD | Method::OPTIONS => StatusCode::OK,
        _ => return refused(method, BEGINS),
    };
    respond(health, method, code, BEGINS)
}

/// Responds to a caller that waits for a drain.
///
/// `HEAD` and `OPTIONS` do not wait. The response is 503 if requests were cut, so that a hook can
/// report it.
pub(super) async fn wait(health: &Health, request: &Request<()>) -> Response<ProbeBody> {
    let method = request.method();
    let board = health.board();
    match *method {
        Method::GET if !board.is_draining() => {
            return problem(StatusCode::CONFLICT, NOT_YET, method);
        }
        Method::GET => {
            // A request that arrives over an open connection after the end of the others also
            // counts.
            until(board, |board| {
                let control = &board.control;
                let is_idle = control.ended().is_some() && control.in_flight.count() == 0;
                is_idle || control.was_cut().is_some() || board.is_final()
            })
            .await
        }
        Method::HEAD | Method::OPTIONS => {}
        _ => return refused(method, WAITS),
    }
    // Once the runtime of the checks has ended, nothing is cut any more.
    let control = &board.control;
    let left = control
        .was_cut()
        .unwrap_or_else(|| control.in_flight.count());
    let code = match (left, method) {
        (0, _) | (_, &(Method::HEAD | Method::OPTIONS)) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    respond(health, method, code, WAITS)
}

/// Returns the state as a response. `methods` are those of the path.
fn respond(
    health: &Health,
    method: &Method,
    code: StatusCode,
    methods: HeaderValue,
) -> Response<ProbeBody> {
    let state = State {
        stage: health.stage(),
        in_flight: health.board().control.in_flight.count(),
    };
    let mut response = json(&state, method);
    *response.status_mut() = code;
    if *method == Method::OPTIONS {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Returns 405 with the methods of the path.
fn refused(method: &Method, methods: HeaderValue) -> Response<ProbeBody> {
    let mut refused = method_not_allowed(method);
    refused.headers_mut().insert(ALLOW, methods);
    refused
}
