//! etcd.

use std::{error::Error as _, time::Duration};

use etcd_client::{Client, Error, GetOptions, StatusResponse};
use tokio::time::timeout;
use tonic::Code;
use tower_health::{Check, Outcome, Reason};

/// The time limit of the request for the alarms. The client may send it to another member than the
/// read of the key.
const PATIENCE: Duration = Duration::from_millis(250);

/// Returns a check that reads a key of the service, for which a majority of the members is needed.
/// The check then queries whether the cluster has run out of space.
pub fn etcd(client: Client, key: &'static str) -> Check {
    let ask = move |client: Client| async move {
        // Linearizable, as without `with_serializable`.
        let count = GetOptions::new().with_count_only();
        if let Err(error) = client.kv_client().get(key, Some(count)).await {
            return refusal(error);
        }
        // The alarms are optional: a server may not report them, or not to this user.
        let mut maintenance = client.maintenance_client();
        let status = timeout(PATIENCE, maintenance.status()).await;
        let is_full =
            |status: StatusResponse| status.errors().iter().any(|e| e.contains("NOSPACE"));
        if status.is_ok_and(|status| status.is_ok_and(is_full)) {
            Outcome::warn(Reason::ReadOnly).with_cause("the alarm NOSPACE is raised")
        } else {
            Outcome::pass()
        }
    };
    Check::with("etcd", client, ask).shared()
}

fn refusal(error: Error) -> Outcome {
    let outcome = match &error {
        Error::GRpcStatus(status) => match (status.code(), status.source()) {
            // The timeout of the client has this result, too.
            (Code::DeadlineExceeded | Code::Cancelled, _) => Outcome::fail(Reason::TimedOut),
            // An error of the client's transport.
            (_, Some(source)) => Outcome::fail(Reason::of(source)),
            (Code::ResourceExhausted, None) => Outcome::warn(Reason::Busy),
            // The latter is returned to a client without a user if one is needed.
            (Code::Unauthenticated | Code::InvalidArgument, None) => {
                Outcome::fail(Reason::AuthenticationFailed)
            }
            (Code::PermissionDenied, None) => Outcome::fail(Reason::PermissionDenied),
            // There is no leader, or no majority in time.
            (Code::Unavailable, None) => Outcome::fail(Reason::Unhealthy),
            (_, None) => Outcome::fail(Reason::UnexpectedAnswer),
        },
        error => Outcome::fail(Reason::of(error)),
    };
    outcome.with_cause(error)
}
