//! The text of each dialect, and content negotiation.

use std::fmt::Write;

use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tower_health::{
    Check, Endpoints, Failure, Health, Outcome, Probe, Reason, Status,
    endpoint::{Dialect, EndpointsBuilder, Exposure, ProbeService},
};

use crate::support::{SECOND, Scripted, after, ask, ask_saying, ms};

const TEXT: &str = "text/plain; charset=utf-8";
const ACTUATOR: &str = "application/vnd.spring-boot.actuator.v3+json";

/// A service with scripted checks.
struct Service {
    health: Health,
    db: Scripted,
    cache: Scripted,
}

fn failure() -> Outcome {
    let failure = Failure::new(Reason::ConnectionRefused)
        .with_cause("postgres://app:hunter2@db.internal refused");
    Outcome::from(failure)
}

fn good(status: Status) -> Outcome {
    let outcome = match status {
        Status::Warn => Outcome::warn(Reason::Busy).with_cause("8 of 8 in use at db.internal"),
        _ => Outcome::pass(),
    };
    outcome
        .measure("connections", 8, "")
        .measure("utilization", 0.8, "percent")
        .measure("role", "primary at postgres://app:hunter2@db.internal", "")
        .measure("responseTime", 3, "ms")
        .measure("nothing", f64::NAN, "")
}

impl Service {
    fn new() -> Self {
        let (db, cache) = (Scripted::new(Status::Pass), Scripted::new(Status::Pass));
        let runbook = "https://wiki.internal/db";
        let health = Health::builder("orders")
            .release("1.4.2")
            .version("1")
            .description("takes orders")
            .check(Check::new("db", db.clone().duration(ms(5))).runbook(runbook))
            .check(Check::new("cache", cache.clone()).non_critical())
            .start()
            .unwrap();
        Self { health, db, cache }
    }

    async fn says(&self, db: Outcome, cache: Status) {
        self.db.set_outcome(db);
        self.cache.set_outcome(cache);
        for check in ["db", "cache"] {
            self.health.run_now(check).await.unwrap();
        }
    }
}

/// Endpoints with the default paths, all in one dialect and with the same exposure.
fn endpoints(dialect: Dialect, exposure: Exposure) -> EndpointsBuilder {
    let paths = ["/health", "/ready", "/live", "/startup", "/health/{check}"];
    let endpoints = paths
        .into_iter()
        .fold(Endpoints::builder(), |endpoints, path| {
            endpoints.dialect(path, dialect)
        });
    match exposure {
        Exposure::Full => endpoints.authorize(|_| true),
        exposure => endpoints.exposure(exposure),
    }
}

async fn golden(dialect: Dialect) -> String {
    let service = Service::new();
    let mut golden = String::new();
    for state in ["starting", "pass", "warn", "fail", "draining"] {
        match state {
            "starting" => {}
            "pass" => service.says(good(Status::Pass), Status::Pass).await,
            "warn" => service.says(good(Status::Warn), Status::Fail).await,
            "fail" => service.says(failure(), Status::Pass).await,
            _ => {
                service.says(good(Status::Pass), Status::Pass).await;
                service.health.drain();
            }
        }
        for exposure in [Exposure::Status, Exposure::Checks, Exposure::Full] {
            let probes = service.health.service();
            let probes = probes.endpoints(endpoints(dialect, exposure).build().unwrap());
            for path in ["/health", "/ready", "/live", "/startup", "/health/db"] {
                let answer = ask(&probes, path).await;
                let (code, body) = (answer.status.as_u16(), answer.timeless());
                writeln!(golden, "{state}, {exposure:?}, {path}: {code}\n{body}\n").unwrap();
            }
        }
    }
    golden
}

#[tokio::test(start_paused = true)]
async fn golden_health_json() {
    assert_snapshot!(golden(Dialect::HealthJson).await);
}

#[tokio::test(start_paused = true)]
async fn golden_kubernetes_text() {
    assert_snapshot!(golden(Dialect::KubernetesText).await);
}

