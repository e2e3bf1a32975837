//! A TCP proxy that breaks connections on command.
//!
//! A command is an [`Order`] with a number. The task that accepts connections and the tasks of open
//! connections read the current order from a channel. Each byte passes under an order that is
//! current at that moment, so no task acts on an old one after [`FaultProxy::fail`] has returned.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, tcp},
    sync::watch,
    task::AbortHandle,
    time::sleep,
};

/// A TCP proxy on loopback that breaks connections on command. Use it to test how a client or a
/// check behaves on a failing network.
///
/// Connect the client to [`address`](Self::address). The last command applies to all connections,
/// including those that are already open. Once [`fail`](Self::fail) has returned, bytes pass only
/// as the fault permits. Bytes that passed earlier are on their way to the client, which may read
/// them later. The proxy and its connections end when it is dropped.
///
/// It needs a runtime with I/O and a clock that is not paused. It forwards bytes of any protocol,
/// including TLS, and does not look into them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::net::{TcpListener, TcpStream};
/// use tower_health::{Status, Failure, testing::{Contract, Fault, FaultProxy}};
///
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?).await?;
/// let ping = |address| move || async move {
///     TcpStream::connect(address).await?;
///     Ok::<_, Failure>(Status::Pass)
/// };
/// let client = ping(proxy.address());
/// client().await.unwrap();
///
/// proxy.fail(Fault::Refuse).await;
/// assert!(client().await.is_err());
///
/// proxy.heal().await;
/// client().await.unwrap();
/// # Ok(())
/// # }
/// ```
pub struct FaultProxy {
    /// The address that clients connect to.
    address: SocketAddr,
    /// The current order, for every task.
    orders: watch::Sender<Order>,
    /// The number of the order that is in effect for new connections.
    applied: watch::Receiver<u64>,
    counts: Arc<Counts>,
    /// The task that accepts connections.
    task: AbortHandle,
}

/// How a [`FaultProxy`] breaks connections.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tokio::{
///     io::{AsyncReadExt, AsyncWriteExt},
///     net::{TcpListener, TcpStream},
///     time::timeout,
/// };
/// use tower_health::testing::{Fault, FaultProxy};
///
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?).await?;
/// proxy.fail(Fault::Silence).await;
///
/// let mut client = TcpStream::connect(proxy.address()).await?;
/// client.write_all(b"ping").await?;
/// let answer = timeout(Duration::from_millis(50), client.read_u8()).await;
/// assert!(answer.is_err(), "the connection stays open, and nothing arrives");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing listens any more, and open connections are reset. The resets are complete when
    /// [`fail`](FaultProxy::fail) returns. It is what a client sees of a server that was stopped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::ErrorKind;
    ///
    /// use tokio::net::{TcpListener, TcpStream};
    /// use tower_health::testing::{Fault, FaultProxy};
    ///
    /// let server = TcpListener::bind("127.0.0.1:0").await?;
    /// let proxy = FaultProxy::start(server.local_addr()?).await?;
    /// proxy.fail(Fault::Refuse).await;
    /// let error = TcpStream::connect(proxy.address()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    /// # Ok(())
    /// # }
    /// ```
    Refuse,
    /// Connections are accepted and stay open, and nothing passes through. Bytes that are held back
    /// pass once this fault is over. It is what a client sees of a server that hangs, or of a
    /// network that drops packets. A check needs a time limit to notice it.
    Silence,
    /// Each connection is reset once this many more bytes of answers have passed. These bytes have
    /// 10 ms to arrive, because a reset discards bytes that have not arrived. They may be lost if
    /// the client reads too slowly. It is what a client sees of a server that ends in the middle of
    /// a response.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::ErrorKind;
    ///
    /// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// use tower_health::testing::{Fault, FaultProxy};
    ///
    /// let server = TcpListener::bind("127.0.0.1:0").await?;
    /// let proxy = FaultProxy::start(server.local_addr()?).await?;
    /// let mut client = TcpStream::connect(proxy.address()).await?;
    /// let (mut answers, _) = server.accept().await?;
    ///
    /// proxy.fail(Fault::Cut { after: 5 }).await;
    /// answers.write_all(b"hello, world").await?;
    /// let mut received = Vec::new();
    /// let error = client.read_to_end(&mut received).await.unwrap_err();
    /// assert_eq!((&*received, error.kind()), (&b"hello"[..], ErrorKind::ConnectionReset));
    /// # Ok(())
    /// # }
    /// ```
    Cut {
        /// The number of bytes that pass.
        after: usize,
    },
    /// Each chunk of an answer is delayed by this much, one chunk after the other. Requests are not
    /// delayed. A chunk that is already being delayed stays delayed when the fault is over. It is
    /// what a client sees of a slow server.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::{Duration, Instant};
    ///
    /// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// use tower_health::testing::{Fault, FaultProxy};
    ///
    /// let server = TcpListener::bind("127.0.0.1:0").await?;
    /// let proxy = FaultProxy::start(server.local_addr()?).await?;
    /// let mut client = TcpStream::connect(proxy.address()).await?;
    /// let (mut answers, _) = server.accept().await?;
    ///
    /// let delay = Duration::from_millis(50);
    /// proxy.fail(Fault::Delay(delay)).await;
    /// let began = Instant::now();
    /// answers.write_all(b"!").await?;
    /// assert_eq!(client.read_u8().await?, b'!');
    /// assert!(began.elapsed() >= delay);
    /// # Ok(())
    /// # }
    /// ```
    Delay(Duration),
}

