use std::{fmt, sync::Arc};

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Health;
use crate::{
    engine::{Board, Told},
    model::Event,
};

impl Health {
    /// Subscribes to what changes from now on: each transition of a check and of a verdict, once.
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

/// The changes of a [`Health`], in their order: made by [`Health::subscribe`].
///
/// It does not keep the checks running, and ends with them. A subscriber that is more than 256 events behind
/// loses the oldest, and is told how many; it slows nobody down.
///
/// A check that runs [on demand](crate::Check::on_demand) changes by its runs alone: that its result has become
/// too old while nobody read it is no event.
pub struct Subscription {
    /// None once they have ended.
    events: Option<Receiver<Told>>,
    board: Arc<Board>,
}

impl Subscription {
    /// How many events a subscriber may be behind.
    pub const CAPACITY: usize = Board::EVENTS;

    /// The next change; `None` once nothing runs checks any more.
    ///
    /// Dropping the future loses nothing. Readers see what it tells: a change is published before it is told.
    pub async fn next(&mut self) -> Option<Event> {
        let events = self.events.as_mut()?;
        if self.board.is_final() && events.is_empty() {
            self.events = None;
            return None;
        }
        match events.recv().await {
            Ok(Told::Event(event)) => Some(event),
            Err(RecvError::Lagged(events)) => Some(Event::Missed(events)),
            Ok(Told::Stopped) | Err(RecvError::Closed) => {
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
