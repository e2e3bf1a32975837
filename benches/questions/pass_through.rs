//! What does the layer cost for a request that is not a probe?

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use tower::{Layer, Service, layer::util::Identity};

use super::{
    Question, Subject,
    stack::{Nothing, ask, get, health},
};

pub(crate) const QUESTION: Question = Question {
    name: "pass-through",
    subjects: SUBJECTS,
};

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "identity layer",
        set_up: || orders(Identity::new().layer(Orders), ()),
    },
    Subject {
        name: "probes layer",
        set_up: || {
            let (runtime, health) = health(10);
            orders(health.layer().layer(Orders), runtime)
        },
    },
    Subject {
        name: "identity layer, a path like a probe's",
        set_up: || request("/health-records", Identity::new().layer(Orders), ()),
    },
    Subject {
        name: "probes layer, a path like a probe's",
        set_up: || {
            let (runtime, health) = health(10);
            request("/health-records", health.layer().layer(Orders), runtime)
        },
    },
    Subject {
        name: "axum, identity layer",
        set_up: || orders(router().layer(Identity::new()), ()),
    },
    Subject {
        name: "axum, probes layer",
        set_up: || {
            let (runtime, health) = health(10);
            orders(router().layer(health.layer()), runtime)
        },
    },
];

const ANSWER: &str = "no orders";

/// The smallest possible service.
#[derive(Clone)]
struct Orders;

impl<B> Service<Request<B>> for Orders {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let body = Full::new(Bytes::from_static(ANSWER.as_bytes()));
        ready(Ok(Response::new(body)))
    }
}

fn router() -> Router {
    Router::new().route("/orders", routing::get(|| async { ANSWER }))
}

fn orders<S, B>(service: S, kept: impl Sized + 'static) -> Box<dyn FnMut()>
where
    S: Service<Request<Nothing>, Response = Response<B>> + 'static,
    B: Body<Data = Bytes>,
{
    request("/orders", service, kept)
}

fn request<S, B>(path: &'static str, mut service: S, kept: impl Sized + 'static) -> Box<dyn FnMut()>
where
    S: Service<Request<Nothing>, Response = Response<B>> + 'static,
    B: Body<Data = Bytes>,
{
    Box::new(move || {
        let _kept = &kept;
        let (response, length) = ask(&mut service, get(path));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(length, ANSWER.len());
    })
}
