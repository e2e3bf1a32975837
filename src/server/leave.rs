//! The paths by which an operator, or the hook before the end of a container, begins a drain and waits for it.

use http::{HeaderValue, Method, Request, Response, StatusCode, header::ALLOW};
use serde::Serialize;

use crate::{
    Health,
    endpoint::{ProbeBody, json, problem, wrong_method},
    lifecycle::until,
    model::Stage,
};

/// Begins a drain.
pub(super) const DRAIN: &str = "/drain";

/// Answers once nothing is in flight.
pub(super) const DRAINED: &str = "/drained";

const BEGINS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
const WAITS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const NOT_YET: &str = r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"no drain has begun: begin one by a POST to /drain, or by SIGTERM"}"#;

/// What is told of a drain.
#[derive(Serialize)]
struct State {
    stage: Stage,
    in_flight: usize,
}

/// The answer to who may begin a drain: it begins by `POST`, and by `GET` for hooks that can send nothing else.
pub(super) fn begin(health: &Health, method: &Method) -> Response<ProbeBody> {
    let code = match *method {
        Method::GET | Method::POST => {
            drop(health.drain());
            StatusCode::ACCEPTED
        }
        Method::HEAD | Method::OPTIONS => StatusCode::OK,
        _ => return refused(method, BEGINS),
    };
    told(health, method, code, BEGINS)
}

/// The answer to who waits for a drain.
pub(super) async fn wait(health: &Health, request: &Request<()>) -> Response<ProbeBody> {
    let method = request.method();
    let board = health.board();
    match *method {
        Method::GET if !board.is_draining() => {
            return problem(StatusCode::CONFLICT, NOT_YET, method);
        }
        Method::GET => {
            // A request that comes over an open connection when all had ended is one more.
            until(board, |board| {
                let departure = &board.departure;
                let is_idle = departure.ended().is_some() && departure.in_flight() == 0;
                is_idle || departure.was_cut().is_some() || board.is_final()
            })
            .await
        }
        Method::HEAD | Method::OPTIONS => {}
        _ => return refused(method, WAITS),
    }
    // Where the runtime of the checks has ended, nobody cuts anything any more.
    let departure = &board.departure;
    let left = departure.was_cut().unwrap_or_else(|| departure.in_flight());
    let code = match (left, method) {
        (0, _) | (_, &(Method::HEAD | Method::OPTIONS)) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    told(health, method, code, WAITS)
}

fn told(
    health: &Health,
    method: &Method,
    code: StatusCode,
    methods: HeaderValue,
) -> Response<ProbeBody> {
    let state = State {
        stage: health.stage(),
        in_flight: health.board().departure.in_flight(),
    };
    let mut response = json(&state, method);
    *response.status_mut() = code;
    if *method == Method::OPTIONS {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

fn refused(method: &Method, methods: HeaderValue) -> Response<ProbeBody> {
    let mut refused = wrong_method(method);
    refused.headers_mut().insert(ALLOW, methods);
    refused
}
