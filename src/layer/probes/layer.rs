use tower_layer::Layer;

use super::Probes;
use crate::{
    Health,
    endpoint::{Endpoints, ProbeService},
};

/// Layer that answers probes in front of a service. Returned by [`Health::layer`].
///
/// See the [module](super) for its rules, and for where to put it.
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
