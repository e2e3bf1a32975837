//! The cost of many checks while nothing reads them, the distribution of their runs over time, and
//! the runs that concurrent probes add.

mod goals;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use goals::Goals;
use http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::sleep,
};
use tower::ServiceExt;
use tower_health::{Check, Health, Probe, Status};

const CHECKS: usize = 10_000;
const PERIOD: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const SECONDS: u32 = 30;

fn main() {
    let mut goals = Goals::default();
    memory(&mut goals);
    println!("without a recorder:");
    let per_cent = time(&mut goals);
    goals.at_most("per cent of a core", per_cent, 3.0);
    for probes in [1_000, 10_000] {
        crowd(probes, &mut goals);
    }
    // The recorder stays installed.
    let recorder = PrometheusBuilder::new().install_recorder();
    let recorder = recorder.expect("the first recorder");
    println!("with the recorder of metrics-exporter-prometheus:");
    let with_recorder = time(&mut goals);
    println!("{with_recorder:.1} per cent of a core");
    assert!(recorder.render().contains("check-00000"));
    goals.conclude();
}

/// Starts a health with this many checks. All checks count their runs in `runs`.
fn start(runtime: &Runtime, checks: usize, runs: &Arc<AtomicU64>) -> Health {
    let check = |index| {
        let check = Check::with(
            format!("check-{index:05}"),
            Arc::clone(runs),
            |runs| async move {
                runs.fetch_add(1, Ordering::Relaxed);
                Status::Pass
            },
        );
        check.period(PERIOD)
    };
    runtime.block_on(async {
        let health = Health::builder("orders").checks((0..checks).map(check));
        let health = health.start().expect("valid checks");
        let ready = health.wait_until(Probe::Readiness, Status::Pass).await;
        ready.expect("a running engine");
        health
    })
}

fn memory(goals: &mut Goals) {
    let bytes = |checks| {
        let mut kept = None;
        // `measure` counts the allocations of this thread only.
        let counts = allocation_counter::measure(|| {
            let runtime = Builder::new_current_thread().enable_time().build();
            let runtime = runtime.expect("a runtime");
            let health = start(&runtime, checks, &Arc::default());
            kept = Some((runtime, health));
        });
        counts.bytes_current as f64
    };
    let each = (bytes(CHECKS) - bytes(0)) / CHECKS as f64;
    goals.at_most("bytes a check", each, 2048.0);
}

/// Returns the share of a core that the engine uses, in percent.
fn time(goals: &mut Goals) -> f64 {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let runs: Arc<AtomicU64> = Arc::default();
    let _health = start(&runtime, CHECKS, &runs);
    // The second runs are spread over a period and a tenth of it.
    thread::sleep(PERIOD * 12 / 10);

    let (cpu_before, began) = (cpu_time(), Instant::now());
    let mut last = runs.load(Ordering::Relaxed);
    let seconds: Vec<u64> = (1..=SECONDS)
        .map(|second| {
            thread::sleep((began + SECOND * second).saturating_duration_since(Instant::now()));
            let before = std::mem::replace(&mut last, runs.load(Ordering::Relaxed));
            last - before
        })
        .collect();
    let share = (cpu_time() - cpu_before).as_secs_f64() / began.elapsed().as_secs_f64();
    let mean = seconds.iter().sum::<u64>() as f64 / f64::from(SECONDS);
    let busiest = seconds.into_iter().max().unwrap_or_default() as f64;

    println!("{mean:.0} runs a second, {:.1} µs each", share / mean * 1e6);
    goals.at_most("the busiest second over the mean", busiest / mean, 1.3);
    share * 100.0
}

/// Returns the processor time of this process, in user mode and in the kernel.
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| TICK * ticks.parse::<u32>().expect("a number"))
        .sum()
}

/// Sends many concurrent probes of readiness, during the first run of a slow check and after it.
fn crowd(probes: u64, goals: &mut Goals) {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runs: Arc<AtomicU64> = Arc::default();
    let check = Check::with("slow", Arc::clone(&runs), |runs| async move {
        runs.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(50)).await;
        Status::Pass
    });
    runtime.expect("a runtime").block_on(async {
        let health = Health::builder("orders").check(check).start();
        let health = health.expect("valid checks");
        let mut answers = JoinSet::new();
        for _ in 0..probes {
            let service = health.service();
            let ask = move || service.clone().oneshot(get_ready());
            answers.spawn(async move {
                let early = ask().await.expect("an answer").status();
                sleep(Duration::from_millis(400)).await;
                (early, ask().await.expect("an answer").status())
            });
        }
        for (early, late) in answers.join_all().await {
            assert_eq!((early.as_u16(), late.as_u16()), (503, 200));
        }
    });
    let beyond = runs.load(Ordering::Relaxed) - 1;
    goals.at_most(
        &format!("runs beyond schedule for {probes} concurrent probes"),
        beyond as f64,
        0.0,
    );
}

fn get_ready() -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = http::Uri::from_static("/ready");
    request
}
