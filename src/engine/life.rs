//! Pure: the life of an instance, which decides the verdicts together with the checks.

use super::clock::Moment;
use crate::model::Stage;

/// Each event makes a new life from the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    started: bool,
    maintained: bool,
    draining: bool,
    stopped: Option<Moment>,
}

/// An event in the life of an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LifeEvent {
    /// Every start-up task is done, and the first run of every check has ended.
    Started,
    MaintenanceBegan,
    /// It was lifted, or its time is over.
    MaintenanceEnded,
    DrainBegan,
    /// Checks no longer run.
    Stopped(Moment),
}

impl Life {
    /// Starting, draining and stopping are permanent. A stopped life does not change.
    pub(crate) fn after(self, event: LifeEvent) -> Self {
        if self.stopped.is_some() {
            return self;
        }
        match event {
            LifeEvent::Started => Self {
                started: true,
                ..self
            },
            LifeEvent::MaintenanceBegan => Self {
                maintained: true,
                ..self
            },
            LifeEvent::MaintenanceEnded => Self {
                maintained: false,
                ..self
            },
            LifeEvent::DrainBegan => Self {
                draining: true,
                ..self
            },
            LifeEvent::Stopped(at) => Self {
                stopped: Some(at),
                ..self
            },
        }
    }

    /// The stage. `blocked` says whether checks prevent readiness.
    pub(crate) fn stage(self, blocked: bool) -> Stage {
        // The end of the runtime during a drain is expected.
        if self.draining {
            Stage::Draining
        } else if self.stopped.is_some() {
            Stage::Stopped
        } else if self.maintained {
            Stage::Maintenance
        } else if !self.started {
            Stage::Starting
        } else if blocked {
            Stage::NotReady
        } else {
            Stage::Ready
        }
    }

    /// Whether startup passed.
    pub(crate) fn has_started(self) -> bool {
        self.started
    }

    /// When the engine stopped.
    pub(crate) fn stopped(self) -> Option<Moment> {
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::clock::moment;

    fn event() -> impl Strategy<Value = LifeEvent> {
        prop::sample::select(vec![
            LifeEvent::Started,
            LifeEvent::MaintenanceBegan,
            LifeEvent::MaintenanceEnded,
            LifeEvent::DrainBegan,
            LifeEvent::Stopped(moment(1)),
        ])
    }

    proptest! {
        /// Told again from the whole history.
        #[test]
        fn a_life_is_what_its_history_makes_of_it(
            events in prop::collection::vec(event(), 0..12),
            blocked: bool,
        ) {
            let mut life = Life::default();
            let mut before = life.stage(blocked);
            prop_assert_eq!(before, Stage::Starting);
            for (n, &event) in events.iter().enumerate() {
                life = life.after(event);
                let lived: Vec<LifeEvent> = events[..=n]
                    .iter()
                    .scan(false, |ended, &event| {
                        let lives = !*ended;
                        *ended |= matches!(event, LifeEvent::Stopped(_));
                        lives.then_some(event)
                    })
                    .collect();
                let any = |is: fn(&LifeEvent) -> bool| lived.iter().any(is);
                let maintained = lived.iter().rev().find_map(|event| match event {
                    LifeEvent::MaintenanceBegan => Some(true),
                    LifeEvent::MaintenanceEnded => Some(false),
                    _ => None,
                });
                let stage = if any(|event| matches!(event, LifeEvent::DrainBegan)) {
                    Stage::Draining
                } else if any(|event| matches!(event, LifeEvent::Stopped(_))) {
                    Stage::Stopped
                } else if maintained == Some(true) {
                    Stage::Maintenance
                } else if !any(|event| matches!(event, LifeEvent::Started)) {
                    Stage::Starting
                } else if blocked {
                    Stage::NotReady
                } else {
                    Stage::Ready
                };
                let now = life.stage(blocked);
                prop_assert_eq!(now, stage);
                // Nobody comes back from leaving, nor from the end.
                prop_assert!(before != Stage::Draining || now == Stage::Draining);
                prop_assert!(before != Stage::Stopped || now == Stage::Stopped);
                prop_assert!(!life.has_started() || any(|event| matches!(event, LifeEvent::Started)));
                before = now;
            }
        }
    }

    #[test]
    fn every_stage_can_be_reached_and_has_a_word_of_its_own() {
        let mut words: Vec<&str> = Stage::ALL.into_iter().map(Stage::as_str).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Stage::ALL.len());
        let life = Life::default();
        let started = life.after(LifeEvent::Started);
        let maintained = started.after(LifeEvent::MaintenanceBegan);
        let stopped = maintained.after(LifeEvent::Stopped(moment(1)));
        let draining = maintained.after(LifeEvent::DrainBegan);
        let left = draining.after(LifeEvent::Stopped(moment(1)));
        let stages = [
            started.stage(false),
            started.stage(true),
            life.stage(false),
            maintained.stage(false),
            stopped.stage(false),
            draining.stage(false),
        ];
        assert_eq!(stages, Stage::ALL);
        assert_eq!(left.stage(false), Stage::Draining);
    }
}
