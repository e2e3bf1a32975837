//! The check of a TCP port.
//!
//! A run connects, reads a [`Greeting`] if the server sends one, and closes the connection as the
//! protocol of that greeting expects. The greeting serves only to avoid harm: it never fails the
//! check of a server that speaks another protocol.

use std::{sync::OnceLock, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait};

use super::lookup::Lookup;

/// Checks whether a TCP port accepts connections.
///
/// The check only shows that something listens on the port, because the kernel also accepts
/// connections for a server that hangs. Use a check for the server's protocol if there is one.
///
/// | finding | outcome |
/// | --- | --- |
/// | one of the host's addresses accepts a connection | pass |
/// | the server counts connections without a login as errors: MySQL, MariaDB, SSH | warn, misconfigured |
/// | a MySQL or MariaDB server is at its connection limit | warn, busy |
/// | a MySQL or MariaDB server refuses the host, or has blocked it for its connection errors | fail, permission denied |
/// | nothing listens on the port, or the socket connected to itself, as is possible for an ephemeral port | fail, connection refused |
/// | no address is found for the name | fail, unreachable |
/// | no address answers | fail, timed out |
///
/// Each run opens a connection, waits up to 100 ms for a greeting, and closes the connection. If
/// the greeting is that of SMTP, FTP or POP3, it sends `QUIT` first. If the host has several
/// addresses, the next address is tried when an attempt fails, and concurrently after 250 ms. Each
/// run resolves the name with the system's resolver, on a separate thread.
///
/// MySQL blocks a host that connected `max_connect_errors` times without a login, and SSH servers
/// may block it too. The check therefore does not connect again after it has received such a
/// greeting, and continues to warn. Use another check for such a server, such as
/// [`MySql`](crate::MySql).
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::Tcp;
///
/// let smtp = Check::new("smtp", Tcp::new("mail.internal:25")).non_critical();
/// ```
///
/// A server whose greeting shows that it counts connections without a login causes a warning:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use tokio::{io::AsyncWriteExt, net::TcpListener};
/// use tower_health::{HealthCheck, Reason};
/// use tower_health_checks::Tcp;
///
/// let ssh = TcpListener::bind("127.0.0.1:0").await?;
/// let check = Tcp::new(ssh.local_addr()?.to_string());
/// tokio::spawn(async move {
///     let (mut client, _) = ssh.accept().await?;
///     client.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await
/// });
/// for _ in 0..2 {
///     // The second run does not connect.
///     let outcome = check.check().await.unwrap();
///     assert_eq!(outcome.reason(), Some(Reason::Misconfigured));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Tcp {
    lookup: Lookup,
    /// Set if the server must not be connected to again.
    login_required: OnceLock<LoginRequired>,
}

/// A server that counts connections without a login as errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoginRequired {
    /// MySQL and MariaDB block a host after `max_connect_errors` connections.
    MySql,
    /// SSH servers may block a host that connects without a login.
    Ssh,
}

/// The maximum time to wait for the greeting, and for the end of the connection. Servers that send
/// a greeting send it immediately.
const GREETING_TIMEOUT: Duration = Duration::from_millis(100);

/// The maximum number of bytes of a greeting that are read.
const READ: usize = 512;

impl Tcp {
    /// Creates a check for a host and a port, such as `mail.internal:25`, `10.0.0.7:25` or
    /// `[::1]:25`.
    ///
    /// If `address` is not valid, each run fails with
    /// [`Misconfigured`](tower_health::Reason::Misconfigured). A valid name that has no address
    /// fails with [`Unreachable`](tower_health::Reason::Unreachable).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use tokio::net::TcpListener;
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Tcp;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let check = Tcp::new(listener.local_addr()?.to_string());
    /// assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    ///
    /// drop(listener);
    /// assert_eq!(check.check().await.unwrap_err().reason(), Reason::ConnectionRefused);
    ///
    /// let without_port = Tcp::new("mail.internal").check().await.unwrap_err();
    /// assert_eq!(without_port.reason(), Reason::Misconfigured);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            lookup: Lookup::new(address),
            login_required: OnceLock::new(),
        }
    }
}

#[async_trait]
impl HealthCheck for Tcp {
    async fn check(&self) -> Result<Outcome, Failure> {
        if let Some(login_required) = self.login_required.get() {
            return Ok(login_required.outcome());
        }
        let mut stream = self.lookup.connect().await?;
        let mut greeting = [0; READ];
        // Most servers send nothing before they receive a request.
        let read = timeout(GREETING_TIMEOUT, stream.read(&mut greeting)).await;
        let length = match read {
            Ok(Ok(length)) => length,
            Ok(Err(_)) | Err(_) => 0,
        };
        let greeting = Greeting::of(greeting.get(..length).unwrap_or_default());
        close(stream, &greeting).await;
        Ok(match greeting {
            Greeting::None | Greeting::Lines => Outcome::pass(),
            Greeting::LoginRequired(login_required) => {
                self.login_required.get_or_init(|| login_required).outcome()
            }
            Greeting::Refused(outcome) => outcome,
        })
    }
}

