//! A check of how long a queue is, and of how soon it is too long.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tokio::sync::mpsc::Sender;

use super::{contradiction::contradiction, forecast::Forecast};
use crate::{
    check::HealthCheck,
    model::{Failure, Outcome, Reason},
};

/// A check of the backlog of a queue in this process. It can also warn before the backlog becomes
/// too long.
///
/// | finding | outcome |
/// | --- | --- |
/// | within its bounds | pass |
/// | more than [`warn_above`](Self::warn_above) | warn, limit near |
/// | its growth reaches the bound within [`warn_before`](Self::warn_before) | warn, limit near |
/// | full | warn, busy |
/// | more than [`fail_above`](Self::fail_above) | fail, limit exceeded |
/// | the channel has no receiver, or no sender, any more | fail, died |
///
/// A full queue is not a failure by default, because it works: it applies backpressure to its
/// producers. Set [`fail_above`](Self::fail_above) if the instance should receive no more work
/// while its queue is long.
///
/// The check measures `backlog`. If the capacity is known, it measures `utilization` in percent. If
/// the backlog grows steadily and `warn_before` is set, it measures `time_left`, the time until the
/// backlog reaches its bound, in s. It is 0 once the bound is reached. A run only reads a number.
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
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Queue {
    gauge: Box<dyn Fn() -> Result<u64, Failure> + Send + Sync>,
    capacity: Option<u64>,
    warn_above: Option<u64>,
    fail_above: Option<u64>,
    forecast: Option<Forecast>,
}

