//! A layer that answers probes and passes every other request on.
//!
//! 1. A probe is answered at once, from the board, whether or not the inner service is ready. (One that depends on
//!    a check [on demand](crate::Check::on_demand) may wait for that check; never for the inner service.)
//! 2. An answered probe holds no permit of the inner service and no place in its queue. If an ordinary request
//!    asked the inner service before, on the same clone of this one, a fresh clone takes its place.
//! 3. Any other request goes through untouched, and so does its response, but for rule 5: its error type stays, nothing is
//!    allocated, and the inner service is cloned only if it was not ready.
//! 4. Any other request waits until the inner service is ready, and is told of its error if it fails to be.
//! 5. While the instance [leaves](crate::Health::drain), a response to any other request over HTTP/1 says
//!    `Connection: close`, so that its sender's next request goes elsewhere.
//! 6. Any other request is in flight until the body of its response has ended or was dropped: a
//!    [drain](crate::Health::drain) waits for that, unless the response is [`Endless`].
//! 7. The layer itself is always ready. What sheds load belongs inside it, where it cannot shed probes.
//!
//! # Where it stands
//!
//! With the default [endpoints](crate::Endpoints) it owns `/ready`, `/live`, `/startup`, `/health` and every `/health/{segment}`; whatever the application has
//! there is hidden by it, so keep its own routes elsewhere (`/health/a/b` is free).
//!
//! It belongs outermost. A layer outside it, such as CORS, authentication or a rate limit, answers in its place: a CORS
//! layer answers every `OPTIONS` with 200, and that is HAProxy's default probe, so a service that is down
//! looks healthy. With axum:
//!
//! * make it the last line of the router: `Router::layer` covers the routes added before it, and the fallback;
//! * a route added after it hides what it would answer there; a `.fallback(…)` or `.reset_fallback()` after it,
//!   or a router merged in after it, hides all of it;
//! * a router with a fallback of its own, into which it is merged, hides all of it: the fallback answers, and a
//!   service that is down looks healthy;
//! * a catch-all route before it is no matter: probes are answered first;
//! * on a router that is then nested it does not answer at `/ready`, and below the prefix only where something
//!   matches: nest the routes, and put it on the outermost router;
//! * as a `route_layer` it answers only where some route matches;
//! * [`Health::wrap`](crate::Health::wrap) goes round the finished service and cannot be misplaced. To have
//!   `axum::serve` take it, make it all there is: `Router::new().fallback_service(health.wrap(app))`.
//!
//! With tonic, `Server::builder().layer(health.layer())` stands outermost. Add `.accept_http1(true)`: kubelets and
//! load balancers probe over HTTP/1, which a tonic server does not speak by itself.
//!
//! A CORS layer inside it never sees a probe, so a page of another origin cannot read one. That is the safe way
//! round; serve such pages from a route of your own that reads [`Health::report`](crate::Health::report).
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_health::Health;
//!
//! let health = Health::builder("orders").start()?;
//! let app = Router::new()
//!     .route("/orders", get(|| async { "no orders" }))
//!     .layer(health.layer()); // the last line
//!
//! let ask = |path| app.clone().oneshot(Request::get(path).body(axum::body::Body::empty()).unwrap());
//! assert_eq!(ask("/ready").await?.status(), StatusCode::OK);
//! assert_eq!(ask("/orders").await?.status(), StatusCode::OK);
//! assert_eq!(ask("/other").await?.status(), StatusCode::NOT_FOUND);
//! # Ok(())
//! # }
//! ```

mod body;
mod endless;
mod future;
mod layer;
mod service;

pub use self::{
    body::ResponseBody, endless::Endless, future::ResponseFuture, layer::ProbesLayer,
    service::Probes,
};
