use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time::advance};
use tower_health::{
    HealthCheck, Outcome, Reason, Status, checks::Queue, outcome::Value, testing::Contract,
};

use crate::support::thousand_runs;

const MINUTE: Duration = Duration::from_secs(60);

async fn said(check: &Queue) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

fn measured<'a>(outcome: &'a Outcome, name: &str) -> Option<(&'a Value, &'a str)> {
    let mut all = outcome.measurements().iter();
    let found = all.find(|measurement| measurement.name == name)?;
    Some((&found.value, &*found.unit))
}

#[tokio::test]
async fn a_channel_warns_when_nearly_full_and_fails_when_closed() {
    let (sender, mut receiver) = mpsc::channel(10);
    let check = Queue::of_channel(&sender);
    assert_eq!(said(&check).await, (Status::Pass, None));
    for number in 0..8 {
        sender.send(number).await.unwrap();
    }
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass);
    assert_eq!(
        measured(&outcome, "backlog"),
        Some((&Value::Integer(8), ""))
    );
    assert_eq!(
        measured(&outcome, "utilization"),
        Some((&Value::Float(80.0), "percent"))
    );
    sender.send(8).await.unwrap();
    assert_eq!(said(&check).await, (Status::Warn, Some(Reason::LimitNear)));
    sender.send(9).await.unwrap();
    assert_eq!(said(&check).await, (Status::Warn, Some(Reason::Busy)));
    for _ in 0..5 {
        receiver.recv().await.unwrap();
    }
    assert_eq!(said(&check).await, (Status::Pass, None));
    drop(receiver);
    assert_eq!(said(&check).await, (Status::Fail, Some(Reason::Died)));
}

#[tokio::test]
async fn the_check_does_not_keep_the_channel_open() {
    let (sender, mut receiver) = mpsc::channel::<u8>(10);
    let check = Queue::of_channel(&sender);
    assert_eq!(said(&check).await, (Status::Pass, None));
    drop(sender);
    assert_eq!(receiver.recv().await, None);
    assert_eq!(said(&check).await, (Status::Fail, Some(Reason::Died)));
}

#[tokio::test]
async fn custom_bounds_decide_the_status() {
    let waiting = Arc::new(AtomicU64::new(0));
    let queue = || {
        let waiting = Arc::clone(&waiting);
        Queue::of(move || waiting.load(Ordering::Relaxed))
    };
    let unbounded = queue();
    let bounded = queue().warn_above(10).fail_above(20);
    let full = queue().capacity(20).fail_above(19);
    for (backlog, bounded_says, full_says) in [
        (10, (Status::Pass, None), (Status::Pass, None)),
        (
            11,
            (Status::Warn, Some(Reason::LimitNear)),
            (Status::Pass, None),
        ),
        (
            20,
            (Status::Warn, Some(Reason::LimitNear)),
            (Status::Fail, Some(Reason::LimitExceeded)),
        ),
        (
            21,
            (Status::Fail, Some(Reason::LimitExceeded)),
            (Status::Fail, Some(Reason::LimitExceeded)),
        ),
    ] {
        waiting.store(backlog, Ordering::Relaxed);
        assert_eq!(said(&bounded).await, bounded_says, "{backlog}");
        assert_eq!(said(&full).await, full_says, "{backlog}");
        assert_eq!(said(&unbounded).await, (Status::Pass, None));
    }
    let outcome = unbounded.check().await.unwrap();
    assert_eq!(measured(&outcome, "utilization"), None);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_grows_steadily_warns_before_its_bound() {
    let (sender, mut receiver) = mpsc::channel(1_000);
    let check = Queue::of_channel(&sender).warn_before(60 * MINUTE);
    // The backlog grows by ten per minute, so from 400 on the queue is full within an hour. The
    // third run after that reports it.
    let mut backlog = 0;
    let warned_at = loop {
        let outcome = check.check().await.unwrap();
        match outcome.status() {
            Status::Pass if backlog < 790 => {}
            status => {
                assert_eq!(
                    (status, outcome.reason()),
                    (Status::Warn, Some(Reason::LimitNear))
                );
                assert_eq!(
                    measured(&outcome, "time_left"),
                    Some((&Value::Float(3_480.0), "s"))
                );
                break backlog;
            }
        }
        for _ in 0..10 {
            sender.send(backlog).await.unwrap();
            backlog += 1;
        }
        advance(MINUTE).await;
    };
    assert_eq!(warned_at, 420);
    // The backlog is processed.
    while receiver.try_recv().is_ok() {}
    advance(MINUTE).await;
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass);
    assert_eq!(measured(&outcome, "time_left"), None);
}

/// Returns the outcome of the last of three runs with this backlog.
async fn said_of(queue: Queue, waiting: &AtomicU64, backlog: u64) -> (Status, Option<Reason>) {
    waiting.store(backlog, Ordering::Relaxed);
    said(&queue).await;
    said(&queue).await;
    said(&queue).await
}

#[tokio::test(start_paused = true)]
async fn a_backlog_exactly_at_its_bound_passes_with_a_forecast() {
    let waiting = Arc::new(AtomicU64::new(0));
    let queue = || {
        let waiting = Arc::clone(&waiting);
        Queue::of(move || waiting.load(Ordering::Relaxed)).warn_before(MINUTE)
    };
    const PASS: (Status, Option<Reason>) = (Status::Pass, None);
    assert_eq!(said_of(queue().fail_above(0), &waiting, 0).await, PASS);
    assert_eq!(said_of(queue().fail_above(20), &waiting, 20).await, PASS);
    assert_eq!(said_of(queue().warn_above(20), &waiting, 20).await, PASS);
    let full = said_of(queue().capacity(20), &waiting, 20).await;
    assert_eq!(full, (Status::Warn, Some(Reason::Busy)));
}

#[tokio::test(start_paused = true)]
async fn a_forecast_of_zero_duration_never_warns() {
    let waiting = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&waiting);
    let gauge = move || counted.fetch_add(1, Ordering::Relaxed);
    let queue = Queue::of(gauge).fail_above(100).warn_before(Duration::ZERO);
    for _ in 0..=100 {
        let outcome = queue.check().await.unwrap();
        assert_eq!(outcome.status(), Status::Pass, "{outcome:?}");
        assert_eq!(measured(&outcome, "time_left"), None);
        advance(MINUTE).await;
    }
}

#[tokio::test]
async fn contract() {
    let (sender, receiver) = mpsc::channel::<u8>(10);
    let queue = Contract::new(|| Queue::of_channel(&sender).warn_before(MINUTE));
    queue.expect(Status::Pass).assert().await;
    thousand_runs(&Queue::of_channel(&sender)).await;
    drop(receiver);
    let queue = Contract::new(|| Queue::of_channel(&sender));
    queue.expect(Status::Fail).assert().await;
}
