//! Public reasons, and how they are derived from errors.

use std::{error::Error, fmt, io, sync::Arc};

use serde::Serialize;

/// Why a check does not pass, in public words.
///
/// A reason is one of the words below, and never contains text of a server, a driver or a user, so
/// it can be shown to an anonymous caller. The private details are in a [`Cause`](crate::Cause).
/// New reasons may be added, so a `match` needs a wildcard.
///
/// The engine sets [`Pending`](Self::Pending), [`Blocked`](Self::Blocked),
/// [`StillRunning`](Self::StillRunning), [`Panicked`](Self::Panicked), [`Stale`](Self::Stale) and
/// [`EngineStopped`](Self::EngineStopped) itself. A check must not return them. It may return every
/// other reason.
///
/// ```
/// use tower_health::{Outcome, Reason};
///
/// assert_eq!(Reason::TimedOut.to_string(), "timed out");
/// assert_eq!(Outcome::fail(Reason::TimedOut).reason(), Some(Reason::TimedOut));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No outcome has taken effect yet, or none since the check was [blocked](Self::Blocked).
    Pending,
    /// The check failed for an unspecified reason. The default for errors.
    Failed,
    /// The dependency works, but not as it should. The default for warnings.
    Degraded,
    /// The dependency works, but takes longer than it should: see
    /// [`Check::warn_above`](crate::Check::warn_above).
    Slow,
    /// The check was not run, because a check that it depends on fails: see
    /// [`Check::depends_on`](crate::Check::depends_on).
    Blocked,
    /// There was no response within the time limit.
    TimedOut,
    /// A run was given up at its timeout and has not ended since.
    StillRunning,
    /// The code of the check panicked.
    Panicked,
    /// The last result is older than the maximum age of a result.
    Stale,
    /// The worker of a heartbeat has ended without stopping the heartbeat.
    Died,
    /// The runtime polls ready tasks with a delay.
    RuntimeLags,
    /// The runtime does not poll any more.
    RuntimeStalled,
    /// A watched runtime has ended.
    RuntimeEnded,
    /// The runtime of the checks has ended.
    EngineStopped,
    /// Nothing listens at the address.
    ConnectionRefused,
    /// The connection was closed unexpectedly.
    ConnectionLost,
    /// There is no route to the host, or its name cannot be resolved.
    Unreachable,
    /// The dependency does not accept the credentials of the service.
    AuthenticationFailed,
    /// The dependency accepts the credentials, but denies the operation.
    PermissionDenied,
    /// The requested object does not exist.
    NotFound,
    /// The dependency is available, but has no capacity left: a pool without a free slot, a full
    /// queue.
    Busy,
    /// The dependency is not ready yet: it starts, or loads stored data.
    StartingUp,
    /// The dependency itself reports that it is not healthy.
    Unhealthy,
    /// A measured value is beyond its limit.
    LimitExceeded,
    /// A measured value is near its limit, or is expected to exceed it soon.
    LimitNear,
    /// The dependency responds, but accepts no writes.
    ReadOnly,
    /// The dependency responds with something other than what was expected.
    UnexpectedAnswer,
    /// The dependency cannot work with its configuration.
    Misconfigured,
    /// The dependency has a release that is not compatible with this service.
    Incompatible,
    /// The dependency lacks migrations that this service needs.
    MigrationsPending,
    /// The certificate is no longer valid, or not yet valid.
    Expired,
    /// The certificate expires soon.
    ExpiresSoon,
    /// The certificate is not trusted, or not valid for the name.
    Untrusted,
}

