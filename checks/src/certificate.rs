//! The check of a TLS certificate.
//!
//! A run [inspects](Inspected) a server or a file. The result is either the [`Validity`] of what
//! was found, or the outcome of a handshake that failed. The bounds in days apply only to the
//! former.

use std::{
    fmt,
    fs::File,
    future::poll_fn,
    io::{self, Read},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, ClientConfig,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

mod pem;
mod start_tls;

pub use self::start_tls::StartTls;
use super::lookup::Lookup;
use tower_health::checks::{BlockingCall, contradiction};
use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait};

/// How much of a file is read, in bytes.
const READ: u64 = 1024 * 1024;

const DAY: i64 = 24 * 60 * 60;

/// Health check of a TLS certificate: whether it is valid, and for how long.
///
/// It checks the certificate of [a server](Self::of_address), as clients see it, or of
/// [a file](Self::of_file). In a chain, the certificate that expires first counts. A root that the
/// server sends does not count, because clients use their own. Nor does another certificate of the
/// chain that has already expired, if the handshake succeeded without it. In a file that contains
/// only roots, such as a list of trusted authorities, all of them count.
///
/// | finding | outcome |
/// | --- | --- |
/// | valid for long enough | pass |
/// | fewer days left than [`warn_below`](Self::warn_below) | warn, expires soon |
/// | fewer days left than [`fail_below`](Self::fail_below) | fail, expires soon |
/// | expired, or not yet valid | fail, expired |
/// | the client does not trust its issuer, it is revoked, or it is for another name | fail, untrusted |
/// | the server has no TLS, or none that both sides support; or the file contains no certificate, or one that cannot be read | fail, unexpected answer |
/// | the server does not offer TLS in its protocol ([`start_tls`](Self::start_tls)) | fail, misconfigured |
/// | nothing listens there, the connection is cut, no response | fail, connection refused, connection lost, timed out |
/// | no address was found for the name | fail, unreachable |
/// | the file does not exist, or may not be read | fail, not found, permission denied |
/// | the address or the server name is not valid | fail, misconfigured |
///
/// It measures `days_left`, in whole days: 0 on the last day, and negative after expiry. The time
/// is that of the system clock. A run for an address is one handshake. Sessions are not resumed,
/// because a resumed session would show the certificate of its first handshake. A file is read on a
/// separate thread. One run per hour is enough:
///
/// ```
/// # fn example(config: std::sync::Arc<rustls::ClientConfig>) {
/// use std::time::Duration;
/// use tower_health::Check;
/// use tower_health_checks::Certificate;
///
/// let hourly = |check: Check| check.period(Duration::from_secs(3600)).retry_period(Duration::from_secs(60)).non_critical();
/// let upstream = hourly(Check::new("stock-certificate", Certificate::of_address("stock.internal:443", config)));
/// # }
/// ```
///
/// # The service's own certificate
///
/// Check the file that the service uses. That warns if a renewal is missing. A service that has not
/// loaded the renewed file is detected by its address: use its own port, the name that clients use,
/// and a config that trusts their roots.
///
/// ```
/// # fn example(config: std::sync::Arc<rustls::ClientConfig>) {
/// use tower_health_checks::Certificate;
///
/// let renewed = Certificate::of_file("/etc/orders/tls/fullchain.pem").warn_below(14);
/// let served = Certificate::of_address("127.0.0.1:8443", config).server_name("orders.example.com");
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Certificate {
    source: Source,
    /// In days. `None` if not configured: [`WARN_BELOW`] applies.
    warn_below: Option<u32>,
    /// In days. `None` if not configured: 0 applies.
    fail_below: Option<u32>,
}

/// Where the certificate comes from.
enum Source {
    Server(Server),
    /// Reads the file, up to [`READ`] bytes, on a separate thread.
    File(BlockingCall<io::Result<Vec<u8>>>),
}

/// The default of [`Certificate::warn_below`], in days.
const WARN_BELOW: u32 = 21;