/// A command. The number of a later one is higher. The default lets everything pass.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    number: u64,
    fault: Option<Fault>,
}

/// Counts of connections, for the proxy and for all its tasks.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: watch::Sender<usize>,
}

impl FaultProxy {
    /// Starts a proxy to a server, on a free port of loopback. Everything passes until
    /// [`fail`](Self::fail) is called. The server need not run yet: a connection to it is made for
    /// each connection of a client, which is reset if that fails.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no free port.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        Ok(Self::keep(listener, address, server))
    }

    /// Starts a proxy with this listener. The proxy listens at `address` again when it heals.
    fn keep(listener: TcpListener, address: SocketAddr, server: SocketAddr) -> Self {
        let (orders, heard) = watch::channel(Order::default());
        let (heed, applied) = watch::channel(0);
        let counts = Arc::new(Counts::default());
        let door = Acceptor {
            address,
            server,
            orders: heard,
            heed,
            counts: Arc::clone(&counts),
        };
        let task = tokio::spawn(door.keep(listener)).abort_handle();
        Self {
            address,
            orders,
            applied,
            counts,
            task,
        }
    }

    /// Returns the address that the proxy listens on. It stays the same while the proxy refuses
    /// connections.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks connections with this fault from now on. The fault replaces an earlier one. The
    /// future resolves when the fault is in effect for every connection. Dropping it does not undo
    /// the fault.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::net::{TcpListener, TcpStream};
    /// use tower_health::testing::{Fault, FaultProxy};
    ///
    /// let server = TcpListener::bind("127.0.0.1:0").await?;
    /// let proxy = FaultProxy::start(server.local_addr()?).await?;
    /// let _client = TcpStream::connect(proxy.address()).await?;
    /// server.accept().await?;
    /// assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    ///
    /// proxy.fail(Fault::Refuse).await;
    /// assert_eq!((proxy.accepted(), proxy.open()), (1, 0), "the connection was reset");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fail(&self, fault: Fault) {
        self.order(Some(fault)).await;
    }

    /// Lets everything pass from now on. The future resolves when the proxy listens again. If the
    /// port cannot be bound, it retries until it can.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// use tower_health::testing::{Fault, FaultProxy};
    ///
    /// let server = TcpListener::bind("127.0.0.1:0").await?;
    /// let proxy = FaultProxy::start(server.local_addr()?).await?;
    /// proxy.fail(Fault::Silence).await;
    /// let mut client = TcpStream::connect(proxy.address()).await?;
    /// client.write_all(b"?").await?;
    ///
    /// proxy.heal().await;
    /// let (mut received, _) = server.accept().await?;
    /// assert_eq!(received.read_u8().await?, b'?', "it was held back");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn heal(&self) {
        self.order(None).await;
    }

    /// Issues an order, and waits until it is in effect.
    async fn order(&self, fault: Option<Fault>) {
        let mut number = 0;
        self.orders.send_modify(|order| {
            order.number += 1;
            order.fault = fault;
            number = order.number;
        });
        let mut applied = self.applied.clone();
        // The order takes effect unless the runtime of the proxy has ended. In that case nothing
        // passes anyway.
        _ = applied.wait_for(|&applied| applied >= number).await;
        if fault == Some(Fault::Refuse) {
            self.all_reset(number).await;
        }
    }

    /// Waits until no connection is open, or until there is another order.
    async fn all_reset(&self, number: u64) {
        let (mut open, mut orders) = (self.counts.open.subscribe(), self.orders.subscribe());
        tokio::select! {
            _ = open.wait_for(|&open| open == 0) => {}
            _ = orders.wait_for(|order| order.number != number) => {}
        }
    }

    /// Returns the number of open connections of clients. Use it to test that a client closes its
    /// connections.
    #[must_use]
    pub fn open(&self) -> usize {
        *self.counts.open.borrow()
    }

    /// Returns the number of connections that were accepted so far, including those that have
    /// ended. Use it to test that a client reuses a connection. Connections that were refused do
    /// not count.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }
}

