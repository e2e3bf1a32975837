use std::{fmt, sync::Arc};

use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONNECTION};

use crate::engine::Board;

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ENVOY_FAIL: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");
const YES: HeaderValue = HeaderValue::from_static("true");

/// Tells the sender of an ordinary request that the instance leaves. It does not keep the checks running.
#[derive(Clone)]
pub(crate) struct Leaving {
    pub(super) board: Arc<Board>,
    pub(super) envoy: bool,
    /// Whether the connection can be asked to be closed: HTTP/2 says it otherwise, and what is upgraded is no longer
    /// HTTP's.
    pub(super) closes: bool,
}

impl Leaving {
    /// Whether the instance leaves.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.board.is_draining()
    }

    /// Adds to an ordinary response what sends the next request elsewhere.
    #[cold]
    pub(crate) fn tell<B>(&self, mut response: Response<B>) -> Response<B> {
        let closes = self.closes && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        if closes {
            headers.insert(CONNECTION, CLOSE);
        }
        if self.envoy {
            headers.insert(ENVOY_FAIL, YES);
        }
        response
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving")
            .field("envoy", &self.envoy)
            .field("closes", &self.closes)
            .finish_non_exhaustive()
    }
}
