//! Plain values and pure functions: the results of checks, and the reports and verdicts of the
//! service.
//!
//! | file | contains |
//! | --- | --- |
//! | `outcome`, `failure`, `measurement` | what a run of a check returns |
//! | `reason`, `cause`, `redact` | why it does not pass: in public words, and as private text |
//! | `status`, `criticality`, `component`, `name` | the properties of a check |
//! | `probe`, `verdict`, `stage` | the answer to a prober, and the lifecycle of the instance |
//! | `report`, `settings`, `event`, `timestamp` | what readers and subscribers receive |
//! | `duration_text` | how configurations write durations |
//! | `problems` | how an error lists several problems |
//!
//! This module does not depend on tokio, HTTP or tower, and takes no lock. The engine creates
//! reports, verdicts and events. The endpoints and the telemetry render them.

mod cause;
mod component;
mod criticality;
mod duration_text;
mod event;
mod failure;
mod measurement;
mod name;
mod outcome;
mod probe;
mod problems;
mod reason;
mod redact;
mod report;
mod settings;
mod stage;
mod status;
mod timestamp;
mod verdict;
mod verdict_reason;

pub use cause::Cause;
pub use component::ComponentType;
pub use criticality::Criticality;
pub(crate) use duration_text::{DurationText, deserialize as deserialize_duration};
pub use event::{
    CheckEffect, CheckFlapping, CheckReasonChange, CheckTransition, Event, FlappingPhase,
    VerdictReasonChange, VerdictTransition,
};
pub use failure::{BoxError, Failure};
pub use measurement::{Measurement, Value};
pub use name::{InvalidName, Name, UnknownCheck};
pub use outcome::Outcome;
pub use probe::Probe;
pub(crate) use problems::write_problems;
pub use reason::Reason;
pub use report::{CheckReport, LastRun, Report};
pub use settings::CheckSettings;
pub use stage::Stage;
pub use status::Status;
pub(crate) use timestamp::{Timestamp, to_millis};
pub use verdict::Verdict;
pub use verdict_reason::VerdictReason;