impl Certificate {
    /// Creates a check of the certificate of the server at a host and port, such as
    /// `stock.internal:443`.
    ///
    /// As in the service's own calls, the config determines which issuers are trusted, which
    /// protocol versions are used, and whether a client certificate is sent. If the address is not
    /// valid, each run fails with [`Reason::Misconfigured`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use rustls::{ClientConfig, RootCertStore, crypto::ring};
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Certificate;
    ///
    /// let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(RootCertStore::empty())
    ///     .with_no_client_auth();
    /// let config = Arc::new(config);
    ///
    /// let absent = Certificate::of_address("127.0.0.1:1", Arc::clone(&config));
    /// assert_eq!(absent.check().await.unwrap_err().reason(), Reason::ConnectionRefused);
    ///
    /// let without_port = Certificate::of_address("stock.internal", config);
    /// assert_eq!(without_port.check().await.unwrap_err().reason(), Reason::Misconfigured);
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_address(address: impl Into<String>, config: Arc<ClientConfig>) -> Self {
        let lookup = Lookup::new(address);
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        Self::new(Source::Server(Server {
            name: name(host(lookup.target())),
            lookup,
            connector: Arc::new(config).into(),
            start_tls: None,
        }))
    }

    /// Creates a check of the certificates in a PEM file, which may also contain a key. Only their
    /// validity in time is checked: signatures, names and the key are not. At most the first 1 MiB
    /// is read.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Certificate;
    ///
    /// let missing = Certificate::of_file("/nowhere/fullchain.pem");
    /// assert_eq!(missing.check().await.unwrap_err().reason(), Reason::NotFound);
    /// # }
    /// ```
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(Source::File(BlockingCall::new(move || {
            let mut pem = Vec::new();
            File::open(&path)?.take(READ).read_to_end(&mut pem)?;
            Ok(pem)
        })))
    }

    /// Creates a check with the default bounds.
    fn new(source: Source) -> Self {
        Self {
            source,
            warn_below: None,
            fail_below: None,
        }
    }

    /// Sets the name that is requested from the server, and that its certificate must be valid for.
    /// It has no effect for a file. If the name is not valid, each run fails with
    /// [`Reason::Misconfigured`]. Defaults to the host of the address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::sync::Arc;
    /// # use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
    /// # let names = ["orders.example.com".to_owned()];
    /// # let own = rcgen::generate_simple_self_signed(names)?;
    /// # let (cert, signing_key) = (own.cert, own.signing_key);
    /// # let provider = Arc::new(ring::default_provider());
    /// # let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
    /// #     .with_safe_default_protocol_versions()?
    /// #     .with_no_client_auth()
    /// #     .with_single_cert(vec![cert.der().clone()], signing_key.into())?;
    /// # let mut roots = RootCertStore::empty();
    /// # roots.add(cert.der().clone())?;
    /// # let config = ClientConfig::builder_with_provider(provider)
    /// #     .with_safe_default_protocol_versions()?
    /// #     .with_root_certificates(roots)
    /// #     .with_no_client_auth();
    /// # let config = Arc::new(config);
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let address = listener.local_addr()?.to_string();
    /// # let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    /// # tokio::spawn(async move {
    /// #     while let Ok((stream, _)) = listener.accept().await {
    /// #         _ = acceptor.accept(stream).await;
    /// #     }
    /// # });
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Certificate;
    ///
    /// // The server at 127.0.0.1 has a certificate for `orders.example.com`.
    /// let by_address = Certificate::of_address(&address, Arc::clone(&config));
    /// assert_eq!(by_address.check().await.unwrap().reason(), Some(Reason::Untrusted));
    ///
    /// let by_name = Certificate::of_address(&address, config).server_name("orders.example.com");
    /// assert_eq!(by_name.check().await.unwrap().status(), Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn server_name(mut self, of: impl AsRef<str>) -> Self {
        if let Source::Server(server) = &mut self.source {
            server.name = name(of.as_ref());
        }
        self
    }

    /// Sets the protocol that is spoken before TLS begins. It has no effect for a file.
    ///
    /// ```
    /// # fn example(config: std::sync::Arc<rustls::ClientConfig>) {
    /// use tower_health_checks::{Certificate, StartTls};
    ///
    /// let database = Certificate::of_address("db.internal:5432", config).start_tls(StartTls::Postgres);
    /// # }
    /// ```
    ///
    /// A server that does not offer TLS in this protocol fails with [`Reason::Misconfigured`]. A
    /// server that speaks another protocol fails with [`Reason::UnexpectedAnswer`]. Defaults to TLS
    /// from the first byte.
    pub fn start_tls(mut self, protocol: StartTls) -> Self {
        if let Source::Server(server) = &mut self.source {
            server.start_tls = Some(protocol);
        }
        self
    }

    /// Sets the number of remaining days below which the check warns. Defaults to 21.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut params = rcgen::CertificateParams::new(["orders.example.com".to_owned()])?;
    /// # params.not_after = time::OffsetDateTime::now_utc() + time::Duration::hours(10 * 24 + 1);
    /// # let pem = params.self_signed(&rcgen::KeyPair::generate()?)?.pem();
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Certificate;
    ///
    /// // This certificate is valid for 10 days and an hour.
    /// let file = tempfile::NamedTempFile::new()?;
    /// std::fs::write(&file, pem)?;
    ///
    /// let check = Certificate::of_file(file.path());
    /// let outcome = check.check().await.unwrap();
    /// assert_eq!((outcome.status(), outcome.reason()), (Status::Warn, Some(Reason::ExpiresSoon)));
    /// assert_eq!(outcome.measurements()[0].value, 10.into());
    ///
    /// let outcome = check.warn_below(10).check().await.unwrap();
    /// assert_eq!(outcome.status(), Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn_below(mut self, days: u32) -> Self {
        self.warn_below = Some(days);
        self
    }

    /// Sets the number of remaining days below which the check fails. Defaults to 0: the check does
    /// not fail on the last day.
    ///
    /// ```
    /// use tower_health::HealthCheck;
    /// use tower_health_checks::Certificate;
    ///
    /// let check = Certificate::of_file("/etc/orders/tls/fullchain.pem").warn_below(14);
    /// assert!(check.problems().is_empty());
    ///
    /// // It would fail before it warns.
    /// let problems = check.fail_below(30).problems();
    /// assert!(problems[0].starts_with("`fail_below` (30) is above `warn_below` (14)"));
    /// ```
    pub fn fail_below(mut self, days: u32) -> Self {
        self.fail_below = Some(days);
        self
    }

    /// Judges a validity by the time since 1970, in seconds, and measures `days_left`. The bounds
    /// apply only while it is valid.
    fn judge(&self, validity: Validity, now: i64) -> Outcome {
        let days_left = validity.days_left(now);
        let outcome = if now < validity.begins || now > validity.ends {
            Outcome::fail(Reason::Expired)
        } else if days_left < self.fail_below.unwrap_or(0).into() {
            Outcome::fail(Reason::ExpiresSoon)
        } else if days_left < self.warn_below.unwrap_or(WARN_BELOW).into() {
            Outcome::warn(Reason::ExpiresSoon)
        } else {
            Outcome::pass()
        };
        outcome.measure("days_left", days_left, "")
    }
}

