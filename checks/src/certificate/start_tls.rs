//! How TLS begins where another protocol is spoken first.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_health::{Failure, Reason};

/// A protocol that speaks without TLS until it is asked for it.
///
/// That of MySQL is not among them: a server blocks hosts that connect and do not log in. `MySql::warn_certificate_below` asks over a connection that
/// has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartTls {
    /// PostgreSQL, and poolers that speak it: [`SSLRequest`](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL).
    Postgres,
    /// SMTP: `STARTTLS` of [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207).
    Smtp,
    /// IMAP: `STARTTLS` of [RFC 9051](https://www.rfc-editor.org/rfc/rfc9051#section-6.2.1).
    Imap,
    /// LDAP: the extended operation of [RFC 4511, section 4.14](https://www.rfc-editor.org/rfc/rfc4511#section-4.14).
    Ldap,
}

/// The longest line, or answer, that is read.
const READ: usize = 4096;

/// What every message of LDAP is.
const SEQUENCE: u8 = 0x30;

/// The extended request 1.3.6.1.4.1.1466.20037, as message 1.
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

impl StartTls {
    /// Asks for TLS, and returns when it may begin.
    pub(super) async fn start(self, stream: &mut TcpStream) -> Result<(), Failure> {
        match self {
            Self::Postgres => {
                // The length, and a version that is none.
                stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
                match stream.read_u8().await? {
                    b'S' => Ok(()),
                    b'N' => Err(none("the server has no TLS")),
                    _ => Err(unexpected("it does not answer as PostgreSQL does")),
                }
            }
            Self::Smtp => {
                reply(stream, "220").await?;
                stream.write_all(b"EHLO tower-health.invalid\r\n").await?;
                reply(stream, "250").await?;
                stream.write_all(b"STARTTLS\r\n").await?;
                reply(stream, "220").await
            }
            Self::Imap => {
                let greeting = line(stream).await?;
                if !greeting.starts_with("* OK") {
                    return Err(unexpected(&greeting));
                }
                stream.write_all(b"a STARTTLS\r\n").await?;
                loop {
                    match line(stream).await? {
                        untagged if untagged.starts_with('*') => {}
                        tagged if tagged.starts_with("a OK") => return Ok(()),
                        refused => return Err(none(&refused)),
                    }
                }
            }
            Self::Ldap => {
                stream.write_all(LDAP_REQUEST).await?;
                match ldap_result(&message(stream).await?.unwrap_or_default()) {
                    Some(0) => Ok(()),
                    Some(code) => Err(none(&format!("LDAP answers {code}"))),
                    None => Err(unexpected("it does not answer as LDAP does")),
                }
            }
        }
    }
}

/// Reads the lines of a reply, of which all but the last have a hyphen behind the code.
async fn reply(stream: &mut TcpStream, code: &str) -> Result<(), Failure> {
    loop {
        let line = line(stream).await?;
        let digits = line.get(..3).unwrap_or_default();
        if digits.len() < 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unexpected(&line));
        }
        match line.as_bytes().get(3) {
            Some(b'-') => {}
            _ if digits == code => return Ok(()),
            _ => return Err(none(&line)),
        }
    }
}

/// A byte at a time: what follows is TLS, and not for here.
async fn line(stream: &mut TcpStream) -> Result<String, Failure> {
    let mut line = Vec::new();
    while line.len() < READ {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            byte => line.push(byte),
        }
    }
    Err(unexpected("it says more in a line than is read"))
}

/// A message of LDAP, which tells its length; none of what is no such. More than 127 bytes are told by how many bytes tell it.
async fn message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    if stream.read_u8().await? != SEQUENCE {
        return Ok(None);
    }
    let short = stream.read_u8().await?;
    let length = match short {
        0..=127 => usize::from(short),
        _ => {
            let mut length = 0_usize;
            for _ in 0..(short & 127) {
                length = length
                    .saturating_mul(256)
                    .saturating_add(stream.read_u8().await?.into());
            }
            length
        }
    };
    let mut message = vec![0; length.min(READ)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// The code of an extended response: the number of the message, the response, and in it an enumeration of one byte.
fn ldap_result(message: &[u8]) -> Option<u8> {
    let response = message.strip_prefix(&[2, 1, 1, 0x78])?;
    let content = match response {
        [0..=127, content @ ..] => content,
        [0x81, _, content @ ..] | [0x82, _, _, content @ ..] => content,
        [0x84, _, _, _, _, content @ ..] => content,
        _ => return None,
    };
    match content {
        [10, 1, code, ..] => Some(*code),
        _ => None,
    }
}

fn none(said: &str) -> Failure {
    Failure::new(Reason::Misconfigured).with_cause(said)
}

fn unexpected(said: &str) -> Failure {
    Failure::new(Reason::UnexpectedAnswer).with_cause(said)
}
