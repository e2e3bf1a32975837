//! Services that report their own health.
//!
//! A response of such a service has two parts: whether it arrived, which is judged by its
//! transport, and what the service reports about itself. A service that reports a failure is
//! *unhealthy*, and one that cannot be reached has the reason of the network error.

#[cfg(feature = "upstream-grpc")]
mod grpc;
#[cfg(feature = "upstream-http")]
mod health_json;
#[cfg(feature = "upstream-http")]
mod http;

use std::error::Error;

#[cfg(feature = "upstream-grpc")]
pub use self::grpc::GrpcUpstream;
#[cfg(feature = "upstream-http")]
pub use self::http::HttpUpstream;

/// How many sources of an error are followed. It is a limit against chains without an end.
const MAX_SOURCES: usize = 16;

/// Iterates over an error and its sources.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(MAX_SOURCES)
}
