//! What does a verdict cost, compared with the cheapest response of a router, and with many checks?

use axum::{Router, routing};
use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS},
};
use hyper::body::Body;
use tower::{Layer, Service};

use super::{
    Question, Subject,
    stack::{Nothing, ask, at_once, get, health},
};

pub(crate) const QUESTION: Question = Question {
    name: "ready",
    subjects: SUBJECTS,
};

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "axum route, static body, same headers",
        set_up: || {
            let body = body(10);
            ready(Router::new().route("/ready", handler(body)), body, ())
        },
    },
    Subject {
        name: "wrapped round a router, 1 check",
        set_up: || wrapped(1),
    },
    Subject {
        name: "wrapped round a router, 10 checks",
        set_up: || wrapped(10),
    },
    Subject {
        name: "wrapped round a router, 10,000 checks",
        set_up: || wrapped(10_000),
    },
    Subject {
        name: "layer of a router, 10 checks",
        set_up: || {
            let (runtime, health) = health(10);
            ready(application().layer(health.layer()), body(10), runtime)
        },
    },
    Subject {
        name: "service of its own, 10 checks",
        set_up: || {
            let (runtime, health) = health(10);
            ready(health.service(), body(10), runtime)
        },
    },
];

fn application() -> Router {
    Router::new().route("/orders", routing::get(|| async { "no orders" }))
}

fn wrapped(checks: usize) -> Box<dyn FnMut()> {
    let (runtime, health) = health(checks);
    ready(health.layer().layer(application()), body(checks), runtime)
}

/// Returns the body of the response to `/ready`.
fn body(checks: usize) -> &'static str {
    let (_runtime, health) = health(checks);
    let answer = health.service().respond("GET", "/ready", None, []);
    let body = at_once(answer.expect("a probe")).into_body();
    String::from_utf8(body.into()).expect("text").leak()
}

fn handler(body: &'static str) -> routing::MethodRouter {
    let headers = [
        (CONTENT_TYPE, "application/health+json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (VARY, "Accept"),
    ];
    // The router adds the `Content-Length`.
    routing::get(move || async move { (headers, body) })
}

fn ready<S, B>(mut service: S, body: &'static str, kept: impl Sized + 'static) -> Box<dyn FnMut()>
where
    S: Service<Request<Nothing>, Response = Response<B>> + 'static,
    B: Body<Data = Bytes>,
{
    Box::new(move || {
        let _kept = &kept;
        let (response, length) = ask(&mut service, get("/ready"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers().len(), 5);
        assert_eq!(length, body.len());
    })
}
