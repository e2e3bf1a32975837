//! The probes layer, tested by polling, without sockets or sleeps.

use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder};
use tower_health::Health;
use tower_test::mock::{self, Spawn};

use crate::support::{ask, status_only};

type Body = Empty<Bytes>;
type Mock = mock::Mock<Request<()>, Response<Body>>;
type Handle = mock::Handle<Request<()>, Response<Body>>;

fn health() -> Health {
    Health::builder("orders").start().unwrap()
}

fn probed() -> (Spawn<tower_health::layer::probes::Probes<Mock>>, Handle) {
    let health = health();
    mock::spawn_with(move |mock| health.layer().layer(mock))
}

fn probe() -> Request<()> {
    Request::get("/ready").body(()).unwrap()
}

fn ordinary() -> Request<()> {
    Request::get("/orders").body(()).unwrap()
}

fn answer(handle: &mut Handle) {
    let mut request = task::spawn(handle.next_request());
    let (_, respond) = assert_ready!(request.poll()).unwrap();
    respond.send_response(Response::new(Body::new()));
}

#[tokio::test]
async fn a_probe_is_answered_while_the_inner_service_is_not_ready() {
    let (mut service, mut handle) = probed();
    handle.allow(0);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(probe()));
    assert_eq!(assert_ready_ok!(response.poll()).status(), StatusCode::OK);
}

#[tokio::test]
async fn an_ordinary_request_waits_until_the_inner_service_is_ready() {
    let (mut service, mut handle) = probed();
    handle.allow(0);
    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call(ordinary()));
    assert_pending!(response.poll());
    handle.allow(1);
    assert!(response.is_woken());
    assert_pending!(response.poll());
    answer(&mut handle);
    assert_ready_ok!(response.poll());
}

#[tokio::test]
async fn a_readiness_error_goes_to_the_next_ordinary_request_and_never_to_a_probe() {
    let (mut service, mut handle) = probed();
    handle.allow(0);
    handle.send_error("broken");
    assert_ready_ok!(service.poll_ready());
    assert_ready_ok!(task::spawn(service.call(probe())).poll());
    assert_ready_ok!(service.poll_ready());
    let error = assert_ready_err!(task::spawn(service.call(ordinary())).poll());
    assert_eq!(error.to_string(), "broken");
}

#[tokio::test]
async fn a_readiness_error_reaches_a_waiting_request() {
    let (mut service, mut handle) = probed();
    handle.allow(0);
    let mut response = task::spawn(service.call(ordinary()));
    assert_pending!(response.poll());
    handle.send_error("broken");
    assert_eq!(assert_ready_err!(response.poll()).to_string(), "broken");
}

#[tokio::test]
async fn the_layer_itself_is_always_ready() {
    let (mut service, mut handle) = probed();
    handle.allow(0);
    for _ in 0..3 {
        assert_ready_ok!(service.poll_ready());
        let mut waiting = task::spawn(service.call(ordinary()));
        assert_pending!(waiting.poll());
    }
}

/// A service that counts its clones.
#[derive(Debug)]
struct CountsClones<'a>(&'a std::cell::Cell<u32>, bool);

impl Clone for CountsClones<'_> {
    fn clone(&self) -> Self {
        self.0.set(self.0.get() + 1);
        Self(self.0, self.1)
    }
}

impl Service<Request<()>> for CountsClones<'_> {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.1 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(Body::new())))
    }
}

#[tokio::test]
async fn an_ordinary_request_clones_the_inner_service_only_if_it_is_not_ready() {
    let clones = std::cell::Cell::new(0);
    let health = health();
    let mut ready = health.wrap(CountsClones(&clones, true));
    assert_ready_ok!(task::spawn(ready.call(probe())).poll());
    assert_ready_ok!(task::spawn(ready.call(ordinary())).poll());
    assert_ready_ok!(task::spawn(ready.call(ordinary())).poll());
    assert_eq!(clones.get(), 0);
    // The first probe after ordinary requests replaces the service, which releases whatever they
    // left behind.
    assert_ready_ok!(task::spawn(ready.call(probe())).poll());
    assert_ready_ok!(task::spawn(ready.call(probe())).poll());
    assert_eq!(clones.take(), 1);
    let mut busy = health.wrap(CountsClones(&clones, false));
    assert_pending!(task::spawn(busy.call(ordinary())).poll());
    assert_eq!(clones.get(), 1);
}