/// Ends the task that accepts. The tasks of connections notice that no more orders come, and reset
/// their connections.
impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy")
            .field("address", &self.address)
            .field("fault", &self.orders.borrow().fault)
            .finish_non_exhaustive()
    }
}

/// Returns a bound socket. Its port can be bound again immediately, even if the kernel still has
/// connections on it.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Returns a listener on a socket of its own.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    socket(address)?.listen(1024)
}

/// The task that accepts connections.
struct Acceptor {
    /// Where it listens.
    address: SocketAddr,
    /// Where connections are forwarded to.
    server: SocketAddr,
    orders: watch::Receiver<Order>,
    /// The number of the order that is in effect for new connections.
    heed: watch::Sender<u64>,
    counts: Arc<Counts>,
}

impl Acceptor {
    /// Accepts connections until the proxy is dropped. Closes and opens the listener as ordered.
    async fn keep(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        // Reserves the port while nothing listens. A socket that is bound but does not listen
        // refuses connections.
        #[cfg(unix)]
        let _held = socket(self.address);
        loop {
            let order = *self.orders.borrow_and_update();
            if order.fault == Some(Fault::Refuse) {
                listener = None;
            } else if listener.is_none() {
                listener = listen(self.address).ok();
                if listener.is_none() {
                    sleep(RETRY_DELAY).await;
                    continue;
                }
            }
            _ = self.heed.send(order.number);
            loop {
                tokio::select! {
                    changed = self.orders.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    Some(client) = accept(listener.as_ref()) => self.accept_client(client),
                }
            }
        }
    }

    /// Forwards a connection, in a task of its own.
    fn accept_client(&self, client: TcpStream) {
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        let open = Open::of(&self.counts);
        let line = Line {
            orders: self.orders.clone(),
        };
        let server = self.server;
        tokio::spawn(async move {
            let _open = open;
            line.forward(client, server).await;
        });
    }
}

/// The delay before a retry if no socket is available.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Accepts the next connection. Returns `None` if there is no listener.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    let listener = listener?;
    loop {
        match listener.accept().await {
            Ok((client, _)) => return Some(client),
            // There may be too many open files.
            Err(_) => sleep(RETRY_DELAY).await,
        }
    }
}

/// Counts a connection while it is open.
struct Open(Arc<Counts>);

