//! The responses to HAProxy's agent-check.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use tower_health::{
    Check, Failure, Health, Outcome, Reason, Status, endpoint::Exposure, error::ServeError,
};

use crate::support::{SECOND, Scripted, ms};

/// Returns the response to a client that first sends these bytes.
fn told(address: SocketAddr, sends: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(60 * SECOND)).unwrap();
    stream.write_all(sends).unwrap();
    let mut line = String::new();
    stream.read_to_string(&mut line).unwrap();
    line
}

async fn ask(address: SocketAddr) -> String {
    tokio::task::spawn_blocking(move || told(address, b""))
        .await
        .unwrap()
}

#[tokio::test]
async fn each_readiness_state_has_its_response() {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(60 * SECOND))
        .start()
        .unwrap();
    let agent = health.agent_check("127.0.0.1:0").start().unwrap();
    let light = health
        .agent_check("127.0.0.1:0")
        .warn_weight(40)
        .own_thread();
    let light = light.exposure(Exposure::Status).start().unwrap();
    let lines = async || [ask(agent.local_addr()).await, ask(light.local_addr()).await];
    health.run_now("db").await.unwrap();
    assert_eq!(lines().await, ["ready up 100% #ok\n"; 2]);
    let failure = Failure::new(Reason::ConnectionRefused).with_cause("db.internal refused");
    for (outcome, expected) in [
        (
            Outcome::warn(Reason::Busy),
            ["ready up 100% #warn\n", "ready up 40% #warn\n"],
        ),
        (
            failure.into(),
            ["ready down #db connection refused\n", "ready down #fail\n"],
        ),
        (Outcome::pass(), ["ready up 100% #ok\n"; 2]),
    ] {
        db.set_outcome(outcome);
        health.run_now("db").await.unwrap();
        assert_eq!(lines().await, expected);
    }
    health.maintenance("reindexing db.internal", 60 * SECOND);
    assert_eq!(lines().await, ["maint #maintenance\n"; 2]);
    health.end_maintenance();
    assert_eq!(lines().await, ["ready up 100% #ok\n"; 2]);
    health.drain();
    assert_eq!(lines().await, ["drain #draining\n"; 2]);
}

#[tokio::test]
async fn an_instance_that_has_not_started_is_down() {
    let db = Scripted::hanging();
    let health = Health::builder("orders")
        .check(Check::new("db", db))
        .start()
        .unwrap();
    let agent = health.agent_check("127.0.0.1:0").start().unwrap();
    assert_eq!(ask(agent.local_addr()).await, "ready down #starting\n");
    let fixed = Health::fixed(Status::Fail)
        .agent_check("127.0.0.1:0")
        .start()
        .unwrap();
    assert_eq!(ask(fixed.local_addr()).await, "ready down #fixed failed\n");
}

#[tokio::test]
async fn clients_that_send_data_first_get_the_full_response() {
    let health = Health::fixed(Status::Pass);
    let agent = health
        .agent_check("127.0.0.1:0")
        .own_thread()
        .start()
        .unwrap();
    let address = agent.local_addr();
    let clients: Vec<_> = [&b"hello\n"[..], &[0; 4096], b"\xff\r\n\r\n"]
        .into_iter()
        .cycle()
        .take(300)
        .map(|sends| thread::spawn(move || told(address, sends)))
        .collect();
    // Clients that never disconnect do not prevent other clients from being served.
    let _silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), "ready up 100% #ok\n");
    }
    assert_eq!(ask(address).await, "ready up 100% #ok\n");
}

#[test]
fn the_agent_needs_a_runtime_or_thread_and_a_free_address() {
    let health = Health::fixed(Status::Pass);
    let error = health.agent_check("127.0.0.1:0").start().unwrap_err();
    assert!(matches!(error, ServeError::NoRuntime), "{error}");
    let agent = health
        .agent_check("127.0.0.1:0")
        .own_thread()
        .start()
        .unwrap();
    let address = agent.local_addr();
    let error = health
        .agent_check(address)
        .own_thread()
        .start()
        .unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    drop(agent);
    let gone = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while TcpStream::connect(address).is_ok() {
        assert!(std::time::Instant::now() < gone, "it goes on");
        thread::yield_now();
    }
}

#[tokio::test]
async fn the_agent_keeps_the_checks_running() {
    let db = Scripted::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()).period(ms(20)))
        .start()
        .unwrap();
    let agent = health.agent_check("127.0.0.1:0").start().unwrap();
    drop(health);
    let more = async |runs: usize| {
        let began = std::time::Instant::now();
        while db.runs() < runs && began.elapsed() < 60 * SECOND {
            tokio::time::sleep(ms(5)).await;
        }
        db.runs() >= runs
    };
    assert!(more(db.runs() + 3).await);
    assert_eq!(ask(agent.local_addr()).await, "ready up 100% #ok\n");
    drop(agent);
    tokio::time::sleep(ms(50)).await;
    let runs = db.runs();
    tokio::time::sleep(ms(200)).await;
    assert_eq!(db.runs(), runs);
}
