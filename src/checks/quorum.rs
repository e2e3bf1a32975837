//! A check that combines other checks: all of them, any of them, or a number of them.

use std::{
    collections::HashSet,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::timeout;

use crate::{
    check::{HealthCheck, IntoHealthCheck, guard, guard_panics},
    model::{Cause, Failure, Outcome, Reason, Status, Value},
};

/// The default time limit of a member. It is shorter than the default timeout of a check, so that a
/// member that hangs does not make the whole check time out.
const MEMBER_TIMEOUT: Duration = Duration::from_millis(1500);

/// Creates a check that needs all of its members to be good.
///
/// Use it for the parts of one thing that are useless alone. Register parts as separate checks if
/// reports should list them one by one, or if routes depend on them one by one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{HealthCheck, Reason, Status, checks::all_of};
///
/// let store = all_of()
///     .member("index", || async { Status::Pass })
///     .member("blobs", || async { Err::<Status, _>("cannot mount the volume") });
/// let outcome = store.check().await.unwrap();
/// assert_eq!((outcome.status(), outcome.reason()), (Status::Fail, Some(Reason::Failed)));
/// # }
/// ```
pub fn all_of() -> Quorum {
    Quorum::new(Least::All)
}

/// Creates a check that needs at least one of its members to be good.
///
/// An example is a set of replicas, any of which can serve a reader. It warns while a member fails.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{HealthCheck, Status, checks::any_of};
///
/// let replicas = any_of()
///     .member("replica-1", || async { Status::Pass })
///     .member("replica-2", || async { Status::Fail });
/// let outcome = replicas.check().await.unwrap();
/// assert_eq!(outcome.status(), Status::Warn);
/// assert_eq!(outcome.cause().unwrap().redacted(), "replica-2 failed");
/// # }
/// ```
pub fn any_of() -> Quorum {
    Quorum::new(Least::Of(1))
}

/// Creates a check that needs at least `least` of its members to be good.
///
/// An example is a cluster that decides by majority. If `least` is 0 or more than the number of
/// members, the service does not start, and every run fails with
/// [`Misconfigured`](Reason::Misconfigured).
///
/// ```
/// use tower_health::{Check, checks::quorum};
///
/// # #[derive(Clone)]
/// # struct Node;
/// # impl Node {
/// #     async fn ping(&self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let nodes = [Node, Node, Node];
/// let cluster = nodes.into_iter().zip(1..).fold(quorum(2), |quorum, (node, number)| {
///     quorum.member(format!("node-{number}"), move || {
///         let node = node.clone();
///         async move { node.ping().await }
///     })
/// });
/// let cluster = Check::new("etcd", cluster).shared();
/// ```
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{HealthCheck, Reason, Status, checks::quorum};
///
/// let impossible = quorum(2).member("node-1", || async { Status::Pass });
/// let failure = impossible.check().await.unwrap_err();
/// assert_eq!(failure.reason(), Reason::Misconfigured);
/// assert_eq!(failure.cause().unwrap().redacted(), "2 of 1 members have to be good");
/// # }
/// ```
pub fn quorum(least: usize) -> Quorum {
    Quorum::new(Least::Of(least))
}

/// A check that combines several checks, its members. Returned by [`all_of`], [`any_of`] and
/// [`quorum`].
///
/// A member is good if it passes or warns.
///
/// | finding | outcome |
/// | --- | --- |
/// | all members pass | pass |
/// | all members are good, and one warns | warn, with the reason of that member |
/// | enough members are good, and one fails | warn, degraded |
/// | not enough members are good | fail, with the reason of the failed members if it is the same, or else with failed |
/// | no members are needed, or more than there are | a problem at start; fail, misconfigured |
/// | a name is not valid, or is used twice | a problem at start; fail, misconfigured |
///
/// One run runs all members concurrently. A member that hangs or panics fails alone. For each
/// member there is a measurement of its name, with its reason, or with its status if it has no
/// reason. The measurement `available` is the number of good members.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{HealthCheck, Reason, Status, checks::quorum};
///
/// let cluster = quorum(2)
///     .member("node-1", || async { Status::Pass })
///     .member("node-2", || async { Status::Pass })
///     .member("node-3", || async { Status::Fail });
/// let outcome = cluster.check().await.unwrap();
/// assert_eq!(outcome.reason(), Some(Reason::Degraded));
/// let names: Vec<&str> = outcome.measurements().iter().map(|measured| &*measured.name).collect();
/// assert_eq!(names, ["available", "node-1", "node-2", "node-3"]);
/// # }
/// ```
#[must_use = "a quorum does nothing until it is given to `Check::new`"]
pub struct Quorum {
    members: Vec<Member>,
    least: Least,
    member_timeout: Duration,
}

/// How many members have to be good.
#[derive(Clone, Copy, Debug)]
enum Least {
    All,
    Of(usize),
}

/// A check that is part of a quorum.
struct Member {
    name: String,
    code: Box<dyn HealthCheck>,
}

impl Quorum {
    fn new(least: Least) -> Self {
        guard_panics();
        Self {
            members: Vec::new(),
            least,
            member_timeout: MEMBER_TIMEOUT,
        }
    }

    /// Adds a member: anything that [`Check::new`](crate::Check::new) accepts. Its name is used in
    /// reports. The name must be unique, and must not be empty, contain `:` or control characters,
    /// or be `available`, `responseTime` or `smoothedResponseTime`. Defaults to no members.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason, Status, checks::{Queue, any_of}};
    ///
    /// // A function, and a type that implements `HealthCheck`.
    /// let intake = any_of()
    ///     .member("broker", || async { Status::Fail })
    ///     .member("spool", Queue::of(|| 3).fail_above(100));
    /// assert_eq!(intake.check().await.unwrap().status(), Status::Warn);
    ///
    /// let twice = any_of()
    ///     .member("broker", || async { Status::Pass })
    ///     .member("broker", || async { Status::Pass });
    /// assert_eq!(twice.check().await.unwrap_err().reason(), Reason::Misconfigured);
    /// # }
    /// ```
    pub fn member<C, M>(mut self, name: impl Into<String>, code: C) -> Self
    where
        C: IntoHealthCheck<M>,
        C::Check: HealthCheck,
    {
        self.members.push(Member {
            name: name.into(),
            code: Box::new(code.into_health_check()),
        });
        self
    }

    /// Sets the time limit of each member. It must be shorter than the
    /// [timeout](crate::Check::timeout) of the whole check. Otherwise a member that hangs makes the
    /// whole check time out.
    ///
    /// A quorum that is itself a member needs a shorter limit than the quorum that contains it.
    /// Otherwise the outer quorum gives it up before it can report that enough of its members are
    /// good. Defaults to 1.5 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, checks::any_of};
    ///
    /// # async fn ping() -> std::io::Result<()> { Ok(()) }
    /// let replicas = any_of()
    ///     .member("replica-1", ping)
    ///     .member("replica-2", ping)
    ///     .member_timeout(Duration::from_secs(1));
    /// let databases = any_of().member("primary", ping).member("replicas", replicas);
    /// let databases = Check::new("databases", databases);
    /// ```
    ///
    /// A member that hangs fails alone:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Status, checks::any_of, testing::ScriptedCheck};
    ///
    /// let replicas = any_of()
    ///     .member("replica-1", ScriptedCheck::hanging())
    ///     .member("replica-2", ScriptedCheck::new(Status::Pass));
    /// let began = tokio::time::Instant::now();
    /// assert_eq!(replicas.check().await.unwrap().status(), Status::Warn);
    /// assert_eq!(began.elapsed().as_millis(), 1_500);
    /// # }
    /// ```
    pub fn member_timeout(mut self, timeout: Duration) -> Self {
        self.member_timeout = timeout;
        self
    }

    /// Returns the configuration error, if there is one.
    fn problem(&self) -> Option<String> {
        let least = self.least();
        if least == 0 || least > self.members.len() {
            let members = self.members.len();
            return Some(format!("{least} of {members} members have to be good"));
        }
        let mut names = HashSet::from(RESERVED_NAMES);
        let wrong = self.members.iter().find(|member| {
            let unfit = |c: char| c == ':' || c.is_control();
            member.name.is_empty() || member.name.contains(unfit) || !names.insert(&member.name)
        });
        wrong.map(|member| format!("invalid or duplicate member name {:?}", member.name))
    }

    /// Returns how many members have to be good.
    fn least(&self) -> usize {
        match self.least {
            Least::All => self.members.len(),
            Least::Of(least) => least,
        }
    }

    /// Combines the outcomes of all members, in the order in which they were added.
    fn judge(&self, outcomes: &[(&str, Outcome)]) -> Outcome {
        let of = |status: Status| {
            let each = outcomes.iter().map(|(_, outcome)| outcome);
            each.filter(move |outcome| outcome.status() == status)
        };
        let good = outcomes.len() - of(Status::Fail).count();
        let judged = if good < self.least() {
            let mut reasons = of(Status::Fail).filter_map(Outcome::reason);
            let first = reasons.next().unwrap_or(Reason::Failed);
            Outcome::fail(if reasons.all(|reason| reason == first) {
                first
            } else {
                Reason::Failed
            })
        } else if good < outcomes.len() {
            Outcome::warn(Reason::Degraded)
        } else if let Some(warning) = of(Status::Warn).next() {
            Outcome::warn(warning.reason().unwrap_or(Reason::Degraded))
        } else {
            Outcome::pass()
        };
        let not_passing = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.status() != Status::Pass);
        let why: Vec<String> = not_passing
            .map(|(name, outcome)| why(name, outcome))
            .collect();
        let judged = if why.is_empty() {
            judged
        } else {
            judged.with_cause(why.join("; "))
        };
        let judged = judged.measure(AVAILABLE, good, "");
        outcomes.iter().fold(judged, |judged, (name, outcome)| {
            let word = match outcome.reason() {
                Some(reason) => reason.as_str(),
                None => outcome.status().as_str(),
            };
            judged.measure((*name).to_owned(), Value::Text(word.into()), "")
        })
    }
}