impl Reason {
    /// Returns the text that a report shows: lower-case words, separated by spaces. It is also the
    /// serialized form.
    ///
    /// ```
    /// use tower_health::Reason;
    ///
    /// assert_eq!(Reason::AuthenticationFailed.as_str(), "authentication failed");
    /// assert_eq!(serde_json::to_string(&Reason::Slow).unwrap(), r#""slow""#);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Degraded => "degraded",
            Self::Slow => "slow",
            Self::Blocked => "blocked",
            Self::TimedOut => "timed out",
            Self::StillRunning => "still running",
            Self::Panicked => "panicked",
            Self::Stale => "stale",
            Self::Died => "died",
            Self::RuntimeLags => "runtime lags",
            Self::RuntimeStalled => "runtime stalled",
            Self::RuntimeEnded => "runtime ended",
            Self::EngineStopped => "engine stopped",
            Self::ConnectionRefused => "connection refused",
            Self::ConnectionLost => "connection lost",
            Self::Unreachable => "unreachable",
            Self::AuthenticationFailed => "authentication failed",
            Self::PermissionDenied => "permission denied",
            Self::NotFound => "not found",
            Self::Busy => "busy",
            Self::StartingUp => "starting up",
            Self::Unhealthy => "unhealthy",
            Self::LimitExceeded => "limit exceeded",
            Self::LimitNear => "limit near",
            Self::ReadOnly => "read-only",
            Self::UnexpectedAnswer => "unexpected answer",
            Self::Misconfigured => "misconfigured",
            Self::Incompatible => "incompatible",
            Self::MigrationsPending => "migrations pending",
            Self::Expired => "expired",
            Self::ExpiresSoon => "expires soon",
            Self::Untrusted => "untrusted",
        }
    }

    /// Returns the reason that an error and its sources imply. It is that of the first
    /// [`io::Error`] among them that implies one, or else [`Failed`](Self::Failed). At most 32
    /// errors of the chain are examined, and the inner errors of an [`io::Error`] and of an [`Arc`]
    /// are among them. Use it for a driver that has no codes of its own.
    ///
    /// ```
    /// use std::io;
    ///
    /// use tower_health::Reason;
    ///
    /// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    /// assert_eq!(Reason::of(&refused), Reason::ConnectionRefused);
    /// assert_eq!(Reason::of(&io::Error::other("no luck")), Reason::Failed);
    /// ```
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        std::iter::successors(Some(error), |&error| source(error))
            .take(MAX_SOURCES)
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .find_map(Self::of_io)
            .unwrap_or(Self::Failed)
    }

    /// Returns the reason that the kind of an I/O error implies. If it implies none, its message
    /// may.
    fn of_io(error: &io::Error) -> Option<Self> {
        use io::ErrorKind as Kind;
        Some(match error.kind() {
            Kind::ConnectionRefused => Self::ConnectionRefused,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof => Self::ConnectionLost,
            Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable => Self::Unreachable,
            Kind::TimedOut => Self::TimedOut,
            Kind::PermissionDenied => Self::PermissionDenied,
            Kind::NotFound => Self::NotFound,
            Kind::StorageFull | Kind::QuotaExceeded => Self::LimitExceeded,
            Kind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => return Self::from_message(&error.to_string()),
        })
    }

    /// Returns the reason that an error's message implies, for drivers that keep only the text. A
    /// name that the system's resolver did not find is [`Unreachable`](Self::Unreachable). A
    /// certificate that rustls or OpenSSL does not trust is [`Untrusted`](Self::Untrusted).
    ///
    /// ```
    /// use tower_health::Reason;
    ///
    /// let text = "error connecting: invalid peer certificate: UnknownIssuer";
    /// assert_eq!(Reason::from_message(text), Some(Reason::Untrusted));
    /// let text = "failed to lookup address information: Name or service not known";
    /// assert_eq!(Reason::from_message(text), Some(Reason::Unreachable));
    /// assert_eq!(Reason::from_message("no luck"), None);
    /// ```
    #[must_use]
    pub fn from_message(text: &str) -> Option<Self> {
        if text.contains("failed to lookup address information") {
            Some(Self::Unreachable)
        } else if text.contains("invalid peer certificate")
            || text.contains("certificate verify failed")
        {
            Some(Self::Untrusted)
        } else {
            None
        }
    }
}

/// The number of errors up to which a chain is followed, because a longer one may have no end. A
/// [`Cause`](super::Cause) has the same limit.
pub(super) const MAX_SOURCES: usize = 32;

/// Returns the source of an error. The inner error of an [`io::Error`] or an [`Arc`] is not its
/// source, but may be more specific.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let made_of = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    if let Some(inner) = made_of {
        Some(inner)
    } else if let Some(shared) = error.downcast_ref::<Arc<io::Error>>() {
        Some(&**shared)
    } else if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        Some(&**shared)
    } else {
        error.source()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Serializes the text of [`as_str`](Reason::as_str).
impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_io_error_anywhere_in_the_chain_gives_the_reason() {
        let refused = Outer(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(Reason::of(&refused), Reason::ConnectionRefused);
        let wrapped = Outer(io::Error::other(Outer(io::ErrorKind::TimedOut.into())));
        assert_eq!(Reason::of(&wrapped), Reason::TimedOut);
        let direct = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(Reason::of(&direct), Reason::ConnectionRefused);
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(refused);
        assert_eq!(Reason::of(&shared), Reason::ConnectionRefused);
        let shared = Arc::new(io::Error::from(io::ErrorKind::NetworkUnreachable));
        assert_eq!(Reason::of(&shared), Reason::Unreachable);
        assert_eq!(Reason::of(&io::Error::other(shared)), Reason::Unreachable);
        let unknown = std::net::ToSocketAddrs::to_socket_addrs("nobody.invalid:80").unwrap_err();
        assert_eq!(Reason::of(&unknown), Reason::Unreachable);
        let untrusted = "invalid peer certificate: UnknownIssuer";
        let untrusted = io::Error::new(io::ErrorKind::InvalidData, untrusted);
        assert_eq!(Reason::of(&untrusted), Reason::Untrusted);
        let other = Outer(io::Error::other("anything"));
        assert_eq!(Reason::of(&other), Reason::Failed);
    }
}
