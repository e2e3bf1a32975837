//! The exposure: how much of a report a caller may see. The HTTP endpoints, the management port,
//! the agent and the gRPC service share it.

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
///
/// ```
/// use tower_health::endpoint::Exposure;
///
/// assert!(Exposure::Status < Exposure::Checks && Exposure::Checks < Exposure::Full);
/// assert_eq!(Exposure::default(), Exposure::Checks);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exposure {
    /// Only the verdict. The path of a single check returns 404, whether or not the check exists.
    Status,
    /// Also names, statuses, times, durations and public reasons. No measurements and no causes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Outcome, Reason};
    ///
    /// let db = || async {
    ///     Outcome::fail(Reason::ConnectionRefused).with_cause("db-1.internal refused")
    /// };
    /// let health = Health::builder("orders").check(Check::new("db", db)).start()?;
    /// health.run_now("db").await?;
    ///
    /// let probes = health.service();
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
    /// let body = String::from_utf8_lossy(response.body());
    /// assert!(body.contains("connection refused"), "the public reason");
    /// assert!(!body.contains("db-1.internal"), "no cause");
    /// # Ok(())
    /// # }
    /// ```
    #[default]
    Checks,
    /// Also measurements, runbooks and redacted [causes](crate::Cause). These name hosts, roles and
    /// files. Only callers that a [rule](crate::endpoint::EndpointsBuilder::authorize) accepts see
    /// them, and the callers of a management port that is set to this exposure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Endpoints, Health, Outcome, Reason};
    ///
    /// let db = || async {
    ///     Outcome::fail(Reason::ConnectionRefused).with_cause("db-1.internal refused")
    /// };
    /// let health = Health::builder("orders").check(Check::new("db", db)).start()?;
    /// health.run_now("db").await?;
    ///
    /// let endpoints = Endpoints::builder().bearer_token("f3b1c0ffee").build()?;
    /// let probes = health.service().endpoints(endpoints);
    /// let headers = [("authorization", b"Bearer f3b1c0ffee".as_slice())];
    /// let response = probes.respond("GET", "/ready", None, headers).expect("a probe path").await;
    /// assert!(String::from_utf8_lossy(response.body()).contains("db-1.internal refused"));
    /// # Ok(())
    /// # }
    /// ```
    Full,
}
