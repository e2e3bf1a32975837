#![doc = "placeholder"]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
pub mod endpoint;
mod engine;
mod health;
pub mod layer;
mod model;

pub use async_trait::async_trait;
pub use check::{Check, HealthCheck, IntoHealthCheck, IntoOutcome};
pub use endpoint::{Endpoint, Exposure};
pub use health::{Health, HealthBuilder, Mistake, StartError};
pub use model::{
    BoxError, Cause, CheckReport, ComponentType, Criticality, Failure, InvalidName, LastRun,
    Measurement, Name, Outcome, Probe, Reason, Report, Status, UnknownCheck, Value, Verdict,
    VerdictReason,
};
