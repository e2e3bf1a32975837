//! The lifecycle of an instance: start, operation and drain. This module does not depend on HTTP.
//!
//! Each module adds the methods of one concern to [`Health`](crate::Health) or to
//! [`HealthBuilder`](crate::HealthBuilder), beside the types that they return:
//!
//! | module | concern |
//! | --- | --- |
//! | `startup` | tasks that must succeed once |
//! | `pushed` | reporters and heartbeats: results that the application reports |
//! | `watchdog` | runtimes that do not poll |
//! | `maintenance` | out of rotation temporarily |
//! | `drained` | waiting for a drain, and what it waits for |
//! | `run` | a server that ends with the drain |
//! | `signals`, `systemd` | the process's supervisor |
//!
//! The state is on the board of the engine, so that readers see it whatever the runtime does. What
//! is here changes it, or waits for a change.

mod drained;
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
