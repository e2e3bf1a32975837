use tower_layer::Layer;

use super::Probes;
use crate::{
    Health,
    endpoint::{Exposure, ProbeService},
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
    /// How much callers may see. Defaults to [`Exposure::Checks`].
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.endpoint = self.endpoint.exposure(exposure);
        self
    }
}

impl<S> Layer<S> for ProbesLayer {
    type Service = Probes<S>;

    fn layer(&self, inner: S) -> Probes<S> {
        Probes::new(inner, self.endpoint.clone())
    }
}