#[async_trait]
impl HealthCheck for Certificate {
    async fn check(&self) -> Result<Outcome, Failure> {
        let found = match &self.source {
            Source::Server(server) => server.ask().await?,
            Source::File(file) => read(&file.call().await??)?,
        };
        Ok(match found {
            Inspected::Valid(validity) => self.judge(validity, now()),
            Inspected::Refused(outcome) => outcome,
        })
    }

    fn problems(&self) -> Vec<String> {
        let fail = ("fail_below", self.fail_below);
        let warn = ("warn_below", self.warn_below);
        contradiction(fail, warn).into_iter().collect()
    }
}

/// The result of a handshake, or of reading a file.
enum Inspected {
    Valid(Validity),
    /// The handshake failed with this outcome.
    Refused(Outcome),
}

/// A server, and how to connect to it.
struct Server {
    lookup: Lookup,
    /// The error if the name is not valid.
    name: Result<ServerName<'static>, String>,
    connector: TlsConnector,
    /// `None` if TLS begins with the first byte.
    start_tls: Option<StartTls>,
}

impl Server {
    /// Connects, and completes a handshake. No data is sent over the TLS connection.
    async fn ask(&self) -> Result<Inspected, Failure> {
        let name = match &self.name {
            Ok(name) => name.clone(),
            Err(fault) => return Err(Failure::new(Reason::Misconfigured).with_cause(fault)),
        };
        let mut stream = self.lookup.connect().await?;
        if let Some(protocol) = self.start_tls {
            protocol.start(&mut stream).await?;
        }
        let mut stream = match self.connector.connect(name, stream).await {
            Ok(stream) => stream,
            Err(error) => return refused(error),
        };
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        let validity = Validity::of_server(chain, now());
        // Announces the end of the connection. Whether that reaches the server does not matter.
        _ = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
        validity.map(Inspected::Valid)
    }
}

