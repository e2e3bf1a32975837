//! A board that never changes.

use std::{sync::Arc, time::Duration};

use super::{
    board::{Board, Service},
    cell::Definition,
    clock::Clock,
    drain::DrainPolicy,
    state::Run,
    writer::Writer,
};
use crate::{
    check::Policy,
    model::{ComponentType, Name, Outcome, Status},
};

/// Keeps a board unchanged.
#[derive(Debug)]
pub(crate) struct Fixed(Writer);

impl Fixed {
    /// A board with one check of this status.
    pub(crate) fn new(service: Service, status: Status) -> Self {
        let clock = Clock::start();
        let name = Name::new("fixed");
        let definition = |name| Definition {
            name,
            component_type: ComponentType::default(),
            runbook: None,
            policy: Policy::default(),
            depends_on: Vec::new(),
            pushed: None,
        };
        let definitions = name.into_iter().map(definition).collect();
        let mut writer = Writer::new(service, clock, definitions, DrainPolicy::default(), None);
        let now = clock.now();
        let run = Run {
            ended: now,
            duration: Duration::ZERO,
        };
        for id in writer.ids() {
            writer.update(id, now, |state, policy| {
                let outcome = Outcome::from(status);
                state.record(outcome, run, policy, 0.0).without_expiry()
            });
        }
        writer.abandon_runs();
        writer.publish();
        Self(writer)
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        self.0.board()
    }
}
