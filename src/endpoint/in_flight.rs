use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONNECTION};

use crate::engine::Board;

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ENVOY_FAIL: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");
const YES: HeaderValue = HeaderValue::from_static("true");

/// An ordinary request in flight, until this is dropped. It does not keep the checks running.
///
pub(crate) struct InFlight(Arc<Board>);

/// How the sender of an ordinary request is told that the instance leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    pub(super) envoy: bool,
    /// Whether the connection can be asked to be closed: HTTP/2 says it otherwise, and what is upgraded is no longer
    /// HTTP's.
    pub(super) closes: bool,
}

impl InFlight {
    #[inline]
    pub(crate) fn new(board: &Arc<Board>) -> Self {
        board.departure.enter();
        Self(Arc::clone(board))
    }

    /// Whether the instance leaves.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.is_draining()
    }

    /// Polls the handler of the request while the instance leaves. One that waits for the drain, such as that of a hook before the
    /// end, is not waited for by it, until it goes on.
    #[cold]
    pub(crate) fn poll_leaving<T>(&self, waits: &mut bool, poll: impl FnOnce() -> T) -> T {
        self.0.departure.within(waits, poll)
    }
}

impl Drop for InFlight {
    /// One call: in line at each place where a request may end, it costs a quarter more.
    #[cold]
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Leaving {
    /// Adds to an ordinary response what sends the next request elsewhere.
    #[cold]
    pub(crate) fn tell<B>(self, response: &mut Response<B>) {
        let closes = self.closes && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        // Beside what else it says of the connection.
        if closes && !says_close(headers) {
            headers.append(CONNECTION, CLOSE);
        }
        if self.envoy {
            headers.insert(ENVOY_FAIL, YES);
        }
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    let said = headers.get_all(CONNECTION).into_iter();
    let mut options = said.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}
