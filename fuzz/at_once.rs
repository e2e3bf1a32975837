use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Returns the output of a future that is ready when it is first polled.
///
/// # Panics
///
/// Panics if the future is pending.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}
