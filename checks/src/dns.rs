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

/// Whether a name resolves, as name servers tell it.
///
/// | finding | outcome |
/// | --- | --- |
/// | the name has [as many](Self::at_least) addresses as it should, and [those](Self::expect) that it should | pass |
/// | fewer | warn, limit exceeded |
/// | other ones | fail, unexpected answer |
/// | there is no such name (`NXDOMAIN`), or it has no address | fail, not found |
/// | the server cannot tell (`SERVFAIL`) | fail, unhealthy |
/// | the server does not want to tell (`REFUSED`) | fail, permission denied |
/// | another error of the server, or what is no DNS | fail, unexpected answer |
/// | the resolver has too many questions open | warn, busy |
/// | no answer, and over UDP no server | fail, timed out |
/// | over TCP: nothing listens there, or the connection is cut | fail, unreachable |
/// | what is no name, or is an address; a name that no name server is asked for, such as `localhost` | fail, misconfigured |
/// | a resolver that has a cache, or reads the system's file of hosts | fail, misconfigured |
///
/// Measured are the `addresses`. A run asks for those of IPv4 and of IPv6, as the resolver is set up, and leaves the rest to the
/// resolver: which server it asks, how often, and how long it waits. Let its `timeout` be shorter than that of the check, so
/// that it learns itself of a connection that is dead.
///
/// Let the resolver ask over TCP as well: an answer that is too long for UDP, such as one of a hundred addresses, is else none, and the name *not
/// found*.
///
/// An answer from a cache or from the system's file of hosts tells nothing of name servers, and a resolver that does without them for a check's
/// sake would fail the service that lives on them. So give the check a resolver of its own, with a `cache_size` of 0 and with
/// [`ResolveHosts::Never`]; by default it has both. Hosts that were given to it by `set_hosts` are not seen: give it none.
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
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct Dns {
    resolver: TokioResolver,
    /// Or what is wrong with it.
    name: Result<Name, String>,
    at_least: usize,
    expected: BTreeSet<IpAddr>,
}

impl Dns {
    /// A check of a name, such as `db.internal.`; one that does not end in a dot is looked for in the resolver's domains too.
    ///
    /// What is no name fails with [`Reason::Misconfigured`]; and so do names that resolvers answer by themselves, as those of `localhost`, and a
    /// resolver that has a cache, or reads the system's file of hosts.
    pub fn new(resolver: TokioResolver, name: impl AsRef<str>) -> Self {
        Self {
            resolver,
            name: parse(name.as_ref()),
            at_least: 1,
            expected: BTreeSet::new(),
        }
    }

    /// How many addresses there should be; fewer are a warning, none a failure. Defaults to 1.
    pub fn at_least(mut self, addresses: usize) -> Self {
        self.at_least = addresses;
        self
    }

    /// An address that has to be among them; again for another one. Defaults to any.
    pub fn expect(mut self, address: impl Into<IpAddr>) -> Self {
        self.expected.insert(address.into());
        self
    }

    fn judge(&self, found: &BTreeSet<IpAddr>) -> Outcome {
        let lacks: Vec<_> = self.expected.difference(found).collect();
        let outcome = if !lacks.is_empty() {
            Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause(format_args!("{lacks:?} not among {found:?}"))
        } else if found.len() < self.at_least {
            Outcome::warn(Reason::LimitExceeded)
                .with_cause(format_args!("fewer than {}: {found:?}", self.at_least))
        } else {
            Outcome::pass()
        };
        outcome.measure("addresses", found.len(), "")
    }
}

fn parse(name: &str) -> Result<Name, String> {
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("{name} is an address, which nobody resolves"));
    }
    let parsed = name.into_name().map_err(|error| error.to_string())?;
    match parsed.num_labels() {
        0 => Err("it is empty".to_owned()),
        _ if is_loopback(&parsed) => Err(format!("{name} is the resolver's own to answer")),
        _ => Ok(parsed),
    }
}

/// Whether a resolver answers by itself, with an address of loopback.
///
/// Source: [RFC 6761, section 6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3).
fn is_loopback(name: &Name) -> bool {
    name.is_localhost() || IN_ADDR_ARPA_127.zone_of(name) || IP6_ARPA_1.zone_of(name)
}

/// What would answer in place of name servers, and how to be rid of it.
fn hindrance(options: &ResolverOpts) -> Option<&'static str> {
    if options.cache_size > 0 {
        Some("the resolver has a cache: give the check one of its own, with a `cache_size` of 0")
    } else if options.use_hosts_file != ResolveHosts::Never {
        Some(
            "the resolver reads the system's file of hosts: give the check one of its own, with `ResolveHosts::Never`",
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
        if let Some(fault) = hindrance(self.resolver.options()) {
            return Err(misconfigured(fault));
        }
        match self.resolver.lookup_ip(name).await {
            Ok(found) => Ok(self.judge(&found.iter().collect())),
            Err(error @ NetError::Busy) => Ok(Outcome::warn(Reason::Busy).with_cause(error)),
            Err(error) => {
                let outcome = Outcome::fail(reason(&error)).with_cause(&error);
                Ok(match error.is_no_records_found() {
                    true => outcome.measure("addresses", 0, ""),
                    false => outcome,
                })
            }
        }
    }

    fn component_type(&self) -> ComponentType {
        ComponentType::System
    }
}

fn reason(error: &NetError) -> Reason {
    match error {
        NetError::Timeout => Reason::TimedOut,
        // All that the resolver tells of connections that failed.
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
