//! Middleware that answers probes and passes all other requests to the inner service. In its rules,
//! a service is *ready* in the sense of tower's `poll_ready`, and not of the probe.
//!
//! 1. A probe is answered immediately, from the board, whether or not the inner service is ready. A
//!    probe that depends on a check [on demand](crate::Check::on_demand) may wait for that check.
//!    It never waits for the inner service.
//! 2. An answered probe holds no permit of the inner service and no place in its queue. An earlier
//!    request on the same clone of this middleware may have left such a permit or place unused. To
//!    release it, the inner service is then replaced by a fresh clone of itself.
//! 3. Any other request passes through unchanged, and so does its response except for rule 5. The
//!    error type is that of the inner service. Nothing is allocated. The inner service is cloned
//!    only if it was not ready.
//! 4. Any other request waits until the inner service is ready. If the inner service fails to
//!    become ready, the request receives its error.
//! 5. While the instance is [draining](crate::Health::drain), the response to any other request
//!    over HTTP/1 has `Connection: close`. The next request of the client then goes to another
//!    instance. If it is [enabled](crate::endpoint::EndpointsBuilder::envoy), the response has the
//!    header of Envoy as well.
//! 6. Any other request is in flight until the body of its response has ended or was dropped. A
//!    [drain](crate::Health::drain) waits for it, unless the response is [`Endless`].
//! 7. The middleware itself is always ready. Put layers that shed load inside it, where they cannot
//!    shed probes.
//!
//! A probe is answered while the inner service is overloaded (rules 1 and 7):
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{Service, ServiceBuilder, service_fn};
//! use tower_health::{Health, Status};
//!
//! let orders = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
//! let mut app = ServiceBuilder::new()
//!     .layer(Health::fixed(Status::Pass).layer())
//!     .concurrency_limit(0) // no request ever gets a permit
//!     .service(orders);
//!
//! let mut ask = |path| {
//!     let request = Request::get(path).body(()).expect("a valid request");
//!     tokio_test::task::spawn(app.call(request))
//! };
//! assert!(ask("/orders").poll().is_pending());
//! let probe = tokio_test::assert_ready_ok!(ask("/ready").poll());
//! assert_eq!(probe.status(), StatusCode::OK);
//! ```
//!
//! During a drain, the next request of a client goes elsewhere, and a body keeps its request in
//! flight (rules 5 and 6):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{convert::Infallible, time::Duration};
//!
//! use http::{Request, Response, header::CONNECTION};
//! use tokio::time::{Instant, sleep};
//! use tower::{ServiceExt, service_fn};
//! use tower_health::Health;
//!
//! let health = Health::builder("orders").drain_delay(Duration::ZERO).start()?;
//! let app = health.wrap(service_fn(|_: Request<()>| async {
//!     Ok::<_, Infallible>(Response::new("no orders".to_owned()))
//! }));
//! let drained = health.drain();
//! let response = app.oneshot(Request::get("/orders").body(())?).await?;
//! assert_eq!(response.headers()[CONNECTION], "close");
//!
//! tokio::spawn(async move {
//!     sleep(Duration::from_secs(3)).await; // the client reads slowly
//!     drop(response.into_body());
//! });
//! let began = Instant::now();
//! drained.await;
//! assert_eq!(began.elapsed().as_secs(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to put it
//!
//! With the default [endpoints](crate::Endpoints) it owns `/ready`, `/live`, `/startup`, `/health`
//! and every `/health/{segment}`. It hides routes of the application with these paths.
//! `/health/a/b` is free.
//!
//! Make it the outermost layer. A layer outside it, such as CORS, authentication or a rate limit,
//! responds to probes in its place. For example, a CORS layer returns 200 for every `OPTIONS`. That
//! is HAProxy's default probe, so a service that is down looks healthy.
//!
//! With axum:
//!
//! * Make it the last line of the router. `Router::layer` covers the fallback and the routes that
//!   were added before it.
//! * A route that is added after it hides the probe at its path.
//! * A `.fallback(…)` or `.reset_fallback()` after it hides all probes, and so does a router that
//!   is merged in after it.
//! * If its router is merged into a router with its own fallback, all probes are hidden. The
//!   fallback responds, and a service that is down looks healthy.
//! * A catch-all route before it hides nothing, because probes are answered first.
//! * On a router that is then nested, it does not answer at `/ready`. Below the prefix it answers
//!   only where something matches. Nest the routes, and put the layer on the outermost router.
//! * As a `route_layer` it answers only where a route matches.
//! * [`Health::wrap`](crate::Health::wrap) wraps the complete service, so nothing can be outside
//!   it. To pass it to `axum::serve`, make it the only content of a router:
//!   `Router::new().fallback_service(health.wrap(app))`.
//!
//! With tonic, `Server::builder().layer(health.layer())` is outermost. Add `.accept_http1(true)`,
//! because kubelets and load balancers probe over HTTP/1, which a tonic server does not accept by
//! default.
//!
//! A CORS layer inside it never sees a probe, so a page of another origin cannot read one. This is
//! the safe order. For such pages, add a route that reads
//! [`Health::report`](crate::Health::report).
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_health::Health;
//!
//! let health = Health::builder("orders").start()?;
//! let app = Router::new()
//!     .route("/orders", get(|| async { "no orders" }))
//!     .layer(health.layer()); // the last line
//!
//! let ask = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
//! assert_eq!(ask("/ready").await?.status(), StatusCode::OK);
//! assert_eq!(ask("/orders").await?.status(), StatusCode::OK);
//! assert_eq!(ask("/other").await?.status(), StatusCode::NOT_FOUND);
//! # Ok(())
//! # }
//! ```

mod body;
mod future;
mod layer;
mod service;

pub use self::{body::ResponseBody, future::ResponseFuture, layer::ProbesLayer, service::Probes};
pub use crate::endpoint::endless::Endless;
