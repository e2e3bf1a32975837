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
};
use crate::{
    check::{Check, Policy, duration_fault},
    engine::{self, Board, Landing, Message, Pushed, Refused, Registration},
    model::{CheckReport, ComponentType, Name, UnknownCheck},
};

impl Health {
    /// Registers one more check while the service runs.
    ///
    /// It is run once before it counts, so a new check takes no instance out of rotation by being pending;
    /// if that run fails, it counts as failing. The check is handed over by the call: the future tells how its
    /// first run went, and dropping it takes nothing back.
    ///
    /// Unlike one that was registered before the start it never holds readiness while it is pending, nor
    /// startup. To show readers a change costs time in proportion to the number of checks, once for all changes that
    /// come together.
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
    /// The future's error is [`ChangeError::Config`] for a bad name or setting and for a name that is taken,
    /// [`ChangeError::Removed`] if the check was removed before it had run, and [`ChangeError::Stopped`] if nothing
    /// runs checks any more.
    pub fn add(&self, check: Check) -> Change {
        self.register(check, Message::Add)
    }

    /// Gives the check of that name other code and another policy. It keeps its state until the new code has
    /// run, which it does at once; the future then tells how that went. A run of the old code is cancelled. A
    /// thread of [blocking](Check::blocking) code is left to end by itself, and the new code is run beside it: do not
    /// replace code that hangs again and again.
    ///
    /// The check is handed over by the call: dropping the future takes nothing back.
    ///
    /// # Errors
    ///
    /// As of [`add`](Self::add); [`ChangeError::Unknown`] if there is no check of that name.
    pub fn replace(&self, check: Check) -> Change {
        self.register(check, Message::Replace)
    }

    /// Takes a check away, also one that was just added and has not run yet. Its run is cancelled, and the future
    /// tells how it was at the end.
    ///
    /// The check goes by the call: dropping the future does not keep it.
    ///
    /// # Errors
    ///
    /// The future's error is [`ChangeError::Unknown`] if there is no check of that name, [`ChangeError::Needed`] if others
    /// [depend on](Check::depends_on) it, and [`ChangeError::Stopped`] if nothing runs checks any more.
    pub fn remove(&self, name: &str) -> Change {
        let (reply, answer) = oneshot::channel();
        self.change(Message::Remove(name.to_owned(), reply), answer)
    }

    /// Runs a check at once, whatever its schedule says, as soon as there is
    /// [room](crate::HealthBuilder::concurrency). A run that is under way is shared rather than started again, and so is
    /// this one by whoever asks meanwhile. The future tells how the check is afterwards; if a run was given up and
    /// has not ended yet, or something fails that the check [depends on](Check::depends_on), how it is now, without a run.
    ///
    /// The run is asked for by the call and belongs to the engine: dropping the future does not cancel it.
    ///
    /// # Errors
    ///
    /// The future's error is [`RunError::Unknown`] if there is no check of that name, and
    /// [`RunError::Stopped`] if nothing runs checks any more.
    pub fn run_now(&self, name: &str) -> RunNow {
        let board = self.board();
        RunNow {
            run: match board.cell(name) {
                Some(cell) => Run::UnderWay {
                    landing: board.ask(&cell),
                    board: Arc::clone(board),
                    name: name.to_owned(),
                },
                None => Run::Unknown {
                    error: self.unknown(name),
                },
            },
        }
    }

    /// Registers what the application speaks of itself.
    pub(crate) fn enlist(
        &self,
        name: &str,
        ttl: Duration,
        policy: Policy,
        component_type: ComponentType,
        runbook: Option<String>,
        pushed: Arc<Pushed>,
    ) -> Change {
        let mut problems = Vec::new();
        if let Some(fault) = duration_fault("ttl", ttl) {
            let name = name.chars().take(Name::MAX_LEN).collect();
            problems.push(ConfigError::Ttl { name, fault });
        }
        let definition =
            define_pushed(name, policy, component_type, runbook, pushed, &mut problems);
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

    fn register(&self, check: Check, message: impl FnOnce(Registration) -> Message) -> Change {
        let mut problems = Vec::new();
        let Some((definition, code)) = define(vec![check], &mut problems).pop() else {
            return Change::failed(ChangeError::Config(problems));
        };
        if !problems.is_empty() {
            return Change::failed(ChangeError::Config(problems));
        }
        let (reply, answer) = oneshot::channel();
        let registration = Registration {
            definition,
            code,
            reply,
        };
        self.change(message(registration), answer)
    }

    fn change(&self, message: Message, answer: oneshot::Receiver<engine::Changed>) -> Change {
        match self.board().tell(message) {
            true => Change(State::Waiting(answer)),
            false => Change::failed(ChangeError::Stopped(Stopped)),
        }
    }
}

/// Tells when a change of the checks is visible to readers: the future of [`Health::add`], [`Health::replace`]
/// and [`Health::remove`].
///
/// The change is under way, whether or not this is awaited. It does not keep the checks running.
#[derive(Debug)]
#[must_use = "it tells whether the change was made"]
pub struct Change(State);

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
                // Polled again after it was ready, it has nothing to say.
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
            Refused::UnknownRoot(error) => {
                Self::Config(vec![ConfigError::UnknownDependency(error)])
            }
            Refused::Circle(round) => Self::Config(vec![ConfigError::Circle(round)]),
            Refused::Needed(by) => Self::Needed(by),
            Refused::Removed => Self::Removed,
            Refused::NotRun(name) => Self::Config(vec![ConfigError::NotRun(name)]),
        }
    }
}

pin_project! {
    /// Tells how a check is after a run: the future of [`Health::run_now`].
    ///
    /// It does not keep the checks running.
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
            landing: Landing,
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
                landing,
                board,
                name,
            } => {
                ready!(landing.poll(cx));
                let report = board.check(name).map(|(report, ..)| report);
                Poll::Ready(match report {
                    _ if board.is_stopped() => Err(RunError::Stopped(Stopped)),
                    Some(report) => Ok(report),
                    // It was removed meanwhile.
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
