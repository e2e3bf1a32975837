//! Configuration by operators, from a file and from the environment.

use std::time::Duration;

use config::{Config, Environment, File, FileFormat};
use tower_health::{
    Check, Criticality, Health, Reason, Status,
    config::{CheckDefaults, HealthConfig},
    error::ConfigError,
};

use crate::support::{SECOND, Scripted, after, ask, ms, ready, reason};

fn toml(text: &str) -> Result<HealthConfig, String> {
    let file = File::from_str(text, FileFormat::Toml);
    let source = Config::builder().add_source(file).build().unwrap();
    source.try_deserialize().map_err(|error| error.to_string())
}

/// The settings of an application, which contain those of the crate.
#[derive(serde::Deserialize)]
struct Settings {
    health: HealthConfig,
}

fn environment(variables: &[(&str, &str)]) -> Result<HealthConfig, String> {
    let pairs = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let environment = Environment::with_prefix("ORDERS")
        .prefix_separator("_")
        .separator("__")
        .source(Some(pairs.collect()));
    let source = Config::builder().add_source(environment).build().unwrap();
    let settings = source.try_deserialize::<Settings>();
    settings
        .map(|settings| settings.health)
        .map_err(|error| error.to_string())
}

fn check(name: &str, code: &Scripted) -> Check {
    Check::new(name, code.clone())
}

#[tokio::test(start_paused = true)]
async fn defaults_apply_to_each_check_without_a_value_of_its_own() {
    let config = toml(
        r#"
        [defaults]
        timeout = "300ms"
        fail_after = 3
        flapping_low = 5
        [checks.cache]
        timeout = "400ms"
        "#,
    );
    let code = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(check("db", &code))
        .check(check("cache", &code).period(SECOND))
        .check(check("search", &code).fail_after(2).on_demand(60 * SECOND))
        .config(config.unwrap())
        // The code's own defaults, which the configuration overrides.
        .defaults(CheckDefaults::default().period(20 * SECOND).timeout(SECOND))
        .defaults(
            CheckDefaults::default()
                .retry_period(5 * SECOND)
                .flapping(20, 30),
        )
        .start()
        .unwrap();
    let settings = |name: &str| health.check(name).unwrap().settings;
    let db = settings("db");
    assert_eq!((db.period, db.timeout), (Some(20 * SECOND), Some(ms(300))));
    assert_eq!(
        (db.retry_period, db.fail_after),
        (Some(5 * SECOND), Some(3))
    );
    assert_eq!((db.flapping_low, db.flapping_high), (5, 30));
    assert_eq!(db.max_age, Some(60 * SECOND + ms(300)));
    let cache = settings("cache");
    assert_eq!((cache.period, cache.timeout), (Some(SECOND), Some(ms(400))));
    assert_eq!(
        cache.retry_period,
        Some(SECOND),
        "not longer than its period"
    );
    let search = settings("search");
    assert_eq!((search.period, search.on_demand), (None, Some(60 * SECOND)));
    assert_eq!(search.fail_after, Some(2));
    // What is registered later has them as well.
    health.add(check("tenant", &code)).await.unwrap();
    assert_eq!(settings("tenant").timeout, Some(ms(300)));
    let worker = health.reporter("worker", SECOND).await.unwrap();
    assert_eq!(settings("worker").flapping_low, 5);
    assert_eq!(
        (settings("worker").period, settings("worker").fail_after),
        (None, None)
    );
    drop(worker);
    // A start-up task keeps its own.
    let tasked = Health::builder("orders")
        .defaults(CheckDefaults::default().timeout(ms(10)))
        .startup_task("migrations", || async { Status::Pass })
        .start()
        .unwrap();
    assert_eq!(tasked.check("migrations").unwrap().settings.timeout, None);
}

