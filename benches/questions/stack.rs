//! Services, and a caller in the same thread.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Body;
use tokio::runtime::{Builder, Runtime};
use tower::Service;
use tower_health::{Check, Health, Probe, Status};

/// The body of a request.
pub(crate) type Nothing = Empty<Bytes>;

/// A service with this many checks. The state of a check changes with each of its runs. After the
/// first run the checks run only on request, and nothing runs while the runtime is not driven.
pub(crate) fn health(checks: usize) -> (Runtime, Health) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let health = runtime.block_on(async {
        let health = Health::builder("orders")
            .checks((0..checks).map(check))
            .start()
            .expect("valid checks");
        let started = health.wait_until_good(Probe::Startup).await;
        started.expect("a running engine");
        health
    });
    (runtime, health)
}

pub(crate) fn name(index: usize) -> String {
    format!("check-{index:05}")
}

fn check(index: usize) -> Check {
    let good = Arc::new(AtomicBool::new(false));
    let check = Check::with(name(index), good, |good| async move {
        if !good.fetch_not(Ordering::Relaxed) {
            Status::Pass
        } else {
            Status::Warn
        }
    });
    check.period(Duration::from_secs(24 * 3_600))
}

pub(crate) fn get(path: &'static str) -> Request<Nothing> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static(path);
    request
}

/// Calls a service, and reads the body of the response as a server does. It is never inlined, so
/// that the measurement is the same for all subjects.
#[inline(never)]
pub(crate) fn ask<S, B>(service: &mut S, request: Request<Nothing>) -> (Response<()>, usize)
where
    S: Service<Request<Nothing>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    let Ok(response) = at_once(service.call(request)) else {
        panic!("an error");
    };
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut length = 0;
    while !body.is_end_stream() {
        let Poll::Ready(frame) = body.as_mut().poll_frame(&mut cx) else {
            panic!("a body that is not ready");
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else {
            panic!("half a body");
        };
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    (Response::from_parts(head, ()), length)
}

pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
