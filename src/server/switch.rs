//! The path that begins and ends a maintenance.
//!
//! `GET` returns the stage, and the time that is left. `POST` begins a maintenance or replaces it.
//! `DELETE` ends it, and is no error without one. Each returns the state after the request.

use std::time::Duration;

use form_urlencoded::parse;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::ALLOW};
use serde::Serialize;

use crate::{
    Health,
    endpoint::{Exposure, ProbeBody, json, method_not_allowed, problem},
    model::Stage,
};

/// The path of the maintenance.
pub(super) const MAINTENANCE: &str = "/maintenance";

/// The methods of the path.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST, DELETE");
/// The body of a `POST` without a valid time.
const HOW: &str = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"set a duration of at most 365 days, as in ?ttl=10m&reason=reindexing"}"#;

/// The longest query that is read, in bytes, and the longest maintenance.
const READ: usize = 8 * 1024;
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The state in a response.
#[derive(Serialize)]
struct State {
    /// The stage of the instance after the request.
    stage: Stage,
    /// How much of the maintenance is left, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
    /// Why, in the redacted words of the operator. Only for full exposure.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether a method changes the maintenance.
pub(super) fn switches(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::DELETE)
}

/// Responds to a caller that is authorized for the request.
pub(super) fn answer(
    health: &Health,
    request: &Request<()>,
    exposure: Exposure,
) -> Response<ProbeBody> {
    let method = request.method();
    match *method {
        Method::POST => match wanted(request.uri().query().unwrap_or_default()) {
            Some((reason, ttl)) => health.maintenance(reason, ttl),
            None => return problem(StatusCode::BAD_REQUEST, HOW, method),
        },
        Method::DELETE => _ = health.end_maintenance(),
        Method::GET | Method::HEAD | Method::OPTIONS => {}
        _ => {
            let mut refused = method_not_allowed(method);
            refused.headers_mut().insert(ALLOW, METHODS);
            return refused;
        }
    }
    let maintenance = health.board().maintenance();
    let state = State {
        stage: health.stage(),
        seconds_left: maintenance
            .as_ref()
            .map(|(_, left)| left.as_secs_f64().ceil() as u64),
        reason: maintenance
            .filter(|_| exposure == Exposure::Full)
            .map(|(maintenance, _)| maintenance.cause.redacted().to_owned()),
    };
    let mut response = json(&state, method);
    if *method == Method::OPTIONS {
        response.headers_mut().insert(ALLOW, METHODS);
    }
    response
}

/// Parses the reason and the duration of a maintenance. A number without a unit is in seconds.
///
/// Returns `None` without a `ttl`, and for one that is zero, invalid or above the limit. A
/// maintenance without an end is therefore not possible.
fn wanted(query: &str) -> Option<(String, Duration)> {
    if query.len() > READ {
        return None;
    }
    let value = |wanted: &str| {
        let mut pairs = parse(query.as_bytes());
        pairs.find(|(key, _)| key == wanted).map(|(_, value)| value)
    };
    let ttl = value("ttl")?;
    let seconds = ttl.parse().map(Duration::from_secs).ok();
    let ttl = seconds.or_else(|| humantime::parse_duration(&ttl).ok())?;
    let reason = value("reason").filter(|reason| !reason.is_empty());
    let reason = reason.map_or_else(|| "not given".to_owned(), |reason| reason.into_owned());
    (!ttl.is_zero() && ttl <= LONGEST).then_some((reason, ttl))
}
