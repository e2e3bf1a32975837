//! The mark of a response whose body has no end.

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
///
/// The drain below does not wait for the stream, although nobody ends it:
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{convert::Infallible, time::Duration};
///
/// use http::{Request, Response};
/// use tokio::time::Instant;
/// use tower::{ServiceExt, service_fn};
/// use tower_health::{Health, layer::probes::Endless};
///
/// let health = Health::builder("orders").drain_delay(Duration::ZERO).start()?;
/// let events = health.wrap(service_fn(|_: Request<()>| async {
///     let mut response = Response::new("data: 1\n\n".to_owned());
///     response.extensions_mut().insert(Endless);
///     Ok::<_, Infallible>(response)
/// }));
/// let stream = events.oneshot(Request::get("/events").body(())?).await?;
/// let began = Instant::now();
/// health.drain().await;
/// assert_eq!(began.elapsed().as_secs(), 0);
/// drop(stream);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a mark has no fields")]
pub struct Endless;
