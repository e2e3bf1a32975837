//! A parsed request for a probe, and its response.
//!
//! A question is read from a request, may demand runs of checks, and is then answered from the
//! board. A question that waits for runs becomes owned meanwhile.
//!
//! An answer is found in three ways, from cheap to expensive:
//!
//! 1. A verdict whose body lists only checks that do not pass is cached with the verdict.
//! 2. A body that lists every check is cached with the verdict of health, which changes when any
//!    check changes.
//! 3. A request that excludes checks is rendered for itself, and not cached.

use std::{borrow::Cow, sync::Arc};

use http::{
    Method, Response,
    header::{ACCEPT, ALLOW, HeaderMap},
};

use super::{
    Endpoints, Exposure, ProbeBody,
    dialect::{Excluded, Form, Format, Page},
    negotiation::negotiate,
    path::{RouteMatch, Target},
    query::Query,
    response::{self, METHODS, is_unsupported, method_not_allowed, no_such_check},
    retry,
};
use crate::{
    check::Policy,
    engine::{Awaited, Board, Published},
    memo::Answer,
    model::{Name, Probe, Reason, Verdict},
    telemetry::RequestTarget,
};

/// A request whose path, query and headers are parsed.
pub(super) struct ProbeQuery<'r> {
    target: Target<'r>,
    method: Cow<'r, Method>,
    form: Form,
    query: Query,
}

/// A [`ProbeQuery`] that outlives its request.
pub(super) struct OwnedProbeQuery {
    target: OwnedTarget,
    method: Method,
    form: Form,
    query: Query,
}

/// A [`Target`] that owns the name of its check.
enum OwnedTarget {
    Probe(Probe),
    Check(String),
}

impl<'r> ProbeQuery<'r> {
    /// Reads a request. The format is the dialect of the path, or is negotiated. The query is
    /// ignored for a single check, and where the exposure hides the checks.
    #[inline]
    pub(super) fn read(
        found: RouteMatch<'r>,
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
            // With this exposure, no query may reveal which checks exist.
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

    /// Starts the runs on demand that the request needs. Returns those that it must wait for.
    pub(super) fn demand(&self, board: &Board, published: &Published) -> Vec<Awaited> {
        match self.target {
            _ if is_unsupported(&self.method) => Vec::new(),
            Target::Probe(probe) => board.demand(probe, published, &self.query.excluded),
            Target::Check(_) if self.form.exposure == Exposure::Status => Vec::new(),
            Target::Check(name) => board.demand_check(name).into_iter().collect(),
        }
    }

    /// Returns the response with the current results.
    #[inline]
    pub(super) fn answer(
        &self,
        board: &Board,
        published: &Published,
        endpoints: &Endpoints,
    ) -> Response<ProbeBody> {
        let mut response = match self.target {
            _ if is_unsupported(&self.method) => method_not_allowed(&self.method),
            Target::Probe(probe) => self.verdict(board, published, endpoints, probe),
            Target::Check(name) => self.check(board, endpoints, name),
        };
        if !matches!(*self.method, Method::GET | Method::HEAD) {
            response.headers_mut().insert(ALLOW, METHODS);
        }
        let asked = match self.target {
            Target::Probe(probe) => RequestTarget::Probe(probe),
            Target::Check(_) => RequestTarget::Check,
        };
        board.requests.count(asked, response.status().as_u16());
        response
    }

    /// Returns the response with the verdict of a probe, from the cache if possible.
    #[inline]
    fn verdict(
        &self,
        board: &Board,
        published: &Published,
        endpoints: &Endpoints,
        probe: Probe,
    ) -> Response<ProbeBody> {
        let respond = |answer: &Answer| {
            let left = || board.maintenance().map(|(_, left)| left);
            let (stage, delay) = (published.view.stage, answer.retry_after);
            let retry = || retry::of_verdict(probe, stage, delay, left);
            response::answer(answer, retry, &self.method, endpoints)
        };
        if self.query.excludes() {
            return respond(&self.without(board, probe));
        }
        let form = self.form;
        let face = published.view.of(probe);
        if !form.lists_all(probe, face.verdict.status, || board.len()) {
            let render = || {
                Page::verdict(
                    &board.service,
                    &face.verdict,
                    form.exposure,
                    Excluded::NOTHING,
                )
                .answer(form)
            };
            return face.memo.with(form.index(probe), render, respond);
        }
        // A body that lists every check is cached with health, because it changes when health does.
        let render = || {
            let lists = |policy: &Policy| form.lists(policy, probe);
            let (report, retry_after) = board.report(probe, &[], &lists);
            Page::report(
                probe,
                &board.service,
                &report,
                (retry_after, board.clock.now().time()),
                Excluded::NOTHING,
            )
            .answer(form)
        };
        let memo = &published.view.of(Probe::Health).memo;
        memo.with(form.index(probe), render, respond)
    }

    /// Returns the answer without the checks that the request excludes.
    fn without(&self, board: &Board, probe: Probe) -> Answer {
        let is_known = |name: &Name| {
            let cell = board.cell(name);
            cell.is_some_and(|cell| cell.definition.policy.concerns(probe))
        };
        let excluded = self.query.excluded.iter().cloned();
        let (names, unknown): (Vec<Name>, Vec<Name>) = excluded.partition(is_known);
        let told = unknown.get(..Verdict::MAX_CHECKS).unwrap_or(&unknown);
        let excluded = Excluded {
            names: &names,
            unknown: told,
            more_unknown: unknown.len() - told.len() + self.query.invalid,
        };
        let form = self.form;
        // If no excluded name exists, only the warning is added.
        let view = if names.is_empty() {
            Arc::clone(&board.published().view)
        } else {
            board.without(&names)
        };
        let verdict = &view.of(probe).verdict;
        if form.lists_all(probe, verdict.status, || board.len()) {
            let lists = |policy: &Policy| form.lists(policy, probe);
            let (report, retry_after) = board.report(probe, &names, &lists);
            let kept = (retry_after, board.clock.now().time());
            Page::report(probe, &board.service, &report, kept, excluded).answer(form)
        } else {
            Page::verdict(&board.service, verdict, form.exposure, excluded).answer(form)
        }
    }

    /// Returns the response for a single check. It is 404 if the check does not exist, or is hidden
    /// by the exposure. The two are not distinguishable.
    fn check(&self, board: &Board, endpoints: &Endpoints, name: &str) -> Response<ProbeBody> {
        let known = match self.form.exposure {
            // With this exposure, nobody may learn whether the check exists.
            Exposure::Status => None,
            Exposure::Checks | Exposure::Full => board.check(name),
        };
        let Some((report, retry_in, memo)) = known else {
            return no_such_check(&self.method);
        };
        let runs_again = report.reason != Some(Reason::EngineStopped);
        let as_of = || board.clock.now().time();
        let render = || Page::check(&board.service, &report, as_of()).answer(self.form);
        memo.with(self.form.index(Probe::Health), render, |answer| {
            let retry = || retry::of_check(runs_again.then_some(retry_in));
            response::answer(answer, retry, &self.method, endpoints)
        })
    }

    /// Returns the same question without its borrows, for a request that waits.
    pub(super) fn into_owned(self) -> OwnedProbeQuery {
        OwnedProbeQuery {
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

impl OwnedProbeQuery {
    /// Returns the question again, to answer it after the wait.
    pub(super) fn borrowed(&self) -> ProbeQuery<'_> {
        ProbeQuery {
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
