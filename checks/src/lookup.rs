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

/// What finds the addresses of a host, as the system does it. That may block for half a minute if the name server is silent.
pub(super) struct Lookup {
    /// The host and its port.
    target: Arc<str>,
    resolver: BlockingCall<io::Result<Vec<SocketAddr>>>,
}

impl Lookup {
    pub(super) fn new(target: impl Into<String>) -> Self {
        let target: Arc<str> = target.into().into();
        let asked = Arc::clone(&target);
        Self {
            target,
            resolver: BlockingCall::new(move || asked.to_socket_addrs().map(Iterator::collect)),
        }
    }

    #[cfg(feature = "certificate")]
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// A connection to that of the addresses which accepts it first.
    pub(super) async fn connect(&self) -> Result<TcpStream, Failure> {
        let addresses = self.addresses().await?;
        race(addresses, connect)
            .await
            .map_err(|error| self.failure(error))
    }

    /// The addresses; never none.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = self.target.parse() {
            return Ok(vec![address]);
        }
        match self.resolver.call().await? {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(self.failure(error)),
            // The system says in words alone what was wrong.
            Err(error) => Err(Failure::new(Reason::Unreachable).with_cause(error)),
            Ok(_) => Err(Failure::new(Reason::Unreachable)),
        }
    }

    /// What cannot be an address is the fault of whoever gave it.
    fn failure(&self, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidInput => Failure::new(Reason::Misconfigured)
                .with_cause(format_args!("{}: {error}", self.target)),
            _ => error.into(),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    not_to_itself(TcpStream::connect(address).await?)
}

/// Where nothing listens at a port that the system gives to clients, it may give that very port to the client, which then meets itself.
///
/// Source: [RFC 9293, section 3.5](https://www.rfc-editor.org/rfc/rfc9293#section-3.5), simultaneous opens.
fn not_to_itself(stream: TcpStream) -> io::Result<TcpStream> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(own), Ok(peer)) if own == peer => Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "nothing listens there: the connection has met itself",
        )),
        _ => Ok(stream),
    }
}

/// How long an address has to itself, before the next is tried beside it.
///
/// Source: [RFC 8305, section 8](https://www.rfc-editor.org/rfc/rfc8305#section-8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Tries addresses one after another, the next when one fails or is slow: one that is dead without a word is not the end of all.
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
            _ => timeout(HEAD_START, first).await.ok(),
        };
        match ended {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => failed = error,
            None => {}
        }
    }
}

/// What ends first, which is taken out.
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

    /// Addresses of which each behaves as its port says: it fails at once, hangs, or answers after so many seconds.
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
            // Timers are of whole milliseconds, rounded up.
            let took = began.elapsed().as_millis();
            assert!((millis..millis + 5).contains(&took), "{ports:?}: {took}");
        }
        let refused = raced(&[0, 0]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(raced(&[]).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_meets_itself_is_refused() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let itself = socket.connect(address).await.unwrap();
        let refused = not_to_itself(itself).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        assert!(connect(listener.local_addr().unwrap()).await.is_ok());
    }
}
