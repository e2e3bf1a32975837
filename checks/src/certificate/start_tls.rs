//! Starts TLS in protocols that begin without it.
//!
//! [`StartTls::start`] speaks the protocol up to the point where the TLS handshake begins. It reads
//! no byte beyond that point, because those bytes belong to TLS. The handshake itself, and its time
//! limit, are those of the caller.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_health::{Failure, Reason};

/// A protocol that begins without TLS and upgrades on request.
///
/// MySQL is not supported, because its server blocks hosts that connect and do not log in.
/// `MySql::warn_certificate_below` checks the certificate over a connection that has logged in.
///
/// ```
/// # fn example(config: std::sync::Arc<rustls::ClientConfig>) {
/// use tower_health_checks::{Certificate, StartTls};
///
/// let smtp = Certificate::of_address("mail.internal:587", config).start_tls(StartTls::Smtp);
/// # }
/// ```
///
/// A server that does not offer TLS is misconfigured:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use rustls::{ClientConfig, RootCertStore, crypto::ring};
/// # let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
/// #     .with_safe_default_protocol_versions()?
/// #     .with_root_certificates(RootCertStore::empty())
/// #     .with_no_client_auth();
/// # let config = Arc::new(config);
/// use tokio::{io::AsyncWriteExt, net::TcpListener};
/// use tower_health::{HealthCheck, Reason};
/// use tower_health_checks::{Certificate, StartTls};
///
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let address = server.local_addr()?.to_string();
/// tokio::spawn(async move {
///     let (mut client, _) = server.accept().await?;
///     client.write_all(b"220 mail\r\n250 mail\r\n502 no TLS here\r\n").await?;
///     // Receives the commands until the check closes the connection.
///     tokio::io::copy(&mut client, &mut tokio::io::sink()).await
/// });
/// let smtp = Certificate::of_address(address, config).start_tls(StartTls::Smtp);
/// assert_eq!(smtp.check().await.unwrap_err().reason(), Reason::Misconfigured);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartTls {
    /// PostgreSQL, and poolers that speak its protocol:
    /// [`SSLRequest`](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL).
    Postgres,
    /// SMTP: `STARTTLS` of [RFC 3207](https://www.rfc-editor.org/rfc/rfc3207).
    Smtp,
    /// IMAP: `STARTTLS` of [RFC 9051](https://www.rfc-editor.org/rfc/rfc9051#section-6.2.1).
    Imap,
    /// LDAP: the extended operation of
    /// [RFC 4511, section 4.14](https://www.rfc-editor.org/rfc/rfc4511#section-4.14).
    Ldap,
}

/// The longest line or response that is read, in bytes.
const READ: usize = 4096;

/// The tag of every LDAP message.
const SEQUENCE: u8 = 0x30;

/// The extended request 1.3.6.1.4.1.1466.20037, as message 1.
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

impl StartTls {
    /// Requests TLS, and returns when the handshake may begin.
    pub(super) async fn start(self, stream: &mut TcpStream) -> Result<(), Failure> {
        match self {
            Self::Postgres => {
                // The length, and the request code in place of a protocol version.
                stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
                match stream.read_u8().await? {
                    b'S' => Ok(()),
                    b'N' => Err(not_offered("the server has no TLS")),
                    _ => Err(unexpected(
                        "the response is not that of a PostgreSQL server",
                    )),
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
                        refused => return Err(not_offered(&refused)),
                    }
                }
            }
            Self::Ldap => {
                stream.write_all(LDAP_REQUEST).await?;
                match ldap_result(&message(stream).await?.unwrap_or_default()) {
                    Some(0) => Ok(()),
                    Some(code) => Err(not_offered(&format!("the LDAP result code is {code}"))),
                    None => Err(unexpected("the response is not that of an LDAP server")),
                }
            }
        }
    }
}

/// Reads the lines of a reply of SMTP, which must have this code. All lines but the last have a
/// hyphen after the code. Another code means that the server does not offer TLS.
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
            _ => return Err(not_offered(&line)),
        }
    }
}

/// Reads a line byte by byte, because the bytes after it belong to TLS.
async fn line(stream: &mut TcpStream) -> Result<String, Failure> {
    let mut line = Vec::new();
    while line.len() < READ {
        match stream.read_u8().await? {
            b'\n' => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            byte => line.push(byte),
        }
    }
    Err(unexpected("a line of the response is too long"))
}

/// Reads an LDAP message after its length, or returns `None` if it is not one. A length of more
/// than 127 bytes is preceded by the number of its own bytes.
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

/// Returns the code of an extended response. The message consists of its number and the response,
/// which contains an enumeration of one byte.
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

/// Creates a failure for a server that speaks the protocol but does not offer TLS in it.
fn not_offered(said: &str) -> Failure {
    Failure::new(Reason::Misconfigured).with_cause(said)
}

/// Creates a failure for a server that speaks another protocol.
fn unexpected(said: &str) -> Failure {
    Failure::new(Reason::UnexpectedAnswer).with_cause(said)
}
