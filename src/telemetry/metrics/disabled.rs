//! Replaces the metrics if their feature is disabled. Nothing is counted or published.
//!
//! The types and functions have the signatures of the real ones, so that no caller depends on the
//! feature. They are empty, and the compiler removes the calls.

use std::{convert::Infallible, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    model::{Probe, Status},
    telemetry::{CheckFacts, Gone, Note, RequestTarget},
};

pub(crate) fn runtime_lag(_: &Arc<str>, _: &Arc<str>, _: Option<Duration>) {}

/// Never has anything to publish, so the engine does not wake up for it.
#[derive(Debug)]
pub(crate) struct Metrics;

/// Counts nothing.
#[derive(Debug, Default)]
pub(crate) struct ProbeRequests(());

/// Has no values, because [`Metrics::record`] never calls its closure.
pub(crate) struct Recording<'a>(Infallible, PhantomData<&'a ()>);

impl Metrics {
    pub(crate) fn new(_: &Arc<str>) -> Self {
        Self
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        None
    }

    pub(crate) fn record(
        &mut self,
        _: Duration,
        _: &ProbeRequests,
        _: impl FnOnce(&Recording<'_>),
    ) {
    }
}

impl ProbeRequests {
    pub(crate) fn count(&self, _: RequestTarget, _: u16) {}
}

impl Recording<'_> {
    pub(crate) fn everything(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_due(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn verdict(&self, _: Probe, _: Status) {}

    pub(crate) fn check(&self, _: &CheckFacts<'_>) {}

    pub(crate) fn note(&self, _: &CheckFacts<'_>, _: Note) {}

    pub(crate) fn check_stopped(&self, _: &CheckFacts<'_>) {}

    pub(crate) fn check_gone(&self, _: &Gone) {}

    pub(crate) fn verdict_gone(&self, _: Probe) {}
}
