//! Status codes, methods, headers, bodies, exposure and invalid input, over any service.

use http::StatusCode;
use insta::assert_snapshot;
use tower_health::{
    Check, ComponentType, Endpoints, Health, Outcome, Reason, Status, endpoint::Exposure,
};

use crate::support::{SECOND, Scripted, after, ask, ask_saying, ask_with, ms, ready, status_only};

const PROBES: [&str; 4] = ["/health", "/ready", "/live", "/startup"];

/// A service whose check `db` fails. All other checks pass.
async fn broken() -> Health {
    let secret = Outcome::fail(Reason::AuthenticationFailed)
        .with_cause("role orders_rw at db.internal, postgres://u:hunter2@db.internal")
        .measure("secret-measure", 12, "");
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(secret)))
        .check(Check::new("cache", Scripted::new(Status::Pass)).non_critical())
        .start()
        .unwrap();
    after(SECOND).await;
    health
}

#[tokio::test(start_paused = true)]
async fn the_codes_are_200_and_503_and_nothing_else() {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(SECOND))
        .start()
        .unwrap();
    let service = health.service();
    let codes = async || {
        let mut codes = Vec::new();
        for path in [&PROBES[..], &["/health/db"]].concat() {
            codes.push(ask(&service, path).await.status.as_u16());
        }
        codes
    };
    assert_eq!(codes().await, [503, 503, 200, 503, 503], "pending");
    for (status, expected) in [
        (Status::Pass, [200, 200, 200, 200, 200]),
        (Status::Warn, [200, 200, 200, 200, 200]),
        (Status::Fail, [503, 503, 200, 200, 503]),
    ] {
        db.set_outcome(status);
        after(2 * SECOND).await;
        assert_eq!(codes().await, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_and_options_answer_like_get() {
    let health = broken().await;
    let service = health.service();
    for path in [
        &PROBES[..],
        &["/health/db", "/health/cache", "/health/none"],
    ]
    .concat()
    {
        let get = ask(&service, path).await;
        let head = ask_with(&service, "HEAD", path).await;
        assert_eq!(
            (head.status, &head.headers),
            (get.status, &get.headers),
            "{path}"
        );
        assert_eq!(head.body, "");
        assert_eq!(
            get.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
        let options = ask_with(&service, "OPTIONS", path).await;
        assert_eq!(
            (options.status, &options.body),
            (get.status, &get.body),
            "{path}"
        );
        assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_is_405() {
    let health = broken().await;
    let service = health.service();
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PURGE",
    ] {
        for path in [&PROBES[..], &["/health/db"]].concat() {
            let answer = ask_with(&service, method, path).await;
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
            assert_eq!(
                answer.header("content-type"),
                Some("application/problem+json")
            );
            assert_eq!(answer.header("retry-after"), None);
            assert_eq!(answer.json()["status"], 405);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_carries_its_headers() {
    let health = broken().await;
    let service = health.service();
    for path in [&PROBES[..], &["/health/db", "/health/none", "/elsewhere"]].concat() {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            let answer = ask_with(&service, method, path).await;
            assert_eq!(
                answer.header("cache-control"),
                Some("no-store"),
                "{method} {path}"
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            let content_type = match answer.status.as_u16() {
                200 | 503 => "application/health+json",
                _ => "application/problem+json",
            };
            assert_eq!(
                answer.header("content-type"),
                Some(content_type),
                "{method} {path}"
            );
            assert!(answer.header("content-length").is_some());
            let allows = method == "OPTIONS" || answer.status == StatusCode::METHOD_NOT_ALLOWED;
            let expected = (allows && path != "/elsewhere").then_some("GET, HEAD, OPTIONS");
            assert_eq!(answer.header("allow"), expected, "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_sets_retry_after() {
    let health = Health::builder("orders")
        .check(
            Check::new("slow", Scripted::new(Status::Fail))
                .period(90 * SECOND)
                .retry_period(80 * SECOND),
        )
        .check(Check::new("soon", Scripted::new(Status::Fail)).retry_period(ms(1_200)))
        .check(
            Check::new("optional", Scripted::new(Status::Fail))
                .retry_period(ms(1))
                .non_critical(),
        )
        .start()
        .unwrap();
    let service = health.service();
    let retry = async |path| {
        ask(&service, path)
            .await
            .header("retry-after")
            .map(str::to_owned)
    };
    assert_eq!(
        retry("/startup").await.as_deref(),
        Some("1"),
        "the first runs are about to end"
    );
    after(SECOND).await;
    assert_eq!(
        retry("/ready").await.as_deref(),
        Some("2"),
        "of those that fail it"
    );
    assert_eq!(retry("/health").await.as_deref(), Some("2"));
    assert_eq!(
        retry("/health/slow").await.as_deref(),
        Some("60"),
        "60 at most"
    );
    assert_eq!(retry("/live").await, None);
    assert_eq!(retry("/startup").await, None);
    assert_eq!(retry("/health/none").await, None);
    // The delays grow, up to the period.
    after(60 * SECOND).await;
    assert_eq!(retry("/ready").await.as_deref(), Some("10"));
}

#[tokio::test(start_paused = true)]
async fn golden_bodies() {
    let health = Health::builder("orders")
        .seed(7)
        .release("1.4.2")
        .version("1")
        .description("takes orders")
        .check(
            Check::new(
                "db",
                Scripted::new(Outcome::fail(Reason::ConnectionRefused)).duration(ms(12)),
            )
            .component_type(ComponentType::Datastore),
        )
        .check(
            Check::new(
                "payments",
                Scripted::new(Outcome::warn(Reason::Busy)).duration(ms(3)),
            )
            .shared(),
        )
        .check(Check::new(
            "clock",
            Scripted::new(Status::Pass).duration(ms(1)),
        ))
        .check(
            Check::new("hung", Scripted::hanging())
                .timeout(30 * SECOND)
                .non_critical(),
        )
        .start()
        .unwrap();
    let service = health.service();
    let mut bodies = String::new();
    for moment in ["starting", "started"] {
        after(if moment == "starting" {
            SECOND
        } else {
            30 * SECOND
        })
        .await;
        for path in [
            &PROBES[..],
            &[
                "/health/db",
                "/health/clock",
                "/health/hung",
                "/health/none",
            ],
        ]
        .concat()
        {
            let answer = ask(&service, path).await;
            bodies += &format!(
                "{moment} {path} {}\n{}\n\n",
                answer.status.as_u16(),
                answer.timeless()
            );
        }
    }
    assert_snapshot!(bodies);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_body_stays_small() {
    let check = |i| Check::new(format!("{:x<60}{i:04}", ""), Scripted::new(Status::Fail));
    let health = Health::builder("orders")
        .checks((0..1_000).map(check))
        .start()
        .unwrap();
    let service = health.service();
    let everything = Endpoints::builder().authorize(|_| true);
    let full = health.service().endpoints(everything.build().unwrap());
    for _ in 0..2 {
        let answer = ask(&service, "/ready").await;
        assert_eq!(answer.json()["notes"][0], "984 more checks do not pass");
        for accept in [
            "*/*",
            "text/plain",
            "application/vnd.spring-boot.actuator.v3+json",
        ] {
            let answer = ask_saying(&full, "/ready", "accept", accept).await;
            let length = answer.body.len();
            assert!((1..10_000).contains(&length), "{accept}: {length}");
        }
        after(3 * SECOND).await;
    }
    assert_eq!(
        ask(&service, "/health").await.json()["checks"]
            .as_object()
            .unwrap()
            .len(),
        1_000
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_is_rendered_once_per_change() {
    let db = Scripted::new(Status::Pass).duration(ms(10));
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(SECOND))
        .start()
        .unwrap();
    let service = health.service();
    let bodies = async || {
        let mut bodies = String::new();
        for path in ["/health", "/ready", "/health/db"] {
            bodies += &ask(&service, path).await.body;
        }
        bodies
    };
    after(SECOND).await;
    let before = bodies().await;
    db.set_duration(ms(20));
    after(5 * SECOND).await;
    assert_eq!(
        bodies().await,
        before,
        "running numbers are those of the last change"
    );
    db.set_outcome(Status::Warn);
    after(3 * SECOND).await;
    let warned = bodies().await;
    assert_ne!(warned, before);
    db.set_outcome(Status::Pass);
    after(3 * SECOND).await;
    assert!(!bodies().await.contains("warn"));
}

#[tokio::test(start_paused = true)]
async fn anonymous_callers_see_reasons_and_no_causes() {
    let health = broken().await;
    for exposure in [Exposure::Status, Exposure::Checks] {
        let service = health
            .service()
            .endpoints(Endpoints::builder().exposure(exposure).build().unwrap());
        for path in [
            &PROBES[..],
            &["/health/db", "/health/db/", "/health/none", "/elsewhere"],
        ]
        .concat()
        {
            for method in ["GET", "HEAD", "OPTIONS", "POST"] {
                let answer = ask_with(&service, method, path).await;
                let said = format!("{:?}", answer);
                for secret in [
                    "hunter2",
                    "db.internal",
                    "orders_rw",
                    "postgres",
                    "secret-measure",
                ] {
                    assert!(
                        !said.contains(secret),
                        "{exposure:?} {method} {path}: {said}"
                    );
                }
            }
        }
    }
    for shown in [
        format!("{health:?}"),
        format!("{:?}", health.layer()),
        format!("{:?}", health.report()),
    ] {
        assert!(
            !shown.contains("hunter2") && !shown.contains("db.internal"),
            "{shown}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_exposure_shows_the_verdict_alone() {
    let health = broken().await;
    let service = health.service().endpoints(status_only().build().unwrap());
    for (path, status) in [
        ("/health", "fail"),
        ("/ready", "fail"),
        ("/live", "pass"),
        ("/startup", "pass"),
    ] {
        let body = ask(&service, path).await.body;
        assert_eq!(body, format!(r#"{{"status":"{status}"}}"#), "{path}");
    }
    let (known, unknown) = (
        ask(&service, "/health/db").await,
        ask(&service, "/health/none").await,
    );
    assert_eq!(known.status, StatusCode::NOT_FOUND);
    assert_eq!(
        (known.status, known.headers, known.body),
        (unknown.status, unknown.headers, unknown.body)
    );
    let (known, unknown) = (
        ask_with(&service, "POST", "/health/db").await,
        ask_with(&service, "POST", "/health/none").await,
    );
    assert_eq!(
        (known.status, known.headers, known.body),
        (unknown.status, unknown.headers, unknown.body)
    );
}

#[tokio::test(start_paused = true)]
async fn two_exposures_of_one_health_do_not_mix() {
    let health = broken().await;
    let (open, closed) = (
        health.service(),
        health.service().endpoints(status_only().build().unwrap()),
    );
    for _ in 0..2 {
        assert!(
            ask(&open, "/ready")
                .await
                .body
                .contains("authentication failed")
        );
        assert!(
            !ask(&closed, "/ready")
                .await
                .body
                .contains("authentication failed")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_input_gets_the_documented_response_and_is_never_echoed() {
    let health = broken().await;
    let service = health.service();
    let long = format!("/health/{}", "x".repeat(60_000));
    for path in [
        "/health/<script>alert(1)</script>",
        "/health/%3Cscript%3E",
        "/health/%00",
        "/health/%ff%fe",
        "/health/..",
        "/health/db%20",
        "/health/DB",
        "/health/db;x=1",
        long.as_str(),
    ] {
        let Ok(uri) = path.parse::<http::Uri>() else {
            continue;
        };
        let answer = ask(&service, &uri.to_string()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            answer.body.len() < 200 && !answer.body.contains("script"),
            "{}",
            answer.body
        );
    }
    let query = format!("/ready?{}=%00&&&=<x>", "q".repeat(60_000));
    let answer = ask(&service, &query.replace('<', "%3C").replace('>', "%3E")).await;
    assert_eq!(
        (answer.status, answer.body.contains("qqq")),
        (StatusCode::SERVICE_UNAVAILABLE, false)
    );
}

#[tokio::test(start_paused = true)]
async fn any_accept_gets_health_json_and_never_406() {
    use tower::ServiceExt;
    let health = broken().await;
    for accept in [
        "",
        "*/*",
        "text/html",
        "image/png;q=0",
        "nonsense",
        ";;;,,,",
    ] {
        let request = http::Request::get("/ready")
            .header("accept", accept)
            .body(())
            .unwrap();
        let response = health.service().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            response.headers()["content-type"],
            "application/health+json"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_probes_cause_no_run_beyond_the_schedule() {
    let db = Scripted::new(Status::Pass).duration(ms(50));
    let health = Health::builder("orders")
        .seed(1)
        .check(Check::new("db", db.clone()))
        .start()
        .unwrap();
    let unprobed = Scripted::new(Status::Pass).duration(ms(50));
    let _twin = Health::builder("orders")
        .seed(1)
        .check(Check::new("db", unprobed.clone()))
        .start()
        .unwrap();
    let service = health.service();
    for _ in 0..30 {
        let mut probes = tokio::task::JoinSet::new();
        for i in 0..1_000 {
            let service = service.clone();
            probes.spawn(async move { ask(&service, PROBES[i % 4]).await.status });
        }
        assert_eq!(probes.join_all().await.len(), 1_000);
        after(SECOND).await;
    }
    assert!(db.runs() >= 3);
    assert_eq!(db.runs(), unprobed.runs());
}

/// The responses after the runtime of the checks has ended.
#[test]
fn a_stopped_engine_is_reported_on_every_path() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let health = runtime.block_on(async {
        let checks = ["db", "cache"].map(|name| Check::new(name, Scripted::new(Status::Pass)));
        let health = Health::builder("orders").checks(checks).start().unwrap();
        while ready(&health) != Status::Pass {
            tokio::time::sleep(ms(5)).await;
        }
        health
    });
    drop(runtime);
    let another = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    another.block_on(async {
        let service = health.service();
        for (path, code, retry) in [
            ("/health", 503, Some("60")),
            ("/ready", 503, Some("60")),
            ("/health/db", 503, Some("60")),
            ("/live", 503, None),
            ("/startup", 200, None),
        ] {
            let answer = ask(&service, path).await;
            assert_eq!(answer.status.as_u16(), code, "{path}");
            assert_eq!(answer.header("retry-after"), retry, "{path}");
            let output = (code == 503).then_some("engine stopped");
            assert_eq!(answer.json()["output"].as_str(), output, "{path}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_not_a_probe_is_404_for_every_method() {
    let health = broken().await;
    let service = health.service();
    for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE"] {
        for path in ["/", "/orders", "/health/a/b", "/ready/db"] {
            let answer = ask_with(&service, method, path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.json()["status"], 404);
                assert_eq!(answer.json()["title"], "Not Found");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_names_sixteen_failing_checks_in_its_output_and_counts_the_rest() {
    let check = |i| Check::new(format!("c{i}"), Scripted::new(Status::Fail));
    let health = Health::builder("orders")
        .checks((0..20).map(check))
        .start()
        .unwrap();
    after(SECOND).await;
    for path in ["/health", "/ready"] {
        let body = ask(&health.service(), path).await.json();
        let output = body["output"].as_str().unwrap();
        assert!(output.starts_with("c0 failed, c1 failed,"), "{output}");
        assert!(output.ends_with("c15 failed, 4 more"), "{output}");
    }
}
