//! The kind of component, as a report shows it.

use serde::Serialize;

/// The kind of component that is checked, with the names of health+json.
///
/// It is `componentType` in a body, and affects no verdict.
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
///
/// The code of a check has a kind
/// ([`HealthCheck::component_type`](crate::HealthCheck::component_type)), and
/// [`Check::component_type`](crate::Check::component_type) replaces it:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, ComponentType, Health, Status};
///
/// let disk = Check::new("disk", || async { Status::Pass }).component_type(ComponentType::System);
/// let health = Health::builder("orders").check(disk).start()?;
/// assert_eq!(health.check("disk")?.component_type, ComponentType::System);
/// # Ok(())
/// # }
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

impl ComponentType {
    /// Returns the text that bodies and labels show: `component`, `datastore` or `system`. It is
    /// also the serialized form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Datastore => "datastore",
            Self::System => "system",
        }
    }
}
