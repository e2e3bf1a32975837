use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::net::UdpSocket;
use tower_health::{
    HealthCheck, Outcome, Reason, Status,
    outcome::Value,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::Dns;

use crate::{
    matrix::{DELAY, Row},
    server::{Server, free_address, program},
    table::assert_refusal,
    wear::{until, wear},
};

const NAME: &str = "db.internal.";

pub(crate) fn server() -> Server {
    let mut server = Server::new(|directory, address| {
        let installs = "apt-get install dnsmasq-base";
        let mut dnsmasq = Command::new(program("dnsmasq", &["/usr/sbin"], installs));
        dnsmasq
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--user=root",
            ])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces"])
            .args(["--listen-address=127.0.0.1", "--local=/internal/"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--pid-file={}/pid", directory.display()))
            .args(["--host-record=db.internal,10.0.0.7"])
            .args(["--host-record=db.internal,10.0.0.8,fd00::8"])
            .args(["--txt-record=text.internal,none"])
            .args((0..120).map(|n| format!("--host-record=many.internal,10.0.1.{n}")));
        dnsmasq
    });
    server.start();
    server
}

fn builder(
    server: SocketAddr,
    mut how: ConnectionConfig,
) -> hickory_resolver::ResolverBuilder<TokioRuntimeProvider> {
    how.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![how]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder
}

fn check(server: SocketAddr, how: ConnectionConfig) -> Dns {
    Dns::new(builder(server, how).build().unwrap(), NAME)
}

pub(crate) fn udp(server: SocketAddr) -> Dns {
    check(server, ConnectionConfig::udp())
}

pub(crate) fn tcp(server: SocketAddr) -> Dns {
    check(server, ConnectionConfig::tcp())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    let mut server = server();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of("dns", tcp(proxy.address())).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }

    let mut direct = Row::of("dns", udp(server.address)).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct).assert_documented(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_over_tcp_recovers_with_its_server() {
    let mut server = server();
    let row = Row::of("dns", tcp(server.address)).await;
    server.kill();
    until("it is gone", async || row.now() == "fail: unreachable").await;
    server.start();
    until("it is back", async || row.now() == "pass").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_leaves_no_connection_or_socket_behind() {
    let server = server();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let contract = |status| {
        let contract = Contract::new(|| tcp(proxy.address()));
        contract.expect(status).assert()
    };
    contract(Status::Pass).await;
    until("all are closed", async || proxy.open() == 0).await;
    let check = tcp(proxy.address());
    wear(&check).await;
    assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    // A DNS server closes connections at any time. The queries for IPv4 and for IPv6 addresses may
    // each have opened one.
    until("all but the last are closed", async || proxy.open() <= 2).await;
    drop(check);
    until("they are closed", async || proxy.open() == 0).await;
    for fault in [Fault::Refuse, Fault::Cut { after: 5 }] {
        proxy.fail(fault).await;
        contract(Status::Fail).await;
    }

    let sockets = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let check = udp(server.address);
    let before = sockets();
    wear(&check).await;
    // Other tests have sockets, too, but fewer.
    until("all sockets are closed", async || sockets() < before + 50).await;
}

async fn told(check: &Dns) -> (Status, Option<Reason>, Option<Value>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    let measured = outcome.measurements().iter();
    let measured = measured.clone().find(|m| m.name == "addresses");
    let addresses = measured.map(|m| m.value.clone());
    (outcome.status(), outcome.reason(), addresses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_and_the_values_of_addresses_are_checked() {
    let server = server();
    let named = |name: &str| {
        let how = ConnectionConfig::udp();
        Dns::new(builder(server.address, how).build().unwrap(), name)
    };
    let addresses = |number: u64| Some(Value::from(number));
    let passes = |number| (Status::Pass, None, addresses(number));
    let fails = |reason| (Status::Fail, Some(reason), None);
    let nothing = (Status::Fail, Some(Reason::NotFound), addresses(0));
    assert_eq!(told(&named("db.internal")).await, passes(3));
    assert_eq!(told(&named(NAME).at_least(3)).await, passes(3));
    assert_eq!(
        told(&named(NAME).at_least(4)).await,
        (Status::Warn, Some(Reason::LimitExceeded), addresses(3))
    );
    let known = [10, 0, 0, 7];
    let both = named(NAME).expect(known).expect([10, 0, 0, 8]);
    assert_eq!(told(&both).await, passes(3));
    let unknown = named(NAME).expect(known).expect([10, 0, 0, 9]);
    let unexpected = (Status::Fail, Some(Reason::UnexpectedAnswer), addresses(3));
    assert_eq!(told(&unknown).await, unexpected);
    assert_eq!(told(&named("nobody.internal.")).await, nothing);
    let what = "a name that does not exist, or has no address";
    assert_refusal("dns", what, &named("nobody.internal.")).await;
    assert_eq!(told(&named("text.internal.")).await, nothing);
    // This server forwards no queries.
    assert_eq!(
        told(&named("elsewhere.example.")).await,
        fails(Reason::PermissionDenied)
    );
    for nonsense in ["", ".", "10.0.0.7", "fd00::8", "a..b"] {
        let told = told(&named(nonsense)).await;
        assert_eq!(told, fails(Reason::Misconfigured), "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caching_resolver_is_misconfigured() {
    let server = server();
    let mut caching = builder(server.address, ConnectionConfig::udp());
    caching.options_mut().cache_size = 1;
    let outcome = Dns::new(caching.build().unwrap(), NAME).check().await;
    assert_eq!(outcome.unwrap_err().reason(), Reason::Misconfigured);
    let mut impatient = builder(server.address, ConnectionConfig::udp());
    impatient.options_mut().timeout = Duration::from_millis(100);
    impatient.options_mut().attempts = 0;
    let check = Dns::new(impatient.build().unwrap(), NAME);
    assert_eq!(told(&check).await.0, Status::Pass);
    server.suspend();
    assert_eq!(
        told(&check).await,
        (Status::Fail, Some(Reason::TimedOut), None)
    );
    server.resume();
    until("it answers", async || told(&check).await.0 == Status::Pass).await;
}

#[tokio::test]
async fn a_name_that_is_resolved_locally_is_misconfigured() {
    let nobody = || builder(free_address(), ConnectionConfig::udp());
    let names = [
        "localhost",
        "localhost.",
        "LocalHost.",
        "db.localhost.",
        "1.0.0.127.in-addr.arpa.",
    ];
    for name in names {
        let check = Dns::new(nobody().build().unwrap(), name);
        let misconfigured = (Status::Fail, Some(Reason::Misconfigured), None);
        assert_eq!(told(&check).await, misconfigured, "{name}");
    }
    for hosts in [ResolveHosts::Auto, ResolveHosts::Always] {
        let mut reading = nobody();
        reading.options_mut().use_hosts_file = hosts;
        let outcome = Dns::new(reading.build().unwrap(), NAME).check().await;
        assert_eq!(outcome.unwrap_err().reason(), Reason::Misconfigured);
    }
}

#[tokio::test]
async fn each_response_code_has_its_reason() {
    for (code, reason) in [
        (1, Reason::UnexpectedAnswer),
        (2, Reason::Unhealthy),
        (3, Reason::NotFound),
        (5, Reason::PermissionDenied),
    ] {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let check = udp(socket.local_addr().unwrap());
        tokio::spawn(async move {
            let mut message = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut message).await.unwrap();
                // Turns the query into a response with this code, without the sections after the
                // question.
                message[2] = 0x80;
                message[3] = code;
                message[6..12].fill(0);
                let end = 12 + NAME.len() + 1 + 4;
                assert!(end <= length);
                socket.send_to(&message[..end], client).await.unwrap();
            }
        });
        let outcome = check.check().await.unwrap();
        assert_eq!(outcome.reason(), Some(reason), "{code}: {outcome:?}");
    }
    let nobody = tcp(free_address());
    let refused = nobody.check().await.unwrap();
    assert_eq!(refused.reason(), Some(Reason::Unreachable));
    let address: IpAddr = [10, 0, 0, 7].into();
    assert!(format!("{:?}", nobody.expect(address)).contains("10.0.0.7"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_too_long_for_udp_is_requested_over_tcp() {
    let server = server();
    let both = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let many = |how: Vec<ConnectionConfig>| {
        let how = how.into_iter().map(|mut how| {
            how.port = server.address.port();
            how
        });
        let name_server = NameServerConfig::new(server.address.ip(), true, how.collect());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        Dns::new(builder.build().unwrap(), "many.internal.").at_least(120)
    };
    let outcome = many(both).check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass, "{outcome:?}");
    // Over UDP alone there is no such response, and the resolver does not report why.
    let outcome = many(vec![ConnectionConfig::udp()]).check().await.unwrap();
    assert_eq!(outcome.reason(), Some(Reason::NotFound), "{outcome:?}");
}
