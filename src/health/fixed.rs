use super::Health;
use crate::{
    engine::{Fixed, Service},
    model::Status,
};

impl Health {
    /// A service that is as it is told, for tests of handlers, layers and whatever else reads health. Nothing
    /// runs, time changes nothing, and no runtime is needed.
    ///
    /// It has one check, `fixed`, of that status, so readiness and health are what follows from that; it is
    /// alive and has started. [`add`](Self::add), [`replace`](Self::replace), [`remove`](Self::remove) and a wait
    /// for another status say that [nothing runs](crate::error::Stopped); [`run_now`](Self::run_now) says how it is. It can
    /// [leave](Self::drain) all the same.
    ///
    /// ```
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let health = Health::fixed(Status::Warn);
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
    /// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
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
        Self::new(fixed.board().clone(), fixed)
    }
}
