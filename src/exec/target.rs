//! The targets of a probe, and their syntax. The [module](super) lists the valid forms.

use http::Uri;

use super::error::InvalidTarget;

/// The target of a probe.
///
/// It is parsed completely when a probe is created, so that an invalid target is reported before
/// anything is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Http {
        authority: String,
        host: String,
        port: u16,
        path: String,
    },
    Unix {
        socket: String,
        path: String,
    },
    Grpc {
        authority: String,
        host: String,
        port: u16,
        service: String,
    },
}

/// The problem of a text that has no valid form.
const FORMS: &str = "is not a valid target: use http://HOST:PORT/PATH, unix:/SOCKET:/PATH or grpc://HOST:PORT/SERVICE";
/// The problem of a text with credentials. They would be visible in the list of processes.
const USERINFO: &str = "contains a user or a password, which this probe does not send";
/// The problem of a text that requests TLS.
const NO_TLS: &str = "requires TLS, which this probe does not support: use a port without TLS on the loopback interface";

impl Target {
    /// Parses a target. The last `:/` of a `unix:` target separates the socket from the path, so
    /// the path of the socket may contain a colon.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = |problem| InvalidTarget::new(text, problem);
        if let Some(rest) = text.strip_prefix("unix:") {
            let (socket, path) = rest.rsplit_once(":/").ok_or_else(|| invalid(FORMS))?;
            let path = format!("/{path}");
            return if socket.starts_with('/') && Uri::try_from(&path).is_ok() {
                Ok(Self::Unix {
                    socket: socket.to_owned(),
                    path,
                })
            } else {
                Err(invalid(FORMS))
            };
        }
        let uri = Uri::try_from(text).map_err(|_| invalid(FORMS))?;
        let authority = uri.authority().ok_or_else(|| invalid(FORMS))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if authority.as_str().contains('@') {
            return Err(invalid(USERINFO));
        }
        // `port_u16` returns no port for a port that it cannot parse, so the port is parsed here.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") | None => None,
            Some(port) => {
                let port = port
                    .strip_prefix(':')
                    .and_then(|port| port.parse::<u16>().ok());
                Some(
                    port.filter(|&port| port > 0)
                        .ok_or_else(|| invalid(FORMS))?,
                )
            }
        };
        if host.is_empty() {
            return Err(invalid(FORMS));
        }
        let authority = authority.to_string();
        match (uri.scheme_str(), port) {
            (Some("http"), port) => Ok(Self::Http {
                authority,
                host,
                port: port.unwrap_or(80),
                path: uri
                    .path_and_query()
                    .map_or("/", |path| path.as_str())
                    .to_owned(),
            }),
            (Some("grpc"), Some(port)) => Ok(Self::Grpc {
                authority,
                host,
                port,
                service: uri.path().trim_start_matches('/').to_owned(),
            }),
            (Some("https" | "grpcs"), _) => Err(invalid(NO_TLS)),
            _ => Err(invalid(FORMS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let http = Target::parse("http://localhost:8080/ready?verbose").unwrap();
        assert_eq!(
            http,
            Target::Http {
                authority: "localhost:8080".into(),
                host: "localhost".into(),
                port: 8080,
                path: "/ready?verbose".into(),
            }
        );
        let v6 = Target::parse("grpc://[::1]:50051").unwrap();
        assert_eq!(
            v6,
            Target::Grpc {
                authority: "[::1]:50051".into(),
                host: "::1".into(),
                port: 50051,
                service: String::new(),
            }
        );
        let unix = Target::parse("unix:/run/a:b.sock:/health/db").unwrap();
        assert_eq!(
            unix,
            Target::Unix {
                socket: "/run/a:b.sock".into(),
                path: "/health/db".into(),
            }
        );
    }

    #[test]
    fn what_is_no_target_says_how_to_write_one() {
        for text in [
            "",
            "ready",
            "/ready",
            "http://",
            "http://localhost:80800/ready",
            "http://localhost:/ready",
            "http://localhost:0/ready",
            "ftp://localhost/",
            "grpc://localhost/x",
            "unix:relative:/ready",
            "unix:/run/orders.sock",
            "unix:/run/orders.sock:/a b",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(error.contains("http://HOST:PORT/PATH"), "{text}: {error}");
        }
        let error = Target::parse("http://u:hunter2@localhost/ready")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a user or a password") && !error.contains("hunter2"),
            "{error}"
        );
        let error = Target::parse("https://localhost/ready").unwrap_err();
        assert!(error.to_string().contains("TLS"), "{error}");
    }
}
