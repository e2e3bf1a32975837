use std::{error::Error, fmt, io, sync::Arc};

use serde::Serialize;

/// Why a check is not passing, in words that anyone may read.
///
/// A closed set: no text of a server, a driver or a user gets into it, so it can be shown to an anonymous
/// caller. What is behind it goes into a [`Cause`](crate::Cause), which is private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No outcome has taken effect yet, or none since the check was [blocked](Self::Blocked).
    Pending,
    /// The check failed, and nothing more is known. What an error that says nothing else becomes.
    Failed,
    /// It works, but not as it should. What a bare warning becomes.
    Degraded,
    /// It works, but takes longer than it should: see [`Check::warn_above`](crate::Check::warn_above).
    Slow,
    /// It was not asked, for it stands behind a check that fails: see [`Check::depends_on`](crate::Check::depends_on).
    Blocked,
    /// No answer within the time allowed.
    TimedOut,
    /// A run was given up at its timeout and has not ended since.
    StillRunning,
    /// The check's code panicked.
    Panicked,
    /// The last result is too old to be believed.
    Stale,
    /// The worker whose heartbeat it was has ended, and did not say that it would.
    Died,
    /// The runtime takes its time until it polls what is ready.
    RuntimeLags,
    /// The runtime does not poll any more.
    RuntimeStalled,
    /// The runtime that was watched has ended.
    RuntimeEnded,
    /// The runtime that ran the checks has ended.
    EngineStopped,
    /// Nothing listens there.
    ConnectionRefused,
    /// The connection was cut.
    ConnectionLost,
    /// There is no way to it.
    Unreachable,
    /// It does not accept who we are.
    AuthenticationFailed,
    /// It knows us and forbids it.
    PermissionDenied,
    /// What was asked for is not there.
    NotFound,
    /// It is up and has no room for one more: a pool without a free slot, a full queue.
    Busy,
    /// It is not ready yet: it starts, or loads what it has stored.
    StartingUp,
    /// It says itself that it is not well.
    Unhealthy,
    /// A measured value is past its bound.
    LimitExceeded,
    /// A measured value is near its bound, or will be past it before long.
    LimitNear,
    /// It answers and accepts no writes.
    ReadOnly,
    /// It answers something else than what was expected.
    UnexpectedAnswer,
    /// It cannot work as it is set up.
    Misconfigured,
    /// It is of another release than this service, and the two do not go together.
    Incompatible,
    /// It lacks changes that this service needs.
    MigrationsPending,
    /// Its certificate is not valid any more, or not yet.
    Expired,
    /// Its certificate will not be valid for long.
    ExpiresSoon,
    /// Its certificate is none that can be trusted, or not for that name.
    Untrusted,
}

impl Reason {
    /// The words that a report shows.
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

    /// What an error and its sources tell, going by the first [`io::Error`] among them; else
    /// [`Failed`](Self::Failed).
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        std::iter::successors(Some(error), |&error| source(error))
            .take(MAX_SOURCES)
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .find_map(Self::of_io)
            .unwrap_or(Self::Failed)
    }

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

    /// The reason that an error's message implies, for drivers that keep only the text: a name
    /// that the system's resolver did not find is [`Unreachable`](Self::Unreachable), a certificate that rustls or OpenSSL does not
    /// trust is [`Untrusted`](Self::Untrusted).
    ///
    /// ```
    /// use tower_health::Reason;
    ///
    /// let text = "error connecting: invalid peer certificate: UnknownIssuer";
    /// assert_eq!(Reason::from_message(text), Some(Reason::Untrusted));
    /// let text = "error connecting: failed to lookup address information: Name or service not known";
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

/// A chain of sources that is longer than this is not worth following, or has no end.
pub(super) const MAX_SOURCES: usize = 32;

/// What is behind an error: what an [`io::Error`] was made of, and what an [`Arc`] holds, is no source of it, but may tell more.
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

/// As [`as_str`](Reason::as_str).
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
