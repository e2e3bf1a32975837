//! The problems of a configuration, in the order of the calls that caused them.

use std::collections::BTreeMap;

use super::ConfigError;
use crate::check::CheckDefaults;

/// The number of a call of the builder, in their order.
pub(crate) type Call = usize;

/// Collects problems. They may be found in any order.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(Call, usize, ConfigError)>);

impl Problems {
    /// Adds a problem that this call caused.
    pub(super) fn push(&mut self, call: Call, problem: ConfigError) {
        let index = self.0.len();
        self.0.push((call, index, problem));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in the order of their calls. Those of one call stay in the order in which they
    /// were found.
    pub(super) fn into_ordered(mut self) -> Vec<ConfigError> {
        self.0
            .sort_unstable_by_key(|&(call, index, _)| (call, index));
        self.0.into_iter().map(|(_, _, problem)| problem).collect()
    }
}

/// The calls that made the settings which can be invalid. Zero if none did.
#[derive(Debug, Default)]
pub(super) struct SetBy {
    pub(super) concurrency: Call,
    pub(super) drain_delay: Call,
    pub(super) drain_finish: Call,
    pub(super) drain_close: Call,
    pub(super) runtime: Call,
    /// By the name of the default.
    defaults: BTreeMap<&'static str, Call>,
}

impl SetBy {
    /// This call sets defaults, which are merged into those before.
    pub(super) fn merge(&mut self, call: Call, defaults: &mut CheckDefaults, set: &CheckDefaults) {
        defaults.merge(set, |setting| _ = self.defaults.insert(setting, call));
    }

    /// The call that set a default.
    pub(super) fn default_call(&self, setting: &str) -> Call {
        self.defaults.get(setting).copied().unwrap_or_default()
    }

    /// The call that set the time of a phase of the drain, by the name of the setting.
    pub(super) fn drain(&self, setting: &str) -> Call {
        match setting {
            "drain_delay" => self.drain_delay,
            "drain_finish" => self.drain_finish,
            _ => self.drain_close,
        }
    }
}
