//! The services that the gRPC server knows, and what each of them reports.

use std::{collections::BTreeMap, pin::Pin};

use crate::{
    endpoint::Exposure,
    engine::{Awaited, Board},
    model::{Probe, Stage, Status},
    proto::ServingStatus,
};

/// The maximum number of services that `List` returns.
pub(super) const LISTED: usize = 100;

/// The services that always exist.
pub(super) const PROBES: [(&str, Probe); 4] = [
    ("", Probe::Readiness),
    ("liveness", Probe::Liveness),
    ("readiness", Probe::Readiness),
    ("startup", Probe::Startup),
];

/// The mapping of service names to probes and checks.
///
/// It is shared by the clones of a [`GrpcHealth`](super::GrpcHealth), and copied when one of them is configured
/// further.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    pub(super) own: BTreeMap<String, Subject>,
    pub(super) exposure: Exposure,
}

/// What a service reports.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Probe(Probe),
    Check(String),
    /// A service that depends on that check alone, but drains with the instance.
    ServiceOf(String),
}

impl Services {
    /// Returns what a service reports. A service of the application hides a check and a probe of
    /// the same name. A name that is none of these may be a check, which need not exist.
    pub(super) fn subject(&self, service: &str) -> Option<Subject> {
        let probe = || PROBES.iter().find(|(name, _)| *name == service);
        let check =
            || (self.exposure > Exposure::Status).then(|| Subject::Check(service.to_owned()));
        let own = self.own.get(service).cloned();
        own.or_else(|| probe().map(|&(_, probe)| Subject::Probe(probe)))
            .or_else(check)
    }

    /// Returns the status of a service, if the service exists.
    pub(super) fn status(&self, board: &Board, service: &str) -> Option<ServingStatus> {
        let status = match self.subject(service)? {
            Subject::Probe(probe) => board.verdict(probe).status,
            Subject::Check(name) => board.check(&name)?.0.status,
            Subject::ServiceOf(name) => {
                let status = board.check(&name)?.0.status;
                match board.stage() {
                    Stage::Draining | Stage::Maintenance => Status::Fail,
                    _ => status,
                }
            }
        };
        Some(serving(status))
    }

    /// Runs the checks that run on demand, and returns the runs to wait for.
    pub(super) fn demand(&self, board: &Board, service: &str) -> Vec<Pin<Box<Awaited>>> {
        let runs = match self.subject(service) {
            Some(Subject::Probe(probe)) => board.demand(probe, &board.published(), &[]),
            Some(Subject::Check(name) | Subject::ServiceOf(name)) => {
                board.demand_check(&name).into_iter().collect()
            }
            None => Vec::new(),
        };
        runs.into_iter().map(Box::pin).collect()
    }

    /// Returns the names of the services. If there are more than can be listed, some are left out.
    pub(super) fn names(&self, board: &Board) -> Vec<String> {
        let probes = PROBES.iter().map(|&(name, _)| name.to_owned());
        let checks = match self.exposure {
            Exposure::Status => Vec::new(),
            _ => board.names(),
        };
        let mut names: Vec<String> = probes
            .chain(self.own.keys().cloned())
            .chain(checks.iter().take(LISTED + 1).map(ToString::to_string))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Converts a status. There are only two in `grpc.health.v1`, besides that of an unknown service.
fn serving(status: Status) -> ServingStatus {
    if status.is_good() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}
