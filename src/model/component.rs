use serde::Serialize;

/// The kind of component that is checked, with the names of health+json.
///
/// Source: [draft-inadarei-api-health-check-06, section
/// 4.2](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06#section-4.2).
///
/// ```
/// use tower_health::ComponentType;
///
/// assert_eq!(ComponentType::default(), ComponentType::Component);
/// assert_eq!(serde_json::to_string(&ComponentType::Datastore).unwrap(), "\"datastore\"");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ComponentType {
    /// Another service, or a part of this one.
    #[default]
    Component,
    /// A database, a cache or a queue.
    Datastore,
    /// Disk, memory, processor or network.
    System,
}
