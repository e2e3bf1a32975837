//! The lifecycle of an instance: start, operation and drain. This module does not depend on HTTP.

mod drained;
mod lag;
mod maintenance;
mod pushed;
mod run;
#[cfg(feature = "signals")]
mod signals;
mod startup;
#[cfg(all(unix, feature = "systemd"))]
mod systemd;
pub(crate) mod watchdog;

#[cfg(feature = "server")]
pub(crate) use self::drained::until;
pub use self::{
    drained::{Drained, Draining, InFlightGuard},
    pushed::{Heartbeat, HeartbeatBuilder, Registering, Reporter, ReporterBuilder},
    run::{DrainTimeout, Run, ServerError, ServerOutput},
};
