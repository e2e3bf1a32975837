use tower_health::{Outcome, async_trait};

/// A source of outcomes: the dedicated connection of a check, or a connection that a pool lends.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// Probes the server once, and merges the usage of the pool into the outcome.
    async fn ask(&self) -> Outcome;
}