#[tokio::test]
async fn an_ordinary_request_costs_no_allocation() {
    let clones = std::cell::Cell::new(0);
    let health = health();
    let mut service = health.wrap(CountsClones(&clones, true));
    for request in [
        ordinary(),
        Request::post("/healthz/admin").body(()).unwrap(),
    ] {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut outcome = None;
        let info = allocation_counter::measure(|| {
            assert!(Service::poll_ready(&mut service, &mut cx).is_ready());
            let future = std::pin::pin!(service.call(request));
            outcome = Some(future.poll(&mut cx).is_ready());
        });
        assert_eq!(outcome, Some(true));
        assert_eq!(info.count_total, 0, "{info:?}");
    }
}

/// There is one permit. A service that holds it or waits for it starves the others.
#[tokio::test]
async fn an_answered_probe_holds_no_permit_of_a_concurrency_limit() {
    let health = health();
    let limit = ServiceBuilder::new()
        .concurrency_limit(1)
        .service_fn(|_: Request<()>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Body::new()))
        });
    let idle_prober = health.wrap(limit);
    let mut user = idle_prober.clone();

    // An idle keep-alive connection: it was polled, answered a probe, and was polled again.
    let mut idle = mock::Spawn::new(idle_prober);
    assert_ready_ok!(idle.poll_ready());
    assert_ready_ok!(task::spawn(idle.call(probe())).poll());
    assert_ready_ok!(idle.poll_ready());

    let mut response = task::spawn(user.call(ordinary()));
    assert_ready_ok!(response.poll());
}

#[tokio::test]
async fn an_answered_probe_holds_no_place_in_the_queue_of_a_concurrency_limit() {
    let health = health();
    let (mock, mut handle) = mock::pair::<Request<()>, Response<Body>>();
    let limited = health.wrap(ServiceBuilder::new().concurrency_limit(1).service(mock));
    let (mut first, mut prober, mut second) =
        (limited.clone(), mock::Spawn::new(limited.clone()), limited);
    handle.allow(10);

    // The permit is taken.
    let mut stuck = task::spawn(first.call(ordinary()));
    assert_pending!(stuck.poll());
    // The prober sends a request while the service is saturated, and stays connected.
    assert_ready_ok!(prober.poll_ready());
    assert_ready_ok!(task::spawn(prober.call(probe())).poll());
    assert_ready_ok!(prober.poll_ready());
    // A user arrives after the prober.
    let mut waiting = task::spawn(second.call(ordinary()));
    assert_pending!(waiting.poll());

    answer(&mut handle);
    assert_ready_ok!(stuck.poll());
    drop(stuck);
    assert!(
        waiting.is_woken(),
        "the permit went to the user and not to the prober"
    );
    assert_pending!(waiting.poll());
    answer(&mut handle);
    assert_ready_ok!(waiting.poll());
}

#[tokio::test]
async fn a_request_that_waits_keeps_its_place_in_the_queue() {
    let health = health();
    let (mock, mut handle) = mock::pair::<Request<()>, Response<Body>>();
    let limited = health.wrap(ServiceBuilder::new().concurrency_limit(1).service(mock));
    handle.allow(10);
    let mut services: Vec<_> = (0..3).map(|_| limited.clone()).collect();
    let mut responses: Vec<_> = services
        .iter_mut()
        .map(|service| task::spawn(service.call(ordinary())))
        .collect();
    for response in &mut responses {
        assert_pending!(response.poll());
    }
    for mut response in responses {
        assert_pending!(response.poll());
        answer(&mut handle);
        assert_ready_ok!(response.poll());
    }
}

#[tokio::test]
async fn a_buffer_is_not_filled_by_probes() {
    let health = health();
    let (mock, mut handle) = mock::pair::<Request<()>, Response<Body>>();
    handle.allow(0);
    let buffered = ServiceBuilder::new().buffer(1).service(mock);
    let mut service = mock::Spawn::new(health.wrap(buffered));
    for _ in 0..100 {
        assert_ready_ok!(service.poll_ready());
        assert_ready_ok!(task::spawn(service.call(probe())).poll());
    }
    let mut response = task::spawn(service.call(ordinary()));
    assert_pending!(response.poll());
    handle.allow(1);
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response(Response::new(Body::new()));
    response.await.unwrap();
}

