//! What a [layer](crate::layer::probes) keeps for an ordinary request: its place among the requests
//! that are in flight, and the headers for its response during a drain.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONNECTION};

use crate::engine::{Board, Named};

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ENVOY_IMMEDIATE_FAIL: HeaderName =
    HeaderName::from_static("x-envoy-immediate-health-check-fail");
const YES: HeaderValue = HeaderValue::from_static("true");

/// Guard of an ordinary request. The request is in flight until this is dropped. It does not keep
/// the checks running.
pub(crate) struct InFlight {
    board: Arc<Board>,
    /// Its place among the requests with the same name, if it has one.
    name: Option<Named>,
}

/// The headers that a response to an ordinary request has while the instance is draining.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainHeaders {
    /// Whether the endpoints enable the headers of Envoy.
    pub(super) envoy: bool,
    /// Whether `Connection: close` applies. HTTP/2 has no such header, and an upgraded connection
    /// is no longer HTTP.
    pub(super) closes: bool,
}

impl InFlight {
    /// Counts a request as in flight.
    #[inline]
    pub(crate) fn new(board: &Arc<Board>) -> Self {
        board.control.in_flight.enter();
        Self {
            board: Arc::clone(board),
            name: None,
        }
    }

    /// Counts it under this name as well.
    pub(super) fn name(&mut self, name: &str) {
        self.name = self.board.control.names.enter(name);
    }

    /// Whether the instance is draining.
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.board.is_draining()
    }

    /// Polls the handler of the request while the instance is draining. The request is not in
    /// flight while its handler waits for the drain, as the handler of a `preStop` hook does.
    ///
    /// `waits` keeps, between two polls, whether the handler waited at its last poll.
    #[cold]
    pub(crate) fn poll_draining<T>(&self, waits: &mut bool, poll: impl FnOnce() -> T) -> T {
        self.board.control.in_flight.within(waits, poll)
    }
}

impl Drop for InFlight {
    /// Not inlined, because inlining it at each place where a request may end costs a quarter more.
    #[cold]
    fn drop(&mut self) {
        self.board.leave();
    }
}

impl DrainHeaders {
    /// Adds the headers that send the next request of the client to another instance.
    #[cold]
    pub(crate) fn add_to<B>(self, response: &mut Response<B>) {
        let closes = self.closes && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        // Appended, because the response may have other connection options.
        if closes && !has_close(headers) {
            headers.append(CONNECTION, CLOSE);
        }
        if self.envoy {
            headers.insert(ENVOY_IMMEDIATE_FAIL, YES);
        }
    }
}

/// Whether the response already has the connection option `close`, in any spelling.
fn has_close(headers: &HeaderMap) -> bool {
    let said = headers.get_all(CONNECTION).into_iter();
    let mut options = said.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}
