//! The check of a DNS name.
//!
//! The resolver of the caller does the work. The check adds two things: it rejects a resolver whose
//! answers do not come from name servers, and it judges the addresses.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use hickory_resolver::{
    TokioResolver,
    config::{ResolveHosts, ResolverOpts},
    net::{DnsError, NetError},
    proto::{
        op::ResponseCode,
        rr::{
            IntoName, Name,
            domain::usage::{IN_ADDR_ARPA_127, IP6_ARPA_1},
        },
    },
};

use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};

/// Checks whether name servers resolve a name.
///
/// | finding | outcome |
/// | --- | --- |
/// | the name has [enough](Self::at_least) addresses, including the [expected](Self::expect) ones | pass |
/// | the name has fewer addresses | warn, limit exceeded |
/// | an expected address is missing | fail, unexpected answer |
/// | the name does not exist (`NXDOMAIN`), or has no address | fail, not found |
/// | the server cannot resolve the name (`SERVFAIL`) | fail, unhealthy |
/// | the server refuses the query (`REFUSED`) | fail, permission denied |
/// | the server returns another error, or a response that is not DNS | fail, unexpected answer |
/// | the resolver has too many queries in progress | warn, busy |
/// | no server answers, or over UDP no server listens on the port | fail, timed out |
/// | over TCP: nothing listens on the port, or the connection is cut | fail, unreachable |
/// | the name is not valid, is an address, or is never sent to a name server, such as `localhost` | fail, misconfigured |
/// | the resolver has a cache, or reads the system's hosts file | fail, misconfigured |
///
/// The check measures the number of `addresses`.
///
/// A run looks up IPv4 and IPv6 addresses as the resolver is configured. The resolver also
/// determines the name servers, the retries and the timeouts:
///
/// * Set its `timeout` below the timeout of the check, so that the resolver itself detects a dead
///   connection.
/// * Enable TCP. A response that is too long for UDP, such as one with a hundred addresses, is lost
///   otherwise, and the name is reported as *not found*.
/// * Give the check a separate resolver with a `cache_size` of 0 and with [`ResolveHosts::Never`].
///   By default a resolver has a cache and reads the system's hosts file. An answer from either
///   says nothing about the name servers. The resolver of the service should keep both.
/// * Do not call `set_hosts` on it. The check cannot detect hosts that were set this way.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hickory_resolver::{
///     TokioResolver,
///     config::{NameServerConfig, ResolveHosts, ResolverConfig},
///     net::runtime::TokioRuntimeProvider,
/// };
/// use tower_health::Check;
/// use tower_health_checks::Dns;
///
/// let servers = vec![NameServerConfig::udp_and_tcp([10, 0, 0, 2].into())];
/// let config = ResolverConfig::from_parts(None, Vec::new(), servers);
/// let mut resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
/// resolver.options_mut().cache_size = 0;
/// resolver.options_mut().use_hosts_file = ResolveHosts::Never;
/// let replicas = Check::new("replicas", Dns::new(resolver.build()?, "db.internal.").at_least(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct Dns {
    resolver: TokioResolver,
    /// The name, or the reason why it is not valid.
    name: Result<Name, String>,
    /// The minimum number of addresses.
    at_least: usize,
    /// The addresses that must be in the answer. Others may be there too.
    expected: BTreeSet<IpAddr>,
}

