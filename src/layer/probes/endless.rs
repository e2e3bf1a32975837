/// What an ordinary response carries among its extensions if its body goes on for as long as the client stays, as
/// server-sent events do: then a [drain](crate::Health::drain) does not wait for it.
///
/// Such a response is to end by itself while the instance leaves, or it is cut.
///
/// ```
/// # use http::Response;
/// use tower_health::layer::probes::Endless;
///
/// let mut response = Response::new("data: 1\n\n");
/// response.extensions_mut().insert(Endless);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a mark has no fields")]
pub struct Endless;
