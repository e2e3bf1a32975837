use tower_layer::Layer;

use super::Probes;
use crate::{
    Health,
    endpoint::{Endpoints, ProbeService},
};

/// Answers probes in front of a service: made by [`Health::layer`].
///
/// See the [module](super) for its rules and its place.
#[derive(Clone, Debug)]
#[must_use = "layers do nothing unless applied to a service"]
pub struct ProbesLayer {
    endpoint: ProbeService,
}

impl Health {
    /// A layer that answers probes and passes everything else on.
    ///
    /// It belongs outermost: make it the last line of a router. See [the module](super) for what happens
    /// elsewhere.
    pub fn layer(&self) -> ProbesLayer {
        ProbesLayer::new(self)
    }

    /// Wraps a finished service, so that nothing that is in it can stand outside the probes.
    pub fn wrap<S>(&self, service: S) -> Probes<S> {
        self.layer().layer(service)
    }
}

impl ProbesLayer {
    /// A layer that answers probes of `health`; the same as [`Health::layer`].
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

    /// Sets the paths, and what is answered there to whom. Defaults to [`Endpoints::default`].
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
