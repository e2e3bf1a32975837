//! RabbitMQ: the connection of the service, and its queues.
//!
//! The two checks differ in their connection. [`RabbitMq`] uses that of the service, because it is
//! the connection of the service that must work. [`RabbitMqQueue`] has its own, because a missing
//! queue closes a channel.
//!
//! Both keep a pending request between runs. The driver offers no way to cancel a request, so a run
//! that was dropped leaves its request to the next one.

mod connection;
mod queue;

use std::{future::Future, pin::Pin};

use lapin::{Error, ErrorKind, protocol::AMQPErrorKind};

pub use self::{connection::RabbitMq, queue::RabbitMqQueue};
use tower_health::{Outcome, Reason};

/// A pending request, which outlives the run that sent it.
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Returns the outcome for an error that is not the server's response to the request.
fn error_outcome(error: &Error) -> Outcome {
    let outcome = match error.kind() {
        ErrorKind::ChannelsLimitReached => Outcome::warn(Reason::Busy),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
            Outcome::fail(Reason::UnexpectedAnswer)
        }
        ErrorKind::IOError(error) => Outcome::fail(match Reason::of(error.as_ref()) {
            Reason::Failed => Reason::ConnectionLost,
            reason => reason,
        }),
        ErrorKind::ProtocolError(error) if matches!(error.kind(), AMQPErrorKind::Soft(_)) => {
            Outcome::fail(Reason::UnexpectedAnswer)
        }
        _ => Outcome::fail(Reason::ConnectionLost),
    };
    outcome.with_cause(error)
}