/// Closes the connection so that the server sees an end of file and no reset.
async fn close(mut stream: TcpStream, greeting: &Greeting) {
    let goodbye = async {
        if matches!(greeting, Greeting::Lines) {
            stream.write_all(b"QUIT\r\n").await?;
        }
        stream.shutdown().await?;
        // Reads until the server has closed its side. The content does not matter.
        while stream.read(&mut [0; READ]).await? > 0 {}
        std::io::Result::Ok(())
    };
    // If the server does not close its side in time, the connection is dropped.
    _ = timeout(GREETING_TIMEOUT, goodbye).await;
}

/// The first bytes that a server sends to a new connection.
#[derive(Debug, PartialEq)]
enum Greeting {
    /// No greeting, or one of another protocol.
    None,
    /// The greeting of a line-based protocol with `QUIT`: SMTP, FTP, POP3.
    Lines,
    /// A server that must not be connected to again.
    LoginRequired(LoginRequired),
    /// An error of MySQL in place of a greeting, with the outcome that it means.
    Refused(Outcome),
}

impl Greeting {
    /// Interprets the bytes that were read, which may be cut off or empty.
    fn of(said: &[u8]) -> Self {
        match said {
            [b'2', b'2', b'0', b' ' | b'-', ..] | [b'+', b'O', b'K', ..] => Self::Lines,
            [b'S', b'S', b'H', b'-', ..] => Self::LoginRequired(LoginRequired::Ssh),
            // A packet of MySQL: its length, its number, and the handshake of protocol 10, which
            // begins with a version.
            [length, _, 0, 0, 10, b'0'..=b'9', ..] if *length > 30 => {
                Self::LoginRequired(LoginRequired::MySql)
            }
            // An error packet of MySQL with an error number.
            [_, _, 0, 0, 0xff, low, high, text @ ..] => {
                Self::refused(u16::from_le_bytes([*low, *high]), text)
            }
            _ => Self::None,
        }
    }

    /// Interprets an error number and text of MySQL. An unknown error is not an answer about the
    /// port, and counts as no greeting.
    ///
    /// Source: [MySQL, server error message
    /// reference](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
    fn refused(number: u16, text: &[u8]) -> Self {
        let outcome = match number {
            1040 | 1203 => Outcome::warn(Reason::Busy),
            1129 | 1130 => Outcome::fail(Reason::PermissionDenied),
            _ => return Self::None,
        };
        Self::Refused(outcome.with_cause(String::from_utf8_lossy(text)))
    }
}

impl LoginRequired {
    /// Returns the warning of each run, from the one that received the greeting.
    fn outcome(self) -> Outcome {
        let cause = match self {
            Self::MySql => {
                "it is a MySQL server, which blocks hosts that connect without a login: use the check `MySql`"
            }
            Self::Ssh => "it is an SSH server, which may block hosts that connect without a login",
        };
        Outcome::warn(Reason::Misconfigured).with_cause(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings() {
        let reason = |said: &[u8]| match Greeting::of(said) {
            Greeting::Refused(outcome) => outcome.reason(),
            _ => None,
        };
        let mysql = b"\x4a\0\0\0\x0a8.4.0\0\x08\0\0\0";
        let mariadb = b"\x6e\0\0\0\x0a5.5.5-10.11.6-MariaDB\0";
        for (said, greeting) in [
            (&b""[..], Greeting::None),
            (b"220 mail.internal ESMTP\r\n", Greeting::Lines),
            (b"220-ftp.internal\r\n", Greeting::Lines),
            (b"+OK POP3\r\n", Greeting::Lines),
            (b"2200", Greeting::None),
            (
                b"SSH-2.0-OpenSSH_9.2\r\n",
                Greeting::LoginRequired(LoginRequired::Ssh),
            ),
            (mysql, Greeting::LoginRequired(LoginRequired::MySql)),
            (mariadb, Greeting::LoginRequired(LoginRequired::MySql)),
            (b"INFO {}", Greeting::None),
        ] {
            assert_eq!(Greeting::of(said), greeting, "{said:?}");
        }
        let blocked = b"\x45\0\0\0\xff\x69\x04Host '10.0.0.7' is blocked";
        assert_eq!(reason(blocked), Some(Reason::PermissionDenied));
        let full = b"\x17\0\0\0\xff\x10\x04Too many connections";
        assert_eq!(reason(full), Some(Reason::Busy));
        let other = b"\x17\0\0\0\xff\x11\x04";
        assert_eq!(reason(other), None);
    }
}