#[tokio::test]
async fn every_invalid_default_and_criticality_is_reported_at_once_by_its_name() {
    let config = toml(
        r#"
        [defaults]
        timeout = "0s"
        period = "366days"
        flapping_low = 30
        [checks.db]
        criticality = "vital"
        flapping_high = 101
        [checks.cache]
        criticality = ""
        "#,
    );
    let code = Scripted::new(Status::Pass);
    let error = Health::builder("orders")
        .defaults(CheckDefaults::default().pass_after(0))
        .check(check("db", &code))
        .check(check("cache", &code).flapping(11, 10))
        .config(config.unwrap())
        .start()
        .unwrap_err();
    let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "the defaults of checks: `pass_after` is 0: set it to at least 1",
            "check \"db\": `flapping_high` is 101 %: set it to at most 100",
            "check \"cache\": `flapping_low` (11 %) is higher than `flapping_high` (10 %): a check would begin to flap and end it at once, so lower the first",
            "check \"cache\": `criticality` is \"\", which does not exist: write one of `critical`, `shared`, `non_critical`",
            "check \"db\": `criticality` is \"vital\", which does not exist: write one of `critical`, `shared`, `non_critical`",
            "the defaults of checks: `period` is 1year 18h: give it at most 365 days",
            "the defaults of checks: `timeout` is 0s: give it at least 1 ms",
            "the defaults of checks: `flapping_low` (30 %) is higher than `flapping_high` (25 %, the default): a check would begin to flap and end it at once, so lower the first",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_sets_every_setting() {
    let config = toml(
        r#"
        concurrency = 1
        [checks.db]
        enabled = true
        criticality = "shared"
        shared_grace = "1m"
        period = "3s"
        retry_period = "1s"
        timeout = "200ms"
        max_age = "1m 30s"
        fail_after = 2
        pass_after = 3
        [checks.search]
        enabled = false
        [checks.cache]
        on_demand = "5s"
        wait = "0s"
        "#,
    )
    .unwrap();
    let (db, search) = (Scripted::new(Status::Pass), Scripted::new(Status::Fail));
    let cache = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .seed(7)
        .check(check("db", &db))
        .check(check("search", &search))
        .check(check("cache", &cache).period(SECOND).non_critical())
        .config(config)
        .start()
        .unwrap();
    assert!(health.check("search").is_err(), "it is not registered");
    assert_eq!(health.check("db").unwrap().criticality, Criticality::Shared);
    after(4 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::Pending), "pass_after 3");
    after(8 * SECOND).await;
    assert_eq!(reason(&health, "db"), None);
    assert!((4..=6).contains(&db.runs()), "period 3 s: {}", db.runs());
    assert_eq!((search.runs(), cache.runs()), (0, 0));
    assert_eq!(
        ask(&health.service(), "/health/cache").await.json()["output"],
        "pending"
    );
    after(SECOND).await;
    assert_eq!(cache.runs(), 1, "on demand, and nobody waited for it");
    db.hang();
    after(3 * SECOND + ms(600)).await;
    assert_eq!(
        health.check("db").unwrap().status,
        Status::Pass,
        "fail_after 2"
    );
    after(4 * SECOND).await;
    assert_eq!(reason(&health, "db"), Some(Reason::TimedOut));
    assert_eq!(
        health
            .check("db")
            .unwrap()
            .last_run
            .unwrap()
            .duration
            .as_millis()
            / 10,
        20
    );
    assert_eq!(ready(&health), Status::Warn, "within its grace");
    after(60 * SECOND).await;
    assert_eq!(ready(&health), Status::Fail, "past its grace");
}

