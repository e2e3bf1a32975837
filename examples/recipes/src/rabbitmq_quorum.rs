//! RabbitMQ.

use reqwest::Client;
use serde_json::Value;
use tower_health::{Check, Failure, Outcome, Reason};
use tower_health_checks::HttpUpstream;

/// Returns a check that a node can stop without a queue losing its majority. The node is the URL of
/// its management API, such as `http://monitor:secret@rabbitmq-0.internal:15672`.
pub fn node(client: Client, node: &str) -> Check {
    let url = format!("{node}/api/health/checks/node-is-quorum-critical");
    Check::new("rabbitmq-node", HttpUpstream::new(client, url)).non_critical()
}

/// Returns a check that a quorum queue has a majority. The queue is given by its virtual host and
/// its name, both percent-encoded, as in `%2F/orders`.
pub fn queue(client: Client, node: &str, queue: &str) -> Check {
    let url = format!("{node}/api/queues/{queue}?disable_stats=true&enable_queue_totals=true");
    let ask = |(client, url): (Client, String)| async move {
        let answer = match client.get(&url).send().await {
            // The server may close an idle connection just as the request arrives. Repeat it once.
            Err(error) if error.is_request() && !error.is_timeout() && !error.is_connect() => {
                client.get(&url).send().await
            }
            answered => answered,
        };
        let answer = answer.map_err(failure)?;
        let refused = match answer.status().as_u16() {
            200 => None,
            401 => Some(Reason::AuthenticationFailed),
            403 => Some(Reason::PermissionDenied),
            404 => Some(Reason::NotFound),
            503 => Some(Reason::Unhealthy),
            _ => Some(Reason::UnexpectedAnswer),
        };
        // Read the body to its end, so that the client can reuse the connection.
        let body = answer.bytes().await.map_err(failure)?;
        Ok::<_, Failure>(match refused {
            Some(reason) => Outcome::fail(reason),
            None => judge(&serde_json::from_slice(&body)?),
        })
    };
    Check::with("rabbitmq-queue", (client, url), ask).shared()
}

fn judge(queue: &Value) -> Outcome {
    let count = |nodes| queue.get(nodes)?.as_array().map(Vec::len);
    let (Some(members), Some(online)) = (count("members"), count("online")) else {
        let cause = "no members are listed: it is not a quorum queue, or was only just declared";
        return Outcome::fail(Reason::UnexpectedAnswer).with_cause(cause);
    };
    let outcome = if online <= members / 2 {
        Outcome::fail(Reason::Unhealthy)
    } else if online < members {
        Outcome::warn(Reason::Degraded)
    } else {
        Outcome::pass()
    };
    outcome
        .with_cause(format_args!("{online} of {members} members are online"))
        .measure("online", online as u64, "")
}

/// Converts an error without its URL, which may contain a password.
fn failure(error: reqwest::Error) -> Failure {
    error.without_url().into()
}
