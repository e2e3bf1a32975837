//! MQTT.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rumqttc::{ConnectReturnCode, ConnectionError, Event, Packet, StateError, SubscribeReasonCode};
use tower_health::{Check, Outcome, Reason};

/// What the service's own event loop knows of its session.
#[derive(Clone, Debug)]
pub struct Session(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Since the service started.
    Connecting,
    /// When the broker was last heard.
    Heard(Instant),
    /// It has refused a subscription.
    Refused,
    Lost(Reason),
}

impl Default for Session {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State::Connecting)))
    }
}

impl Session {
    /// Takes note of what `EventLoop::poll` has returned, each time.
    pub fn note(&self, polled: &Result<Event, ConnectionError>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match (polled, *state) {
            (Ok(Event::Incoming(Packet::SubAck(ack))), _)
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                State::Refused
            }
            // Until the next connection.
            (Ok(Event::Incoming(packet)), State::Refused)
                if !matches!(packet, Packet::ConnAck(_)) =>
            {
                State::Refused
            }
            (Ok(Event::Incoming(_)), _) => State::Heard(Instant::now()),
            (Ok(Event::Outgoing(_)), state) => state,
            (Err(error), _) => State::Lost(reason(error)),
        };
    }

    /// A check of the session, whose broker is heard at least once in `keep_alive`, if only as it
    /// answers a ping.
    pub fn check(&self, keep_alive: Duration) -> Check {
        let ask = move |session: Self| async move {
            let state = *session.0.lock().unwrap_or_else(PoisonError::into_inner);
            match state {
                State::Connecting => Outcome::fail(Reason::StartingUp),
                // Nobody polls the event loop any more.
                State::Heard(last) if last.elapsed() > 2 * keep_alive => {
                    Outcome::fail(Reason::Stale)
                }
                State::Heard(_) => Outcome::pass(),
                State::Refused => Outcome::fail(Reason::PermissionDenied)
                    .with_cause("the broker has refused a subscription"),
                State::Lost(reason) => Outcome::fail(reason),
            }
        };
        // It asks nobody.
        Check::with("mqtt", self.clone(), ask)
            .period(Duration::from_secs(1))
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
