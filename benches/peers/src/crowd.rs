//! How many runs of a check that takes 50 ms do concurrent probes cause?

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::peers::{self, CHECKS, Work};

#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl Work for Counted {
    async fn work(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::main]
pub(crate) async fn compare() -> Result<(), Box<dyn Error>> {
    println!("| concurrent probes | crate | runs of each check that they caused |");
    println!("| ---: | --- | ---: |");
    for probes in [1_000, 10_000] {
        let (ours, axum_health, health_checks, health) =
            <(Counted, Counted, Counted, Counted)>::default();
        let services = [
            (
                "tower-health",
                peers::tower_health_layer(ours.clone()).await,
                ours,
            ),
            (
                "axum-health",
                peers::axum_health(axum_health.clone()).await,
                axum_health,
            ),
            (
                "health-checks",
                peers::health_checks(health_checks.clone()).await,
                health_checks,
            ),
            ("health", peers::health(health.clone()).await, health),
        ];
        // Checks that run without a probe have run once by then.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for (name, service, Counted(runs)) in services {
            let before = runs.load(Ordering::Relaxed);
            crowd(service, probes).await;
            let caused = (runs.load(Ordering::Relaxed) - before) as f64 / CHECKS as f64;
            println!("| {probes} | {name} | {caused} |");
        }
    }
    Ok(())
}

async fn crowd(service: Router, probes: usize) {
    let mut answers = JoinSet::new();
    for _ in 0..probes {
        let request = Request::get("/ready").body(Body::empty());
        answers.spawn(service.clone().oneshot(request.expect("a request")));
    }
    for answer in answers.join_all().await {
        let Ok(answer) = answer;
        assert_eq!(answer.status(), 200);
    }
}
