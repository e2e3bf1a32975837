//! A check type of your own, with a measurement, a warning and a reason.
//!
//! `cargo run --example custom_check` prints the state of the check while the backlog grows. It
//! opens no port, because a `Health` can be read without one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_health::{
    BoxError, Check, ComponentType, Failure, Health, HealthCheck, Outcome, Reason, async_trait,
};

/// The number of messages in a queue, with two limits.
struct Backlog {
    waiting: Arc<AtomicU64>,
    warn_above: u64,
    fail_above: u64,
}

#[async_trait]
impl HealthCheck for Backlog {
    async fn check(&self) -> Result<Outcome, Failure> {
        // A real check would query its queue here. `?` turns any error into a failure.
        let waiting = self.waiting.load(Ordering::Relaxed);
        let outcome = match waiting {
            n if n > self.fail_above => Outcome::fail(Reason::LimitExceeded),
            n if n > self.warn_above => Outcome::warn(Reason::LimitNear),
            _ => Outcome::pass(),
        };
        Ok(outcome.measure("waiting", waiting, "messages"))
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::Datastore
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let waiting = Arc::new(AtomicU64::new(0));
    let backlog = Backlog {
        waiting: Arc::clone(&waiting),
        warn_above: 100,
        fail_above: 1_000,
    };
    let check = Check::new("backlog", backlog).period(Duration::from_millis(100));
    let health = Health::builder("orders").check(check).start()?;

    for messages in [5, 500, 5_000] {
        waiting.store(messages, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(400)).await;
        let check = health.check("backlog")?;
        println!(
            "{messages} waiting: {}, {:?}",
            check.status, check.measurements
        );
    }
    Ok(())
}
