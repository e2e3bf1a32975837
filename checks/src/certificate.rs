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

/// A file that is longer is none of certificates.
const READ: u64 = 1024 * 1024;

const DAY: i64 = 24 * 60 * 60;

/// Whether a certificate is valid, and for how long.
///
/// It is that of [a server](Self::of_address), as its clients see it, or that of [a file](Self::of_file). Of a chain the
/// certificate that ends first counts; but not a root that is sent along, for clients go by their own, nor what a server sends that has ended
/// already and that the handshake did without. Of a file that holds nothing but roots, as one of those whom a client trusts, all count.
///
/// | finding | outcome |
/// | --- | --- |
/// | valid for long enough | pass |
/// | fewer days left than [one bound](Self::warn_below) | warn, expires soon |
/// | fewer days left than [another](Self::fail_below) | fail, expires soon |
/// | past its end, or before its beginning | fail, expired |
/// | of an issuer that the client does not trust, revoked, or of another name | fail, untrusted |
/// | no TLS, none that both sides speak; or a file without certificates, or with one that cannot be read | fail, unexpected answer |
/// | a server that has no TLS to start, though it speaks the protocol ([`start_tls`](Self::start_tls)) | fail, misconfigured |
/// | nothing listens there, the connection is cut, no answer | fail, connection refused, connection lost, timed out |
/// | a name that has no address that can be found | fail, unreachable |
/// | there is no such file, or it may not be read | fail, not found, permission denied |
/// | an address or name that is none | fail, misconfigured |
///
/// Measured are the `days_left`, whole ones: 0 on the last day, and fewer than that once it has ended. The time is that of the system's clock. A run of an
/// address is one handshake, which is never a resumed one: that would show the certificate of the first. One of a file reads it on a thread
/// of its own. Once an hour is often enough:
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
/// # The service's own
///
/// Ask for the file that the service serves with; that warns of a renewal that did not come. A service that has not taken up the
/// renewed file is found by its address: that of its own port with the name that clients use, trusted by a config that has their roots.
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
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Certificate {
    source: Source,
    warn_below: Option<u32>,
    fail_below: Option<u32>,
}

enum Source {
    Server(Server),
    File(BlockingCall<io::Result<Vec<u8>>>),
}

/// How many days before its end a certificate warns, unless the user says otherwise.
const WARN_BELOW: u32 = 21;

impl Certificate {
    /// A check of the certificate that a server shows at a host and its port, such as `stock.internal:443`. The config decides whom to
    /// trust, by which protocols, and whether to show a certificate, as it does for the service's own calls.
    ///
    /// What is no such address fails with [`Reason::Misconfigured`].
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

    /// A check of the certificates of a file in PEM, which may hold a key too.
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(Source::File(BlockingCall::new(move || {
            let mut pem = Vec::new();
            File::open(&path)?.take(READ).read_to_end(&mut pem)?;
            Ok(pem)
        })))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            warn_below: None,
            fail_below: None,
        }
    }

    /// The name that the server is asked for, and that its certificate has to be of; for a file it means nothing. Defaults to the host
    /// of the address.
    pub fn server_name(mut self, of: impl AsRef<str>) -> Self {
        if let Source::Server(server) = &mut self.source {
            server.name = name(of.as_ref());
        }
        self
    }

    /// Begins TLS as a protocol does that first speaks without it; for a file it means nothing. Defaults to TLS from the first byte.
    ///
    /// ```
    /// # fn example(config: std::sync::Arc<rustls::ClientConfig>) {
    /// use tower_health_checks::{Certificate, StartTls};
    ///
    /// let database = Certificate::of_address("db.internal:5432", config).start_tls(StartTls::Postgres);
    /// # }
    /// ```
    pub fn start_tls(mut self, protocol: StartTls) -> Self {
        if let Source::Server(server) = &mut self.source {
            server.start_tls = Some(protocol);
        }
        self
    }

    /// How many days it has to be valid for without a warning. Defaults to 21.
    pub fn warn_below(mut self, days: u32) -> Self {
        self.warn_below = Some(days);
        self
    }

    /// How many days it has to be valid for without failing. Defaults to 0: on its last day it does not fail.
    pub fn fail_below(mut self, days: u32) -> Self {
        self.fail_below = Some(days);
        self
    }

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
            Found::Valid(validity) => self.judge(validity, now()),
            Found::Refused(outcome) => outcome,
        })
    }

    fn problems(&self) -> Vec<String> {
        let fail = ("fail_below", self.fail_below);
        let warn = ("warn_below", self.warn_below);
        contradiction(fail, warn).into_iter().collect()
    }
}