impl Dns {
    /// Creates a check for a name, such as `db.internal.`. A name without a trailing dot is also
    /// looked up in the search domains of the resolver.
    ///
    /// A run fails with [`Reason::Misconfigured`] if the name is not valid, if resolvers answer it
    /// themselves, such as `localhost`, or if the resolver has a cache or reads the system's hosts
    /// file.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use hickory_resolver::{
    ///     TokioResolver,
    ///     config::{NameServerConfig, ResolverConfig},
    ///     net::runtime::TokioRuntimeProvider,
    /// };
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::Dns;
    ///
    /// let servers = vec![NameServerConfig::udp_and_tcp([10, 0, 0, 2].into())];
    /// let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    /// let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    /// // The resolver has a cache by default.
    /// let failure = Dns::new(resolver.build()?, "db.internal.").check().await.unwrap_err();
    /// assert_eq!(failure.reason(), Reason::Misconfigured);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(resolver: TokioResolver, name: impl AsRef<str>) -> Self {
        Self {
            resolver,
            name: parse(name.as_ref()),
            at_least: 1,
            expected: BTreeSet::new(),
        }
    }

    /// Sets the minimum number of addresses. The check warns if there are fewer, and fails if there
    /// are none. Distinct addresses count, of IPv4 and of IPv6 as far as the resolver looks them
    /// up. Defaults to 1.
    ///
    /// ```
    /// # use hickory_resolver::{TokioResolver, config::*, net::runtime::TokioRuntimeProvider};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # // A name server that returns one IPv4 address, `10.0.0.7`, for each name.
    /// # let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// # let server = socket.local_addr()?;
    /// # tokio::spawn(async move {
    /// #     let mut query = [0; 512];
    /// #     while let Ok((_, client)) = socket.recv_from(&mut query).await {
    /// #         let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    /// #         let records = u8::from(query[end - 3] == 1);
    /// #         let header = [0x84, 0, 0, 1, 0, records, 0, 0, 0, 0];
    /// #         let address = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 7];
    /// #         let mut answer = [&query[..2], &header, &query[12..end]].concat();
    /// #         answer.extend(address.iter().take(16 * usize::from(records)));
    /// #         socket.send_to(&answer, client).await.unwrap();
    /// #     }
    /// # });
    /// # let mut connection = ConnectionConfig::udp();
    /// # connection.port = server.port();
    /// # let servers = vec![NameServerConfig::new(server.ip(), true, vec![connection])];
    /// # let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    /// # let provider = TokioRuntimeProvider::default();
    /// # let mut builder = TokioResolver::builder_with_config(config, provider);
    /// # builder.options_mut().cache_size = 0;
    /// # builder.options_mut().use_hosts_file = ResolveHosts::Never;
    /// # let resolver = builder.build()?;
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::Dns;
    ///
    /// // The name server returns one address.
    /// let any = Dns::new(resolver.clone(), "db.internal.").check().await.unwrap();
    /// assert_eq!(any.status(), Status::Pass);
    ///
    /// let two = Dns::new(resolver, "db.internal.").at_least(2).check().await.unwrap();
    /// assert_eq!((two.status(), two.reason()), (Status::Warn, Some(Reason::LimitExceeded)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_least(mut self, addresses: usize) -> Self {
        self.at_least = addresses;
        self
    }

    /// Adds an address that must be in the answer. Call it repeatedly for several addresses.
    /// Further addresses in the answer are accepted. Defaults to accepting any address.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::net::Ipv4Addr;
    ///
    /// use hickory_resolver::TokioResolver;
    /// use tower_health_checks::Dns;
    /// # use hickory_resolver::{config::ResolverConfig, net::runtime::TokioRuntimeProvider};
    /// # let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
    /// # let provider = TokioRuntimeProvider::default();
    /// # let builder = TokioResolver::builder_with_config(config, provider);
    /// # let resolver: TokioResolver = builder.build()?;
    ///
    /// let check = Dns::new(resolver, "db.internal.")
    ///     .expect(Ipv4Addr::new(10, 0, 0, 7))
    ///     .expect(Ipv4Addr::new(10, 0, 0, 8));
    /// assert!(format!("{check:?}").contains("{10.0.0.7, 10.0.0.8}"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn expect(mut self, address: impl Into<IpAddr>) -> Self {
        self.expected.insert(address.into());
        self
    }

    /// Judges the addresses and measures their number. A missing address is worse than too few.
    fn judge(&self, found: &BTreeSet<IpAddr>) -> Outcome {
        let missing: Vec<_> = self.expected.difference(found).collect();
        let outcome = if !missing.is_empty() {
            Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause(format_args!("{missing:?} missing from {found:?}"))
        } else if found.len() < self.at_least {
            Outcome::warn(Reason::LimitExceeded).with_cause(format_args!(
                "fewer than {} addresses: {found:?}",
                self.at_least
            ))
        } else {
            Outcome::pass()
        };
        outcome.measure("addresses", found.len(), "")
    }
}