#[tokio::test(start_paused = true)]
async fn golden_microprofile() {
    assert_snapshot!(golden(Dialect::MicroProfile).await);
}

#[tokio::test(start_paused = true)]
async fn golden_actuator() {
    assert_snapshot!(golden(Dialect::Actuator).await);
}

/// The table of the Kubernetes API server's own test, for two of its paths: the query, whether a
/// check fails, the status code and the body. There are two differences. A failing verdict is a 503
/// here instead of a 500, and a single check withholds its reason as the list does.
#[tokio::test(start_paused = true)]
async fn kubernetes_text_matches_the_table_of_the_api_server() {
    let unknown = "warn: some health checks cannot be excluded: no matches for \"dontexist\"\n";
    for (path, name) in [("/healthz", "healthz"), ("/readyz", "readyz")] {
        let failing = format!("[+]ping ok\n[-]bad failed: reason withheld\n{name} check failed\n");
        let rows = [
            (
                "?verbose",
                false,
                200,
                format!("[+]ping ok\n{name} check passed\n"),
            ),
            ("?exclude=dontexist", false, 200, "ok".to_owned()),
            ("?exclude=bad", true, 200, "ok".to_owned()),
            (
                "?verbose=true&exclude=bad",
                true,
                200,
                format!("[+]ping ok\n[+]bad excluded: ok\n{name} check passed\n"),
            ),
            (
                "?verbose=true&exclude=dontexist",
                false,
                200,
                format!("[+]ping ok\n{unknown}{name} check passed\n"),
            ),
            ("/ping", false, 200, "ok".to_owned()),
            ("", false, 200, "ok".to_owned()),
            ("?verbose", true, 503, failing.clone()),
            ("/ping", true, 200, "ok".to_owned()),
            (
                "/bad",
                true,
                503,
                "[-]bad failed: reason withheld\n".to_owned(),
            ),
            ("", true, 503, failing),
        ];
        for (rest, bad, code, body) in rows {
            let mut builder =
                Health::builder("orders").check(Check::new("ping", || async { Status::Pass }));
            if bad {
                let bad = || async { Err::<(), _>(std::io::Error::other("this will fail")) };
                builder = builder.check(Check::new("bad", bad));
            }
            let health = builder.start().unwrap();
            after(SECOND).await;
            let endpoints = Endpoints::kubernetes()
                .checks("/healthz/{check}")
                .dialect("/healthz/{check}", Dialect::KubernetesText);
            let probes = health.service().endpoints(endpoints.build().unwrap());
            let asked = format!("{path}{rest}");
            let answer = ask(&probes, &asked).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body),
                (code, &body),
                "{asked}"
            );
            assert_eq!(answer.header("content-type"), Some(TEXT), "{asked}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
}

/// The specification of each kind of procedure: with no procedure, with some that are up, and with
/// one that is down. The status is the conjunction of all procedures of that kind, and the list
/// contains exactly these.
#[tokio::test(start_paused = true)]
async fn microprofile_lists_each_procedure_of_a_kind_and_no_other() {
    let mut rows = String::new();
    for down in [None, Some("live"), Some("ready"), Some("started")] {
        for count in 0..3 {
            let fails = |kind| down == Some(kind) && count > 0;
            let mut builder = Health::builder("orders");
            for number in 0..count {
                let first = number == 0;
                let status = if first && fails("ready") {
                    Status::Fail
                } else {
                    Status::Pass
                };
                let waits = first && fails("started");
                builder = builder
                    .check(Check::new(format!("ready-{number}"), move || async move {
                        status
                    }))
                    .startup_task(format!("task-{number}"), move || async move {
                        if waits { Err("not yet") } else { Ok(()) }
                    });
            }
            let health = builder.start().unwrap();
            let mut workers = Vec::new();
            for number in 0..count {
                let ttl = if number == 0 && fails("live") {
                    SECOND
                } else {
                    3_600 * SECOND
                };
                let heartbeat = health.heartbeat(format!("live-{number}"), ttl).liveness();
                workers.push(heartbeat.await.unwrap());
            }
            after(5 * SECOND).await;
            let probes = health
                .service()
                .endpoints(Endpoints::microprofile().build().unwrap());
            let named = |prefix| (0..count).map(move |number| format!("{prefix}-{number}"));
            for (path, kind, procedures) in [
                ("/health/live", "live", "live"),
                ("/health/ready", "ready", "ready"),
                ("/health/started", "started", "task"),
            ] {
                let expected: Vec<String> = named(procedures).collect();
                let answer = ask(&probes, path).await;
                assert_is_microprofile(&answer.body);
                let body = answer.json();
                let checks = body["checks"].as_array().unwrap();
                let mut names: Vec<String> = checks
                    .iter()
                    .map(|check| check["name"].as_str().unwrap().to_owned())
                    .collect();
                names.sort();
                let row = format!("{down:?} of {count}, {path}: {body}\n");
                assert_eq!(names, expected, "{row}");
                // An instance that has not started is not ready either.
                let is_down = fails(kind) || (kind == "ready" && fails("started"));
                let status = if is_down { "DOWN" } else { "UP" };
                assert_eq!(body["status"], status, "{row}");
                let any_down = checks.iter().any(|check| check["status"] == "DOWN");
                assert_eq!(any_down, fails(kind), "{row}");
                assert_eq!(
                    answer.status.as_u16(),
                    if is_down { 503 } else { 200 },
                    "{row}"
                );
                rows.push_str(&row);
            }
            drop(workers);
        }
    }
    println!("{rows}");
}

#[tokio::test(start_paused = true)]
async fn bodies_contain_since_and_consecutive_failures() {
    let check = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(
            Check::new("db", check.clone())
                .period(10 * SECOND)
                .retry_period(10 * SECOND),
        )
        .start()
        .unwrap();
    let probes = health.service();
    after(100 * SECOND).await;
    for path in ["/ready", "/health", "/health/db"] {
        let passing = ask(&probes, path).await.body;
        assert!(
            !passing.contains("since") && !passing.contains("lastSuccess"),
            "{passing}"
        );
    }
    check.set_outcome(Status::Fail);
    health.run_now("db").await.unwrap();
    let began = health.check("db").unwrap().since;
    let row = |body: Value| body["checks"]["db:responseTime"][0].clone();
    let told = ask(&probes, "/ready").await.json();
    let since = row(told.clone())["since"].clone();
    assert_eq!(told["since"], since);
    assert!(row(told)["lastSuccess"].is_string());
    after(95 * SECOND).await;
    // `since` is the same for all readers at any time. `consecutiveFailures` is that of the last
    // run.
    let later = ask(&probes, "/health").await.json();
    assert_eq!(later["since"], since);
    assert_eq!(row(later.clone())["since"], since);
    assert!(row(later)["consecutiveFailures"].as_u64().unwrap() >= 8);
    let alone = ask(&probes, "/health/db").await.json();
    assert_eq!(row(alone)["since"], since);
    // On every path it is that of the last run.
    for _ in 0..3 {
        after(30 * SECOND).await;
        let failures = health.check("db").unwrap().consecutive_failures;
        for path in ["/ready", "/health", "/health/db"] {
            let told = ask(&probes, path).await.json();
            assert_eq!(row(told)["consecutiveFailures"], failures, "{path}");
        }
    }
    assert_eq!(health.check("db").unwrap().since, began);
    assert_eq!(
        health.verdict(Probe::Readiness).since,
        health.report().since
    );
    check.set_outcome(Status::Pass);
    health.run_now("db").await.unwrap();
    assert!(!ask(&probes, "/ready").await.body.contains("since"));
}

/// If nothing drives the engine, a reader of the whole report sees the same timestamp as a reader
/// of a verdict.
#[test]
fn an_expiry_on_a_stalled_engine_has_the_same_time_for_every_reader() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let health = runtime.block_on(async {
        let check = Check::new("db", Scripted::new(Status::Pass)).period(ms(100));
        let check = check.timeout(ms(100)).max_age(ms(300));
        let health = Health::builder("orders").check(check);
        let health = health.start().unwrap();
        health.wait_until_good(Probe::Readiness).await.unwrap();
        health
    });
    std::thread::sleep(ms(400));
    let first = health.report().since;
    std::thread::sleep(ms(50));
    assert_eq!(health.report().since, first);
    assert_eq!(health.verdict(Probe::Health).since, first);
    assert_eq!(health.check("db").unwrap().since, first);
    drop(runtime);
}

