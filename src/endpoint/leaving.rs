use std::{fmt, sync::Arc};

use http::{
    HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{CONNECTION, HeaderMap},
};

use crate::engine::Board;

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const ENVOY_FAIL: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");
const YES: HeaderValue = HeaderValue::from_static("true");

/// Tells those whom an instance serves that it leaves. It does not keep the checks running.
#[derive(Clone)]
pub(crate) struct Leaving {
    pub(super) board: Arc<Board>,
    pub(super) envoy: bool,
    /// Of the request.
    pub(super) version: Version,
}

impl Leaving {
    /// Adds to an ordinary response, while the instance leaves, what sends the next request elsewhere.
    #[inline]
    pub(crate) fn tell<B>(&self, response: &mut Response<B>) {
        if self.board.is_draining() {
            self.say(response.status(), response.headers_mut());
        }
    }

    #[cold]
    fn say(&self, status: StatusCode, headers: &mut HeaderMap) {
        // HTTP/2 says it otherwise, and a connection that is upgraded is no longer HTTP's.
        if self.version <= Version::HTTP_11 && status != StatusCode::SWITCHING_PROTOCOLS {
            headers.insert(CONNECTION, CLOSE);
        }
        if self.envoy {
            headers.insert(ENVOY_FAIL, YES);
        }
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving")
            .field("envoy", &self.envoy)
            .finish_non_exhaustive()
    }
}
