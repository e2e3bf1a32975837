//! Configuration of endpoints: paths, status codes, callers and bodies.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use http::{Request, StatusCode, Version, header::AUTHORIZATION};
use insta::assert_snapshot;
use tower::Layer;
use tower_health::{
    Check, Endpoints, Health, Outcome, Probe, Reason, Status,
    endpoint::{Dialect, Exposure},
    error::InvalidEndpoint,
};

use crate::support::{
    SECOND, Scripted, after, ask, ask_saying, ask_with, inner, send, status_only,
};

const TOKEN: &str = "c29tZS10b2tlbg==";

/// A service whose check `db` has this outcome, with its private part.
async fn service(outcome: Outcome) -> (Health, Scripted) {
    let db = Scripted::new(outcome);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()))
        .start()
        .unwrap();
    after(SECOND).await;
    (health, db)
}

fn secret() -> Outcome {
    Outcome::fail(Reason::AuthenticationFailed)
        .with_cause("role orders_rw at db.internal")
        .measure("lag", 12, "s")
}

#[tokio::test(start_paused = true)]
async fn custom_paths_and_several_presets_can_be_combined() {
    let (health, _) = service(Outcome::pass()).await;
    let endpoints = Endpoints::builder()
        .merge(Endpoints::kubernetes())
        .merge(Endpoints::actuator())
        .probe("/internal/up/", Probe::Readiness)
        .dialect("/internal/up", Dialect::KubernetesText)
        .checks("/internal/checks/{check}");
    let probes = health.service().endpoints(endpoints.build().unwrap());
    for path in [
        "/ready",
        "/readyz",
        "/readyz/",
        "/readyz/db",
        "/actuator/health/readiness",
        "/actuator/health/db",
        "/internal/up",
        "/internal/up/",
        "/internal/checks/db",
        "/health/db",
    ] {
        assert_eq!(ask(&probes, path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(ask(&probes, "/internal/up").await.body, "ok");
    for path in [
        "/internal",
        "/internal/checks",
        "/readyz/db/x",
        "/internal/up/db",
        "/livez/db",
    ] {
        assert_eq!(
            ask(&probes, path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let app = health
        .layer()
        .endpoints(Endpoints::kubernetes().build().unwrap());
    let app = app.layer(tower::service_fn(inner));
    assert_eq!(ask(&app, "/readyz").await.body, "ok");
    assert_eq!(ask(&app, "/ready").await.body, "inner /ready");
}

#[tokio::test]
async fn every_problem_of_endpoints_is_reported_at_once_with_its_remedy() {
    let endpoints = Endpoints::builder()
        .probe("up", Probe::Readiness)
        .probe("/a//b", Probe::Readiness)
        .probe("/a/../b", Probe::Readiness)
        .probe("/{id}", Probe::Readiness)
        .probe("/a?b", Probe::Readiness)
        .probe("/a%62", Probe::Readiness)
        .probe(format!("/{}", "x".repeat(256)), Probe::Readiness)
        .checks("/checks")
        .checks("/a//{check}")
        .probe("/health/*", Probe::Readiness)
        .probe("/:check", Probe::Readiness)
        .checks("/checks/{check}/more")
        .probe("/ready", Probe::Liveness)
        .dialect("/nowhere", Dialect::Actuator)
        .exposure(Exposure::Full)
        .bearer_token("")
        .bearer_token("two words")
        .code(Status::Fail, StatusCode::CONTINUE)
        .envoy_cluster("a\nb")
        .merge(Endpoints::microprofile());
    let error = endpoints.build().unwrap_err();
    let long = format!("/{}", "x".repeat(256));
    assert_snapshot!(error.to_string().replace(&long, "[long]"));
    let only = Endpoints::none().checks("/checks");
    let error = only.build().unwrap_err();
    assert_eq!(error.problems(), [InvalidEndpoint::Path("/checks".into())]);
    // An identical setting is not a problem.
    let twice = Endpoints::builder().merge(Endpoints::builder());
    assert!(twice.build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn authorized_callers_see_everything_and_others_only_the_exposure() {
    let (health, _) = service(secret()).await;
    let endpoints = status_only().bearer_token(TOKEN).bearer_token("another");
    let probes = health.service().endpoints(endpoints.build().unwrap());
    let bearer =
        async |value: &str| ask_saying(&probes, "/health", AUTHORIZATION.as_str(), value).await;
    for known in [
        format!("Bearer {TOKEN}"),
        format!("bearer  {TOKEN} "),
        "BEARER another".into(),
    ] {
        let answer = bearer(&known).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        for shown in [
            "orders_rw at db.internal",
            "\"db:lag\"",
            "authentication failed",
        ] {
            assert!(answer.body.contains(shown), "{known}: {}", answer.body);
        }
    }
    let anyone = ask(&probes, "/health").await;
    assert_eq!(anyone.body, r#"{"status":"fail"}"#);
    for unknown in [
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic c29tZS10b2tlbg==",
        "c29tZS10b2tlbg==",
        "Bearerc29tZS10b2tlbg==",
        "Bearer c29tZS10b2tlbg=",
        "Bearer c29tZS10b2tlbg== x",
        "\u{e9}",
    ] {
        let answer = bearer(unknown).await;
        assert_eq!(
            (&answer.status, &answer.headers, &answer.body),
            (&anyone.status, &anyone.headers, &anyone.body),
            "{unknown}"
        );
    }
    let shown = format!("{probes:?}");
    assert!(
        !shown.contains(TOKEN) && !shown.contains("another"),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_sees_the_connection_and_a_panicking_rule_denies() {
    #[derive(Clone)]
    struct Peer(bool);

    let (health, _) = service(secret()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let endpoints = Endpoints::builder()
        .authorize(|parts| {
            assert!(
                !parts.uri.path().starts_with("/live"),
                "it is broken there: hunter2"
            );
            false
        })
        .authorize(move |parts| {
            counted.fetch_add(1, Ordering::Relaxed);
            parts.extensions.get::<Peer>().is_some_and(|peer| peer.0)
        });
    let layered = health.layer().endpoints(endpoints.build().unwrap());
    let layered = layered.layer(tower::service_fn(inner));
    let from = async |path: &str, peer: Peer| {
        let request = Request::get(path)
            .extension(peer)
            .body(Body::empty())
            .unwrap();
        send(&layered, request).await
    };
    let known = from("/ready", Peer(true)).await;
    assert!(known.body.contains("orders_rw"), "{}", known.body);
    let unknown = from("/ready", Peer(false)).await;
    assert!(!unknown.body.contains("orders_rw"), "{}", unknown.body);
    assert_eq!(from("/live", Peer(true)).await.status, StatusCode::OK);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(from("/orders", Peer(true)).await.body, "inner /orders");
    assert_eq!(
        asked.load(Ordering::Relaxed),
        3,
        "it is asked for probes alone"
    );
}

#[tokio::test(start_paused = true)]
async fn a_mapping_of_codes_overrides_the_defaults() {
    let (health, db) = service(Outcome::pass()).await;
    let endpoints = Endpoints::builder()
        .code(Status::Warn, StatusCode::TOO_MANY_REQUESTS)
        .merge(Endpoints::none().code(Status::Pass, StatusCode::NO_CONTENT));
    let mapped = health.service().endpoints(endpoints.build().unwrap());
    let plain = health.service();
    for (status, codes) in [
        (Status::Pass, [204, 200]),
        (Status::Warn, [429, 200]),
        (Status::Fail, [503, 503]),
    ] {
        db.set_outcome(status);
        health.run_now("db").await.unwrap();
        for path in ["/ready", "/health", "/health/db"] {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let answer = ask_with(&mapped, method, path).await;
                assert_eq!(answer.status.as_u16(), codes[0], "{method} {path}");
                let length = answer.header("content-length");
                // A response with 204 has no body and no `Content-Length`.
                assert_eq!(length.is_none(), codes[0] == 204, "{method} {path}");
                assert_eq!(answer.body.is_empty(), codes[0] == 204 || method == "HEAD");
                let retry = answer.header("retry-after");
                assert_eq!(retry.is_some(), codes[0] == 503, "{method} {path}");
                let answer = ask_with(&plain, method, path).await;
                assert_eq!(answer.status.as_u16(), codes[1], "{method} {path}");
            }
        }
    }
    assert_eq!(
        ask(&mapped, "/health/none").await.status,
        StatusCode::NOT_FOUND
    );
}

/// `Retry-After` depends on the status code, not on the status.
#[tokio::test(start_paused = true)]
async fn retry_after_is_sent_with_503_whatever_the_status() {
    let (health, db) = service(Outcome::pass()).await;
    let endpoints = Endpoints::builder()
        .code(Status::Warn, StatusCode::SERVICE_UNAVAILABLE)
        .code(Status::Fail, StatusCode::INTERNAL_SERVER_ERROR);
    let mapped = health.service().endpoints(endpoints.build().unwrap());
    for (status, code, retries) in [
        (Status::Pass, 200, false),
        (Status::Warn, 503, true),
        (Status::Fail, 500, false),
    ] {
        db.set_outcome(status);
        health.run_now("db").await.unwrap();
        for path in ["/ready", "/health", "/health/db"] {
            let answer = ask(&mapped, path).await;
            assert_eq!(answer.status.as_u16(), code, "{path}");
            let retry = answer.header("retry-after");
            assert_eq!(retry.is_some(), retries, "{status} {path}: {retry:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn envoy_headers_are_sent_only_with_the_envoy_setting() {
    let (health, db) = service(Outcome::pass()).await;
    let endpoints = Endpoints::builder().envoy_cluster("orders-eu");
    let envoy = health.service().endpoints(endpoints.build().unwrap());
    let plain = health.service();
    for status in [Status::Pass, Status::Warn, Status::Fail] {
        db.set_outcome(status);
        health.run_now("db").await.unwrap();
        for path in ["/ready", "/health", "/health/db"] {
            let answer = ask(&envoy, path).await;
            let cluster = answer.header("x-envoy-upstream-healthchecked-cluster");
            assert_eq!(cluster, Some("orders-eu"), "{path}");
            let degraded = answer.header("x-envoy-degraded");
            assert_eq!(degraded.is_some(), status == Status::Warn, "{path}");
            let answer = ask(&plain, path).await;
            let names = answer.headers.keys().map(http::HeaderName::as_str);
            assert!(
                !names.into_iter().any(|name| name.starts_with("x-envoy")),
                "{path}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_fails_readiness_immediately_and_nothing_else() {
    let (health, _) = service(Outcome::pass()).await;
    let probes = health.service();
    let mut events = health.subscribe();
    assert_eq!(ask(&probes, "/ready").await.status, StatusCode::OK);
    health.drain();
    health.clone().drain();
    for (path, code, retry) in [
        ("/ready", 503, Some("1")),
        ("/health", 503, Some("1")),
        ("/live", 200, None),
        ("/startup", 200, None),
        ("/health/db", 200, None),
    ] {
        let answer = ask(&probes, path).await;
        assert_eq!(answer.status.as_u16(), code, "{path}");
        assert_eq!(answer.header("retry-after"), retry, "{path}");
    }
    let body = ask(&probes, "/ready").await.json();
    assert_eq!(body["output"], "draining");
    // Subscribers receive each event once.
    let mut told = Vec::new();
    while told.len() < 2 {
        if let Some(tower_health::event::Event::Verdict(transition)) = events.next().await {
            told.push((transition.probe, transition.to));
        }
    }
    told.sort_by_key(|(probe, _)| probe.as_str());
    assert_eq!(
        told,
        [
            (Probe::Health, Status::Fail),
            (Probe::Readiness, Status::Fail)
        ]
    );
    after(60 * SECOND).await;
    assert_eq!(
        ask(&probes, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_drain_applies_to_a_fixed_health_and_after_the_engine_has_ended() {
    let fixed = Health::fixed(Status::Pass);
    let waits = fixed.wait_until(Probe::Readiness, Status::Fail);
    fixed.drain();
    assert_eq!(fixed.verdict(Probe::Readiness).status, Status::Fail);
    assert_eq!(fixed.report().status, Status::Fail);
    // A fixed health never changes by itself, but it has changed here.
    assert_eq!(waits.await.unwrap().status, Status::Fail);
    let runtime = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap());
    let runtime = runtime.join().unwrap();
    let health = Health::builder("orders")
        .runtime(runtime.handle().clone())
        .start()
        .unwrap();
    runtime.shutdown_background();
    while health.verdict(Probe::Liveness).status == Status::Pass {
        std::thread::yield_now();
    }
    health.drain();
    let reason = health.verdict(Probe::Readiness).reason;
    assert_eq!(
        reason,
        Some(tower_health::report::VerdictReason::EngineStopped)
    );
}

#[tokio::test(start_paused = true)]
async fn ordinary_responses_announce_a_drain() {
    let (health, _) = service(Outcome::pass()).await;
    let hop = tower::service_fn(|request: Request<Body>| async move {
        let mut response = http::Response::new(Body::empty());
        if request.uri().path() == "/upgrade" {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response
                .headers_mut()
                .insert("connection", "upgrade".parse().unwrap());
        }
        Ok::<_, std::convert::Infallible>(response)
    });
    let plain = health.wrap(hop);
    let envoy = health
        .layer()
        .endpoints(Endpoints::builder().envoy().build().unwrap())
        .layer(hop);
    let over = |version| {
        move |path: &str| {
            let request = Request::get(path).version(version);
            request.body(Body::empty()).unwrap()
        }
    };
    let (http1, http10) = (over(Version::HTTP_11), over(Version::HTTP_10));
    let http2 = over(Version::HTTP_2);
    const FAIL: &str = "x-envoy-immediate-health-check-fail";
    for app in [&plain, &envoy] {
        let answer = send(app, http1("/orders")).await;
        assert!(answer.header("connection").is_none() && answer.header(FAIL).is_none());
    }
    // This applies to a response in progress at the start of the drain, too.
    let mut waiting = tokio_test::task::spawn({
        let slow = tower::service_fn(async |_: Request<Body>| {
            after(SECOND).await;
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        tower::ServiceExt::oneshot(health.wrap(slow), http1("/slow"))
    });
    tokio_test::assert_pending!(waiting.poll());
    health.drain();
    let late = waiting.await.unwrap();
    assert_eq!(late.headers().get("connection").unwrap(), "close");
    for (app, says) in [(&plain, false), (&envoy, true)] {
        for request in [http1("/orders"), http10("/orders")] {
            let answer = send(app, request).await;
            assert_eq!(answer.header("connection"), Some("close"));
            assert_eq!(answer.header(FAIL).is_some(), says);
        }
        let answer = send(app, http2("/orders")).await;
        assert_eq!(
            (answer.header("connection"), answer.header(FAIL).is_some()),
            (None, says)
        );
        let upgraded = send(app, http1("/upgrade")).await;
        assert_eq!(upgraded.header("connection"), Some("upgrade"));
        let probe = send(app, http1("/ready")).await;
        assert!(probe.header("connection").is_none() && probe.header(FAIL).is_none());
    }
}

#[tokio::test]
async fn a_runbook_must_be_a_url_without_a_password() {
    for (url, fault) in [
        ("wiki/db", "is not an absolute `http` or `https` URL"),
        (
            "ftp://wiki.internal/db",
            "is not an absolute `http` or `https` URL",
        ),
        ("https://", "is not an absolute `http` or `https` URL"),
        (
            "https://wiki.internal/a b",
            "is not an absolute `http` or `https` URL",
        ),
        (
            "https://wiki.internal/db?token=secret",
            "contains a user, a password or a token",
        ),
        (
            "https://me:secret@wiki.internal/db",
            "contains a user, a password or a token",
        ),
    ] {
        let check = Check::new("db", || async { Status::Pass }).runbook(url);
        let error = Health::builder("orders").check(check).start().unwrap_err();
        assert!(error.to_string().contains(fault), "{url}: {error}");
        assert!(!error.to_string().contains("secret"));
    }
    let check =
        Check::new("db", || async { Status::Pass }).runbook("https://wiki.internal/db#down");
    let health = Health::builder("orders").check(check).start().unwrap();
    let report = health.check("db").unwrap();
    assert_eq!(
        report.runbook.as_deref(),
        Some("https://wiki.internal/db#down")
    );
}

/// For any request, nothing private is shown below the exposure `Full`.
#[tokio::test(start_paused = true)]
async fn no_dialect_path_or_method_shows_private_facts() {
    const SECRETS: [&str; 7] = [
        "hunter2",
        "db.internal",
        "orders_rw",
        "wiki.internal",
        "secret-measure",
        "boom",
        "planted",
    ];
    let panics = Scripted::panicking("boom at db.internal, password=planted");
    let private = Outcome::warn(Reason::Busy)
        .with_cause("postgres://orders_rw:hunter2@db.internal")
        .measure("secret-measure", "db.internal", "planted-unit");
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(secret())).runbook("https://wiki.internal/db"))
        .check(Check::new("busy", Scripted::new(private)).runbook("https://wiki.internal/busy"))
        .check(Check::new("panics", panics).non_critical())
        .start()
        .unwrap();
    let paths = [
        "/health",
        "/ready",
        "/live",
        "/startup",
        "/healthz",
        "/readyz",
        "/livez",
        "/actuator/health",
        "/actuator/health/readiness",
        "/micro",
        "/micro/ready",
        "/elsewhere",
    ];
    let checks = ["/health", "/readyz", "/actuator/health"]
        .into_iter()
        .flat_map(|path| ["db", "busy", "panics", "none"].map(|name| format!("{path}/{name}")));
    let paths: Vec<String> = paths.map(String::from).into_iter().chain(checks).collect();
    let queries = [
        "",
        "?verbose",
        "?exclude=db&verbose",
        "?exclude=planted-by-nobody",
    ];
    let accepts = [
        "*/*",
        "application/json",
        "text/plain",
        "application/vnd.spring-boot.actuator.v3+json",
    ];
    let mut asked = 0;
    for state in ["starting", "running", "maintenance", "draining"] {
        match state {
            "starting" => {}
            "running" => after(SECOND).await,
            "maintenance" => {
                health.maintenance("boom at db.internal, password=planted", 60 * SECOND);
            }
            _ => drop(health.drain()),
        }
        for exposure in [Exposure::Status, Exposure::Checks] {
            let endpoints = Endpoints::builder()
                .merge(Endpoints::kubernetes())
                .merge(Endpoints::actuator())
                .probe("/micro", Probe::Health)
                .dialect("/micro", Dialect::MicroProfile)
                .probe("/micro/ready", Probe::Readiness)
                .dialect("/micro/ready", Dialect::MicroProfile)
                .exposure(exposure)
                .bearer_token(TOKEN);
            let probes = health.service().endpoints(endpoints.build().unwrap());
            for path in &paths {
                for (method, query) in ["GET", "HEAD", "OPTIONS", "POST"]
                    .iter()
                    .flat_map(|m| queries.map(|q| (m, q)))
                {
                    for accept in accepts {
                        let request = Request::builder()
                            .method(*method)
                            .uri(format!("{path}{query}"))
                            .header("accept", accept)
                            .header(AUTHORIZATION, "Bearer wrong")
                            .body(Body::empty())
                            .unwrap();
                        let answer = send(&probes, request).await;
                        // Only a name that could be the name of a check is repeated.
                        let said = format!("{answer:?}").replace("planted-by-nobody", "");
                        for secret in SECRETS {
                            assert!(
                                !said.contains(secret),
                                "{state} {exposure:?} {method} {path}{query} {accept}: {said}"
                            );
                        }
                        asked += 1;
                    }
                }
            }
        }
    }
    assert_eq!(asked, 4 * 2 * paths.len() * 16 * 4);
}

#[tokio::test(start_paused = true)]
async fn hostile_requests_get_the_documented_responses() {
    let (health, _) = service(secret()).await;
    let probes = health.service();
    let plain = ask(&probes, "/ready").await;
    let long = "x".repeat(60_000);
    for query in [
        format!("?{long}"),
        format!("?exclude={long}"),
        format!("?{}", "exclude=a&".repeat(6_000)),
        format!("?{}", "verbose&".repeat(7_000)),
        "?exclude=%00%ff%3Cscript%3E".to_owned(),
        "?%&%&=&==&exclude".to_owned(),
    ] {
        for accept in ["*/*", "text/plain"] {
            let answer = ask_saying(&probes, &format!("/ready{query}"), "accept", accept).await;
            assert_eq!(answer.status, plain.status);
            for echo in ["script", "alert", "xxxx"] {
                assert!(!answer.body.contains(echo), "{}", answer.body);
            }
        }
    }
    for path in [
        format!("/{long}"),
        format!("/health/{long}"),
        format!("/ready/{long}"),
    ] {
        let answer = ask(&probes, &path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(!answer.body.contains("xxxx"));
    }
    for accept in [
        long.as_str(),
        &"text/plain,".repeat(5_000),
        &"*/*;q=0.001;".repeat(4_000),
        "text/plain;q=\"",
        "text/plain;q=-1",
        "text/plain;q=1e9",
        "/;/,/;,;q=,",
    ] {
        let answer = ask_saying(&probes, "/ready", "accept", accept).await;
        assert_eq!(answer.status, plain.status);
        assert_eq!(
            answer.header("content-type"),
            Some("application/health+json")
        );
    }
    // A request with an extreme number of headers.
    let mut request = Request::get("/ready");
    for index in 0..10_000 {
        request = request
            .header(format!("x-{index}"), "y")
            .header("accept", "text/html");
    }
    let answer = send(&probes, request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.body), (plain.status, plain.body));
}

/// Frameworks that are not based on tower pass the path and the query as they are.
#[tokio::test(start_paused = true)]
async fn respond_negotiates_the_format_and_the_exposure() {
    let (health, _) = service(secret()).await;
    let endpoints = Endpoints::builder().bearer_token(TOKEN);
    let probes = health.service().endpoints(endpoints.build().unwrap());
    let token = format!("Bearer {TOKEN}");
    let headers = [
        ("accept", &b"text/plain"[..]),
        ("not a name", b"x"),
        ("x", b"\n"),
        ("authorization", token.as_bytes()),
    ];
    let text = probes
        .respond("GET", "/ready", Some("verbose&exclude=db"), headers)
        .unwrap()
        .await;
    assert_eq!(text.status(), StatusCode::OK);
    assert_eq!(
        &text.body()[..],
        b"[+]db excluded: ok\nreadyz check passed\n"
    );
    let full = probes
        .respond("GET", "/health/db", None, [headers[3]])
        .unwrap()
        .await;
    assert!(String::from_utf8_lossy(full.body()).contains("orders_rw"));
    // A rule sees the request.
    let by_path = Endpoints::builder()
        .authorize(|parts| parts.uri.query() == Some("open") && parts.uri.path() == "/health/db");
    let ruled = health.service().endpoints(by_path.build().unwrap());
    let open = ruled
        .respond("GET", "/health/db", Some("open"), [])
        .unwrap()
        .await;
    assert!(String::from_utf8_lossy(open.body()).contains("orders_rw"));
    let stranger = probes.respond("GET", "/health/db", None, []).unwrap().await;
    assert!(!String::from_utf8_lossy(stranger.body()).contains("orders_rw"));
}
