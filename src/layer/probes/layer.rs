//! The layer, and the methods of [`Health`] that return the middleware.

use tower_layer::Layer;

use super::Probes;
use crate::{
    Health,
    endpoint::{Endpoints, ProbeService},
};

/// Layer that answers probes in front of a service. Returned by [`Health::layer`].
///
/// See the [module](super) for its rules, and for where to put it.
///
/// It may wrap several services, such as one for each port. They share the checks and the drain.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_health::{Health, Status};
///
/// let layer = Health::fixed(Status::Fail).layer();
/// for app in [Router::new().layer(layer.clone()), Router::new().layer(layer)] {
///     let response = app.oneshot(Request::get("/ready").body(Body::empty())?).await?;
///     assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "layers do nothing unless applied to a service"]
pub struct ProbesLayer {
    endpoint: ProbeService,
}

impl Health {
    /// Returns a layer that answers probes and passes all other requests to the inner service.
    ///
    /// Make it the outermost layer: the last line of a router. See the
    /// [module](crate::layer::probes) for what happens in other places.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, body::Body, routing::get};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let app: Router = Router::new()
    ///     .route("/orders", get(|| async { "no orders" }))
    ///     .route("/ready", get(|| async { StatusCode::IM_A_TEAPOT })) // hidden by the probe
    ///     .layer(health.layer());
    ///
    /// let ask = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    /// assert_eq!(ask("/orders").await?.status(), StatusCode::OK);
    /// assert_eq!(ask("/ready").await?.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer(&self) -> ProbesLayer {
        ProbesLayer::new(self)
    }

    /// Wraps a complete service, so that nothing in it can be outside of the probes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, body::Body, routing::get};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let app: Router = Router::new().route("/orders", get(|| async { "no orders" }));
    /// let service = health.wrap(app);
    ///
    /// let response = service.oneshot(Request::get("/ready").body(Body::empty())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wrap<S>(&self, service: S) -> Probes<S> {
        self.layer().layer(service)
    }
}

impl ProbesLayer {
    /// Creates a layer that answers the probes of `health`. The same as [`Health::layer`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::{Request, Response, StatusCode};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_health::{Health, layer::probes::ProbesLayer};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let orders = service_fn(|_: Request<String>| async {
    ///     Ok::<_, std::convert::Infallible>(Response::new("no orders".to_owned()))
    /// });
    /// let app = ServiceBuilder::new().layer(ProbesLayer::new(&health)).service(orders);
    ///
    /// let response = app.oneshot(Request::get("/ready").body(String::new())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(health: &Health) -> Self {
        Self {
            endpoint: health.service(),
        }
    }

    /// Sets the paths, their responses and their callers. Defaults to [`Endpoints::default`].
    ///
    /// They replace the previous endpoints. Services that were wrapped before keep theirs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, body::Body};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_health::{Endpoints, Health};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let layer = health.layer().endpoints(Endpoints::kubernetes().build()?);
    /// let app: Router = Router::new().layer(layer);
    ///
    /// let ask = |path| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    /// assert_eq!(ask("/readyz").await?.status(), StatusCode::OK);
    /// assert_eq!(ask("/ready").await?.status(), StatusCode::NOT_FOUND, "not a probe path");
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints(self, endpoints: Endpoints) -> Self {
        Self {
            endpoint: self.endpoint.endpoints(endpoints),
        }
    }
}

impl<S> Layer<S> for ProbesLayer {
    type Service = Probes<S>;

    fn layer(&self, inner: S) -> Probes<S> {
        Probes::new(inner, self.endpoint.clone())
    }
}