#[tokio::test(start_paused = true)]
async fn the_environment_supports_the_same_settings_and_overrides_a_file() {
    let file = toml("[checks.payments-api]\nenabled = false\ntimeout = \"1s\"").unwrap();
    let variables = environment(&[
        ("ORDERS_HEALTH__CONCURRENCY", "3"),
        ("ORDERS_HEALTH__CHECKS__PAYMENTS_API__ENABLED", "true"),
        (
            "ORDERS_HEALTH__CHECKS__PAYMENTS_API__CRITICALITY",
            "non_critical",
        ),
        ("ORDERS_HEALTH__CHECKS__PAYMENTS_API__FAIL_AFTER", "3"),
    ])
    .unwrap();
    assert_eq!(variables.concurrency, Some(3));
    let api = Scripted::hanging();
    let health = Health::builder("orders")
        .config(file)
        .config(variables)
        .check(check("payments-api", &api))
        .start()
        .unwrap();
    after(ms(1_300)).await;
    assert_eq!(
        reason(&health, "payments-api"),
        Some(Reason::TimedOut),
        "1 s, of the file"
    );
    assert_eq!(
        ready(&health),
        Status::Warn,
        "non-critical, of the environment"
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_names_and_invalid_values_are_errors() {
    let config = toml(
        r#"
        concurrency = 0
        [checks.postgers]
        enabled = false
        [checks.db]
        timeout = "0s"
        period = "400days"
        fail_after = 0
        [checks.a_b]
        timeout = "1s"
        "#,
    )
    .unwrap();
    let code = Scripted::new(Status::Pass);
    let error = Health::builder("orders")
        .checks(["db", "a-b", "a.b"].map(|name| check(name, &code)))
        .config(config)
        .start()
        .unwrap_err();
    let unknown = |mistake: &&ConfigError| matches!(mistake, ConfigError::UnknownCheck(_));
    assert_eq!(error.problems().iter().filter(unknown).count(), 1);
    let error = error.to_string();
    for part in [
        "the configuration: no check is named \"postgers\" (registered: db, a-b, a.b)",
        "the configuration: \"a_b\" matches several checks",
        "check \"db\": `timeout` is 0s",
        "check \"db\": `period` is 1year",
        "check \"db\": `fail_after` is 0",
        "`concurrency` is 0",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    after(SECOND).await;
    assert_eq!(code.runs(), 0);
}

#[test]
fn an_unreadable_value_is_a_deserialization_error_that_names_it() {
    for (text, part) in [
        ("[checks.db]\ntimeuot = \"1s\"", "timeuot"),
        ("checcks = {}", "checcks"),
        (
            "[checks.db]\ntimeout = \"soon\"",
            "a duration with its unit",
        ),
        ("[checks.db]\ntimeout = \"\"", "a duration with its unit"),
        ("[checks.db]\ntimeout = \"10\"", "a duration with its unit"),
        ("[defaults]\nper_iod = \"1s\"", "per_iod"),
        ("[defaults]\ntimeout = 1", "a duration with its unit"),
        ("[defaults]\nflapping_high = 256", "flapping_high"),
        ("[checks.db]\nfail_after = -1", "fail_after"),
        ("[checks.db]\nenabled = \"perhaps\"", "enabled"),
    ] {
        let error = toml(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let error = environment(&[("ORDERS_HEALTH__CHECKS__DB__TIMEOUT", "10 parsecs")]).unwrap_err();
    assert!(
        error.contains("10 parsecs") && error.contains("timeout"),
        "{error}"
    );
    // A number has no unit.
    let error = serde_json::from_str::<HealthConfig>(r#"{"checks":{"db":{"timeout":10}}}"#);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("a duration with its unit")
    );
    let nothing: HealthConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(nothing, HealthConfig::default());
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_not_configured_keep_the_values_of_the_code() {
    let db = Scripted::new(Status::Fail);
    let health = Health::builder("orders")
        .check(
            check("db", &db)
                .non_critical()
                .timeout(Duration::from_secs(7)),
        )
        .config(HealthConfig::default())
        .config(toml("[checks.db]").unwrap())
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(ready(&health), Status::Warn);
}

fn json(json: &str) -> HealthConfig {
    serde_json::from_str(json).unwrap()
}

/// The settings of the other schedule are dropped together with it.
#[tokio::test]
async fn a_configured_period_turns_a_check_on_demand_into_a_scheduled_one() {
    let check = Check::new("db", Scripted::new(Status::Pass))
        .on_demand(10 * SECOND)
        .wait(ms(100));
    let started = Health::builder("orders")
        .check(check)
        .config(json(r#"{"checks": {"db": {"period": "30s"}}}"#))
        .start();
    assert!(
        started.is_ok(),
        "the check is then not on demand: {started:?}"
    );
}

#[tokio::test]
async fn a_configured_criticality_applies_to_a_check_with_a_grace() {
    let check = Check::new("db", Scripted::new(Status::Pass))
        .shared()
        .shared_grace(60 * SECOND);
    let started = Health::builder("orders")
        .check(check)
        .config(json(
            r#"{"checks": {"db": {"criticality": "non_critical"}}}"#,
        ))
        .start();
    assert!(started.is_ok(), "it is then not shared: {started:?}");
}

#[test]
fn null_counts_as_not_set() {
    let json = r#"{"checks": {"db": {"fail_after": null, "timeout": null}}}"#;
    serde_json::from_str::<HealthConfig>(json).expect("`fail_after` takes it, so `timeout` should");
}

#[tokio::test]
async fn a_name_that_matches_two_checks_is_reported_as_ambiguous() {
    let check = |name: &str| Check::new(name, Scripted::new(Status::Pass));
    let error = Health::builder("orders")
        .checks([check("a-b"), check("a.b")])
        .config(json(r#"{"checks": {"A_B": {"timeout": "1s"}}}"#))
        .start()
        .unwrap_err()
        .to_string();
    assert!(!error.contains("no check is named"), "{error}");
}
