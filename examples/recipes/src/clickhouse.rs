//! ClickHouse.

use clickhouse::{Client, error::Error, sql::Identifier};
use tower_health::{Check, Failure, Outcome, Reason};

/// Returns a check that reads at most one row of a table that the service reads. The table must be
/// in the database of the client.
pub fn clickhouse(client: Client, table: &'static str) -> Check {
    let ask = move |client: Client| async move {
        let read = client
            .query("SELECT 1 FROM ? LIMIT 1")
            .bind(Identifier(table));
        match read.fetch_optional::<u8>().await {
            Ok(_) => Outcome::pass(),
            Err(error) => refusal(error),
        }
    };
    Check::with("clickhouse", client, ask).shared()
}

fn refusal(error: Error) -> Outcome {
    let text = match error {
        Error::BadResponse(text) => text,
        Error::TimedOut => return Outcome::fail(Reason::TimedOut),
        error => return Failure::from(error).into(),
    };
    let outcome = match code(&text) {
        // A quota is exceeded, too many queries run, or memory is short.
        Some(201 | 202 | 241) => Outcome::warn(Reason::Busy),
        Some(192 | 193 | 194 | 516) => Outcome::fail(Reason::AuthenticationFailed),
        Some(291 | 497) => Outcome::fail(Reason::PermissionDenied),
        Some(60 | 81) => Outcome::fail(Reason::NotFound),
        Some(_) => Outcome::fail(Reason::Unhealthy),
        None => Outcome::fail(Reason::UnexpectedAnswer),
    };
    outcome.with_cause(text)
}

/// Returns the code of a message such as `Code: 60. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let code = text.strip_prefix("Code: ")?;
    let code = code.split(|c: char| !c.is_ascii_digit()).next()?;
    code.parse().ok()
}
