//! The paths that probers of each kind expect, as builders.

use super::{Dialect, Endpoints, EndpointsBuilder};
use crate::model::Probe;

impl Endpoints {
    /// Returns a builder with the default paths: `/health`, `/ready`, `/live`, `/startup` and
    /// `/health/{check}`.
    ///
    /// The dialect of each path is negotiated by `Accept`. You can add paths and set the dialect of
    /// a path, but you cannot remove a default path. Start with [`none`](Self::none) to have only
    /// your own paths.
    ///
    /// ```
    /// use tower_health::{Endpoints, Health, Probe, Status};
    ///
    /// let endpoints = Endpoints::builder().probe("/up", Probe::Readiness).build()?;
    /// let probes = Health::fixed(Status::Pass).service().endpoints(endpoints);
    /// assert!(probes.respond("GET", "/up", None, []).is_some());
    /// assert!(probes.respond("GET", "/ready", None, []).is_some(), "the default path remains");
    /// # Ok::<_, tower_health::error::EndpointsError>(())
    /// ```
    pub fn builder() -> EndpointsBuilder {
        Self::none()
            .probe("/health", Probe::Health)
            .probe("/ready", Probe::Readiness)
            .probe("/live", Probe::Liveness)
            .probe("/startup", Probe::Startup)
            .checks("/health/{check}")
    }

    /// Returns a builder with the paths of the Kubernetes API server, in its [plain
    /// text](Dialect::KubernetesText): `/healthz`, `/readyz`, `/livez` and `/readyz/{check}`.
    ///
    /// A fail is 503. The API server itself returns 500. Probers accept both as a failure, and load
    /// balancers retry a 503 on another instance.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health};
    ///
    /// let endpoints = Endpoints::kubernetes().build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    /// let response = probes.respond("GET", "/readyz", None, []).expect("a probe path").await;
    /// assert_eq!(response.body(), "ok");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A fail lists each check if there are at most 16, and otherwise only checks that do not pass.
    /// Reasons are withheld. A pass is `ok`, unless the query contains `verbose`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health, Status};
    ///
    /// let endpoints = Endpoints::kubernetes().build()?;
    /// let probes = Health::fixed(Status::Fail).service().endpoints(endpoints.clone());
    /// let response = probes.respond("GET", "/readyz", None, []).expect("a probe path").await;
    /// assert_eq!(response.body(), "[-]fixed failed: reason withheld\nreadyz check failed\n");
    ///
    /// let probes = Health::fixed(Status::Pass).service().endpoints(endpoints);
    /// let verbose = probes.respond("GET", "/readyz", Some("verbose"), []).expect("a probe path");
    /// assert_eq!(verbose.await.body(), "[+]fixed ok\nreadyz check passed\n");
    /// # Ok(())
    /// # }
    /// ```
    pub fn kubernetes() -> EndpointsBuilder {
        Self::none()
            .probe("/healthz", Probe::Health)
            .probe("/readyz", Probe::Readiness)
            .probe("/livez", Probe::Liveness)
            .checks("/readyz/{check}")
            .all_in(Dialect::KubernetesText)
    }

    /// Returns a builder with the paths of MicroProfile Health 4.0, in
    /// [its JSON](Dialect::MicroProfile): `/health`, `/health/live`, `/health/ready` and
    /// `/health/started`.
    ///
    /// Each path lists its procedures (MicroProfile's word for checks), passing ones as well.
    /// `live` lists runtimes and the heartbeats that affect liveness. `ready` lists checks, and the
    /// other heartbeats and reports. `started` lists startup tasks. `/health` lists all of them.
    ///
    /// A procedure is `DOWN` if it fails the verdict. One that is not critical is `UP`, with its
    /// reason as data. If the verdict fails because of the instance itself, for example during a
    /// drain, no procedure needs to be `DOWN`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health};
    ///
    /// let endpoints = Endpoints::microprofile().build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    /// let response = probes.respond("GET", "/health/live", None, []).expect("a probe path").await;
    /// assert_eq!(response.body(), r#"{"status":"UP","checks":[]}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn microprofile() -> EndpointsBuilder {
        Self::none()
            .probe("/health", Probe::Health)
            .probe("/health/live", Probe::Liveness)
            .probe("/health/ready", Probe::Readiness)
            .probe("/health/started", Probe::Startup)
            .all_in(Dialect::MicroProfile)
    }

    /// Returns a builder with the paths of Spring Boot's Actuator, in [its
    /// JSON](Dialect::Actuator): `/actuator/health`, `/actuator/health/liveness`,
    /// `/actuator/health/readiness` and `/actuator/health/{component}`, where a component is a
    /// check.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health};
    ///
    /// let endpoints = Endpoints::actuator().build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    /// let path = "/actuator/health/readiness";
    /// let response = probes.respond("GET", path, None, []).expect("a probe path").await;
    /// assert_eq!(response.body(), r#"{"status":"UP"}"#);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// There is no path for startup, as in Actuator itself. The root lists its groups. An unknown
    /// component is 404.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use tower_health::{Endpoints, Health, Status};
    ///
    /// let endpoints = Endpoints::actuator().build()?;
    /// let probes = Health::fixed(Status::Fail).service().endpoints(endpoints);
    /// let ask = |path| probes.respond("GET", path, None, []).expect("a probe path");
    /// let root = ask("/actuator/health").await;
    /// let root: serde_json::Value = serde_json::from_slice(root.body())?;
    /// assert_eq!(root["components"]["fixed"]["status"], "DOWN");
    /// assert_eq!(root["groups"], serde_json::json!(["liveness", "readiness"]));
    /// assert_eq!(ask("/actuator/health/unknown").await.status(), StatusCode::NOT_FOUND);
    /// # Ok(())
    /// # }
    /// ```
    pub fn actuator() -> EndpointsBuilder {
        Self::none()
            .probe("/actuator/health", Probe::Health)
            .probe("/actuator/health/liveness", Probe::Liveness)
            .probe("/actuator/health/readiness", Probe::Readiness)
            .checks("/actuator/health/{check}")
            .all_in(Dialect::Actuator)
    }

    /// Returns a builder without paths.
    ///
    /// Endpoints without any path are valid. A [layer](crate::layer::probes) with them answers no
    /// probe, but still counts requests as in flight.
    ///
    /// ```
    /// use tower_health::{Endpoints, Health, Probe, Status};
    ///
    /// let endpoints = Endpoints::none().probe("/up", Probe::Readiness).build()?;
    /// let probes = Health::fixed(Status::Pass).service().endpoints(endpoints);
    /// assert!(probes.respond("GET", "/up", None, []).is_some());
    /// assert!(probes.respond("GET", "/ready", None, []).is_none());
    /// assert!(Endpoints::none().build().is_ok());
    /// # Ok::<_, tower_health::error::EndpointsError>(())
    /// ```
    pub fn none() -> EndpointsBuilder {
        EndpointsBuilder::new()
    }
}

/// Returns the paths of [`Endpoints::builder`], with the defaults of all other settings.
///
/// ```
/// use tower_health::{Endpoints, Health, Status};
///
/// let probes = Health::fixed(Status::Pass).service().endpoints(Endpoints::default());
/// for path in ["/health", "/ready", "/live", "/startup", "/health/fixed"] {
///     assert!(probes.respond("GET", path, None, []).is_some(), "{path}");
/// }
/// ```
impl Default for Endpoints {
    fn default() -> Self {
        Self::builder().into_valid()
    }
}
