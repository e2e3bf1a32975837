//! Checks that depend on others.

use std::time::Duration;

use tower_health::{
    Check, Health, Outcome, Probe, Reason, Status,
    config::HealthConfig,
    error::{ChangeError, ConfigError},
    report::{CheckReport, Name},
};

use crate::support::{Answer, Gate, SECOND, Scripted, after, ask, ms, ready, reason};

async fn get(health: &Health, path: &str) -> Answer {
    ask(&health.service(), path).await
}

fn why(health: &Health, check: &str) -> String {
    let report = health.check(check).unwrap();
    report.why().unwrap_or_default().into_owned()
}

fn whys<const N: usize>(health: &Health, checks: [&str; N]) -> [String; N] {
    checks.map(|check| why(health, check))
}

/// `schema` depends on `postgres`, which depends on `network`. All of them pass, one second after
/// the start.
async fn chain() -> (Health, [Scripted; 3]) {
    let scripts = [(); 3].map(|()| Scripted::new(Status::Pass));
    let [network, postgres, schema] = scripts.clone();
    let health = Health::builder("orders")
        .seed(7)
        // The order does not matter: a dependency may be registered later.
        .check(Check::new("schema", schema).depends_on("postgres"))
        .check(Check::new("postgres", postgres).depends_on("network"))
        .check(Check::new("network", network))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    (health, scripts)
}

/// `spool`, which blocks its thread at a gate, depends on `network`. Both pass, one second after
/// the start.
async fn spool() -> (Health, Gate, Scripted) {
    let (gate, network) = (Gate::default(), Scripted::new(Status::Pass));
    let spool = gate.check("spool").depends_on("network");
    let health = Health::builder("orders")
        .seed(7)
        .check(spool.timeout(300 * SECOND))
        .check(Check::new("network", network.clone()))
        .start()
        .unwrap();
    after(SECOND).await;
    (health, gate, network)
}

