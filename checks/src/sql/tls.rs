//! Reasons for failed TLS handshakes.
//!
//! A driver reports a failed handshake as one kind of error, whatever its cause. The reason is
//! searched for in the chain of errors, first by type and then by text.

use std::{error::Error, iter::successors};

use tower_health::Reason;

/// Returns the reason of a failed handshake. An error that names no other reason is a
/// misconfiguration: the client or the server has no TLS, or its certificate, key or server name is
/// invalid.
pub(super) fn reason(error: &(dyn Error + 'static)) -> Reason {
    match Reason::of(error) {
        Reason::Failed => successors(Some(error), |&error| error.source())
            .find_map(|error| reason_from_text(&error.to_string()))
            .unwrap_or(Reason::Misconfigured),
        reason => reason,
    }
}

/// Derives a reason from the text of an error, for libraries whose errors have no kind: OpenSSL,
/// and those of macOS and Windows.
fn reason_from_text(text: &str) -> Option<Reason> {
    let text = text.to_ascii_lowercase();
    if text.contains("unexpected eof") {
        Some(Reason::ConnectionLost)
    } else if text.contains("certificate") && text.contains("not trusted") {
        Some(Reason::Untrusted)
    } else {
        Reason::from_message(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use tower_health::BoxError;

    #[test]
    fn only_a_certificate_is_untrusted() {
        let cut: BoxError = io::Error::from(io::ErrorKind::ConnectionReset).into();
        for (error, expected) in [
            (cut, Reason::ConnectionLost),
            ("unexpected EOF".into(), Reason::ConnectionLost),
            (
                "invalid peer certificate: UnknownIssuer".into(),
                Reason::Untrusted,
            ),
            (
                "SSL routines::certificate verify failed".into(),
                Reason::Untrusted,
            ),
            ("The certificate was not trusted.".into(), Reason::Untrusted),
            (
                "Invalid certificate /etc/ca.pem".into(),
                Reason::Misconfigured,
            ),
            ("server does not support TLS".into(), Reason::Misconfigured),
        ] {
            assert_eq!(reason(&*error), expected, "{error}");
        }
    }
}
