//! Checks that stand behind others.

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

/// `schema` behind `postgres` behind `network`, all good, a second after the start.
async fn chain() -> (Health, [Scripted; 3]) {
    let scripts = [(); 3].map(|()| Scripted::new(Status::Pass));
    let [network, postgres, schema] = scripts.clone();
    let health = Health::builder("orders")
        .seed(7)
        // In no order: what is depended on may be registered later.
        .check(Check::new("schema", schema).depends_on("postgres"))
        .check(Check::new("postgres", postgres).depends_on("network"))
        .check(Check::new("network", network))
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    (health, scripts)
}

/// `spool`, which blocks its thread at a gate, behind `network`, both good, a second after the start.
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
async fn while_the_root_fails_nothing_behind_it_is_run_and_the_report_names_the_root() {
    let (health, [network, postgres, schema]) = chain().await;
    network.say(Outcome::fail(Reason::Unreachable));
    health.run_now("network").await.unwrap();
    let blocked = "blocked by network";
    assert_eq!(
        whys(&health, ["network", "postgres", "schema"]),
        ["unreachable", blocked, blocked]
    );
    let runs = (postgres.runs(), schema.runs());
    after(3_600 * SECOND).await;
    assert_eq!((postgres.runs(), schema.runs()), runs);
    // That is not what becomes too old.
    assert_eq!(why(&health, "schema"), blocked);
    let report = health.check("schema").unwrap();
    assert_eq!(report.status, Status::Fail);
    assert_eq!(report.blocked_by.as_deref(), Some("network"));
    assert_eq!(report.cause, None);
    let body = get(&health, "/health/schema").await.body;
    assert!(body.contains(r#""output":"blocked by network""#), "{body}");

    network.say(Status::Pass);
    health.run_now("network").await.unwrap();
    after(ms(500)).await;
    assert_eq!(whys(&health, ["network", "postgres", "schema"]), [""; 3]);
    assert_eq!((postgres.runs(), schema.runs()), (runs.0 + 1, runs.1 + 1));
    // And on they go.
    after(30 * SECOND).await;
    assert!(schema.runs() > runs.1 + 2);
}

#[tokio::test(start_paused = true)]
async fn who_fails_for_itself_behind_a_root_that_is_back_blocks_what_is_behind_it() {
    let (health, [network, postgres, _]) = chain().await;
    network.say(Status::Fail);
    postgres.say(Outcome::fail(Reason::AuthenticationFailed));
    health.run_now("network").await.unwrap();
    assert_eq!(why(&health, "schema"), "blocked by network");
    network.say(Status::Pass);
    health.run_now("network").await.unwrap();
    after(ms(500)).await;
    assert_eq!(
        whys(&health, ["postgres", "schema"]),
        ["authentication failed", "blocked by postgres"]
    );
    postgres.say(Status::Pass);
    health.run_now("postgres").await.unwrap();
    after(ms(500)).await;
    assert_eq!(ready(&health), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_under_way_when_the_root_fails_tells_nothing() {
    let (health, [network, postgres, _]) = chain().await;
    for says in [Status::Fail, Status::Pass] {
        postgres.say(says);
        postgres.take(SECOND);
        let run = health.run_now("postgres");
        after(ms(100)).await;
        network.say(Status::Fail);
        health.run_now("network").await.unwrap();
        assert_eq!(why(&health, "postgres"), "blocked by network");
        after(2 * SECOND).await;
        assert_eq!(why(&health, "postgres"), "blocked by network");
        assert_eq!(run.await.unwrap().reason, Some(Reason::Blocked));
        network.say(Status::Pass);
        postgres.say(Status::Pass);
        postgres.take(Duration::ZERO);
        health.run_now("network").await.unwrap();
        after(5 * SECOND).await;
        assert_eq!(ready(&health), Status::Pass);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_run_met_before_the_root_was_back_is_asked_anew() {
    let (health, [network, postgres, _]) = chain().await;
    postgres.say(Status::Fail);
    postgres.take(SECOND);
    drop(health.run_now("postgres"));
    after(ms(100)).await;
    network.say(Status::Fail);
    health.run_now("network").await.unwrap();
    assert_eq!(why(&health, "postgres"), "blocked by network");
    let runs = postgres.runs();
    network.say(Status::Pass);
    postgres.say(Status::Pass);
    health.run_now("network").await.unwrap();
    // What the run that is under way met is of no interest: it is ended, and nothing blocks the check any more.
    assert_eq!(why(&health, "postgres"), "pending");
    after(ms(1_100)).await;
    assert_eq!(
        (why(&health, "postgres").as_str(), postgres.runs()),
        ("", runs + 1)
    );
    assert_eq!(postgres.most_running(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_demand_a_run_that_hangs_is_no_end_of_it() {
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
        network.say(says);
        health.run_now("network").await.unwrap();
        after(SECOND).await;
    }
    assert_eq!(why(&health, "ledger"), "still running");
    gate.set(false);
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_run_of_what_is_blocked_runs_nothing() {
    let (health, [network, postgres, _]) = chain().await;
    network.say(Status::Fail);
    health.run_now("network").await.unwrap();
    let runs = postgres.runs();
    let report = health.run_now("postgres").await.unwrap();
    assert_eq!(report.reason, Some(Reason::Blocked));
    assert_eq!(postgres.runs(), runs);
}

#[tokio::test(start_paused = true)]
async fn readiness_goes_by_the_criticality_of_what_is_blocked() {
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
    network.say(Status::Pass);
    health.run_now("network").await.unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Pass);
    // One that was good once, and that all replicas share, takes none of them out.
    health.remove("postgres").await.unwrap();
    health.add(behind("ledger").shared()).await.unwrap();
    network.say(Status::Fail);
    health.run_now("network").await.unwrap();
    assert_eq!(ready(&health), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn what_is_blocked_before_its_first_run_holds_no_startup() {
    let mut unasked = 0;
    // Which of them is first is a matter of chance.
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
async fn a_root_of_which_nothing_is_heard_any_more_blocks_too() {
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
    // That nothing is heard any more is no news that it is well.
    reporter.report(Status::Fail);
    after(ms(500)).await;
    assert_eq!(why(&health, "ledger"), "blocked by vpn");
    drop(reporter);
    after(20 * SECOND).await;
    assert_eq!(why(&health, "ledger"), "blocked by vpn");
}

#[tokio::test(start_paused = true)]
async fn on_demand_it_is_run_once_when_the_root_is_back_and_then_as_it_is_read() {
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
    network.say(Status::Fail);
    health.run_now("network").await.unwrap();
    after(60 * SECOND).await;
    for _ in 0..10 {
        assert_eq!(get(&health, "/health/ledger").await.status, 503);
    }
    assert_eq!(behind.runs(), 1);
    network.say(Status::Pass);
    health.run_now("network").await.unwrap();
    after(SECOND).await;
    assert_eq!(behind.runs(), 2);
    assert_eq!(get(&health, "/health/ledger").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_root_on_demand_that_nobody_asked_for_blocks_nobody() {
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
    network.say(Status::Fail);
    assert_eq!(get(&health, "/ready").await.status, 503);
    after(SECOND).await;
    assert_eq!(
        whys(&health, ["ledger", "stock"]),
        ["blocked by network", "blocked by network"]
    );
    network.say(Status::Pass);
    after(60 * SECOND).await;
    for _ in 0..6 {
        assert_eq!(get(&health, "/ready").await.status, 200);
        after(60 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hung_while_the_root_failed_and_came_back_is_asked_anew() {
    let (health, [network, postgres, _]) = chain().await;
    postgres.take(60 * SECOND);
    drop(health.run_now("postgres"));
    after(ms(100)).await;
    network.say(Status::Fail);
    health.run_now("network").await.unwrap();
    let runs = postgres.runs();
    postgres.take(Duration::ZERO);
    network.say(Status::Pass);
    health.run_now("network").await.unwrap();
    after(ms(10)).await;
    assert_eq!(why(&health, "postgres"), "");
    assert_eq!(postgres.runs(), runs + 1);
}

/// Code that blocks cannot be ended, and is not run on top of; but nothing blocks the check any more.
#[tokio::test(start_paused = true)]
async fn a_check_that_blocks_its_thread_is_not_called_blocked_by_what_is_back() {
    let (health, gate, network) = spool().await;
    gate.set(true);
    let run = health.run_now("spool");
    after(ms(10)).await;
    for (says, why_not) in [
        (Status::Fail, "blocked by network"),
        (Status::Pass, "pending"),
    ] {
        network.say(says);
        health.run_now("network").await.unwrap();
        assert_eq!(why(&health, "spool"), why_not);
    }
    gate.set(false);
    run.await.unwrap();
    health.run_now("spool").await.unwrap();
    assert_eq!(why(&health, "spool"), "");
}

/// However many good outcomes it needs, nothing blocks it once its root is back.
#[tokio::test(start_paused = true)]
async fn a_check_that_needs_two_good_outcomes_is_not_called_blocked_after_the_first() {
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
        network.say(says);
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

/// A run that was in line when its root failed and came back is one run, and no run that hangs.
#[tokio::test(start_paused = true)]
async fn a_check_in_line_whose_root_fails_and_comes_back_is_run_once() {
    let hog = Scripted::new(Status::Pass).taking(SECOND);
    let db = Scripted::new(Status::Pass).taking(ms(1_500));
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

/// What every replica asks is not asked more often because what it stands behind comes and goes.
#[tokio::test(start_paused = true)]
async fn a_shared_check_behind_a_root_that_flaps_keeps_its_period() {
    let (network, db) = (Scripted::new(Status::Pass), Scripted::new(Status::Pass));
    let health = Health::builder("orders")
        .seed(7)
        .check(Check::new("db", db.clone()).shared().depends_on("network"))
        .check(Check::new("network", network.clone()))
        .start()
        .unwrap();
    after(SECOND).await;
    // However long it takes, and whether or not it has an answer before the next change.
    for takes in [Duration::ZERO, ms(300), ms(1_500)] {
        db.take(takes);
        let runs = db.runs();
        for second in 0..100 {
            network.say([Status::Fail, Status::Pass][second % 2]);
            health.run_now("network").await.unwrap();
            after(SECOND).await;
        }
        let asked = db.runs() - runs;
        assert!((5..=11).contains(&asked), "{asked} in {takes:?}");
    }
}

/// Who asks for a run of a check that stands behind what fails is told so, though a run of it has not ended.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_for_waits_for_none_that_tells_nothing() {
    let (health, gate, network) = spool().await;
    gate.set(true);
    drop(health.run_now("spool"));
    after(ms(10)).await;
    network.say(Status::Fail);
    health.run_now("network").await.unwrap();
    let asked = tokio::time::timeout(SECOND, health.run_now("spool")).await;
    let spool = asked.expect("an answer").unwrap();
    assert_eq!(spool.why().as_deref(), Some("blocked by network"));
    gate.set(false);
}

/// Whoever reads a check asks for what it stands behind, too; and what nobody reads blocks nobody for ever.
#[tokio::test(start_paused = true)]
async fn roots_on_demand_are_asked_by_who_reads_what_is_behind_them() {
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
    network.say(Status::Pass);
    // Only this is read, and only now and then.
    for _ in 0..3 {
        after(5 * SECOND).await;
        get(&health, "/health/ledger").await;
    }
    after(SECOND).await;
    assert_eq!(whys(&health, ["network", "ledger", "stock"]), [""; 3]);
    assert!(network.runs() <= 4, "{}", network.runs());
    // It fails once more, and is read by nobody.
    network.say(Status::Fail);
    after(60 * SECOND).await;
    assert_eq!(get(&health, "/health/network").await.status, 200);
    after(SECOND).await;
    assert_eq!(why(&health, "stock"), "blocked by network");
    after(600 * SECOND).await;
    assert_eq!(whys(&health, ["network", "stock"]), ["stale", ""]);
}

/// A worker that stops on purpose and starts anew is what others stand behind, as before.
#[tokio::test(start_paused = true)]
async fn a_root_that_comes_again_is_stood_behind_again() {
    let health = Health::builder("orders").seed(7).start().unwrap();
    let consumer = async || health.heartbeat("consumer", 30 * SECOND).await.unwrap();
    let beat = consumer().await;
    let lag = Check::new("lag", Scripted::new(Status::Pass)).depends_on("consumer");
    health.add(lag).await.unwrap();
    let refused = health.remove("consumer").await.unwrap_err();
    assert!(matches!(refused, ChangeError::Needed(_)), "{refused}");
    beat.stop();
    after(SECOND).await;
    assert_eq!(why(&health, "lag"), "");
    // Other code of the same check depends on it as before.
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
    // One that is gone for good is forgotten.
    health.remove("lag").await.unwrap();
    beat.stop();
    after(SECOND).await;
    let beat = consumer().await;
    drop(beat);
    assert!(health.check("lag").is_err());
}

#[tokio::test(start_paused = true)]
async fn circles_and_typos_are_mistakes() {
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
    let mistakes: Vec<String> = error
        .problems()
        .iter()
        .map(ConfigError::to_string)
        .collect();
    assert_eq!(
        mistakes,
        [
            "`depends_on`: the name \"The Network\" has a character outside `a-z 0-9 . _ -`: try `the-network`",
            "checks depend on each other in a circle, c on a on b on c: take one `depends_on` out",
            "`depends_on`: no check is named \"posgres\": registered are a, b, c, d, e, f",
            "checks depend on each other in a circle, e on e: take one `depends_on` out",
        ]
    );
    let health = Health::builder("orders")
        .check(behind("a", "b"))
        .check(Check::new("b", || async { Status::Pass }))
        .start()
        .unwrap();
    let refused = |error: ChangeError| error.to_string();
    let circle = health.replace(behind("b", "a")).await.unwrap_err();
    assert!(refused(circle).contains("in a circle, b on a on b"));
    let unknown = health.add(behind("c", "d")).await.unwrap_err();
    assert!(refused(unknown).contains("no check is named \"d\""));
    let needed = health.remove("b").await.unwrap_err();
    assert_eq!(needed, ChangeError::Needed(vec![Name::new("a").unwrap()]));
    assert!(refused(needed).ends_with("remove them first, a"));
    health
        .replace(Check::new("a", || async { Status::Pass }))
        .await
        .unwrap();
    health.remove("b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_root_that_an_operator_disabled_blocks_nobody() {
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
async fn what_stands_behind_a_check_that_is_disabled_stands_behind_its_root() {
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
async fn replaced_it_stands_behind_what_it_is_told_to() {
    let (health, [network, ..]) = chain().await;
    network.say(Status::Fail);
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

// How long runs take

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_is_a_warning_and_shown_smoothed() {
    let db = Scripted::new(Status::Pass).taking(ms(100));
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
    db.take(ms(300));
    health.run_now("db").await.unwrap();
    assert_eq!(reason(&health, "db"), Some(Reason::Slow));
    assert_eq!(ready(&health), Status::Warn);
    let report = health.check("db").unwrap();
    assert_eq!(report.last_run.unwrap().duration, ms(300));
    assert_eq!(report.smoothed_duration, Some(ms(150)));
    let body = get(&health, "/health").await.body;
    let smoothed = r#""db:smoothedResponseTime":[{"componentId":"db","componentType":"component","observedValue":150.0,"observedUnit":"ms""#;
    assert!(body.contains(smoothed), "{body}");
    // A failure is not an answer, however long it takes; nor does it become a warning.
    db.say(Status::Fail);
    health.run_now("db").await.unwrap();
    assert_eq!(reason(&health, "db"), Some(Reason::Failed));
    assert_eq!(health.check("db").unwrap().smoothed_duration, Some(ms(150)));
    db.say(Outcome::warn(Reason::Busy));
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
