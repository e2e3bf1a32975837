//! Connections to an address that may be a name: the common part of [`Tcp`](crate::Tcp) and
//! [`Certificate`](crate::Certificate).
//!
//! The name is resolved in each run, so that a check follows a name that moves to another server.
//! All addresses count as one server: the first one that accepts a connection is used.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{net::TcpStream, time::timeout};

use tower_health::{Failure, Reason, checks::BlockingCall};

/// Resolves the addresses of a host with the system's resolver, which may block for 30 s if the
/// name server does not answer.
pub(super) struct Lookup {
    /// The host and the port.
    target: Arc<str>,
    /// Calls the system's resolver on a separate thread. It is not called for an IP address.
    resolver: BlockingCall<io::Result<Vec<SocketAddr>>>,
}

impl Lookup {
    /// Creates a lookup of a host and a port, such as `mail.internal:25`. The target is not
    /// validated here: [`connect`](Self::connect) reports an invalid one.
    pub(super) fn new(target: impl Into<String>) -> Self {
        let target: Arc<str> = target.into().into();
        let asked = Arc::clone(&target);
        Self {
            target,
            resolver: BlockingCall::new(move || asked.to_socket_addrs().map(Iterator::collect)),
        }
    }

    /// Returns the host and the port as they were given.
    #[cfg(feature = "certificate")]
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Connects to the first address that accepts a connection. It has no time limit of its own,
    /// because the timeout of the check limits the run. If no address accepts one, the failure is
    /// that of the attempt that failed last.
    pub(super) async fn connect(&self) -> Result<TcpStream, Failure> {
        let addresses = self.addresses().await?;
        race(addresses, connect)
            .await
            .map_err(|error| self.failure(error))
    }

    /// Returns the addresses, at least one.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = self.target.parse() {
            return Ok(vec![address]);
        }
        match self.resolver.call().await? {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(self.failure(error)),
            // The error of the system's resolver has no kind, only a text.
            Err(error) => Err(Failure::new(Reason::Unreachable).with_cause(error)),
            Ok(_) => Err(Failure::new(Reason::Unreachable)),
        }
    }

    /// Converts an error. An invalid address is a misconfiguration.
    fn failure(&self, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidInput => Failure::new(Reason::Misconfigured)
                .with_cause(format_args!("{}: {error}", self.target)),
            _ => error.into(),
        }
    }
}

/// Connects to one address.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    reject_self_connection(TcpStream::connect(address).await?)
}

/// Rejects a connection of the socket to itself. If nothing listens on a port of the ephemeral
/// range, the system may assign that port to the client, which then connects to itself.
///
/// Source: [RFC 9293, section 3.5](https://www.rfc-editor.org/rfc/rfc9293#section-3.5),
/// simultaneous opens.
fn reject_self_connection(stream: TcpStream) -> io::Result<TcpStream> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(own), Ok(peer)) if own == peer => Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "nothing listens on the port: the socket connected to itself",
        )),
        _ => Ok(stream),
    }
}

/// The delay after which the next address is tried concurrently.
///
/// Source: [RFC 8305, section 8](https://www.rfc-editor.org/rfc/rfc8305#section-8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Tries addresses in order. The next one is started when an attempt fails, or when the attempts
/// take longer than [`ATTEMPT_DELAY`]. An address that never answers therefore does not prevent the
/// others.
async fn race<T, F>(addresses: Vec<SocketAddr>, attempt: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>> + Send,
{
    let mut attempts: Vec<Pin<Box<F>>> = Vec::new();
    let mut rest = addresses.into_iter();
    let mut failed = io::Error::from(io::ErrorKind::HostUnreachable);
    loop {
        match rest.next() {
            Some(address) => attempts.push(Box::pin(attempt(address))),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        let first = first(&mut attempts);
        let ended = match rest.len() {
            0 => Some(first.await),
            _ => timeout(ATTEMPT_DELAY, first).await.ok(),
        };
        match ended {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => failed = error,
            None => {}
        }
    }
}

/// Waits for the first attempt that ends, and removes it.
async fn first<F: Future>(attempts: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        for index in (0..attempts.len()).rev() {
            let ended = attempts.get_mut(index).map(|one| one.as_mut().poll(cx));
            if let Some(Poll::Ready(output)) = ended {
                drop(attempts.swap_remove(index));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, net::Ipv4Addr};

    use tokio::{
        net::{TcpListener, TcpSocket},
        time::{Instant, sleep},
    };

    use super::*;

    /// Races addresses whose port sets their behavior: 0 fails immediately, 1 hangs, and any other
    /// port answers after that number of seconds.
    async fn raced(ports: &[u16]) -> io::Result<u16> {
        let address = |&port| (Ipv4Addr::LOCALHOST, port).into();
        race(
            ports.iter().map(address).collect(),
            |address: SocketAddr| async move {
                match address.port() {
                    0 => Err(io::ErrorKind::ConnectionRefused.into()),
                    1 => pending().await,
                    port => {
                        sleep(Duration::from_secs(port.into())).await;
                        Ok(port)
                    }
                }
            },
        )
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_that_answers_is_enough() {
        for (ports, answers, millis) in [
            (&[5_u16][..], 5, 5_000),
            (&[0, 5], 5, 5_000),
            (&[1, 5], 5, 5_250),
            (&[1, 0, 1, 5], 5, 5_500),
            (&[9, 5], 5, 5_250),
            (&[5, 1, 1], 5, 5_000),
            (&[5, 5, 0], 5, 5_000),
        ] {
            let began = Instant::now();
            assert_eq!(raced(ports).await.unwrap(), answers, "{ports:?}");
            // Timers have a resolution of 1 ms and are rounded up.
            let took = began.elapsed().as_millis();
            assert!((millis..millis + 5).contains(&took), "{ports:?}: {took}");
        }
        let refused = raced(&[0, 0]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(raced(&[]).await.is_err());
    }

    #[tokio::test]
    async fn a_self_connection_is_refused() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let itself = socket.connect(address).await.unwrap();
        let refused = reject_self_connection(itself).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        assert!(connect(listener.local_addr().unwrap()).await.is_ok());
    }
}
