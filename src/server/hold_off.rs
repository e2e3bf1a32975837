//! Holding off new connections before a listener is closed.
//!
//! A listener that is closed resets the connections that wait in its accept queue. Emptying the
//! queue before is not enough, because a client may connect in between. So the kernel first drops
//! the packets that begin a connection. Clients send them again after 1 s, and are refused then,
//! because the listener is closed. Handshakes that have begun are completed, and the connections
//! accepted.

use tokio::net::TcpListener;

/// Drops what begins a connection from now on. Returns whether the system supports it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn hold_off(listener: &TcpListener) -> bool {
    use socket2::{SockFilter, SockRef};

    // The filter sees a packet from the TCP header on.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    // Instructions of the classic Berkeley Packet Filter, as in `linux/bpf_common.h`.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;

    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        // The packet is dropped, or kept as a whole.
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&program).is_ok()
}

/// Other systems have no such filter.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn hold_off(_: &TcpListener) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use tokio::{net::TcpStream, time::timeout};

    use super::*;

    #[tokio::test]
    async fn a_client_that_connects_after_it_is_refused_and_not_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let before = TcpStream::connect(addr).await.unwrap();
        assert!(hold_off(&listener));
        let mut after = tokio::spawn(TcpStream::connect(addr));
        let waited = timeout(Duration::from_millis(200), &mut after).await;
        assert!(waited.is_err(), "{waited:?}");
        let (accepted, from) = listener.accept().await.unwrap();
        assert_eq!(from, before.local_addr().unwrap());
        drop(listener);
        let refused = after.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // What was accepted is not affected.
        accepted.writable().await.unwrap();
        assert_eq!(accepted.try_write(b"still here").unwrap(), 10);
    }
}