#[tokio::test(start_paused = true)]
async fn while_the_root_fails_its_dependents_do_not_run_and_name_the_root() {
    let (health, [network, postgres, schema]) = chain().await;
    network.set_outcome(Outcome::fail(Reason::Unreachable));
    health.run_now("network").await.unwrap();
    let blocked = "blocked by network";
    assert_eq!(
        whys(&health, ["network", "postgres", "schema"]),
        ["unreachable", blocked, blocked]
    );
    let runs = (postgres.runs(), schema.runs());
    after(3_600 * SECOND).await;
    assert_eq!((postgres.runs(), schema.runs()), runs);
    // A blocked check does not become stale.
    assert_eq!(why(&health, "schema"), blocked);
    let report = health.check("schema").unwrap();
    assert_eq!(report.status, Status::Fail);
    assert_eq!(report.blocked_by.as_deref(), Some("network"));
    assert_eq!(report.cause, None);
    let body = get(&health, "/health/schema").await.body;
    assert!(body.contains(r#""output":"blocked by network""#), "{body}");

    network.set_outcome(Status::Pass);
    health.run_now("network").await.unwrap();
    after(ms(500)).await;
    assert_eq!(whys(&health, ["network", "postgres", "schema"]), [""; 3]);
    assert_eq!((postgres.runs(), schema.runs()), (runs.0 + 1, runs.1 + 1));
    // Their schedules continue.
    after(30 * SECOND).await;
    assert!(schema.runs() > runs.1 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_dependent_that_fails_after_the_root_recovers_blocks_its_own_dependents() {
    let (health, [network, postgres, _]) = chain().await;
    network.set_outcome(Status::Fail);
    postgres.set_outcome(Outcome::fail(Reason::AuthenticationFailed));
    health.run_now("network").await.unwrap();
    assert_eq!(why(&health, "schema"), "blocked by network");
    network.set_outcome(Status::Pass);
    health.run_now("network").await.unwrap();
    after(ms(500)).await;
    assert_eq!(
        whys(&health, ["postgres", "schema"]),
        ["authentication failed", "blocked by postgres"]
    );
    postgres.set_outcome(Status::Pass);
    health.run_now("postgres").await.unwrap();
    after(ms(500)).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_run_in_progress_when_the_root_fails_is_discarded() {
    let (health, [network, postgres, _]) = chain().await;
    for says in [Status::Fail, Status::Pass] {
        postgres.set_outcome(says);
        postgres.set_duration(SECOND);
        let run = health.run_now("postgres");
        after(ms(100)).await;
        network.set_outcome(Status::Fail);
        health.run_now("network").await.unwrap();
        assert_eq!(why(&health, "postgres"), "blocked by network");
        after(2 * SECOND).await;
        assert_eq!(why(&health, "postgres"), "blocked by network");
        assert_eq!(run.await.unwrap().reason, Some(Reason::Blocked));
        network.set_outcome(Status::Pass);
        postgres.set_outcome(Status::Pass);
        postgres.set_duration(Duration::ZERO);
        health.run_now("network").await.unwrap();
        after(5 * SECOND).await;
        assert_eq!(ready(&health), Status::Pass);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_started_before_the_root_recovered_is_repeated() {
    let (health, [network, postgres, _]) = chain().await;
    postgres.set_outcome(Status::Fail);
    postgres.set_duration(SECOND);
    drop(health.run_now("postgres"));
    after(ms(100)).await;
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    assert_eq!(why(&health, "postgres"), "blocked by network");
    let runs = postgres.runs();
    network.set_outcome(Status::Pass);
    postgres.set_outcome(Status::Pass);
    health.run_now("network").await.unwrap();
    // The result of the run in progress is discarded: the run is cancelled, and the check is no
    // longer blocked.
    assert_eq!(why(&health, "postgres"), "pending");
    after(ms(1_100)).await;
    assert_eq!(
        (why(&health, "postgres").as_str(), postgres.runs()),
        ("", runs + 1)
    );
    assert_eq!(postgres.max_running(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_on_demand_run_that_hangs_is_reported_as_still_running_after_the_root_recovers() {
    let network = Scripted::new(Status::Pass);
    let gate = Gate::default();
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("network", network.clone()))
        .check(gate.check("ledger").depends_on("network").on_demand(SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    gate.set(true);
    drop(health.run_now("ledger"));
    after(5 * SECOND).await;
    assert_eq!(why(&health, "ledger"), "timed out");
    for says in [Status::Fail, Status::Pass] {
        network.set_outcome(says);
        health.run_now("network").await.unwrap();
        after(SECOND).await;
    }
    assert_eq!(why(&health, "ledger"), "still running");
    gate.set(false);
}

#[tokio::test(start_paused = true)]
async fn requesting_a_run_of_a_blocked_check_runs_nothing() {
    let (health, [network, postgres, _]) = chain().await;
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    let runs = postgres.runs();
    let report = health.run_now("postgres").await.unwrap();
    assert_eq!(report.reason, Some(Reason::Blocked));
    assert_eq!(postgres.runs(), runs);
}

#[tokio::test(start_paused = true)]
async fn the_criticality_of_the_blocked_check_decides_readiness() {
    let network = Scripted::new(Status::Fail);
    let behind = |name: &str| Check::new(name, Scripted::new(Status::Pass)).depends_on("network");
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("network", network.clone()).non_critical())
        .check(behind("search").non_critical())
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Warn);
    health.add(behind("postgres")).await.unwrap();
    assert_eq!(ready(&health), Status::Fail);
    network.set_outcome(Status::Pass);
    health.run_now("network").await.unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    // A shared check that has passed before takes no replica out of rotation.
    health.remove("postgres").await.unwrap();
    health.add(behind("ledger").shared()).await.unwrap();
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    assert_eq!(ready(&health), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn a_check_blocked_before_its_first_run_does_not_delay_startup() {
    let mut unasked = 0;
    // The order of the first runs is random.
    for seed in 0..16 {
        let behind = Scripted::new(Status::Pass);
        let health = Health::builder("orders")
            .seed(seed)
            .check(Check::new("network", Scripted::new(Status::Fail)))
            .check(Check::new("ledger", behind.clone()).depends_on("network"))
            .start()
            .unwrap();
        after(SECOND).await;
        assert_eq!(why(&health, "ledger"), "blocked by network");
        assert_eq!(health.verdict(Probe::Startup).status, Status::Pass);
        unasked += usize::from(behind.runs() == 0);
    }
    assert!((1..16).contains(&unasked), "{unasked} of 16");
}

#[tokio::test(start_paused = true)]
async fn a_stale_root_blocks_its_dependents() {
    let health = Health::builder("orders").seed(7).start().unwrap();
    let reporter = health.reporter("vpn", 10 * SECOND).await.unwrap();
    reporter.report(Status::Pass);
    let behind = Scripted::new(Status::Pass);
    let check = Check::new("ledger", behind.clone()).depends_on("vpn");
    assert_eq!(health.add(check).await.unwrap().status, Status::Pass);
    after(11 * SECOND).await;
    assert_eq!(
        whys(&health, ["vpn", "ledger"]),
        ["stale", "blocked by vpn"]
    );
    reporter.report(Status::Pass);
    after(ms(500)).await;
    assert_eq!(why(&health, "ledger"), "");
    // A root that is stale does not count as recovered.
    reporter.report(Status::Fail);
    after(ms(500)).await;
    assert_eq!(why(&health, "ledger"), "blocked by vpn");
    drop(reporter);
    after(20 * SECOND).await;
    assert_eq!(why(&health, "ledger"), "blocked by vpn");
}

#[tokio::test(start_paused = true)]
async fn an_on_demand_dependent_runs_once_when_the_root_recovers_and_then_when_read() {
    let network = Scripted::new(Status::Pass);
    let behind = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("network", network.clone()))
        .check(
            Check::new("ledger", behind.clone())
                .depends_on("network")
                .on_demand(SECOND),
        )
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(get(&health, "/health/ledger").await.status, 200);
    assert_eq!(behind.runs(), 1);
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    after(60 * SECOND).await;
    for _ in 0..10 {
        assert_eq!(get(&health, "/health/ledger").await.status, 503);
    }
    assert_eq!(behind.runs(), 1);
    network.set_outcome(Status::Pass);
    health.run_now("network").await.unwrap();
    after(SECOND).await;
    assert_eq!(behind.runs(), 2);
    assert_eq!(get(&health, "/health/ledger").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_unread_root_on_demand_blocks_nothing() {
    let network = Scripted::new(Status::Pass);
    let behind = Scripted::new(Status::Pass);
    let regular = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("network", network.clone()).on_demand(SECOND))
        .check(
            Check::new("ledger", behind.clone())
                .depends_on("network")
                .on_demand(SECOND),
        )
        .check(Check::new("stock", regular.clone()).depends_on("network"))
        .start()
        .unwrap();
    after(SECOND).await;
    for _ in 0..6 {
        assert_eq!(get(&health, "/ready").await.status, 200);
        after(60 * SECOND).await;
        assert_eq!(why(&health, "stock"), "");
    }
    network.set_outcome(Status::Fail);
    assert_eq!(get(&health, "/ready").await.status, 503);
    after(SECOND).await;
    assert_eq!(
        whys(&health, ["ledger", "stock"]),
        ["blocked by network", "blocked by network"]
    );
    network.set_outcome(Status::Pass);
    after(60 * SECOND).await;
    for _ in 0..6 {
        assert_eq!(get(&health, "/ready").await.status, 200);
        after(60 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hung_while_the_root_failed_and_recovered_is_repeated() {
    let (health, [network, postgres, _]) = chain().await;
    postgres.set_duration(60 * SECOND);
    drop(health.run_now("postgres"));
    after(ms(100)).await;
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    let runs = postgres.runs();
    postgres.set_duration(Duration::ZERO);
    network.set_outcome(Status::Pass);
    health.run_now("network").await.unwrap();
    after(ms(10)).await;
    assert_eq!(why(&health, "postgres"), "");
    assert_eq!(postgres.runs(), runs + 1);
}

/// Blocking code cannot be cancelled, and is not started a second time. The check is no longer
/// blocked nevertheless.
#[tokio::test(start_paused = true)]
async fn a_check_that_blocks_its_thread_is_not_blocked_once_the_root_recovers() {
    let (health, gate, network) = spool().await;
    gate.set(true);
    let run = health.run_now("spool");
    after(ms(10)).await;
    for (says, why_not) in [
        (Status::Fail, "blocked by network"),
        (Status::Pass, "pending"),
    ] {
        network.set_outcome(says);
        health.run_now("network").await.unwrap();
        assert_eq!(why(&health, "spool"), why_not);
    }
    gate.set(false);
    run.await.unwrap();
    health.run_now("spool").await.unwrap();
    assert_eq!(why(&health, "spool"), "");
}

/// A check is no longer blocked once its root has recovered, however many passes it needs.
#[tokio::test(start_paused = true)]
async fn a_check_with_pass_after_two_is_not_blocked_after_the_first_pass() {
    let network = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .seed(7)
        .check(
            Check::new("db", Scripted::new(Status::Pass))
                .pass_after(3)
                .depends_on("network"),
        )
        .check(Check::new("network", network.clone()))
        .start()
        .unwrap();
    after(60 * SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    for says in [Status::Fail, Status::Pass] {
        network.set_outcome(says);
        health.run_now("network").await.unwrap();
    }
    for _ in 0..2 {
        let db = health.run_now("db").await.unwrap();
        assert_eq!(
            (db.why().as_deref(), db.blocked_by),
            (Some("pending"), None)
        );
    }
    let db = health.run_now("db").await.unwrap();
    assert_eq!(db.why(), None);
}

/// A queued run whose root fails and recovers is run once, and does not count as hanging.
#[tokio::test(start_paused = true)]
async fn a_queued_check_whose_root_fails_and_recovers_runs_once() {
    let hog = Scripted::new(Status::Pass).duration(SECOND);
    let db = Scripted::new(Status::Pass).duration(ms(1_500));
    let health = Health::builder("orders")
        .seed(7)
        .concurrency(1)
        .check(Check::new("hog", hog))
        .start()
        .unwrap();
    let leader = health.reporter("leader", 60 * SECOND).await.unwrap();
    leader.report(Status::Pass);
    let behind = Check::new("db", db.clone()).depends_on("leader");
    health.add(behind).await.unwrap();
    let hogs = health.run_now("hog");
    after(ms(1)).await;
    let run = health.run_now("db");
    after(ms(1)).await;
    let runs = db.runs();
    for says in [Status::Fail, Status::Pass] {
        leader.report(says);
    }
    hogs.await.unwrap();
    run.await.unwrap();
    after(3 * SECOND).await;
    assert_eq!(why(&health, "db"), "");
    assert!(db.runs() <= runs + 2, "{} runs", db.runs() - runs);
}

/// A check that all replicas share is not run more often because its dependency flaps.
#[tokio::test(start_paused = true)]
async fn a_shared_check_with_a_flapping_root_keeps_its_period() {
    let (network, db) = (Scripted::new(Status::Pass), Scripted::new(Status::Pass));
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("db", db.clone()).shared().depends_on("network"))
        .check(Check::new("network", network.clone()))
        .start()
        .unwrap();
    after(SECOND).await;
    // This holds for any duration of the run, whether or not the run ends before the next change.
    for takes in [Duration::ZERO, ms(300), ms(1_500)] {
        db.set_duration(takes);
        let runs = db.runs();
        for second in 0..100 {
            network.set_outcome([Status::Fail, Status::Pass][second % 2]);
            health.run_now("network").await.unwrap();
            after(SECOND).await;
        }
        let asked = db.runs() - runs;
        assert!((5..=11).contains(&asked), "{asked} in {takes:?}");
    }
}

/// A request for a run of a blocked check returns the blocked state, even though an earlier run has
/// not ended.
#[tokio::test(start_paused = true)]
async fn a_requested_run_of_a_blocked_check_returns_without_waiting_for_an_old_run() {
    let (health, gate, network) = spool().await;
    gate.set(true);
    drop(health.run_now("spool"));
    after(ms(10)).await;
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    let asked = tokio::time::timeout(SECOND, health.run_now("spool")).await;
    let spool = asked.expect("an answer").unwrap();
    assert_eq!(spool.why().as_deref(), Some("blocked by network"));
    gate.set(false);
}

/// A reader of a check on demand requests its dependencies, too. A root that nobody reads does not
/// block other checks forever.
#[tokio::test(start_paused = true)]
async fn reading_a_dependent_requests_its_roots_on_demand() {
    let network = Scripted::new(Status::Fail);
    let ok = || Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("network", network.clone()).on_demand(60 * SECOND))
        .check(
            Check::new("ledger", ok())
                .on_demand(60 * SECOND)
                .depends_on("network"),
        )
        .check(Check::new("stock", ok()).depends_on("network"))
        .start()
        .unwrap();
    assert_eq!(get(&health, "/health/network").await.status, 503);
    after(SECOND).await;
    assert_eq!(
        whys(&health, ["ledger", "stock"]),
        ["blocked by network", "blocked by network"]
    );
    network.set_outcome(Status::Pass);
    // Only this check is read, and only from time to time.
    for _ in 0..3 {
        after(5 * SECOND).await;
        get(&health, "/health/ledger").await;
    }
    after(SECOND).await;
    assert_eq!(whys(&health, ["network", "ledger", "stock"]), [""; 3]);
    assert!(network.runs() <= 4, "{}", network.runs());
    // The root fails again, and nobody reads it.
    network.set_outcome(Status::Fail);
    after(60 * SECOND).await;
    assert_eq!(get(&health, "/health/network").await.status, 200);
    after(SECOND).await;
    assert_eq!(why(&health, "stock"), "blocked by network");
    after(600 * SECOND).await;
    assert_eq!(whys(&health, ["network", "stock"]), ["stale", ""]);
}

/// A worker that stops on purpose and restarts is a dependency as before.
#[tokio::test(start_paused = true)]
async fn a_re_registered_root_is_a_dependency_again() {
    let health = Health::builder("orders").seed(7).start().unwrap();
    let consumer = async || health.heartbeat("consumer", 30 * SECOND).await.unwrap();
    let beat = consumer().await;
    let lag = Check::new("lag", Scripted::new(Status::Pass)).depends_on("consumer");
    health.add(lag).await.unwrap();
    let refused = health.remove("consumer").await.unwrap_err();
    assert!(
        matches!(refused, ChangeError::HasDependents(_)),
        "{refused}"
    );
    beat.stop();
    after(SECOND).await;
    assert_eq!(why(&health, "lag"), "");
    // A replacement of the check depends on it as before.
    let lag = Check::new("lag", Scripted::new(Status::Pass)).depends_on("consumer");
    health.replace(lag).await.unwrap();
    let beat = consumer().await;
    beat.tick();
    after(SECOND).await;
    assert_eq!(why(&health, "lag"), "");
    drop(beat);
    after(SECOND).await;
    assert_eq!(
        whys(&health, ["consumer", "lag"]),
        ["died", "blocked by consumer"]
    );
    let beat = consumer().await;
    beat.tick();
    after(SECOND).await;
    assert_eq!(whys(&health, ["consumer", "lag"]), ["", ""]);
    // A dependent that was removed permanently is forgotten.
    health.remove("lag").await.unwrap();
    beat.stop();
    after(SECOND).await;
    let beat = consumer().await;
    drop(beat);
    assert!(health.check("lag").is_err());
}

#[tokio::test(start_paused = true)]
async fn dependency_cycles_and_unknown_names_are_errors() {
    let behind =
        |name: &str, root: &str| Check::new(name, || async { Status::Pass }).depends_on(root);
    let error = Health::builder("orders")
        .check(behind("a", "b"))
        .check(behind("b", "c"))
        .check(behind("c", "a"))
        .check(behind("d", "posgres"))
        .check(behind("e", "e"))
        .check(behind("f", "The Network"))
        .start()
        .unwrap_err();
    let problems: Vec<String> = error
        .problems()
        .iter()
        .map(ConfigError::to_string)
        .collect();
    assert_eq!(
        problems,
        [
            "checks depend on each other in a cycle, c -> a -> b -> c: remove one `depends_on`",
            "check \"d\": `depends_on`: no check is named \"posgres\" (registered: a, b, c, d, e, f)",
            "checks depend on each other in a cycle, e -> e: remove one `depends_on`",
            "check \"f\": `depends_on`: the name \"The Network\" has a character outside `a-z 0-9 . _ -`: try `the-network`",
        ]
    );
    let health = Health::builder("orders")
        .check(behind("a", "b"))
        .check(Check::new("b", || async { Status::Pass }))
        .start()
        .unwrap();
    let refused = |error: ChangeError| error.to_string();
    let circle = health.replace(behind("b", "a")).await.unwrap_err();
    assert!(refused(circle).contains("in a cycle, b -> a -> b"));
    let unknown = health.add(behind("c", "d")).await.unwrap_err();
    assert!(refused(unknown).contains("no check is named \"d\""));
    let needed = health.remove("b").await.unwrap_err();
    assert_eq!(
        needed,
        ChangeError::HasDependents(vec![Name::new("a").unwrap()])
    );
    assert!(refused(needed).ends_with("others depend on it: first remove a"));
    health
        .replace(Check::new("a", || async { Status::Pass }))
        .await
        .unwrap();
    health.remove("b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disabled_root_blocks_nothing() {
    let config: HealthConfig =
        serde_json::from_str(r#"{"checks": {"network": {"enabled": false}}}"#).unwrap();
    let health = Health::builder("orders")
        .check(Check::new("network", || async { Status::Fail }))
        .check(Check::new("ledger", || async { Status::Pass }).depends_on("network"))
        .config(config)
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn dependents_of_a_disabled_check_depend_on_its_root() {
    let config: HealthConfig =
        serde_json::from_str(r#"{"checks": {"postgres": {"enabled": false}}}"#).unwrap();
    let health = Health::builder("orders")
        .check(Check::new("schema", || async { Status::Pass }).depends_on("postgres"))
        .check(Check::new("postgres", || async { Status::Pass }).depends_on("network"))
        .check(Check::new("network", || async { Status::Fail }))
        .config(config)
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(why(&health, "schema"), "blocked by network");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_check_has_its_new_dependencies() {
    let (health, [network, ..]) = chain().await;
    network.set_outcome(Status::Fail);
    health.run_now("network").await.unwrap();
    let free: CheckReport = health
        .replace(Check::new("postgres", || async { Status::Pass }))
        .await
        .unwrap();
    assert_eq!(free.status, Status::Pass);
    after(ms(500)).await;
    assert_eq!(why(&health, "schema"), "");
    let behind = Check::new("postgres", || async { Status::Pass }).depends_on("network");
    let blocked = health.replace(behind).await.unwrap();
    assert_eq!(blocked.reason, Some(Reason::Blocked));
    assert_eq!(why(&health, "schema"), "blocked by network");
}

// Durations of runs

#[tokio::test(start_paused = true)]
async fn a_slow_run_is_a_warning_with_a_smoothed_duration() {
    let db = Scripted::new(Status::Pass).duration(ms(100));
    let check = Check::new("db", db.clone()).warn_above(ms(150));
    let health = Health::builder("orders")
        .seed(7)
        .check(check)
        .start()
        .unwrap();
    after(SECOND).await;
    let report = health.check("db").unwrap();
    assert_eq!(
        (report.status, report.smoothed_duration),
        (Status::Pass, Some(ms(100)))
    );
    db.set_duration(ms(300));
    health.run_now("db").await.unwrap();
    assert_eq!(reason(&health, "db"), Some(Reason::Slow));
    assert_eq!(ready(&health), Status::Warn);
    let report = health.check("db").unwrap();
    assert_eq!(report.last_run.unwrap().duration, ms(300));
    assert_eq!(report.smoothed_duration, Some(ms(150)));
    let body = get(&health, "/health").await.body;
    let smoothed = r#""db:smoothedResponseTime":[{"componentId":"db","componentType":"component","observedValue":150.0,"observedUnit":"ms""#;
    assert!(body.contains(smoothed), "{body}");
    // A failure has no response time, however long it takes. It does not become a warning, either.
    db.set_outcome(Status::Fail);
    health.run_now("db").await.unwrap();
    assert_eq!(reason(&health, "db"), Some(Reason::Failed));
    assert_eq!(health.check("db").unwrap().smoothed_duration, Some(ms(150)));
    db.set_outcome(Outcome::warn(Reason::Busy));
    health.run_now("db").await.unwrap();
    assert_eq!(reason(&health, "db"), Some(Reason::Busy));
    let error = Health::builder("orders")
        .check(Check::new("db", db).warn_above(Duration::from_secs(2)))
        .start()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`warn_above` (2s) is not shorter than `timeout` (2s)")
    );
}