/// What there is to judge.
enum Found {
    Valid(Validity),
    /// The handshake has judged it already.
    Refused(Outcome),
}

struct Server {
    lookup: Lookup,
    /// Or what is wrong with it.
    name: Result<ServerName<'static>, String>,
    connector: TlsConnector,
    start_tls: Option<StartTls>,
}

impl Server {
    async fn ask(&self) -> Result<Found, Failure> {
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
        let validity = Validity::shown(chain, now());
        // The server is told that this was all; whether it hears it is its own affair.
        _ = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
        validity.map(Found::Valid)
    }
}

/// What a handshake that failed tells.
fn refused(error: io::Error) -> Result<Found, Failure> {
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
    Ok(Found::Refused(match ends {
        Some(ends) => {
            let days_left = Validity { begins: 0, ends }.days_left(now());
            outcome.measure("days_left", days_left, "")
        }
        None => outcome,
    }))
}

fn read(pem: &[u8]) -> Result<Found, Failure> {
    let pem = pem::plain(pem)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.text.as_bytes()).collect();
    let chain = chain.map_err(|error| unreadable(&error))?;
    // One that is skipped may be the one that ends first.
    if chain.len() < pem.certificates {
        let (read, held) = (chain.len(), pem.certificates);
        return Err(unreadable(&format_args!(
            "{read} of {held} certificates could be read"
        )));
    }
    Validity::held(&chain).map(Found::Valid)
}

fn unreadable(fault: &dyn fmt::Display) -> Failure {
    Failure::new(Reason::UnexpectedAnswer).with_cause(fault)
}

struct Parsed {
    validity: Validity,
    /// Whether it is its own issuer.
    is_root: bool,
}

impl Parsed {
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

fn parse(chain: &[CertificateDer<'_>]) -> Result<Vec<Parsed>, Failure> {
    chain.iter().map(Parsed::of).collect()
}

fn none() -> Failure {
    unreadable(&"there is no certificate")
}

/// From when on and until when all certificates of a chain are valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    begins: i64,
    ends: i64,
}

impl Validity {
    /// Of what a server shows: of its own certificate, which comes first, and of those others that count.
    fn shown(chain: &[CertificateDer<'_>], now: i64) -> Result<Self, Failure> {
        let chain = parse(chain)?;
        let (own, others) = chain.split_first().ok_or_else(none)?;
        let others = others.iter();
        let counts = others.filter(|one| !one.is_root && one.validity.ends >= now);
        Ok(counts.fold(own.validity, |whole, one| whole.merge(one.validity)))
    }

    /// Of what a file holds: of all but roots, or of all roots if there is nothing else.
    fn held(chain: &[CertificateDer<'_>]) -> Result<Self, Failure> {
        let chain = parse(chain)?;
        let are_roots = chain.iter().all(|one| one.is_root);
        let counts = chain.iter().filter(|one| one.is_root == are_roots);
        let validities = counts.map(|one| one.validity);
        validities.reduce(Self::merge).ok_or_else(none)
    }

    fn merge(self, other: Self) -> Self {
        Self {
            begins: self.begins.max(other.begins),
            ends: self.ends.min(other.ends),
        }
    }

    fn days_left(self, now: i64) -> i64 {
        self.ends.saturating_sub(now).div_euclid(DAY)
    }
}

fn now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // A clock that was never set.
        Err(_) => 0,
    }
}

/// That of an address with a port.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

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
    fn days_are_whole_and_may_be_past() {
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
