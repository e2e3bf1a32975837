//! Stands in for metrics where their feature is off: nothing is counted, and nobody told.

use std::{convert::Infallible, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    model::{Name, Probe, Status},
    telemetry::{Asked, CheckFacts, Note},
};

pub(crate) fn runtime_lag(_: &Arc<str>, _: &Arc<str>, _: Option<Duration>) {}

#[derive(Debug)]
pub(crate) struct Metrics;

#[derive(Debug, Default)]
pub(crate) struct Totals(());

#[derive(Debug, Default)]
pub(crate) struct ProbeRequests(());

pub(crate) struct Telling<'a>(Infallible, PhantomData<&'a ()>);

impl Metrics {
    pub(crate) fn new(_: &Arc<str>) -> Self {
        Self
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        None
    }

    pub(crate) fn tell(&mut self, _: Duration, _: &ProbeRequests, _: impl FnOnce(&Telling<'_>)) {}
}

impl Totals {
    pub(crate) fn count(&mut self, _: Note) {}
}

impl ProbeRequests {
    pub(crate) fn count(&self, _: Asked, _: u16) {}
}

impl Telling<'_> {
    pub(crate) fn everything(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn due(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn verdict(&self, _: Probe, _: Status) {}

    pub(crate) fn check(&self, _: &CheckFacts<'_>) {}

    pub(crate) fn note(&self, _: &CheckFacts<'_>, _: Note) {}

    pub(crate) fn check_stopped(&self, _: &CheckFacts<'_>) {}

    pub(crate) fn check_gone(&self, _: &Name) {}

    pub(crate) fn verdict_gone(&self, _: Probe) {}
}
