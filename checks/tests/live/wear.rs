//! Resources that are left behind after many runs.

use std::{future::Future, time::Duration};

use tower_health::{HealthCheck, Status};

/// Runs a check a thousand times, and drops a hundred further runs before they end.
pub(crate) async fn wear(check: &impl HealthCheck) {
    for run in 0..1_000 {
        let outcome = check.check().await.unwrap();
        assert_eq!(outcome.status(), Status::Pass, "run {run}: {outcome:?}");
    }
    for run in 0..100 {
        // Each run is dropped at another point, some before the first poll ends, some near the end.
        let time = Duration::from_micros(run * 20);
        drop(tokio::time::timeout(time, check.check()).await);
    }
}

/// Waits until a condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let becomes_so = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), becomes_so).await;
    assert!(in_time.is_ok(), "never: {what}");
}
