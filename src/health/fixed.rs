//! A [`Health`] that does not change, for tests. It has a board and no engine.

use super::Health;
use crate::{
    check::CheckDefaults,
    engine::{Fixed, Service},
    model::Status,
};

impl Health {
    /// Returns a `Health` that does not change, for tests of handlers, layers and other code that
    /// reads health. No checks run, time has no effect, and no runtime is needed.
    ///
    /// It has one check, `fixed`, with the given status. Readiness and health follow from that.
    /// Liveness and startup pass. [`add`](Self::add), [`replace`](Self::replace),
    /// [`remove`](Self::remove), [`reporter`](Self::reporter), [`heartbeat`](Self::heartbeat) and a
    /// wait for another status return the error [`Stopped`](crate::error::Stopped).
    /// [`run_now`](Self::run_now) returns the current report. A [drain](Self::drain) and a
    /// [maintenance](Self::maintenance) are possible. The drain has no phases: its future resolves
    /// immediately.
    ///
    /// ```
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let health = Health::fixed(Status::Warn);
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
    /// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    ///
    /// health.drain();
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    pub fn fixed(status: Status) -> Self {
        let service = Service {
            name: "fixed".into(),
            release: None,
            version: None,
            description: None,
        };
        let fixed = Fixed::new(service, status);
        Self::new(fixed.board().clone(), CheckDefaults::default(), fixed)
    }
}
