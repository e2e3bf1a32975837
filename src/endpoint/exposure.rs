/// How much of a report a caller may see. Each level contains the one before it. Defaults to
/// [`Checks`](Self::Checks).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Endpoints, Health, Status, endpoint::Exposure};
///
/// let health = Health::builder("orders")
///     .check(Check::new("db", || async { Status::Pass }))
///     .start()?;
/// let endpoints = Endpoints::builder().exposure(Exposure::Status).build()?;
/// let probes = health.service().endpoints(endpoints);
///
/// // The check has not run yet. Only the verdict is exposed.
/// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
/// assert_eq!(response.body(), r#"{"status":"fail"}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exposure {
    /// Only the verdict. The path of a single check returns 404, whether or not the check exists.
    Status,
    /// Also names, statuses, times, durations and public reasons. No measurements and no causes.
    #[default]
    Checks,
    /// Also measurements, runbooks and redacted [causes](crate::Cause). These name hosts, roles and
    /// files. Only callers that a [rule](crate::endpoint::EndpointsBuilder::authorize) accepts see
    /// them, and the callers of a management port that is set to this exposure.
    Full,
}