/// Parses a name, or returns why it cannot be checked.
fn parse(name: &str) -> Result<Name, String> {
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("{name} is an IP address, which is not resolved"));
    }
    let parsed = name.into_name().map_err(|error| error.to_string())?;
    match parsed.num_labels() {
        0 => Err("the name is empty".to_owned()),
        _ if is_loopback(&parsed) => Err(format!("{name} is answered by the resolver itself")),
        _ => Ok(parsed),
    }
}

/// Whether a resolver answers the name itself, with a loopback address.
///
/// Source: [RFC 6761, section 6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3).
fn is_loopback(name: &Name) -> bool {
    name.is_localhost() || IN_ADDR_ARPA_127.zone_of(name) || IP6_ARPA_1.zone_of(name)
}

/// Returns the option of the resolver that would answer in place of name servers, and how to
/// disable it.
fn unsuitable_option(options: &ResolverOpts) -> Option<&'static str> {
    if options.cache_size > 0 {
        Some(
            "the resolver has a cache: give the check a separate resolver with a `cache_size` of 0",
        )
    } else if options.use_hosts_file != ResolveHosts::Never {
        Some(
            "the resolver reads the system's hosts file: give the check a separate resolver with `ResolveHosts::Never`",
        )
    } else {
        None
    }
}

#[async_trait]
impl HealthCheck for Dns {
    async fn check(&self) -> Result<Outcome, Failure> {
        let misconfigured = |fault: &str| Failure::new(Reason::Misconfigured).with_cause(fault);
        let name = match &self.name {
            Ok(name) => name.clone(),
            Err(fault) => return Err(misconfigured(fault)),
        };
        if let Some(fault) = unsuitable_option(self.resolver.options()) {
            return Err(misconfigured(fault));
        }
        match self.resolver.lookup_ip(name).await {
            Ok(found) => Ok(self.judge(&found.iter().collect())),
            Err(error @ NetError::Busy) => Ok(Outcome::warn(Reason::Busy).with_cause(error)),
            Err(error) => {
                let outcome = Outcome::fail(reason(&error)).with_cause(&error);
                Ok(if error.is_no_records_found() {
                    outcome.measure("addresses", 0, "")
                } else {
                    outcome
                })
            }
        }
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
    }
}

/// Returns the reason of a failed lookup.
fn reason(error: &NetError) -> Reason {
    match error {
        NetError::Timeout => Reason::TimedOut,
        // The resolver reports no other error for a connection that failed.
        NetError::NoConnections => Reason::Unreachable,
        NetError::Io(error) => match Reason::of(error.as_ref()) {
            Reason::Failed => Reason::ConnectionLost,
            reason => reason,
        },
        NetError::Dns(DnsError::NoRecordsFound(none)) => of_code(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => of_code(*code),
        _ => Reason::UnexpectedAnswer,
    }
}

/// Returns the reason of a response code. `NoError` means here that the name exists but has no
/// address.
fn of_code(code: ResponseCode) -> Reason {
    match code {
        ResponseCode::NXDomain | ResponseCode::NoError => Reason::NotFound,
        ResponseCode::ServFail => Reason::Unhealthy,
        ResponseCode::Refused => Reason::PermissionDenied,
        _ => Reason::UnexpectedAnswer,
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("name", &self.name)
            .field("at_least", &self.at_least)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
