//! Notifications to systemd, by the protocol of [`sd_notify`].
//!
//! A thread reads the board like any other reader, compares it with what it has sent, and sends the
//! difference. It runs no check and does not use the runtime of the checks.
//!
//! [`sd_notify`]: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

use std::{
    io,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::{runtime, time::timeout};

use super::watchdog;
use crate::{
    Health, HealthBuilder, detached,
    engine::Board,
    model::{Probe, Stage, Verdict},
    telemetry,
};

/// How often the state is checked for a change if no notification arrives.
const LOOK: Duration = Duration::from_millis(500);

impl HealthBuilder {
    /// Reports the health of the service to systemd, if systemd started it with `Type=notify`. A
    /// dedicated thread sends the notifications, so that they are correct while the runtime is
    /// blocked. Defaults to sending none.
    ///
    /// | notification | when |
    /// | --- | --- |
    /// | `READY=1` | startup passes for the first time |
    /// | `STATUS=` | readiness changes: the stage of the instance, and the checks that do not pass with their reasons |
    /// | `STOPPING=1` | a [drain](Health::drain) begins |
    /// | `WATCHDOG=1` | at half the interval that `WatchdogSec=` sets, while liveness passes or warns |
    ///
    /// This also enables a [watchdog](Self::watchdog) of the runtime, with a bound of 10 s unless
    /// another is set. Without it, the separate thread would report a stalled runtime as alive
    /// indefinitely. Without `NOTIFY_SOCKET` in the environment, this setting has no effect: no
    /// notification is sent, and no watchdog is enabled. Notifications are sent without waiting for
    /// a reply. If one cannot be sent, the first such failure is logged.
    ///
    /// ```ini
    /// [Service]
    /// Type=notify
    /// WatchdogSec=30
    /// Restart=on-failure
    /// ```
    ///
    /// The same binary runs with and without systemd:
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Probe};
    ///
    /// let health = Health::builder("orders").systemd().start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// // `READY=1` is sent about now, and `systemctl start` returns.
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "systemd")))]
    pub fn systemd(self) -> Self {
        self.then(begin)
    }
}

/// Starts the thread, if systemd expects notifications.
fn begin(health: &Health) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    watchdog::watch_own(health);
    let board = std::sync::Arc::clone(health.board());
    let spawned = detached::spawn("health-systemd", Box::new(move || notify(&board)));
    if let Err(error) = spawned {
        telemetry::systemd_notify_failed(&health.board().service.name, error.kind());
    }
}

/// Sends notifications until the checks end.
fn notify(board: &Board) {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return telemetry::systemd_notify_failed(&board.service.name, error.kind()),
    };
    runtime.block_on(async {
        let mut notifier = Notifier::new(sd_notify::watchdog_enabled());
        loop {
            let wait = board.wait();
            let last = board.is_stopped();
            notifier.notify(board);
            if last {
                return;
            }
            // Check again, whether it was notified or timed out.
            _ = timeout(notifier.delay(), wait.next()).await;
        }
    });
}

/// What was sent to systemd so far.
#[derive(Debug)]
struct Notifier {
    /// The interval of the watchdog notifications.
    interval: Option<Duration>,
    /// When the last watchdog notification was sent.
    alive_at: Option<Instant>,
    /// Whether liveness was good at the last check.
    alive: bool,
    /// Whether `READY=1` was sent. It is sent once.
    ready: bool,
    /// Whether `STOPPING=1` was sent. It is sent once.
    stopping: bool,
    /// The last `STATUS=`.
    status: String,
    /// Whether a notification failed. Only the first failure is logged.
    failed: bool,
}

impl Notifier {
    fn new(watchdog: Option<Duration>) -> Self {
        Self {
            interval: watchdog.map(|interval| interval / 2),
            alive_at: None,
            alive: false,
            ready: false,
            stopping: false,
            status: String::new(),
            failed: false,
        }
    }

    /// How long to wait until the next check.
    fn delay(&self) -> Duration {
        let due = self.interval.zip(self.alive_at);
        let left =
            due.map(|(interval, at)| (at + interval).saturating_duration_since(Instant::now()));
        match left {
            Some(left) if self.alive => left.clamp(Duration::from_millis(1), LOOK),
            // None is sent while liveness fails. A change of liveness wakes the thread.
            _ => LOOK,
        }
    }

    /// Sends in one datagram what has changed on the board, and the watchdog notification if it is
    /// due.
    fn notify(&mut self, board: &Board) {
        let published = board.published();
        let view = &published.view;
        let status = status(
            view.stage,
            &view.of(Probe::Readiness).verdict,
            &view.of(Probe::Startup).verdict,
        );
        let mut news = Vec::new();
        if !self.ready && view.of(Probe::Startup).verdict.status.is_good() {
            self.ready = true;
            news.push(NotifyState::Ready);
        }
        if !self.stopping && view.stage == Stage::Draining {
            self.stopping = true;
            news.push(NotifyState::Stopping);
        }
        let is_due = |interval| self.alive_at.is_none_or(|at| at.elapsed() >= interval);
        self.alive = view.of(Probe::Liveness).verdict.status.is_good();
        if self.alive && self.interval.is_some_and(is_due) {
            self.alive_at = Some(Instant::now());
            news.push(NotifyState::Watchdog);
        }
        if self.status != status {
            news.push(NotifyState::Status(&status));
        }
        if !news.is_empty()
            && let Err(error) = sd_notify::notify(&news)
        {
            self.fail(board, &error);
        }
        self.status = status;
    }

    /// Logs that a notification cannot be sent, the first time.
    fn fail(&mut self, board: &Board, error: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            telemetry::systemd_notify_failed(&board.service.name, error.kind());
        }
    }
}

/// The stage of the instance and the reasons for it, in one line. It contains nothing private.
fn status(stage: Stage, readiness: &Verdict, startup: &Verdict) -> String {
    let checks = match stage {
        Stage::Starting => &startup.checks,
        Stage::Ready | Stage::NotReady => &readiness.checks,
        _ => &std::sync::Arc::default(),
    };
    let why: Vec<String> = checks
        .iter()
        .map(|check| match check.why() {
            Some(why) => format!("{} {why}", check.name),
            None => check.name.to_string(),
        })
        .collect();
    if why.is_empty() {
        stage.to_string()
    } else {
        format!("{stage}: {}", why.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdue_watchdog_notification_does_not_keep_the_thread_busy() {
        let mut notifier = Notifier::new(Some(Duration::from_millis(2)));
        assert_eq!(notifier.delay(), LOOK, "none was sent yet");
        notifier.alive_at = Instant::now().checked_sub(Duration::from_secs(1));
        assert!(notifier.alive_at.is_some());
        assert_eq!(notifier.delay(), LOOK, "liveness fails");
        notifier.alive = true;
        assert_eq!(notifier.delay(), Duration::from_millis(1), "it is overdue");
        notifier.interval = Some(Duration::from_secs(3_600));
        assert_eq!(notifier.delay(), LOOK, "the state may change before");
    }
}
