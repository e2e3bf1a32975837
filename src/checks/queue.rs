use std::{fmt, time::Duration};

use async_trait::async_trait;
use tokio::sync::mpsc::Sender;

use super::{contradiction::contradiction, forecast::Forecast};
use crate::{
    check::HealthCheck,
    model::{Failure, Outcome, Reason},
};

/// How much waits in a queue of this process, and whether it will be too much before long.
///
/// | finding | outcome |
/// | --- | --- |
/// | within its bounds | pass |
/// | more than [`warn_above`](Self::warn_above) | warn, limit near |
/// | it meets its bound within [`warn_before`](Self::warn_before), if it goes on as it does | warn, limit near |
/// | full | warn, busy |
/// | more than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | nobody receives from the channel any more, or nobody can send to it | fail, died |
///
/// A full queue is no failure unless you say so: it holds back who fills it, as it is meant to, and works. An instance that
/// should get no more work while its queue is long wants [`fail_above`](Self::fail_above).
///
/// It measures `backlog`, `utilization` in percent where it knows the capacity, and `time_left` in s, until the backlog meets
/// its bound, where it grows steadily and that is foreseen. A run reads a number.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
///
/// use tower_health::{Check, HealthCheck, Reason, checks::Queue};
///
/// let (sender, receiver) = tokio::sync::mpsc::channel(10);
/// let mails = Queue::of_channel(&sender).warn_before(Duration::from_secs(600));
/// for mail in 0..9 {
///     sender.send(mail).await.unwrap();
/// }
/// assert_eq!(mails.check().await.unwrap().reason(), Some(Reason::LimitNear));
/// let mails = Check::new("mails", mails).non_critical();
/// # drop(receiver);
/// # }
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Queue {
    gauge: Box<dyn Fn() -> Result<u64, Failure> + Send + Sync>,
    capacity: Option<u64>,
    warn_above: Option<u64>,
    fail_above: Option<u64>,
    forecast: Option<Forecast>,
}

impl Queue {
    /// A check of a channel with a bound. It does not keep the channel open. Permits that are [reserved](Sender::reserve) count as
    /// taken.
    pub fn of_channel<T: Send + 'static>(sender: &Sender<T>) -> Self {
        let weak = sender.downgrade();
        let capacity = sender.max_capacity();
        let gauge = move || {
            let sender = weak.upgrade().ok_or("nobody can send to it any more");
            match sender {
                Ok(sender) if !sender.is_closed() => {
                    Ok(sender.max_capacity().saturating_sub(sender.capacity()) as u64)
                }
                Ok(_) => Err(dead("nobody receives from it any more")),
                Err(cause) => Err(dead(cause)),
            }
        };
        Self::new(gauge).capacity(capacity as u64)
    }

    /// A check of anything that can tell how much waits in it: a channel without a bound, a list, the jobs of a table that
    /// the service counts itself. The function must not block.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    ///
    /// use tower_health::checks::Queue;
    ///
    /// let waiting = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&waiting);
    /// let jobs = Queue::of(move || counted.load(Ordering::Relaxed)).warn_above(1_000).fail_above(10_000);
    /// ```
    pub fn of(gauge: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::new(move || Ok(gauge()))
    }

    fn new(gauge: impl Fn() -> Result<u64, Failure> + Send + Sync + 'static) -> Self {
        Self {
            gauge: Box::new(gauge),
            capacity: None,
            warn_above: None,
            fail_above: None,
            forecast: None,
        }
    }

    /// How much it can hold. Defaults to that of the channel, else to no bound.
    pub fn capacity(mut self, capacity: u64) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Warns of a backlog of more than this. Defaults to 80 percent of the capacity; without one, to never.
    pub fn warn_above(mut self, backlog: u64) -> Self {
        self.warn_above = Some(backlog);
        self
    }

    /// Fails on a backlog of more than this. Defaults to never.
    pub fn fail_above(mut self, backlog: u64) -> Self {
        self.fail_above = Some(backlog);
        self
    }

    /// Warns of a backlog that grows steadily and within this time would be more than [`fail_above`](Self::fail_above), else all the capacity,
    /// else more than [`warn_above`](Self::warn_above), as three runs in a row foresee. Defaults to never, as does zero.
    ///
    /// The runs look back for a quarter of the time, and for a sixteenth of that and eight runs at least. Growth that has lasted for so long
    /// is told of five times as far ahead: a fifth of what is left to the bound is to be seen to fill. Noise and bursts are no growth.
    /// What comes and goes slowly is taken for growth now and then, the more often the nearer to its bound it comes.
    pub fn warn_before(mut self, time: Duration) -> Self {
        self.forecast = Some(Forecast::new(time));
        self
    }

    fn judge(&self, backlog: u64) -> Outcome {
        let is_above = |bound: Option<u64>| bound.is_some_and(|bound| backlog > bound);
        let near = self
            .capacity
            .map(|capacity| capacity / 5 * 4 + capacity % 5 * 4 / 5);
        let outcome = if is_above(self.fail_above) {
            Outcome::fail(Reason::LimitExceeded)
        } else if self.capacity.is_some_and(|capacity| backlog >= capacity) {
            Outcome::warn(Reason::Busy)
        } else if is_above(self.warn_above.or(near)) {
            Outcome::warn(Reason::LimitNear)
        } else {
            return Outcome::pass();
        };
        outcome.with_cause(format_args!("{backlog} wait"))
    }

    fn foresee(&self, backlog: u64) -> Outcome {
        let more_than = |bound: Option<u64>| bound.map(|bound| bound.saturating_add(1));
        let bound = more_than(self.fail_above)
            .or(self.capacity)
            .or(more_than(self.warn_above));
        match (&self.forecast, bound) {
            (Some(forecast), Some(bound)) => {
                forecast.observe(backlog as f64, bound as f64).outcome()
            }
            _ => Outcome::pass(),
        }
    }
}

fn dead(cause: &'static str) -> Failure {
    Failure::new(Reason::Died).with_cause(cause)
}

#[async_trait]
impl HealthCheck for Queue {
    async fn check(&self) -> Result<Outcome, Failure> {
        let backlog = (self.gauge)()?;
        let outcome = self.judge(backlog).merge(self.foresee(backlog));
        let outcome = outcome.measure("backlog", backlog, "");
        Ok(match self.capacity {
            Some(capacity) if capacity > 0 => {
                let utilization = backlog as f64 * 100.0 / capacity as f64;
                outcome.measure("utilization", utilization, "percent")
            }
            _ => outcome,
        })
    }

    fn problems(&self) -> Vec<String> {
        let warn = ("warn_above", self.warn_above);
        let fail = ("fail_above", self.fail_above);
        contradiction(warn, fail).into_iter().collect()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("capacity", &self.capacity)
            .field("warn_above", &self.warn_above)
            .field("fail_above", &self.fail_above)
            .finish_non_exhaustive()
    }
}