/// Converts the error of a failed handshake. An error of TLS is an outcome, which has `days_left`
/// if the certificate has expired. Any other error is a failure of the connection.
fn refused(error: io::Error) -> Result<Inspected, Failure> {
    let inner = error.get_ref();
    let Some(tls) = inner.and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return Err(error.into());
    };
    let (reason, ends) = match tls {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::ExpiredContext { not_after, .. } => {
                (Reason::Expired, i64::try_from(not_after.as_secs()).ok())
            }
            CertificateError::Expired
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => (Reason::Expired, None),
            _ => (Reason::Untrusted, None),
        },
        _ => (Reason::UnexpectedAnswer, None),
    };
    let outcome = Outcome::fail(reason).with_cause(tls);
    Ok(Inspected::Refused(match ends {
        Some(ends) => {
            let days_left = Validity { begins: 0, ends }.days_left(now());
            outcome.measure("days_left", days_left, "")
        }
        None => outcome,
    }))
}

/// Returns the validity of the certificates in a PEM text.
fn read(pem: &[u8]) -> Result<Inspected, Failure> {
    let pem = pem::plain(pem)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.text.as_bytes()).collect();
    let chain = chain.map_err(|error| unreadable(&error))?;
    // A certificate that is skipped may be the one that expires first.
    if chain.len() < pem.certificates {
        let (read, of_file) = (chain.len(), pem.certificates);
        return Err(unreadable(&format_args!(
            "{read} of {of_file} certificates could be read"
        )));
    }
    Validity::of_file(&chain).map(Inspected::Valid)
}

/// Creates a failure for certificates that cannot be read.
fn unreadable(fault: &dyn fmt::Display) -> Failure {
    Failure::new(Reason::UnexpectedAnswer).with_cause(fault)
}

/// What counts of one certificate.
struct Parsed {
    validity: Validity,
    /// Whether its subject is its issuer.
    is_root: bool,
}

impl Parsed {
    /// Parses a certificate. No signature is verified here. The handshake verifies those of a
    /// server.
    fn of(der: &CertificateDer<'_>) -> Result<Self, Failure> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        let validity = certificate.validity();
        Ok(Self {
            validity: Validity {
                begins: validity.not_before.timestamp(),
                ends: validity.not_after.timestamp(),
            },
            is_root: certificate.subject() == certificate.issuer(),
        })
    }
}

