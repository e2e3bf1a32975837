//! MQTT.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rumqttc::{ConnectReturnCode, ConnectionError, Event, Packet, StateError, SubscribeReasonCode};
use tower_health::{Check, Outcome, Reason};

/// What the service's own event loop knows of its session.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    connection: Connection,
    subscription: Subscription,
}

#[derive(Clone, Copy, Debug, Default)]
enum Connection {
    /// Since the service started.
    #[default]
    Connecting,
    /// When the broker was last heard.
    Heard(Instant),
    Lost(Reason),
}

#[derive(Clone, Copy, Debug, Default)]
enum Subscription {
    /// Nothing was subscribed to.
    #[default]
    None,
    Accepted,
    Refused,
    /// The broker has forgotten it, and it was not made again since.
    Gone,
}

impl Session {
    /// Takes note of what `EventLoop::poll` has returned, each time.
    pub fn note(&self, polled: &Result<Event, ConnectionError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match polled {
            Ok(Event::Incoming(packet)) => {
                state.connection = Connection::Heard(Instant::now());
                state.subscription = match (packet, state.subscription) {
                    (Packet::SubAck(ack), _) => {
                        match ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                            true => Subscription::Refused,
                            false => Subscription::Accepted,
                        }
                    }
                    (Packet::ConnAck(ack), Subscription::Accepted) if !ack.session_present => {
                        Subscription::Gone
                    }
                    (_, subscription) => subscription,
                };
            }
            Ok(Event::Outgoing(_)) => {}
            Err(error) => state.connection = Connection::Lost(reason(error)),
        }
    }

    /// A check of the session, whose broker is heard at least once in `keep_alive`, if only as it
    /// answers a ping.
    pub fn check(&self, keep_alive: Duration) -> Check {
        let ask = move |session: Self| async move {
            let state = *session.0.lock().unwrap_or_else(PoisonError::into_inner);
            match (state.connection, state.subscription) {
                (Connection::Connecting, _) => Outcome::fail(Reason::StartingUp),
                (Connection::Lost(Reason::Busy), _) => Outcome::warn(Reason::Busy),
                (Connection::Lost(reason), _) => Outcome::fail(reason),
                // Nobody polls the event loop any more.
                (Connection::Heard(last), _) if last.elapsed() > 2 * keep_alive => {
                    Outcome::fail(Reason::Stale)
                }
                (Connection::Heard(_), Subscription::Refused) => {
                    Outcome::fail(Reason::PermissionDenied)
                        .with_cause("the broker has refused a subscription")
                }
                (Connection::Heard(_), Subscription::Gone) => Outcome::fail(Reason::Degraded)
                    .with_cause("the session is a new one, and nothing is subscribed to in it"),
                (Connection::Heard(_), Subscription::None | Subscription::Accepted) => {
                    Outcome::pass()
                }
            }
        };
        // It asks nobody, and a connection that is back within three seconds was no outage.
        Check::with("mqtt", self.clone(), ask)
            .period(Duration::from_secs(1))
            .retry_period(Duration::from_secs(1))
            .fail_after(3)
            .shared()
    }
}

fn reason(error: &ConnectionError) -> Reason {
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                Reason::AuthenticationFailed
            }
            ConnectReturnCode::ServiceUnavailable => Reason::Busy,
            _ => Reason::Misconfigured,
        },
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Reason::TimedOut,
        ConnectionError::MqttState(StateError::AwaitPingResp) => Reason::TimedOut,
        ConnectionError::MqttState(StateError::ConnectionAborted) => Reason::ConnectionLost,
        error => Reason::of(error),
    }
}
