//! The position of the layer in an axum service: the statements of its documentation.

use axum::{
    Router,
    routing::{any, get},
};
use http::StatusCode;
use tower::Layer;
use tower_health::{Check, Health, Status};
use tower_http::cors::CorsLayer;

use crate::support::{SECOND, Scripted, after, ask, ask_with};

/// A service whose check fails.
async fn down() -> Health {
    let health = Health::builder("orders")
        .check(Check::new("db", Scripted::new(Status::Fail)))
        .start()
        .unwrap();
    after(SECOND).await;
    health
}

fn app() -> Router {
    Router::new().route("/orders", get(|| async { "orders" }))
}

#[tokio::test(start_paused = true)]
async fn as_the_last_layer_it_covers_every_route_and_the_fallback() {
    let app = app()
        .fallback(|| async { "fallback" })
        .layer(down().await.layer());
    assert_eq!(
        ask(&app, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        ask(&app, "/health/db").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&app, "/orders").await.body, "orders");
    assert_eq!(ask(&app, "/health/a/b").await.body, "fallback");
}

#[tokio::test(start_paused = true)]
async fn a_cors_layer_outside_answers_options_instead() {
    let health = down().await;
    let hidden = app().layer(health.layer()).layer(CorsLayer::permissive());
    assert_eq!(
        ask_with(&hidden, "OPTIONS", "/ready").await.status,
        StatusCode::OK,
        "a lie"
    );
    assert_eq!(
        ask(&hidden, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let wrapped = health.wrap(app().layer(CorsLayer::permissive()));
    assert_eq!(
        ask_with(&wrapped, "OPTIONS", "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn a_cors_layer_inside_sees_all_requests_except_probes() {
    let app = app()
        .layer(CorsLayer::permissive())
        .layer(down().await.layer());
    let probe = ask_with(&app, "OPTIONS", "/ready").await;
    assert_eq!(probe.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(probe.header("access-control-allow-origin"), None);
    let orders = ask(&app, "/orders").await;
    assert_eq!(orders.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test(start_paused = true)]
async fn a_route_added_after_the_layer_hides_that_probe() {
    let app = app()
        .layer(down().await.layer())
        .route("/ready", get(|| async { "not asked" }));
    assert_eq!(ask(&app, "/ready").await.body, "not asked");
    assert_eq!(
        ask(&app, "/health").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn a_fallback_set_after_the_layer_hides_all_probes() {
    let app = app()
        .layer(down().await.layer())
        .fallback(|| async { "not asked" });
    assert_eq!(ask(&app, "/ready").await.body, "not asked");
}

#[tokio::test(start_paused = true)]
async fn a_catch_all_route_hides_the_probes_only_if_added_after_the_layer() {
    let health = down().await;
    let all = || any(|| async { "all" });
    let before = Router::new().route("/{*path}", all()).layer(health.layer());
    assert_eq!(
        ask(&before, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&before, "/orders").await.body, "all");
    let after = Router::new().layer(health.layer()).route("/{*path}", all());
    assert_eq!(ask(&after, "/ready").await.body, "all");
}

#[tokio::test(start_paused = true)]
async fn a_router_merged_after_the_layer_hides_its_paths() {
    let health = down().await;
    let other = || Router::new().route("/other", get(|| async { "other" }));
    let hidden = app().layer(health.layer()).merge(other());
    assert_eq!(ask(&hidden, "/ready").await.status, StatusCode::NOT_FOUND);
    let last_line = app().merge(other()).layer(health.layer());
    let merged_into_another = other().merge(app().layer(health.layer()));
    for app in [last_line, merged_into_another] {
        assert_eq!(
            ask(&app, "/ready").await.status,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(ask(&app, "/other").await.body, "other");
        assert_eq!(ask(&app, "/orders").await.body, "orders");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_inside_a_nest_does_not_answer_and_outside_it_does() {
    let health = down().await;
    let nested = Router::new().nest("/api", app().layer(health.layer()));
    for path in ["/ready", "/api/ready"] {
        assert_eq!(
            ask(&nested, path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let outermost = Router::new().nest("/api", app()).layer(health.layer());
    assert_eq!(
        ask(&outermost, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&outermost, "/api/orders").await.body, "orders");
    assert_eq!(
        ask(&outermost, "/api/ready").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(start_paused = true)]
async fn a_nested_layer_with_a_fallback_answers_below_the_prefix() {
    let inner = app()
        .fallback(|| async { "fallback" })
        .layer(down().await.layer());
    let nested = Router::new().nest("/api", inner);
    assert_eq!(
        ask(&nested, "/api/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&nested, "/ready").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_nested_layer_with_a_catch_all_answers_below_the_prefix() {
    let all = Router::new().route("/{*path}", any(|| async { "all" }));
    let nested = Router::new().nest("/api", all.layer(down().await.layer()));
    assert_eq!(
        ask(&nested, "/api/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&nested, "/ready").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_layer_merged_into_a_router_with_a_fallback_is_hidden() {
    let layered = app().layer(down().await.layer());
    let hidden = Router::new()
        .fallback(|| async { "not asked" })
        .merge(layered);
    let answer = ask(&hidden, "/ready").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "not asked"),
        "a lie"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fallback_reset_after_the_layer_hides_it() {
    let app = app().layer(down().await.layer()).reset_fallback();
    assert_eq!(ask(&app, "/ready").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_route_layer_answers_only_where_a_route_matches() {
    let health = down().await;
    let app = app().route_layer(health.layer());
    assert_eq!(ask(&app, "/ready").await.status, StatusCode::NOT_FOUND);
    let all = Router::new()
        .route("/{*path}", any(|| async { "all" }))
        .route_layer(health.layer());
    assert_eq!(
        ask(&all, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_of_the_application_below_health_is_hidden() {
    let app = app().route("/health/{id}", get(|| async { "of the application" }));
    let app = app.layer(down().await.layer());
    assert_eq!(ask(&app, "/health/7").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_middleware_inside_that_rejects_all_requests_rejects_no_probe() {
    let health = down().await;
    let refuse = axum::middleware::from_fn(
        async |_: axum::extract::Request, _: axum::middleware::Next| StatusCode::UNAUTHORIZED,
    );
    let app = app().layer(refuse).layer(health.layer());
    assert_eq!(ask(&app, "/orders").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        ask(&app, "/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ask(&app, "/live").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_service_can_be_nested_or_be_the_fallback_of_a_separate_port() {
    let health = down().await;
    let nested = app().nest_service("/internal", health.service());
    assert_eq!(
        ask(&nested, "/internal/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        ask(&nested, "/internal/other").await.status,
        StatusCode::NOT_FOUND
    );
    let management: Router = Router::new().fallback_service(health.service());
    assert_eq!(
        ask(&management, "/health").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn a_path_below_a_probe_path_goes_to_the_inner_service() {
    let service = down()
        .await
        .layer()
        .layer(tower::service_fn(crate::support::inner));
    assert_eq!(
        ask(&service, "/health/history/today").await.body,
        "inner /health/history/today"
    );
    assert_eq!(
        ask(&service, "/healthz/admin").await.body,
        "inner /healthz/admin",
        "no prefix matches"
    );
    assert_eq!(
        ask(&service, "/health/history").await.status,
        StatusCode::NOT_FOUND
    );
}