/// The timestamp is that of the expiry, whoever detects it and whenever.
#[tokio::test(start_paused = true)]
async fn an_expiry_has_the_same_time_for_every_reader() {
    let check = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(
            Check::new("db", check.clone())
                .period(10 * SECOND)
                .max_age(60 * SECOND),
        )
        .start()
        .unwrap();
    after(SECOND).await;
    check.hang();
    let ended = health.check("db").unwrap().last_run.unwrap().time;
    // Read before the engine detects the expiry, and after.
    tokio::time::advance(61 * SECOND).await;
    let (report, verdict) = (
        health.check("db").unwrap(),
        health.verdict(Probe::Readiness),
    );
    assert_eq!(health.report().since, ended + 60 * SECOND);
    let mut seen = vec![(report.since, verdict.since)];
    for _ in 0..3 {
        after(SECOND).await;
        seen.push((
            health.check("db").unwrap().since,
            health.verdict(Probe::Readiness).since,
        ));
    }
    for (check, verdict) in seen {
        assert_eq!(check, ended + 60 * SECOND);
        assert_eq!(verdict, ended + 60 * SECOND);
    }
}

/// Asserts that a body is valid by the appendix of the specification.
fn assert_is_microprofile(body: &str) {
    let schema = json!({
        "type": "object",
        "required": ["status", "checks"],
        "additionalProperties": false,
        "properties": {
            "status": {"type": "string", "enum": ["UP", "DOWN"]},
            "checks": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "status"],
                    "additionalProperties": false,
                    "properties": {
                        "name": {"type": "string"},
                        "status": {"type": "string", "enum": ["UP", "DOWN"]},
                        "data": {
                            "type": "object",
                            "minProperties": 1,
                            "patternProperties": {
                                "[a-zA-Z_]*": {"type": ["string", "boolean", "number"]},
                            },
                            "additionalProperties": false,
                        },
                    },
                },
            },
        },
    });
    let body: Value = serde_json::from_str(body).unwrap();
    let validator = jsonschema::draft4::new(&schema).unwrap();
    let faults: Vec<String> = validator
        .iter_errors(&body)
        .map(|fault| fault.to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:?}: {body}");
}

