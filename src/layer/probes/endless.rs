/// Extension of an ordinary response whose body does not end before the client disconnects, such as
/// server-sent events. A [drain](crate::Health::drain) does not wait for it.
///
/// End such a body yourself when the instance is [draining](crate::Health::draining). Otherwise it
/// is cut.
///
/// ```
/// # use http::Response;
/// use tower_health::layer::probes::Endless;
///
/// let mut response = Response::new("data: 1\n\n");
/// response.extensions_mut().insert(Endless);
/// assert_eq!(response.extensions().get(), Some(&Endless));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a mark has no fields")]
pub struct Endless;
