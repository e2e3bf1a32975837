//! Changes to the checks of a running service, and runs on request.
//!
//! Each method validates in the caller and sends one message to the engine. The engine makes the
//! change, publishes it, and replies after that. A future that has resolved is thus never ahead of
//! what readers see.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::{
    ChangeError, ConfigError, Health, RunError, Stopped,
    builder::{define, define_pushed},
    problems::Problems,
};
use crate::{
    check::{Check, Policy, duration_problem},
    engine::{self, Board, Completion, Message, Pushed, Refused, Registration},
    model::{CheckReport, ComponentType, Name, UnknownCheck},
};

impl Health {
    /// Registers another check while the service runs.
    ///
    /// The check runs once before it counts, so a check that is only pending takes no instance out
    /// of rotation. If that run fails, the check counts as failing. The call itself registers the
    /// check, even if the future is never polled. The future resolves when the first run has ended
    /// and its result is visible to readers. Dropping the future undoes nothing.
    ///
    /// Unlike a check that was registered before the start, it affects neither readiness nor
    /// startup while it is pending. The cost of making a change visible to readers is proportional
    /// to the number of checks. It is paid once for all changes that arrive together.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let tenant = Check::new("tenant-7", || async { Status::Pass });
    /// assert_eq!(health.add(tenant).await?.status, Status::Pass);
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
    /// health.remove("tenant-7").await?;
    /// assert!(health.check("tenant-7").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns:
    ///
    /// - [`ChangeError::Config`] if a name or a setting is invalid, if the name is taken, or if a
    ///   dependency is not registered.
    /// - [`ChangeError::Removed`] if the check was removed before it had run.
    /// - [`ChangeError::Stopped`] if no checks run any more.
    pub fn add(&self, check: Check) -> Change {
        self.register(check, Message::Add)
    }

    /// Replaces the code and the policy of the check with the same name. The check keeps its state
    /// until the new code has run, which happens as soon as the
    /// [concurrency](crate::HealthBuilder::concurrency) limit permits. The future resolves when
    /// that run has ended and its result is visible to readers. A run of the old code is cancelled.
    /// A thread of [blocking](Check::blocking) code continues until it ends by itself, and the new
    /// code runs beside it. Do not repeat this with code that hangs, because each call may leave
    /// one more thread behind.
    ///
    /// The call itself requests the replacement. Dropping the future undoes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// health.add(Check::new("tenant-7", || async { Status::Pass })).await?;
    /// let successor = Check::new("tenant-7", || async { Status::Warn });
    /// assert_eq!(health.replace(successor).await?.status, Status::Warn);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns the same errors as [`add`](Self::add), and:
    ///
    /// - [`ChangeError::Unknown`] if no check has that name.
    /// - [`ChangeError::Config`] if the check has no code to replace, because it is a reporter, a
    ///   heartbeat or a start-up task, or if dependencies would form a cycle.
    pub fn replace(&self, check: Check) -> Change {
        self.register(check, Message::Replace)
    }

    /// Removes a check, even one that was just added and has not run yet. Its run is cancelled. The
    /// future resolves when readers no longer see the check, and returns its last report.
    ///
    /// The call itself removes the check. Dropping the future does not keep it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, error::ChangeError};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("network", || async { Status::Pass }))
    ///     .check(Check::new("postgres", || async { Status::Pass }).depends_on("network"))
    ///     .start()?;
    /// let error = health.remove("network").await.unwrap_err();
    /// assert!(matches!(error, ChangeError::HasDependents(by) if by == ["postgres"]));
    ///
    /// health.remove("postgres").await?;
    /// assert_eq!(health.remove("network").await?.name, "network");
    /// assert!(health.report().checks.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns:
    ///
    /// - [`ChangeError::Unknown`] if no check has that name.
    /// - [`ChangeError::HasDependents`] if other checks [depend on](Check::depends_on) it.
    /// - [`ChangeError::Stopped`] if no checks run any more.
    pub fn remove(&self, name: &str) -> Change {
        let (reply, answer) = oneshot::channel();
        self.change(Message::Remove(name.to_owned(), reply), answer)
    }

    /// Runs a check without waiting for its schedule, as soon as the
    /// [concurrency](crate::HealthBuilder::concurrency) limit permits. If a run is already under
    /// way, the future waits for that run, and no other run is started.
    ///
    /// The future resolves when the run has ended, and returns the report of the check. It returns
    /// the current report without a run in these cases:
    ///
    /// - A run was given up at its timeout and has not ended yet.
    /// - A check that this one [depends on](Check::depends_on) fails.
    /// - There is nothing to run, because the check is a reporter, a heartbeat, or a start-up task
    ///   that has succeeded.
    ///
    /// The call itself requests the run, which belongs to the engine. Dropping the future does not
    /// cancel it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// let report = health.run_now("clock").await?;
    /// assert_eq!(report.status, Status::Pass);
    /// assert!(report.last_run.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns:
    ///
    /// - [`RunError::Unknown`] if no check has that name, or if the check was removed in the
    ///   meantime.
    /// - [`RunError::Stopped`] if no checks run any more.
    pub fn run_now(&self, name: &str) -> RunNow {
        let board = self.board();
        RunNow {
            run: match board.cell(name) {
                Some(cell) => Run::UnderWay {
                    completion: board.request(&cell),
                    board: Arc::clone(board),
                    name: name.to_owned(),
                },
                None => Run::Unknown {
                    error: self.unknown(name),
                },
            },
        }
    }

