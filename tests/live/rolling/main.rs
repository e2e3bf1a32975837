//! Rolling restarts under load, behind a real HAProxy and a real Envoy, over HTTP/1.1 and HTTP/2.
//! No request is lost. Without a drain the same load loses some requests, which shows that the
//! tests detect losses.

mod envoy;
mod haproxy;
mod load;
#[path = "../probers/process.rs"]
#[expect(dead_code, reason = "what is piped is for other tests")]
mod process;
mod replica;

use std::{
    thread,
    time::{Duration, Instant},
};

use self::{
    envoy::Envoy,
    haproxy::HaProxy,
    load::Load,
    replica::{Drain, Replica, ports},
};

/// The number of replicas.
const REPLICAS: usize = 3;

/// The number of restarts of each replica.
const ROLLS: usize = 10;

/// Longer than anything in these tests takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy in front of the replicas.
trait Proxy {
    /// Returns the number of replicas that receive requests, over each protocol.
    fn serving(&self) -> Option<[usize; 2]>;
}

/// The protocol between clients and the proxy, and between the proxy and the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: it never is");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Restarts the replicas behind a proxy this many times, one after another, and returns the results
/// of the requests.
fn roll<P: Proxy>(
    name: &str,
    start: impl FnOnce([u16; 2], &[u16]) -> P,
    drain: Drain,
    rolls: usize,
) -> load::Count {
    let [h1, h2, replicas @ ..] = ports::<{ 2 + 2 * REPLICAS }>();
    // The management port of a replica is the port above its own.
    let addresses: Vec<u16> = replicas.iter().copied().step_by(2).collect();
    let mut replicas: Vec<Replica> = addresses
        .iter()
        .map(|&port| Replica::start(port, drain))
        .collect();
    replicas.iter().for_each(Replica::wait_until_ready);
    let proxy = start([h1, h2], &addresses);
    let all_serve = || proxy.serving() == Some([REPLICAS; 2]);
    until("the proxy knows every replica", all_serve);
    let load = Load::start([h1, h2]);
    for _ in 0..rolls {
        for replica in &mut replicas {
            replica.restart();
            replica.wait_until_ready();
            until("the proxy knows every replica", all_serve);
        }
    }
    let count = load.end();
    println!("{name}, {rolls} rolls of {REPLICAS} replicas: {count}");
    count
}

fn assert_nothing_lost(count: &load::Count) {
    assert!(
        count.answered > 1_000 && count.slow > 10,
        "there was hardly any load: {count}"
    );
    assert_eq!(count.lost, 0, "{count}");
}

#[test]
fn ten_rolling_restarts_behind_haproxy_lose_no_request() {
    assert_nothing_lost(&roll("HAProxy", HaProxy::start, Drain::On, ROLLS));
}

#[test]
fn ten_rolling_restarts_behind_envoy_lose_no_request() {
    assert_nothing_lost(&roll("Envoy", Envoy::start, Drain::On, ROLLS));
}

#[test]
fn without_a_drain_requests_are_lost() {
    let count = roll("HAProxy, without a drain", HaProxy::start, Drain::Off, 1);
    assert!(count.lost > 0, "{count}");
    let count = roll("Envoy, without a drain", Envoy::start, Drain::Off, 1);
    assert!(count.lost > 0, "{count}");
}