/// Parses all certificates of a chain, or fails if one of them cannot be read.
fn parse(chain: &[CertificateDer<'_>]) -> Result<Vec<Parsed>, Failure> {
    chain.iter().map(Parsed::of).collect()
}

/// Creates a failure for a chain or a file without a certificate.
fn no_certificate() -> Failure {
    unreadable(&"there is no certificate")
}

/// The time in which all certificates of a chain are valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    begins: i64,
    ends: i64,
}

impl Validity {
    /// Returns the validity of a server's chain: of its own certificate, which is the first, and of
    /// the others that count.
    fn of_server(chain: &[CertificateDer<'_>], now: i64) -> Result<Self, Failure> {
        let chain = parse(chain)?;
        let (own, others) = chain.split_first().ok_or_else(no_certificate)?;
        let others = others.iter();
        let counts = others.filter(|one| !one.is_root && one.validity.ends >= now);
        Ok(counts.fold(own.validity, |whole, one| whole.merge(one.validity)))
    }

    /// Returns the validity of a file: of all certificates except roots, or of all roots if there
    /// is nothing else.
    fn of_file(chain: &[CertificateDer<'_>]) -> Result<Self, Failure> {
        let chain = parse(chain)?;
        let are_roots = chain.iter().all(|one| one.is_root);
        let counts = chain.iter().filter(|one| one.is_root == are_roots);
        let validities = counts.map(|one| one.validity);
        validities.reduce(Self::merge).ok_or_else(no_certificate)
    }

    /// Returns the time in which both are valid.
    fn merge(self, other: Self) -> Self {
        Self {
            begins: self.begins.max(other.begins),
            ends: self.ends.min(other.ends),
        }
    }

    /// Returns the whole days until the end, rounded down.
    fn days_left(self, now: i64) -> i64 {
        self.ends.saturating_sub(now).div_euclid(DAY)
    }
}

/// Returns the seconds since 1970, by the system clock.
fn now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // The clock is before 1970.
        Err(_) => 0,
    }
}

/// Returns the host of an address with a port, without the brackets of IPv6.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Parses a server name, which may be an IP address. The error contains the name.
fn name(of: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(of.to_owned()).map_err(|error| format!("{of:?}: {error}"))
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => f.debug_tuple("Server").field(&server.lookup).finish(),
            Self::File(_) => f.debug_tuple("File").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_left_is_rounded_down_and_may_be_negative() {
        let valid = Validity {
            begins: 0,
            ends: 100 * DAY,
        };
        for (now, days) in [
            (0, 100),
            (1, 99),
            (99 * DAY, 1),
            (99 * DAY + 1, 0),
            (100 * DAY, 0),
            (100 * DAY + 1, -1),
            (103 * DAY, -3),
        ] {
            assert_eq!(valid.days_left(now), days, "{now}");
        }
    }

    #[test]
    fn bounds() {
        let valid = Validity {
            begins: DAY,
            ends: 100 * DAY,
        };
        let check = Certificate::of_file("/nowhere").warn_below(20);
        let check = check.fail_below(10);
        for (now, reason) in [
            (0, Some(Reason::Expired)),
            (DAY, None),
            (80 * DAY, None),
            (80 * DAY + 1, Some(Reason::ExpiresSoon)),
            (90 * DAY + 1, Some(Reason::ExpiresSoon)),
            (100 * DAY + 1, Some(Reason::Expired)),
        ] {
            assert_eq!(check.judge(valid, now).reason(), reason, "{now}");
        }
        let is_good = |now| check.judge(valid, now).status().is_good();
        assert!(is_good(90 * DAY) && !is_good(90 * DAY + 1));
    }

    #[test]
    fn names_of_addresses() {
        for (address, is) in [
            ("stock.internal:443", "stock.internal"),
            ("10.0.0.7:443", "10.0.0.7"),
            ("[::1]:443", "::1"),
        ] {
            assert_eq!(host(address), is);
            assert!(name(is).is_ok());
        }
        for nonsense in ["", "a b"] {
            assert!(name(nonsense).is_err());
        }
    }
}
