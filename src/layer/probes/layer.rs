use tower_layer::Layer;

use super::Probes;
use crate::{
    Health,
    endpoint::{Endpoints, EndpointsError, ProbeService},
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
        ProbesLayer {
            endpoint: self.service(),
        }
    }

    /// Wraps a finished service, so that nothing that is in it can stand outside the probes.
    pub fn wrap<S>(&self, service: S) -> Probes<S> {
        self.layer().layer(service)
    }
}

impl ProbesLayer {
    /// What is answered where, to whom, and how. Defaults to [`Endpoints::default`].
    ///
    /// # Errors
    ///
    /// [`EndpointsError`] lists every mistake.
    pub fn endpoints(self, endpoints: Endpoints) -> Result<Self, EndpointsError> {
        Ok(Self {
            endpoint: self.endpoint.endpoints(endpoints)?,
        })
    }
}

impl<S> Layer<S> for ProbesLayer {
    type Service = Probes<S>;

    fn layer(&self, inner: S) -> Probes<S> {
        Probes::new(inner, self.endpoint.clone())
    }
}