/// The status is the conjunction of the listed rows.
#[tokio::test(start_paused = true)]
async fn liveness_and_its_rows_are_up_during_a_drain() {
    let health = Health::builder("orders").start().unwrap();
    let worker = health.heartbeat("worker", SECOND).liveness();
    let worker = worker.await.unwrap();
    worker.tick();
    drop(health.drain());
    after(60 * SECOND).await;
    assert!(!health.check("worker").unwrap().status.is_good());
    for (endpoints, path) in [
        (Endpoints::microprofile(), "/health/live"),
        (Endpoints::actuator(), "/actuator/health/liveness"),
    ] {
        let probes = health.service().endpoints(endpoints.build().unwrap());
        let answer = ask(&probes, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("DOWN"), "{path}: {}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn microprofile_bodies_are_valid_by_its_schema() {
    let service = Service::new();
    for round in 0..5 {
        match round {
            0 => {}
            1 => service.says(good(Status::Pass), Status::Pass).await,
            2 => service.says(good(Status::Warn), Status::Fail).await,
            3 => service.says(failure(), Status::Fail).await,
            _ => drop(service.health.drain()),
        }
        for exposure in [Exposure::Status, Exposure::Checks, Exposure::Full] {
            let fixed = match exposure {
                Exposure::Full => Endpoints::microprofile().authorize(|_| true),
                exposure => Endpoints::microprofile().exposure(exposure),
            };
            let probes = service.health.service().endpoints(fixed.build().unwrap());
            for path in [
                "/health",
                "/health/live",
                "/health/ready",
                "/health/started",
            ] {
                let answer = ask(&probes, path).await;
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_is_microprofile(&answer.body);
                let up = answer.status == StatusCode::OK;
                assert_eq!(answer.json()["status"], if up { "UP" } else { "DOWN" });
            }
        }
    }
}

/// A service with more failing checks than a verdict lists.
async fn crowd() -> Health {
    let failing = |index| Check::new(format!("check-{index:02}"), || async { Status::Fail });
    let health = Health::builder("orders")
        .checks((0..20).map(failing))
        .start()
        .unwrap();
    after(SECOND).await;
    health
}

#[tokio::test(start_paused = true)]
async fn failing_checks_that_are_not_listed_are_counted() {
    let health = crowd().await;
    let of = |dialect| {
        health
            .service()
            .endpoints(endpoints(dialect, Exposure::Checks).build().unwrap())
    };
    let text = of(Dialect::KubernetesText);
    for path in ["/health", "/ready"] {
        let short = ask(&text, path).await.body;
        assert_eq!(short.lines().count(), 16 + 1 + 1, "{short}");
        assert!(short.contains("\nand 4 more that do not pass\n"), "{short}");
        let verbose = ask(&text, &format!("{path}?verbose")).await.body;
        assert_eq!(verbose.lines().count(), 20 + 1, "{verbose}");
    }
    let microprofile = of(Dialect::MicroProfile);
    let body = ask(&microprofile, "/ready").await;
    assert_is_microprofile(&body.body);
    let checks = body.json()["checks"].as_array().unwrap().clone();
    // Dialects that must list all checks list all of them.
    assert_eq!(checks.len(), 20);
    let actuator = ask(&of(Dialect::Actuator), "/ready").await.json();
    assert_eq!(actuator["components"].as_object().unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn every_accept_gets_a_response_with_vary() {
    let service = Service::new();
    service.says(failure(), Status::Pass).await;
    let probes = service.health.service();
    for path in ["/health", "/ready", "/live", "/startup", "/health/db"] {
        for (accept, expected) in [
            ("*/*", "application/health+json"),
            ("application/json", "application/json"),
            ("text/plain", TEXT),
            (ACTUATOR, ACTUATOR),
            ("text/html, */*;q=0.1", "application/health+json"),
            ("image/png", "application/health+json"),
            ("\"", "application/health+json"),
            (
                "text/plain;q=0.1, application/json;q=0.2",
                "application/json",
            ),
        ] {
            let answer = ask_saying(&probes, path, "accept", accept).await;
            assert_eq!(
                answer.header("content-type"),
                Some(expected),
                "{path} {accept}"
            );
            assert_eq!(answer.header("vary"), Some("Accept"), "{path} {accept}");
            assert!(matches!(answer.status.as_u16(), 200 | 503));
            assert_eq!(
                answer.header("content-length"),
                Some(answer.body.len().to_string().as_str())
            );
        }
        let json = ask_saying(&probes, path, "accept", "application/json").await;
        let health = ask(&probes, path).await;
        assert_eq!(json.body, health.body, "the same document");
        assert_eq!(json.status, health.status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_dialect_is_not_negotiated() {
    let service = Service::new();
    service.says(good(Status::Pass), Status::Pass).await;
    for (endpoints, paths, expected) in [
        (
            Endpoints::kubernetes(),
            &["/healthz", "/readyz", "/livez", "/readyz/db"][..],
            TEXT,
        ),
        (
            Endpoints::microprofile(),
            &[
                "/health",
                "/health/live",
                "/health/ready",
                "/health/started",
            ],
            "application/json",
        ),
        (
            Endpoints::actuator(),
            &[
                "/actuator/health",
                "/actuator/health/liveness",
                "/actuator/health/readiness",
                "/actuator/health/db",
            ],
            ACTUATOR,
        ),
    ] {
        let probes = service
            .health
            .service()
            .endpoints(endpoints.build().unwrap());
        for path in paths {
            for accept in ["*/*", "text/plain", "application/json", ACTUATOR] {
                let answer = ask_saying(&probes, path, "accept", accept).await;
                assert_eq!(answer.status, StatusCode::OK, "{path}");
                assert_eq!(
                    answer.header("content-type"),
                    Some(expected),
                    "{path} {accept}"
                );
                assert_eq!(answer.header("vary"), None, "{path} {accept}");
            }
        }
        // Paths that do not belong to the preset do not exist.
        assert_eq!(ask(&probes, "/ready").await.status, StatusCode::NOT_FOUND);
    }
}

/// Each form of a response is cached separately.
#[tokio::test(start_paused = true)]
async fn cached_responses_are_not_mixed_up() {
    let service = Service::new();
    let paths = ["/health", "/ready", "/live", "/startup", "/health/db"];
    let queries = ["", "?verbose", "?exclude=db", "?exclude=nobody&verbose"];
    let accepts = ["*/*", "application/json", "text/plain", ACTUATOR];
    let faces: Vec<ProbeService> = [Exposure::Status, Exposure::Checks, Exposure::Full]
        .into_iter()
        .flat_map(|exposure| {
            let open = match exposure {
                Exposure::Full => Endpoints::builder().authorize(|_| true),
                exposure => Endpoints::builder().exposure(exposure),
            };
            [
                open,
                endpoints(Dialect::MicroProfile, exposure),
                endpoints(Dialect::KubernetesText, exposure),
            ]
        })
        .map(|endpoints| {
            service
                .health
                .service()
                .endpoints(endpoints.build().unwrap())
        })
        .collect();
    let everything = async || {
        let mut all = Vec::new();
        for face in &faces {
            for path in paths {
                for query in queries {
                    for accept in accepts {
                        let asked = format!("{path}{query}");
                        let answer = ask_saying(face, &asked, "accept", accept).await;
                        all.push((asked, accept, answer.headers, answer.status, answer.body));
                    }
                }
            }
        }
        all
    };
    for (db, cache) in [
        (good(Status::Pass), Status::Pass),
        (good(Status::Warn), Status::Fail),
        (failure(), Status::Warn),
    ] {
        service.says(db, cache).await;
        let first = everything().await;
        // In the other order, with responses that are cached by now, the result is the same.
        assert_eq!(first, everything().await);
    }
}

/// The list of all checks is updated when necessary, even though the verdict stays the same.
#[tokio::test(start_paused = true)]
async fn a_verbose_response_reflects_added_and_removed_checks() {
    let service = Service::new();
    service.says(good(Status::Pass), Status::Pass).await;
    let probes = service
        .health
        .service()
        .endpoints(Endpoints::kubernetes().build().unwrap());
    let verbose = async || ask(&probes, "/readyz?verbose").await.body;
    assert_eq!(
        verbose().await,
        "[+]db ok\n[+]cache ok\nreadyz check passed\n"
    );
    let tenant = Check::new("tenant-7", || async { Status::Pass });
    service.health.add(tenant).await.unwrap();
    assert_eq!(
        verbose().await,
        "[+]db ok\n[+]cache ok\n[+]tenant-7 ok\nreadyz check passed\n"
    );
    service.health.remove("cache").await.unwrap();
    assert_eq!(
        verbose().await,
        "[+]db ok\n[+]tenant-7 ok\nreadyz check passed\n"
    );
}

#[tokio::test(start_paused = true)]
async fn an_excluded_check_is_ignored_in_that_response_alone() {
    let service = Service::new();
    service.says(failure(), Status::Fail).await;
    let probes = service.health.service();
    let code = async |asked: &str| ask(&probes, asked).await.status.as_u16();
    for path in ["/ready", "/health"] {
        assert_eq!(code(path).await, 503);
        assert_eq!(code(&format!("{path}?exclude=db")).await, 200);
        assert_eq!(code(&format!("{path}?exclude=cache")).await, 503);
        assert_eq!(code(&format!("{path}?exclude=cache&exclude=db")).await, 200);
        assert_eq!(code(&format!("{path}?exclude=cache,db")).await, 503);
        assert_eq!(code(path).await, 503, "nothing is left of it");
    }
    // The time since when that reduced verdict holds is not known.
    let failing = ask(&probes, "/health?exclude=cache").await.json();
    assert!(failing["since"].is_null() && failing["status"] == "fail");
    let answer = ask(&probes, "/health?exclude=db&exclude=nobody&exclude=%3Cb%3E").await;
    assert_eq!(answer.json()["status"], "warn");
    let notes = answer.json()["notes"].clone();
    assert_eq!(
        notes,
        json!([
            "excluded from this response: db",
            "cannot be excluded: nobody and 1 more",
        ])
    );
    assert!(answer.json()["checks"].get("db:responseTime").is_none());
    // A check that is requested by name cannot be excluded, and its response does not reveal other
    // checks.
    assert_eq!(code("/health/db?exclude=db").await, 503);
    let text = async |asked: &str| {
        ask_saying(&probes, asked, "accept", "text/plain")
            .await
            .body
    };
    assert_eq!(
        text("/ready?exclude=nobody&exclude=%3Cb%3E&exclude=anybody").await,
        "[-]db failed: reason withheld\n[-]cache failed: reason withheld\n\
         warn: some health checks cannot be excluded: no matches for \"anybody\",\"nobody\" and 1 more\n\
         readyz check failed\n"
    );
}

/// Liveness contains no checks, so none of them can be excluded.
#[tokio::test(start_paused = true)]
async fn unknown_exclusions_are_reported_in_one_short_line() {
    let service = Service::new();
    service.says(good(Status::Pass), Status::Pass).await;
    let endpoints = Endpoints::kubernetes();
    let probes = service
        .health
        .service()
        .endpoints(endpoints.build().unwrap());
    let warns = "warn: some health checks cannot be excluded: no matches for";
    assert_eq!(
        ask(&probes, "/livez?verbose&exclude=db").await.body,
        format!("{warns} \"db\"\nlivez check passed\n")
    );
    let many: String = (0..900)
        .map(|index| format!("&exclude=n{index:03}"))
        .collect();
    for path in ["/readyz", "/livez"] {
        // The longest valid query, and a query that is too long.
        let body = ask(&probes, &format!("{path}?verbose{}", &many[..500 * 13]))
            .await
            .body;
        assert!(
            body.contains(" and 484 more\n") && body.len() < 400,
            "{body}"
        );
        let body = ask(&probes, &format!("{path}?verbose{many}")).await.body;
        assert_eq!(body, "ok", "it is not read");
    }
    let json = ask(
        &service.health.service(),
        &format!("/ready?{}", &many[..500 * 13]),
    )
    .await;
    assert!(json.body.len() < 600, "{}", json.body);
}

/// Measurements are reported whatever their names are.
#[tokio::test(start_paused = true)]
async fn measurements_with_any_name_are_reported() {
    let measured = Outcome::warn(Reason::Busy)
        .measure("reason", "planned", "")
        .measure("time", 1, "")
        .measure("lag", 2, "s")
        .measure("lag", 3, "s");
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(measured)))
        .start()
        .unwrap();
    after(SECOND).await;
    for (dialect, details) in [
        (Dialect::MicroProfile, "/checks/0/data"),
        (Dialect::Actuator, "/details"),
    ] {
        let probes = health
            .service()
            .endpoints(endpoints(dialect, Exposure::Full).build().unwrap());
        let answer = ask(&probes, "/health/db").await.json();
        let details = answer.pointer(details).unwrap();
        for (key, value) in [
            ("reason", json!("busy")),
            ("reason 2", json!("planned")),
            ("time 2", json!(1)),
            ("lag (s)", json!(2)),
            ("lag (s) 2", json!(3)),
        ] {
            assert_eq!(details[key], value, "{key} in {details}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_status_exposure_no_query_reveals_more() {
    let service = Service::new();
    service.says(failure(), Status::Pass).await;
    let probes = service
        .health
        .service()
        .endpoints(crate::support::status_only().build().unwrap());
    for accept in ["*/*", "text/plain", ACTUATOR] {
        let plain = ask_saying(&probes, "/ready", "accept", accept).await;
        for query in [
            "?exclude=db",
            "?exclude=nobody",
            "?exclude=db&exclude=nobody",
        ] {
            let asked = ask_saying(&probes, &format!("/ready{query}"), "accept", accept).await;
            assert_eq!(
                (asked.status, &asked.body),
                (plain.status, &plain.body),
                "{accept} {query}"
            );
        }
    }
    let text = ask_saying(&probes, "/ready?verbose", "accept", "text/plain").await;
    assert_eq!(text.body, "readyz check failed\n");
}

#[tokio::test(start_paused = true)]
async fn during_a_drain_no_reader_waits_for_a_run_on_demand() {
    let hanging = Check::new("hanging", Scripted::hanging()).on_demand(SECOND);
    let health = Health::builder("orders").check(hanging).start().unwrap();
    let probes = health.service();
    health.drain();
    let began = tokio::time::Instant::now();
    for path in ["/ready", "/health"] {
        assert_eq!(
            ask(&probes, path).await.json()["output"],
            "draining: hanging pending"
        );
    }
    assert_eq!(began.elapsed(), ms(0));
}

#[tokio::test(start_paused = true)]
async fn an_excluded_check_on_demand_is_not_waited_for() {
    let slow = Scripted::new(Status::Pass).duration(ms(100));
    let health = Health::builder("orders")
        .check(Check::new("slow", slow.clone()).on_demand(SECOND))
        .start()
        .unwrap();
    let probes = health.service();
    let answer = ask(&probes, "/ready?exclude=slow").await;
    assert_eq!((answer.status, slow.runs()), (StatusCode::OK, 0));
    assert_eq!(ask(&probes, "/ready").await.status, StatusCode::OK);
    assert_eq!(slow.runs(), 1);
    assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
}

/// Known failures are visible to every reader, even if only 16 checks are listed.
#[tokio::test(start_paused = true)]
async fn a_failure_during_startup_is_visible_at_every_exposure_and_path() {
    let pending = (0..20).map(|index| Check::new(format!("slow-{index:02}"), Scripted::hanging()));
    let down = Check::new("down", Scripted::new(Status::Fail));
    let health = tower_health::Health::builder("orders")
        .checks(pending)
        .check(down.timeout(crate::support::SECOND))
        .start()
        .unwrap();
    for (wait, status) in [(0, "UNKNOWN"), (500, "DOWN")] {
        after(crate::support::ms(wait)).await;
        for exposure in [Exposure::Status, Exposure::Checks] {
            let endpoints = Endpoints::actuator().exposure(exposure);
            let probes = health.service().endpoints(endpoints.build().unwrap());
            for path in ["/actuator/health", "/actuator/health/readiness"] {
                let answer = ask(&probes, path).await;
                assert_eq!(answer.json()["status"], status, "{exposure:?}, {path}");
            }
        }
    }
}
