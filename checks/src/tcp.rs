use std::{sync::OnceLock, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait};

use super::lookup::Lookup;

/// Whether a port accepts connections.
///
/// That something listens is all it tells: the kernel accepts for a server that hangs. Where there is a check that speaks the
/// server's protocol, use that.
///
/// | finding | outcome |
/// | --- | --- |
/// | a connection to one of the host's addresses | pass |
/// | a server that counts connections without a login as errors: MySQL, MariaDB, SSH | warn, misconfigured |
/// | a MySQL or MariaDB that takes no more connections | warn, busy |
/// | the same that refuses the host, or has blocked it for its connection errors | fail, permission denied |
/// | nothing listens there; or the connection has met itself, as one to a port for clients may | fail, connection refused |
/// | the name has no address that can be found | fail, unreachable |
/// | no answer | fail, timed out |
///
/// Each run opens a connection, waits for a greeting for 100 ms at most, and closes it: one of SMTP, FTP or POP3 with `QUIT`. Of several
/// addresses the next is tried when one fails, or beside it after 250 ms. A name is looked up each time, as the system does it, on a thread of
/// its own.
///
/// A server of MySQL blocks a host that connected `max_connect_errors` times without a login, and one of SSH may shut it out. So once one of these
/// has greeted, it is not connected to again: what it needs is another check, such as [`MySql`](crate::MySql).
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
    /// Who is there, if it is one that must not be connected to.
    shy: OnceLock<Shy>,
}

/// A server that counts connections without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shy {
    MySql,
    Ssh,
}

/// How long a greeting is waited for, and a goodbye. Servers that greet do so at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much of a greeting is read, in bytes.
const READ: usize = 512;

impl Tcp {
    /// A check of a host and its port, such as `mail.internal:25`, `10.0.0.7:25` or `[::1]:25`.
    ///
    /// What is no such thing fails with [`Misconfigured`](tower_health::Reason::Misconfigured).
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            lookup: Lookup::new(address),
            shy: OnceLock::new(),
        }
    }
}

#[async_trait]
impl HealthCheck for Tcp {
    async fn check(&self) -> Result<Outcome, Failure> {
        if let Some(shy) = self.shy.get() {
            return Ok(shy.outcome());
        }
        let mut stream = self.lookup.connect().await?;
        let mut greeting = [0; READ];
        // Most servers say nothing before they are asked.
        let read = timeout(PATIENCE, stream.read(&mut greeting)).await;
        let length = match read {
            Ok(Ok(length)) => length,
            Ok(Err(_)) | Err(_) => 0,
        };
        let greeting = Greeting::of(greeting.get(..length).unwrap_or_default());
        part(stream, &greeting).await;
        Ok(match greeting {
            Greeting::None | Greeting::Lines => Outcome::pass(),
            Greeting::Shy(shy) => self.shy.get_or_init(|| shy).outcome(),
            Greeting::Refused(outcome) => outcome,
        })
    }
}

/// Ends the connection so that the server sees an end and no reset.
async fn part(mut stream: TcpStream, greeting: &Greeting) {
    let goodbye = async {
        if matches!(greeting, Greeting::Lines) {
            stream.write_all(b"QUIT\r\n").await?;
        }
        stream.shutdown().await?;
        // Until it has ended too. What it says is of no interest.
        while stream.read(&mut [0; READ]).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A server that waits on is left.
    _ = timeout(PATIENCE, goodbye).await;
}

/// What a server says to who has just connected.
#[derive(Debug, PartialEq)]
enum Greeting {
    None,
    /// Of a protocol of lines that has `QUIT`: SMTP, FTP, POP3.
    Lines,
    Shy(Shy),
    Refused(Outcome),
}

impl Greeting {
    fn of(said: &[u8]) -> Self {
        match said {
            [b'2', b'2', b'0', b' ' | b'-', ..] | [b'+', b'O', b'K', ..] => Self::Lines,
            [b'S', b'S', b'H', b'-', ..] => Self::Shy(Shy::Ssh),
            // A packet of MySQL: its length, its number, and what it is. Protocol 10, with a version.
            [length, _, 0, 0, 10, b'0'..=b'9', ..] if *length > 30 => Self::Shy(Shy::MySql),
            // An error, with its number.
            [_, _, 0, 0, 0xff, low, high, text @ ..] => {
                Self::refused(u16::from_le_bytes([*low, *high]), text)
            }
            _ => Self::None,
        }
    }

    /// Source: [MySQL, server error message reference](https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html).
    fn refused(number: u16, text: &[u8]) -> Self {
        let outcome = match number {
            1040 | 1203 => Outcome::warn(Reason::Busy),
            1129 | 1130 => Outcome::fail(Reason::PermissionDenied),
            _ => return Self::None,
        };
        Self::Refused(outcome.with_cause(String::from_utf8_lossy(text)))
    }
}

impl Shy {
    fn outcome(self) -> Outcome {
        let cause = match self {
            Self::MySql => {
                "it is a MySQL server, which blocks hosts that connect without a login: use the check `MySql`"
            }
            Self::Ssh => "it is an SSH server, which shuts hosts out that connect without a login",
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
            (b"SSH-2.0-OpenSSH_9.2\r\n", Greeting::Shy(Shy::Ssh)),
            (mysql, Greeting::Shy(Shy::MySql)),
            (mariadb, Greeting::Shy(Shy::MySql)),
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
