use tower_layer::Layer;

use super::Probes;
use crate::endpoint::{Endpoint, Exposure};

/// Answers probes in front of a service: made by [`Health::layer`](crate::Health::layer).
///
/// See the [module](super) for its rules and its place.
#[derive(Clone, Debug)]
#[must_use = "layers do nothing unless applied to a service"]
pub struct ProbesLayer {
    endpoint: Endpoint,
}

impl ProbesLayer {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

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