    /// Registers a check whose result the application reports (push).
    pub(crate) fn register_pushed(
        &self,
        name: &str,
        ttl: Duration,
        mut policy: Policy,
        component_type: ComponentType,
        runbook: Option<String>,
        pushed: Arc<Pushed>,
    ) -> Change {
        let mut problems = Vec::new();
        if let Some(problem) = duration_problem("ttl", ttl) {
            let name = name.chars().take(Name::MAX_LEN).collect();
            problems.push(ConfigError::Ttl { name, problem });
        }
        self.defaults().apply_flapping_to(&mut policy);
        let definition = define_pushed(name, policy, component_type, runbook, pushed)
            .map_err(|invalid| problems.extend(invalid))
            .ok();
        let Some(definition) = definition.filter(|_| problems.is_empty()) else {
            return Change::failed(ChangeError::Config(problems));
        };
        let (reply, answer) = oneshot::channel();
        let registration = Registration {
            definition,
            code: None,
            reply,
        };
        self.change(Message::Add(registration), answer)
    }

    /// Validates a check, and sends it to the engine. A check with problems is not sent.
    fn register(&self, check: Check, message: impl FnOnce(Registration) -> Message) -> Change {
        let mut problems = Problems::default();
        let defined = define(vec![(0, check)], self.defaults(), &mut problems).pop();
        let Some(defined) = defined.filter(|_| problems.is_empty()) else {
            return Change::failed(ChangeError::Config(problems.into_ordered()));
        };
        let (reply, answer) = oneshot::channel();
        let registration = Registration {
            definition: defined.definition,
            code: defined.code,
            reply,
        };
        self.change(message(registration), answer)
    }

    /// Sends a message to the engine. The future fails at once if there is no engine any more.
    fn change(&self, message: Message, answer: oneshot::Receiver<engine::Changed>) -> Change {
        if self.board().send(message) {
            Change(State::Waiting(answer))
        } else {
            Change::failed(ChangeError::Stopped(Stopped))
        }
    }
}

/// Future that resolves when a change of the checks is visible to readers. Returned by
/// [`Health::add`], [`Health::replace`] and [`Health::remove`].
///
/// The change proceeds whether or not the future is polled. The future does not keep the checks
/// running.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status, future::Change};
///
/// let health = Health::builder("orders").start()?;
/// let change: Change = health.add(Check::new("tenant-7", || async { Status::Pass }));
/// assert_eq!(change.await?.name, "tenant-7");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the future returns whether the change was made"]
pub struct Change(State);

/// The progress of a change. `Ended(None)` means that the result was returned.
#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<engine::Changed>),
    Ended(Option<ChangeError>),
}

impl Change {
    fn failed(error: ChangeError) -> Self {
        Self(State::Ended(Some(error)))
    }
}

impl Future for Change {
    type Output = Result<CheckReport, ChangeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = match &mut self.0 {
            State::Waiting(answer) => match ready!(Pin::new(answer).poll(cx)) {
                Ok(answer) => answer.map_err(ChangeError::from),
                Err(_) => Err(ChangeError::Stopped(Stopped)),
            },
            State::Ended(error) => match error.take() {
                Some(error) => Err(error),
                // Polled again after it was ready. There is no value left to return.
                None => return Poll::Pending,
            },
        };
        self.0 = State::Ended(None);
        Poll::Ready(ended)
    }
}

impl From<Refused> for ChangeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Taken(name) => Self::Config(vec![ConfigError::DuplicateName(name)]),
            Refused::Unknown(error) => Self::Unknown(error),
            Refused::UnknownRoot(check, error) => {
                let check = check.to_string();
                Self::Config(vec![ConfigError::UnknownDependency { check, error }])
            }
            Refused::Cycle(round) => Self::Config(vec![ConfigError::Cycle(round)]),
            Refused::HasDependents(by) => Self::HasDependents(by),
            Refused::Removed => Self::Removed,
            Refused::NotRun(name) => Self::Config(vec![ConfigError::NotReplaceable(name)]),
        }
    }
}

pin_project! {
    /// Future that resolves when a requested run has ended. Returned by [`Health::run_now`].
    ///
    /// The run proceeds whether or not the future is polled. The future does not keep the checks
    /// running.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let clock = Check::new("clock", || async { Status::Pass });
    /// let health = Health::builder("orders")
    ///     .check(clock.on_demand(Duration::from_secs(60)))
    ///     .start()?;
    /// drop(health.run_now("clock"));
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// assert!(health.check("clock")?.last_run.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub struct RunNow {
        #[pin]
        run: Run,
    }
}

pin_project! {
    #[project = RunProj]
    enum Run {
        UnderWay {
            #[pin]
            completion: Completion,
            board: Arc<Board>,
            name: String,
        },
        Unknown { error: UnknownCheck },
    }
}

impl Future for RunNow {
    type Output = Result<CheckReport, RunError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().run.project() {
            RunProj::UnderWay {
                completion,
                board,
                name,
            } => {
                ready!(completion.poll(cx));
                let report = board.check(name).map(|(report, ..)| report);
                Poll::Ready(match report {
                    _ if board.is_stopped() => Err(RunError::Stopped(Stopped)),
                    Some(report) => Ok(report),
                    // The check was removed in the meantime.
                    None => Err(RunError::Unknown(UnknownCheck::new(name, board.names()))),
                })
            }
            RunProj::Unknown { error } => Poll::Ready(Err(RunError::Unknown(error.clone()))),
        }
    }
}

impl fmt::Debug for RunNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunNow").finish_non_exhaustive()
    }
}
