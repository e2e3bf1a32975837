use std::net::{Ipv4Addr, TcpListener};

use tower_health::{
    HealthCheck, Reason, Status,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::Tcp;

use crate::{matrix::Row, server::free_address};

#[tokio::test]
async fn what_can_go_wrong() {
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
async fn names_and_addresses() {
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
