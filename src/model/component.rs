use serde::Serialize;

/// What kind of thing a check asks, as health+json names it.
///
/// Source: [draft-inadarei-api-health-check-06, section 4.2](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06#section-4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ComponentType {
    /// Another service, or a part of this one.
    #[default]
    Component,
    /// A database, a cache, a queue.
    Datastore,
    /// Disk, memory, processor, network.
    System,
}
