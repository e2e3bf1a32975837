//! A runtime that is as busy as possible for some time is not reported as stalled. The observations
//! are printed.

use std::{
    thread,
    time::{Duration, Instant},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use tower_health::{Health, Probe, Status};

const WORKERS: usize = 2;
const TASKS: usize = 8;

/// How long a task blocks its worker at a time. That is far longer than any task should.
const BUSY: Duration = Duration::from_millis(100);
const SOAK: Duration = Duration::from_secs(15);

#[test]
fn a_busy_runtime_is_not_stalled() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .unwrap();
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .watchdog(Duration::from_secs(10))
        .start()
        .unwrap();
    for _ in 0..TASKS {
        runtime.spawn(async {
            loop {
                let began = Instant::now();
                while began.elapsed() < BUSY {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let lag = || {
        let told = metrics.render();
        let line = told
            .lines()
            .find(|line| line.starts_with("health_runtime_lag_seconds{"))?;
        line.rsplit_once(' ')?.1.parse::<f64>().ok()
    };
    let (began, mut longest, mut warned) = (Instant::now(), 0.0_f64, false);
    while began.elapsed() < SOAK {
        let liveness = health.verdict(Probe::Liveness);
        assert_ne!(liveness.status, Status::Fail, "{liveness:?}");
        warned |= liveness.status == Status::Warn;
        longest = longest.max(lag().unwrap_or_default());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(longest > 0.0, "nobody measured");
    println!(
        "{WORKERS} workers, {TASKS} tasks of {BUSY:?} each, for {SOAK:?}: a lag of {longest:.2} s at most, {}",
        if warned {
            "warned of"
        } else {
            "not worth a warning"
        },
    );
    // The metric has no value once nothing measures it.
    runtime.shutdown_background();
    let ended = Instant::now();
    while !lag().is_some_and(f64::is_nan) {
        assert!(ended.elapsed() < Duration::from_secs(60), "{:?}", lag());
        thread::sleep(Duration::from_millis(20));
    }
}
