//! MQTT.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rumqttc::{ConnectReturnCode, ConnectionError, Event, Packet, StateError, SubscribeReasonCode};
use tower_health::{Check, Outcome, Reason};

/// The MQTT session of the service, as its event loop reports it.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    connection: Connection,
    subscription: Subscription,
}

#[derive(Clone, Copy, Debug, Default)]
enum Connection {
    /// No connection was made since the service started.
    #[default]
    Connecting,
    /// The client is connected. Contains the time of the last packet from the broker.
    Heard(Instant),
    /// The event loop returned an error, and is not connected again.
    Lost(Reason),
}

#[derive(Clone, Copy, Debug, Default)]
enum Subscription {
    /// The broker has answered no subscription yet.
    #[default]
    None,
    Accepted,
    Refused,
    /// The broker has lost the session, and the service has not subscribed again.
    Gone,
}

impl Session {
    /// Records a result of `EventLoop::poll`. Call it with each result, including errors.
    pub fn note(&self, polled: &Result<Event, ConnectionError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match polled {
            Ok(Event::Incoming(packet)) => {
                state.connection = Connection::Heard(Instant::now());
                state.subscription = match (packet, state.subscription) {
                    (Packet::SubAck(ack), _) => {
                        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                            Subscription::Refused
                        } else {
                            Subscription::Accepted
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

    /// Returns a check of the session. Pass the `keep_alive` of the client: the broker sends at
    /// least one packet in that time, because it answers the client's pings.
    pub fn check(&self, keep_alive: Duration) -> Check {
        let ask = move |session: Self| async move {
            let state = *session.0.lock().unwrap_or_else(PoisonError::into_inner);
            match (state.connection, state.subscription) {
                (Connection::Connecting, _) => Outcome::fail(Reason::StartingUp),
                (Connection::Lost(Reason::Busy), _) => Outcome::warn(Reason::Busy),
                (Connection::Lost(reason), _) => Outcome::fail(reason),
                // The event loop is no longer polled.
                (Connection::Heard(last), _) if last.elapsed() > 2 * keep_alive => {
                    Outcome::fail(Reason::Stale)
                }
                (Connection::Heard(_), Subscription::Refused) => {
                    Outcome::fail(Reason::PermissionDenied)
                        .with_cause("the broker has refused a subscription")
                }
                (Connection::Heard(_), Subscription::Gone) => Outcome::fail(Reason::Degraded)
                    .with_cause("the session is new and has no subscription"),
                (Connection::Heard(_), Subscription::None | Subscription::Accepted) => {
                    Outcome::pass()
                }
            }
        };
        // A run sends nothing, so it may run often. A connection that is back within three seconds
        // is not an outage.
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
