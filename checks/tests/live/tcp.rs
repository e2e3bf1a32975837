use std::net::{Ipv4Addr, TcpListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_health::{
    HealthCheck, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::Tcp;

use crate::{matrix::Row, server::free_address};

#[tokio::test]
async fn each_fault_is_reported_as_documented() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut row = Row::of("tcp", Tcp::new(proxy.address().to_string())).await;
    row.when("refusing", proxy.fail(Fault::Refuse)).await;
    row.over(proxy.heal()).await;
    row.passes_when("silent", proxy.fail(Fault::Silence)).await;
    row.over(proxy.heal()).await;
    row.assert_documented(&[]);
}

#[tokio::test]
async fn invalid_and_unreachable_addresses_fail() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let passes = Contract::new(move || Tcp::new(format!("localhost:{port}")));
    passes.expect(Status::Pass).assert().await;
    let fails = |address: &'static str| async move { Tcp::new(address).check().await.unwrap_err() };
    for nonsense in ["localhost", "", ":", "localhost:", "localhost:http"] {
        assert_eq!(
            fails(nonsense).await.reason(),
            Reason::Misconfigured,
            "{nonsense}"
        );
    }
    let nobody = Tcp::new(free_address().to_string()).check().await;
    assert_eq!(nobody.unwrap_err().reason(), Reason::ConnectionRefused);
    let nowhere = fails("no-such-host.invalid:80").await;
    assert_eq!(nowhere.reason(), Reason::Unreachable);
    assert!(nowhere.cause().unwrap().redacted().contains("lookup"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_counts_connections_without_login_is_connected_to_only_once() {
    let mut server = crate::mysql::server(&[]);
    server.start();
    let mut admin = crate::mysql::admin(server.address).await;
    let before = crate::mysql::figure(&mut admin, "Connections").await;
    let check = Tcp::new(server.address.to_string());
    for _ in 0..1_000 {
        let outcome = check.check().await.unwrap();
        let misconfigured = (Status::Warn, Some(Reason::Misconfigured));
        assert_eq!((outcome.status(), outcome.reason()), misconfigured);
    }
    let after = crate::mysql::figure(&mut admin, "Connections").await;
    assert!(after - before <= 1, "{before} {after}");
}

#[tokio::test]
async fn a_server_with_a_greeting_gets_a_regular_close() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"220 mail.internal ESMTP\r\n")
            .await
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    });
    let outcome = Tcp::new(address.to_string()).check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass);
    assert_eq!(served.await.unwrap(), "QUIT\r\n");
}
