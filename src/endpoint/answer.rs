//! A rendered response.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS},
};

use crate::model::Status;

/// No cache may store a response, because a stale verdict is worse than none.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const VARIES: HeaderValue = HeaderValue::from_static("Accept");

/// A rendered response, and the status that it reports.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// After how long the status may change, if that is known.
    pub(super) retry_after: Option<Duration>,
    pub(super) response: Response<Bytes>,
}

/// Returns a response with the headers that all responses have.
pub(super) fn complete(
    status: StatusCode,
    content_type: HeaderValue,
    negotiated: bool,
    body: Bytes,
) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if negotiated {
        headers.insert(VARY, VARIES);
    }
    response
}