/// Names that a report already uses.
const RESERVED_NAMES: [&str; 3] = [AVAILABLE, "responseTime", "smoothedResponseTime"];

/// The name of the measurement that counts the good members.
const AVAILABLE: &str = "available";

/// Describes a member that does not pass, for the cause of the whole.
fn why(name: &str, outcome: &Outcome) -> String {
    let reason = outcome.reason().map_or("fails", Reason::as_str);
    match outcome.cause() {
        Some(cause) => format!("{name} {reason}: {}", Cause::redacted(cause)),
        None => format!("{name} {reason}"),
    }
}

#[async_trait]
impl HealthCheck for Quorum {
    async fn check(&self) -> Result<Outcome, Failure> {
        if let Some(fault) = self.problem() {
            return Err(Failure::new(Reason::Misconfigured).with_cause(fault));
        }
        let runs = self.members.iter().map(|member| Run {
            name: &member.name,
            future: Some(Box::pin(async {
                match timeout(self.member_timeout, member.code.check()).await {
                    Ok(outcome) => outcome.unwrap_or_else(Outcome::from),
                    Err(_) => Outcome::fail(Reason::TimedOut),
                }
            })),
            outcome: None,
        });
        let mut runs: Vec<Run<'_>> = runs.collect();
        let count = runs.len();
        let outcomes = poll_fn(|cx| {
            let ended = runs.iter_mut().filter_map(|run| run.poll(cx).then_some(()));
            if ended.count() == count {
                Poll::Ready(runs.iter_mut().filter_map(Run::take).collect::<Vec<_>>())
            } else {
                Poll::Pending
            }
        })
        .await;
        Ok(self.judge(&outcomes))
    }

