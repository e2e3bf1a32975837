//! etcd.

use std::{error::Error as _, time::Duration};

use etcd_client::{Client, Error, GetOptions, StatusResponse};
use tokio::time::timeout;
use tonic::Code;
use tower_health::{Check, Outcome, Reason};

/// How long the alarms are waited for, which another member may be asked for than the key.
const PATIENCE: Duration = Duration::from_millis(250);

/// Reads a key of the service, which takes a majority of the members, and looks whether the cluster
/// has run out of space.
pub fn etcd(client: Client, key: &'static str) -> Check {
    let ask = move |client: Client| async move {
        // Linearizable, as without `with_serializable`.
        let count = GetOptions::new().with_count_only();
        if let Err(error) = client.kv_client().get(key, Some(count)).await {
            return refusal(error);
        }
        // Of a server that does not tell this, or not to this user, it is not expected.
        let mut maintenance = client.maintenance_client();
        let status = timeout(PATIENCE, maintenance.status()).await;
        let is_full =
            |status: StatusResponse| status.errors().iter().any(|e| e.contains("NOSPACE"));
        match status.is_ok_and(|status| status.is_ok_and(is_full)) {
            true => Outcome::warn(Reason::ReadOnly).with_cause("the alarm NOSPACE is raised"),
            false => Outcome::pass(),
        }
    };
    Check::with("etcd", client, ask).shared()
}

fn refusal(error: Error) -> Outcome {
    let outcome = match &error {
        Error::GRpcStatus(status) => match (status.code(), status.source()) {
            // By the client's own timeout, too.
            (Code::DeadlineExceeded | Code::Cancelled, _) => Outcome::fail(Reason::TimedOut),
            // Whatever the client met on its way.
            (_, Some(source)) => Outcome::fail(Reason::of(source)),
            (Code::ResourceExhausted, None) => Outcome::warn(Reason::Busy),
            // A client without a user, where one is needed, is told the latter.
            (Code::Unauthenticated | Code::InvalidArgument, None) => {
                Outcome::fail(Reason::AuthenticationFailed)
            }
            (Code::PermissionDenied, None) => Outcome::fail(Reason::PermissionDenied),
            // No leader, or no majority in time.
            (Code::Unavailable, None) => Outcome::fail(Reason::Unhealthy),
            (_, None) => Outcome::fail(Reason::UnexpectedAnswer),
        },
        error => Outcome::fail(Reason::of(error)),
    };
    outcome.with_cause(error)
}
