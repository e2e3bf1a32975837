use tower_health::{Failure, HealthCheck, Outcome, async_trait};

use super::lookup::Lookup;

/// Whether a port accepts connections.
///
/// That something listens is all it tells: the kernel accepts for a server that hangs. Where there is a check that speaks the
/// server's protocol, use that.
///
/// | finding | outcome |
/// | --- | --- |
/// | a connection to one of the host's addresses | pass |
/// | nothing listens there; or the connection has met itself, as one to a port for clients may | fail, connection refused |
/// | the name has no address that can be found | fail, unreachable |
/// | no answer | fail, timed out |
///
/// Each run opens a connection and closes it; of several addresses the next is tried when one fails, or beside it after 250 ms. A
/// name is looked up each time, as the system does it, on a thread of its own.
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::Tcp;
///
/// let smtp = Check::new("smtp", Tcp::new("mail.internal:25")).non_critical();
/// ```
#[derive(Debug)]
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Tcp {
    lookup: Lookup,
}

impl Tcp {
    /// A check of a host and its port, such as `mail.internal:25`, `10.0.0.7:25` or `[::1]:25`.
    ///
    /// What is no such thing fails with [`Misconfigured`](tower_health::Reason::Misconfigured).
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            lookup: Lookup::new(address),
        }
    }
}

#[async_trait]
impl HealthCheck for Tcp {
    async fn check(&self) -> Result<Outcome, Failure> {
        self.lookup.connect().await?;
        Ok(Outcome::pass())
    }
}