    fn problems(&self) -> Vec<String> {
        let of = |member: &Member| {
            let name = member.name.clone();
            let problems = member.code.problems().into_iter();
            problems.map(move |problem| format!("member {name:?}: {problem}"))
        };
        let members = self.members.iter().flat_map(of);
        self.problem().into_iter().chain(members).collect()
    }
}

/// The run of one member. The members share the task of the check, so none needs to be `'static`.
struct Run<'a> {
    name: &'a str,
    /// None once the run has ended.
    future: Option<Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>>,
    outcome: Option<Outcome>,
}

impl<'a> Run<'a> {
    /// Returns whether the run has ended.
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        let Some(future) = &mut self.future else {
            return true;
        };
        let outcome = match guard(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(panicked) => panicked.into(),
        };
        let future = self.future.take();
        // A run that panics while it is dropped has failed, too.
        self.outcome = Some(guard(|| drop(future)).err().map_or(outcome, Outcome::from));
        true
    }

    /// Returns the name and the outcome of a run that has ended.
    fn take(&mut self) -> Option<(&'a str, Outcome)> {
        Some((self.name, self.outcome.take()?))
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.members.iter().map(|member| &member.name);
        f.debug_struct("Quorum")
            .field("members", &names.collect::<Vec<_>>())
            .field("least", &self.least)
            .field("member_timeout", &self.member_timeout)
            .finish()
    }
}
