//! What a request asks, and the answer to it.

use std::{borrow::Cow, sync::Arc};

use http::{
    Method, Response,
    header::{ACCEPT, ALLOW, HeaderMap},
};

use super::{
    Endpoints, Exposure, ProbeBody,
    dialect::{Form, Format, LeftOut, Page},
    negotiation::negotiate,
    path::{Found, Target},
    query::Query,
    response::{self, METHODS, Retry, no_such_check, refuses, wrong_method},
};
use crate::{
    check::Policy,
    engine::{Answer, Awaited, Board, Published},
    model::{Name, Probe, Reason, Stage, Verdict},
    telemetry::Asked,
};

/// What a request asks, once its path, its query and its headers are read.
pub(super) struct Question<'r> {
    target: Target<'r>,
    method: Cow<'r, Method>,
    form: Form,
    query: Query,
}

/// A [`Question`] that outlives its request.
pub(super) struct OwnedQuestion {
    target: OwnedTarget,
    method: Method,
    form: Form,
    query: Query,
}

enum OwnedTarget {
    Probe(Probe),
    Check(String),
}

impl<'r> Question<'r> {
    #[inline]
    pub(super) fn read(
        found: Found<'r>,
        method: &'r Method,
        query: Option<&str>,
        headers: &HeaderMap,
        exposure: Exposure,
    ) -> Self {
        let accepted = || headers.get_all(ACCEPT).iter().map(|value| value.as_bytes());
        let (format, negotiated) = match found.dialect {
            Some(dialect) => (dialect.into(), false),
            None => (negotiate(accepted()), true),
        };
        let query = match (exposure, found.target) {
            // Nothing that it says may tell which checks there are.
            (Exposure::Status, _) | (_, Target::Check(_)) => Query::default(),
            _ => Query::read(query),
        };
        Self {
            target: found.target,
            method: Cow::Borrowed(method),
            form: Form {
                format,
                exposure,
                negotiated,
                verbose: query.verbose && format == Format::KubernetesText,
            },
            query,
        }
    }

    /// Runs what is to be run on demand, and says what has to be waited for.
    pub(super) fn demand(&self, board: &Board, published: &Published) -> Vec<Awaited> {
        match self.target {
            _ if refuses(&self.method) => Vec::new(),
            Target::Probe(probe) => board.demand(probe, published, &self.query.excluded),
            Target::Check(_) if self.form.exposure == Exposure::Status => Vec::new(),
            Target::Check(name) => board.demand_check(name).into_iter().collect(),
        }
    }

    /// The response, as it reads now.
    #[inline]
    pub(super) fn answer(
        &self,
        board: &Board,
        published: &Published,
        endpoints: &Endpoints,
    ) -> Response<ProbeBody> {
        let mut response = match self.target {
            _ if refuses(&self.method) => wrong_method(&self.method),
            Target::Probe(probe) => self.verdict(board, published, endpoints, probe),
            Target::Check(name) => self.check(board, endpoints, name),
        };
        if !matches!(*self.method, Method::GET | Method::HEAD) {
            response.headers_mut().insert(ALLOW, METHODS);
        }
        let asked = match self.target {
            Target::Probe(probe) => Asked::Probe(probe),
            Target::Check(_) => Asked::Check,
        };
        board.requests.count(asked, response.status().as_u16());
        response
    }

    #[inline]
    fn verdict(
        &self,
        board: &Board,
        published: &Published,
        endpoints: &Endpoints,
        probe: Probe,
    ) -> Response<ProbeBody> {
        let give = |answer: &Answer| {
            let retry = match (probe, published.view.stage) {
                // Asking again later is no cure.
                (Probe::Liveness, _) => Retry::Never,
                (Probe::Readiness | Probe::Health, Stage::Maintenance) => {
                    Retry::after(board.maintenance().map(|(_, left)| left))
                }
                _ => Retry::after(answer.retry_after),
            };
            response::answer(answer, retry, &self.method, endpoints)
        };
        if self.query.excludes() {
            return give(&self.without(board, probe));
        }
        let form = self.form;
        let face = published.view.face(probe);
        if !form.lists_all(probe, face.verdict.status, || board.len()) {
            let make = || {
                Page::verdict(
                    &board.service,
                    &face.verdict,
                    form.exposure,
                    LeftOut::NOTHING,
                )
                .answer(form)
            };
            return face.memo.with(form.index(probe), make, give);
        }
        // What lists every check is new whenever that of health is, and is kept there.
        let make = || {
            let lists = |policy: &Policy| form.lists(policy, probe);
            let (report, retry_after) = board.report(probe, &[], &lists);
            Page::report(
                probe,
                &board.service,
                &report,
                retry_after,
                LeftOut::NOTHING,
            )
            .answer(form)
        };
        let memo = &published.view.health.memo;
        memo.with(form.index(probe), make, give)
    }

    /// The answer without the checks that the caller left out.
    fn without(&self, board: &Board, probe: Probe) -> Answer {
        let is_known = |name: &Name| {
            let cell = board.cell(name);
            cell.is_some_and(|cell| cell.definition.policy.concerns(probe))
        };
        let excluded = self.query.excluded.iter().cloned();
        let (names, unknown): (Vec<Name>, Vec<Name>) = excluded.partition(is_known);
        let told = unknown.get(..Verdict::MAX_CHECKS).unwrap_or(&unknown);
        let left_out = LeftOut {
            names: &names,
            unknown: told,
            more_unknown: unknown.len() - told.len() + self.query.nameless,
        };
        let form = self.form;
        // Who leaves out nothing that is there gets no more than the warning.
        let view = match names.is_empty() {
            true => Arc::clone(&board.published().view),
            false => board.without(&names),
        };
        let verdict = &view.face(probe).verdict;
        if form.lists_all(probe, verdict.status, || board.len()) {
            let lists = |policy: &Policy| form.lists(policy, probe);
            let (report, retry_after) = board.report(probe, &names, &lists);
            Page::report(probe, &board.service, &report, retry_after, left_out).answer(form)
        } else {
            Page::verdict(&board.service, verdict, form.exposure, left_out).answer(form)
        }
    }

    fn check(&self, board: &Board, endpoints: &Endpoints, name: &str) -> Response<ProbeBody> {
        let known = match self.form.exposure {
            // Whether there is such a check is for nobody to know.
            Exposure::Status => None,
            Exposure::Checks | Exposure::Full => board.check(name),
        };
        let Some((report, retry_in, memo)) = known else {
            return no_such_check(&self.method);
        };
        let runs_again = report.reason != Some(Reason::EngineStopped);
        let make = || Page::check(&board.service, &report).answer(self.form);
        memo.with(self.form.index(Probe::Health), make, |answer| {
            let retry = Retry::after(runs_again.then_some(retry_in));
            response::answer(answer, retry, &self.method, endpoints)
        })
    }

    pub(super) fn into_owned(self) -> OwnedQuestion {
        OwnedQuestion {
            target: match self.target {
                Target::Probe(probe) => OwnedTarget::Probe(probe),
                Target::Check(name) => OwnedTarget::Check(name.to_owned()),
            },
            method: self.method.into_owned(),
            form: self.form,
            query: self.query,
        }
    }
}

impl OwnedQuestion {
    pub(super) fn borrowed(&self) -> Question<'_> {
        Question {
            target: match &self.target {
                OwnedTarget::Probe(probe) => Target::Probe(*probe),
                OwnedTarget::Check(name) => Target::Check(name),
            },
            method: Cow::Borrowed(&self.method),
            form: self.form,
            query: self.query.clone(),
        }
    }
}
