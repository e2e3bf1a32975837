//! How an instance begins, lives and leaves. Nothing here knows of HTTP.

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

pub use self::{
    drained::Drained,
    pushed::{Heartbeat, HeartbeatBuilder, Registering, Reporter, ReporterBuilder},
    run::{Run, Unfinished},
};