impl Queue {
    /// Creates a check of a bounded channel. It does not keep the channel open.
    /// [Reserved](Sender::reserve) permits count as used.
    ///
    /// The check fails with [`Died`](Reason::Died) once the consumer is gone, because nothing takes
    /// from the queue any more:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason, checks::Queue};
    ///
    /// let (sender, receiver) = tokio::sync::mpsc::channel::<String>(10);
    /// let mails = Queue::of_channel(&sender);
    /// assert!(mails.check().await.is_ok());
    ///
    /// drop(receiver);
    /// assert_eq!(mails.check().await.unwrap_err().reason(), Reason::Died);
    /// # }
    /// ```
    pub fn of_channel<T: Send + 'static>(sender: &Sender<T>) -> Self {
        let weak = sender.downgrade();
        let capacity = sender.max_capacity();
        let gauge = move || {
            let sender = weak
                .upgrade()
                .ok_or("all senders of the channel were dropped");
            match sender {
                Ok(sender) if !sender.is_closed() => {
                    Ok(sender.max_capacity().saturating_sub(sender.capacity()) as u64)
                }
                Ok(_) => Err(dead("the receiver of the channel was dropped or closed")),
                Err(cause) => Err(dead(cause)),
            }
        };
        Self::new(gauge).capacity(capacity as u64)
    }

    /// Creates a check of anything whose backlog a function can return, such as an unbounded
    /// channel, a list, or the jobs of a table that the service counts itself. The function must
    /// not block.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    ///
    /// use tower_health::{HealthCheck, Reason, checks::Queue};
    ///
    /// let waiting = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&waiting);
    /// let jobs = Queue::of(move || counted.load(Ordering::Relaxed))
    ///     .warn_above(1_000)
    ///     .fail_above(10_000);
    ///
    /// waiting.store(1_001, Ordering::Relaxed);
    /// assert_eq!(jobs.check().await.unwrap().reason(), Some(Reason::LimitNear));
    /// # }
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

    /// Sets the capacity of the queue, for a queue that only a function knows. A full queue warns
    /// with [`Busy`](Reason::Busy). Defaults to the capacity of the channel, or else to none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason, checks::Queue};
    ///
    /// let jobs = Queue::of(|| 50).capacity(50);
    /// let outcome = jobs.check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::Busy));
    /// assert_eq!(outcome.measurements()[1].name, "utilization");
    /// # }
    /// ```
    pub fn capacity(mut self, capacity: u64) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Warns if the backlog is above this bound. It must not be above
    /// [`fail_above`](Self::fail_above). Defaults to 80 percent of the capacity, rounded down, or
    /// to never if there is no capacity.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason, checks::Queue};
    ///
    /// let reason = async |jobs: Queue| jobs.check().await.unwrap().reason();
    /// assert_eq!(reason(Queue::of(|| 8).capacity(10)).await, None, "80 percent is permitted");
    /// assert_eq!(reason(Queue::of(|| 9).capacity(10)).await, Some(Reason::LimitNear));
    /// assert_eq!(reason(Queue::of(|| 9).capacity(10).warn_above(9)).await, None);
    /// # }
    /// ```
    pub fn warn_above(mut self, backlog: u64) -> Self {
        self.warn_above = Some(backlog);
        self
    }

    /// Fails if the backlog is above this bound, so that a critical check takes the instance out of
    /// rotation until its backlog is shorter. Defaults to never.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason, Status, checks::Queue};
    ///
    /// let jobs = Queue::of(|| 101).fail_above(100);
    /// let outcome = jobs.check().await.unwrap();
    /// assert_eq!(outcome.status(), Status::Fail);
    /// assert_eq!(outcome.reason(), Some(Reason::LimitExceeded));
    /// # }
    /// ```
    pub fn fail_above(mut self, backlog: u64) -> Self {
        self.fail_above = Some(backlog);
        self
    }

    /// Warns if the backlog grows steadily and three runs in a row predict that it reaches its
    /// bound within this time. The bound is reached at more than [`fail_above`](Self::fail_above).
    /// If that is not set, the bound is the capacity. Without a capacity, it is reached at more
    /// than [`warn_above`](Self::warn_above). Without any of these, the check makes no prediction.
    ///
    /// The prediction looks back for a quarter of this time. It needs growth over at least eight
    /// runs and a sixteenth of that quarter. Growth is extrapolated for five times as long as it
    /// has lasted, so the observed growth is at least a fifth of what is left to the bound. Noise
    /// and bursts do not count as growth. A slow oscillation is sometimes mistaken for growth, and
    /// more often if its peaks are close to the bound.
    ///
    /// A time of zero disables the prediction. Defaults to never.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::{
    ///     sync::{Arc, atomic::{AtomicU64, Ordering}},
    ///     time::Duration,
    /// };
    ///
    /// use tower_health::{HealthCheck, Outcome, Reason, checks::Queue};
    ///
    /// let length = Arc::new(AtomicU64::new(0));
    /// let gauge = Arc::clone(&length);
    /// let jobs = Queue::of(move || gauge.load(Ordering::Relaxed))
    ///     .fail_above(100)
    ///     .warn_before(Duration::from_secs(600));
    ///
    /// // One more job every 10 s.
    /// let mut outcome = Outcome::pass();
    /// for backlog in 0..50 {
    ///     length.store(backlog, Ordering::Relaxed);
    ///     outcome = jobs.check().await.unwrap();
    ///     tokio::time::advance(Duration::from_secs(10)).await;
    /// }
    /// assert_eq!(outcome.reason(), Some(Reason::LimitNear));
    /// # }
    /// ```
    pub fn warn_before(mut self, time: Duration) -> Self {
        self.forecast = Some(Forecast::new(time));
        self
    }

    /// Compares a backlog with the bounds. The worst finding comes first.
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
        outcome.with_cause(format_args!("{backlog} queued"))
    }

    /// Predicts when the backlog is too long. The bound is the first of: one more than
    /// `fail_above`, the capacity, one more than `warn_above`.
    fn predict(&self, backlog: u64) -> Outcome {
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

/// Returns the failure of a channel that has lost one of its sides.
fn dead(cause: &'static str) -> Failure {
    Failure::new(Reason::Died).with_cause(cause)
}

#[async_trait]
impl HealthCheck for Queue {
    async fn check(&self) -> Result<Outcome, Failure> {
        let backlog = (self.gauge)()?;
        let outcome = self.judge(backlog).merge(self.predict(backlog));
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
