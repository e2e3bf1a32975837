//! Connections that were to be secured, and are not.

use std::{error::Error, iter::successors};

use tower_health::Reason;

/// What became of the handshake; else it is set up so that there can be none: one of the two has no TLS, or what it is given for it is
/// no certificate, no key, no name.
pub(super) fn reason(error: &(dyn Error + 'static)) -> Reason {
    match Reason::of(error) {
        Reason::Failed => successors(Some(error), |&error| error.source())
            .find_map(|error| by_words(&error.to_string()))
            .unwrap_or(Reason::Misconfigured),
        reason => reason,
    }
}

/// What those say that keep no kind: OpenSSL, and the libraries of macOS and Windows.
fn by_words(text: &str) -> Option<Reason> {
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