/// After load shedding, the service keeps its place in the queue of the limit below. A probe on the
/// same clone releases that place.
#[tokio::test]
async fn an_answered_probe_releases_the_queue_place_of_a_load_shed_request() {
    let health = health();
    let (mock, mut handle) = mock::pair::<Request<()>, Response<Body>>();
    handle.allow(10);
    let shedding = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(mock);
    let mut first = health.wrap(shedding);
    let (mut second, mut third) = (first.clone(), first.clone());

    let mut stuck = task::spawn(first.call(ordinary()));
    assert_pending!(stuck.poll());
    let shed = assert_ready_err!(task::spawn(second.call(ordinary())).poll());
    assert!(shed.is::<tower::load_shed::error::Overloaded>());
    assert_ready_ok!(task::spawn(second.call(probe())).poll());

    answer(&mut handle);
    assert_ready_ok!(stuck.poll());
    drop(stuck);
    let mut response = task::spawn(third.call(ordinary()));
    assert_pending!(response.poll());
    answer(&mut handle);
    assert_ready_ok!(response.poll());
}

/// A body with data and trailers, as in gRPC.
fn with_trailers() -> impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    Full::new(Bytes::from_static(b"data")).with_trailers(async { Some(Ok(trailers)) })
}

#[derive(Clone, Debug, PartialEq)]
struct Extension(u8);

/// Nothing of a request or a response is lost, whether or not the request had to wait.
#[tokio::test]
async fn an_ordinary_request_passes_through_unchanged() {
    for waits in [false, true] {
        let health = health();
        let (mock, mut handle) = mock::pair::<Request<String>, Response<_>>();
        handle.allow(u64::from(!waits));
        let mut service = health.wrap(mock);
        let request = Request::put("/orders?id=1")
            .version(http::Version::HTTP_2)
            .header("x-request", "1")
            .extension(Extension(1))
            .body("body".to_owned())
            .unwrap();
        let mut response = task::spawn(service.call(request));
        assert!(response.poll().is_pending());
        handle.allow(1);
        assert!(response.poll().is_pending());

        let (request, respond) = handle.next_request().await.unwrap();
        assert_eq!(
            (request.method(), request.version()),
            (&http::Method::PUT, http::Version::HTTP_2)
        );
        assert_eq!(request.uri(), "/orders?id=1");
        assert_eq!(request.headers()["x-request"], "1");
        assert_eq!(request.extensions().get(), Some(&Extension(1)));
        assert_eq!(request.body(), "body");
        let inner = Response::builder()
            .status(StatusCode::CREATED)
            .header("x-response", "2")
            .extension(Extension(2))
            .body(with_trailers())
            .unwrap();
        respond.send_response(inner);

        let Poll::Ready(Ok(response)) = response.poll() else {
            panic!("it has been answered");
        };
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["x-response"], "2");
        assert_eq!(response.extensions().get(), Some(&Extension(2)));
        let body = response.into_body();
        assert!(!http_body::Body::is_end_stream(&body));
        let body = body.collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "data");
    }
}

#[tokio::test]
async fn the_body_of_the_inner_service_keeps_its_size() {
    let health = health();
    let inner = tower::service_fn(|_: Request<()>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"1234"))))
    });
    let mut service = health.wrap(inner);
    let body = service.call(ordinary()).await.unwrap().into_body();
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(4));
    let empty = health
        .wrap(tower::service_fn(|_: Request<()>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Body::new()))
        }))
        .call(ordinary())
        .await
        .unwrap()
        .into_body();
    assert!(http_body::Body::is_end_stream(&empty));
}

#[tokio::test]
async fn a_layer_and_a_wrapped_service_can_lower_the_exposure() {
    let health = health();
    let inner = tower::service_fn(crate::support::inner);
    for service in [
        health
            .layer()
            .endpoints(status_only().build().unwrap())
            .layer(inner),
        health.wrap(inner).endpoints(status_only().build().unwrap()),
    ] {
        assert_eq!(ask(&service, "/health").await.body, r#"{"status":"pass"}"#);
        assert_eq!(ask(&service, "/orders").await.body, "inner /orders");
    }
}