impl Open {
    fn of(counts: &Arc<Counts>) -> Self {
        counts.open.send_modify(|open| *open += 1);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// One connection through the proxy.
struct Line {
    orders: watch::Receiver<Order>,
}

/// The end of a connection: an error if it is to be reset.
type Passed = io::Result<()>;

impl Line {
    /// Forwards the connection until it ends. Resets it if an order demands that, or if a side
    /// fails.
    async fn forward(&self, mut client: TcpStream, server: SocketAddr) {
        let mut orders = self.orders.clone();
        let refused = async move {
            // The connection is also reset if the proxy is dropped.
            _ = orders
                .wait_for(|order| order.fault == Some(Fault::Refuse))
                .await;
        };
        let passed = tokio::select! {
            () = refused => Err(io::ErrorKind::ConnectionReset.into()),
            passed = self.pass(&mut client, server) => passed,
        };
        if passed.is_err() {
            // Without linger, dropping the connection resets it.
            _ = client.set_zero_linger();
        }
    }

    /// Connects to the server, and passes bytes in both directions until both have ended.
    async fn pass(&self, client: &mut TcpStream, server: SocketAddr) -> Passed {
        self.wait().await?;
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            self.pump(from_client, to_server, false),
            self.pump(from_server, to_client, true),
        )?;
        Ok(())
    }

    /// Passes the bytes of one direction. `answers` says whether it is that from the server.
    async fn pump(
        &self,
        mut from: tcp::ReadHalf<'_>,
        mut to: tcp::WriteHalf<'_>,
        answers: bool,
    ) -> Passed {
        let mut piece = vec![0; 16 * 1024];
        let mut cut = Cut::default();
        loop {
            let length = from.read(&mut piece).await?;
            let piece = piece.get(..length).unwrap_or_default();
            self.pass_piece(piece, &to, answers.then_some(&mut cut))
                .await?;
            if length == 0 {
                return to.shutdown().await;
            }
        }
    }

    /// Passes a whole chunk, according to the orders that arrive in the meantime. Only answers are
    /// delayed and cut.
    async fn pass_piece(
        &self,
        mut piece: &[u8],
        to: &tcp::WriteHalf<'_>,
        mut answer: Option<&mut Cut>,
    ) -> Passed {
        let mut delayed_by = None;
        loop {
            let order = self.wait().await?;
            let passed = match (order.fault, &mut answer) {
                (Some(Fault::Delay(delay)), Some(_)) if delayed_by != Some(order.number) => {
                    sleep(delay).await;
                    delayed_by = Some(order.number);
                    continue;
                }
                (Some(Fault::Cut { after }), Some(cut)) => {
                    let left = cut.left(order.number, after);
                    let most = piece.get(..*left).unwrap_or(piece);
                    let passed = self.write(most, to, order).await?;
                    *left -= passed;
                    if *left == 0 {
                        sleep(RESET_DELAY).await;
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    passed
                }
                _ => self.write(piece, to, order).await?,
            };
            piece = piece.get(passed..).unwrap_or_default();
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes while `order` is in effect. Returns the number of bytes that were written.
    async fn write(
        &self,
        bytes: &[u8],
        to: &tcp::WriteHalf<'_>,
        order: Order,
    ) -> io::Result<usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            to.writable().await?;
            // While this borrow is held, the order cannot change between the check and the write.
            let now = self.orders.borrow();
            if now.number != order.number {
                break;
            }
            match to.try_write(rest) {
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Waits until bytes may pass. Returns the order that permits it.
    async fn wait(&self) -> io::Result<Order> {
        let mut orders = self.orders.clone();
        let speaks = orders.wait_for(|order| order.fault != Some(Fault::Silence));
        match speaks.await {
            Ok(order) => Ok(*order),
            Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

/// The time that bytes have to arrive before a reset, which discards the others.
const RESET_DELAY: Duration = Duration::from_millis(10);

/// The number of bytes that may still pass under an order.
#[derive(Default)]
struct Cut {
    order: u64,
    left: usize,
}

impl Cut {
    /// Returns the number of bytes that are left under this order. A new order starts again.
    fn left(&mut self, order: u64, after: usize) -> &mut usize {
        if self.order != order {
            (self.order, self.left) = (order, after);
        }
        &mut self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heal_retries_until_the_proxy_listens() {
        // Bound without `SO_REUSEPORT`, unlike the port of a proxy, so that it cannot be shared.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let first = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let proxy = FaultProxy::keep(first, address, address);
        proxy.fail(Fault::Refuse).await;
        let waits = tokio::time::timeout(Duration::from_millis(50), proxy.heal()).await;
        assert!(waits.is_err());
        // An order that arrives during the retries takes effect.
        proxy.fail(Fault::Refuse).await;
        drop(taken);
        proxy.heal().await;
        TcpStream::connect(address).await.unwrap();
    }
}
