//! A stream of every transition, for subscribers in the process.
//!
//! The engine sends an event after readers can see the change. The channel is bounded, so a
//! subscriber that does not read loses events and delays nothing.

use std::{fmt, sync::Arc};

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Health;
use crate::{
    engine::{Board, Notification},
    model::Event,
};

impl Health {
    /// Subscribes to all changes from now on. Each transition of a check and of a verdict is
    /// delivered once. So is each new reason of one that does not pass, and each check that is added
    /// or removed. Events from before this call are not delivered.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, event::Event};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// let mut events = health.subscribe();
    /// let Some(Event::Check(transition)) = events.next().await else { panic!() };
    /// assert_eq!((&*transition.name, transition.from, transition.to), ("clock", None, Status::Pass));
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self) -> Subscription {
        let board = Arc::clone(self.board());
        Subscription {
            events: Some(board.subscribe()),
            board,
        }
    }
}

/// A stream of the changes of a [`Health`], in order. Returned by [`Health::subscribe`].
///
/// It does not keep the checks running, and ends with them. A subscriber that is more than 256
/// events behind loses the oldest ones, and receives their number as [`Event::Missed`]. It delays
/// nothing else.
///
/// A check that runs [on demand](crate::Check::on_demand) changes only through its runs. If its
/// result becomes stale while nothing reads it, there is no event.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, event::Subscription};
///
/// let health = Health::builder("orders").start()?;
/// let mut events: Subscription = health.subscribe();
/// drop(health);
/// assert!(events.next().await.is_none());
/// # Ok(())
/// # }
/// ```
pub struct Subscription {
    /// None once the stream has ended.
    events: Option<Receiver<Notification>>,
    board: Arc<Board>,
}

impl Subscription {
    /// The number of events that a subscriber may be behind: 256.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, event::{Event, Subscription}};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let mut events = health.subscribe();
    /// // Each new check causes two events: it is added, and it passes.
    /// for n in 0..Subscription::CAPACITY {
    ///     health.add(Check::new(format!("tenant-{n}"), || async { Status::Pass })).await?;
    /// }
    /// assert!(matches!(events.next().await, Some(Event::Missed(256))));
    /// # Ok(())
    /// # }
    /// ```
    pub const CAPACITY: usize = Board::EVENTS;

    /// Returns the next change, or `None` once no checks run any more.
    ///
    /// It is cancel-safe: no event is lost if the future is dropped. A change is visible to readers
    /// before its event is delivered.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, event::Event};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let mut events = health.subscribe();
    /// health.add(Check::new("tenant-7", || async { Status::Pass })).await?;
    /// health.remove("tenant-7").await?;
    /// drop(health);
    ///
    /// let mut seen = Vec::new();
    /// while let Some(event) = events.next().await {
    ///     seen.push(match event {
    ///         Event::Added(name) => format!("{name} added"),
    ///         Event::Check(transition) => format!("{} {}", transition.name, transition.to),
    ///         Event::Removed(name) => format!("{name} removed"),
    ///         _ => continue,
    ///     });
    /// }
    /// assert_eq!(seen, ["tenant-7 added", "tenant-7 pass", "tenant-7 removed"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Event> {
        let events = self.events.as_mut()?;
        if self.board.is_final() && events.is_empty() {
            self.events = None;
            return None;
        }
        match events.recv().await {
            Ok(Notification::Event(event)) => Some(event),
            Err(RecvError::Lagged(events)) => Some(Event::Missed(events)),
            Ok(Notification::Stopped) | Err(RecvError::Closed) => {
                self.events = None;
                None
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
