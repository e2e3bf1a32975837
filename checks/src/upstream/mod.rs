//! Services that report their own health.

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

/// How many sources of an error are followed.
const MAX_SOURCES: usize = 16;

/// Iterates over an error and its sources.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(MAX_SOURCES)
}
