//! S3.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    error::SdkError,
    operation::head_object::builders::HeadObjectFluentBuilder,
};
use tower_health::{Check, Failure, Outcome, Reason};

/// The time limit of a request, including its second attempt. It must be shorter than the timeout
/// of the check.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Returns a check that requests the head of a small object that always exists.
pub fn s3(client: &Client, bucket: &str, key: &str) -> Check {
    let head = client.head_object().bucket(bucket).key(key);
    let ask = |head: HeadObjectFluentBuilder| async {
        match head.customize().config_override(bounded()).send().await {
            Ok(_) => Outcome::pass(),
            Err(error) => refusal(error),
        }
    };
    Check::with("s3", head, ask)
        // Each request is billed, and each replica of the service sends them.
        .period(Duration::from_secs(30))
        .shared()
}

/// Returns the time limit and the retries of a request. A second attempt is needed because an idle
/// connection may be closed just as the request is sent, and because server errors must be retried.
fn bounded() -> Builder {
    let timeout = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
    let again = RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(50));
    Builder::new().retry_config(again).timeout_config(timeout)
}

fn refusal<E>(error: SdkError<E>) -> Outcome
where
    E: std::error::Error + Send + Sync + 'static,
{
    let Some(code) = error.raw_response().map(|answer| answer.status().as_u16()) else {
        return match error {
            SdkError::TimeoutError(_) => Outcome::fail(Reason::TimedOut),
            error => Failure::from(error).into(),
        };
    };
    // A response to `HEAD` has no body, so the code is the only information.
    let outcome = match code {
        403 => Outcome::fail(Reason::PermissionDenied),
        404 => Outcome::fail(Reason::NotFound),
        301 | 400 => Outcome::fail(Reason::Misconfigured),
        429 | 503 => Outcome::warn(Reason::Busy),
        500.. => Outcome::fail(Reason::Unhealthy),
        _ => Outcome::fail(Reason::UnexpectedAnswer),
    };
    outcome.with_cause(format_args!("the status code is {code}"))
}
