//! The proxy that injects connection faults.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tower_health::testing::{Fault, FaultProxy};

use crate::support::ms;

/// A proxy to an echo server.
async fn echo() -> FaultProxy {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = server.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = client.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    FaultProxy::start(address).await.unwrap()
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn is_answered(client: &mut TcpStream) -> bool {
    client.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).await.is_ok() && answer == *b"hello"
}

async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn without_a_fault_data_passes_both_ways_until_either_side_closes() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    assert!(is_answered(&mut client).await);
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    let long: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let (mut read, mut write) = client.split();
    let mut answer = Vec::new();
    let (sent, received) = tokio::join!(
        async {
            write.write_all(&long).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut answer)
    );
    sent.unwrap();
    received.unwrap();
    assert!(answer == long);
    until(|| proxy.open() == 0).await;
}

#[tokio::test]
async fn refuse_resets_open_connections_and_stops_listening_until_healed() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    assert!(is_answered(&mut client).await);
    for _ in 0..20 {
        proxy.fail(Fault::Refuse).await;
        let refused = TcpStream::connect(proxy.address()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        proxy.heal().await;
        assert!(is_answered(&mut connect(&proxy).await).await);
    }
    let reset = client.read_u8().await.unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuse_resets_open_connections_even_if_healed_immediately() {
    let proxy = echo().await;
    for _ in 0..50 {
        let mut client = connect(&proxy).await;
        assert!(is_answered(&mut client).await);
        proxy.fail(Fault::Refuse).await;
        assert_eq!(proxy.open(), 0);
        proxy.heal().await;
        let reset = client.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_stops_all_data_including_data_in_transit() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await.into_std().unwrap();
    for round in 0..200 {
        client.write_all(b"hello").unwrap();
        tokio::time::sleep(Duration::from_micros(round)).await;
        proxy.fail(Fault::Silence).await;
        let mut answer = [0; 5];
        let arrived = client.read(&mut answer).unwrap_or_default();
        tokio::time::sleep(ms(2)).await;
        let late = client.read(&mut answer).map_err(|error| error.kind());
        assert_eq!(late, Err(ErrorKind::WouldBlock), "in round {round}");
        proxy.heal().await;
        let left = Instant::now() + Duration::from_secs(30);
        let mut missing = 5 - arrived;
        while missing > 0 && Instant::now() < left {
            missing -= client.read(&mut answer[..missing]).unwrap_or_default();
            tokio::time::sleep(ms(1)).await;
        }
        assert_eq!(missing, 0);
    }
}

#[tokio::test]
async fn silence_accepts_connections_and_delivers_their_data_after_healing() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    assert!(is_answered(&mut old).await);
    proxy.fail(Fault::Silence).await;
    let mut new = connect(&proxy).await;
    for client in [&mut old, &mut new] {
        client.write_all(b"hello").await.unwrap();
        let silent = tokio::time::timeout(ms(50), client.read_u8()).await;
        assert!(silent.is_err());
    }
    proxy.heal().await;
    for client in [&mut old, &mut new] {
        let mut answer = [0; 5];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"hello");
    }
}

#[tokio::test]
async fn cut_lets_a_number_of_bytes_of_each_response_pass() {
    let proxy = echo().await;
    let mut old = connect(&proxy).await;
    assert!(is_answered(&mut old).await);
    proxy.fail(Fault::Cut { after: 7 }).await;
    let mut new = connect(&proxy).await;
    for client in [&mut old, &mut new] {
        // Bytes that passed before the fault do not count.
        assert!(is_answered(client).await);
        client.write_all(b"world").await.unwrap();
        let mut answer = Vec::new();
        let error = client.read_to_end(&mut answer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(answer, b"wo");
    }
    // A new fault starts a new count.
    proxy.fail(Fault::Cut { after: 0 }).await;
    assert!(!is_answered(&mut connect(&proxy).await).await);
}

#[tokio::test]
async fn delay_delays_each_part_of_a_response() {
    let proxy = echo().await;
    proxy.fail(Fault::Delay(ms(50))).await;
    let mut client = connect(&proxy).await;
    let began = Instant::now();
    assert!(is_answered(&mut client).await);
    assert!(began.elapsed() >= ms(50));
}

#[tokio::test]
async fn a_later_fault_applies_to_delayed_data() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    assert!(is_answered(&mut client).await);
    proxy.fail(Fault::Delay(ms(50))).await;
    client.write_all(b"hello").await.unwrap();
    tokio::time::sleep(ms(20)).await;
    proxy.fail(Fault::Silence).await;
    let silent = tokio::time::timeout(ms(150), client.read_u8()).await;
    assert!(silent.is_err());
    proxy.fail(Fault::Cut { after: 2 }).await;
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(answer, b"he");
}

#[tokio::test]
async fn dropping_the_proxy_closes_its_connections_and_a_missing_server_resets_them() {
    let proxy = echo().await;
    let mut client = connect(&proxy).await;
    assert!(is_answered(&mut client).await);
    let address = proxy.address();
    drop(proxy);
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let began = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(ms(5)).await;
    }
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = server.local_addr().unwrap();
    drop(server);
    let proxy = FaultProxy::start(gone).await.unwrap();
    let error = connect(&proxy).await.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
