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

/// A TCP proxy on loopback that breaks connections as it is told, for tests of how a client or a check meets a network
/// that fails.
///
/// Point the client at [`address`](Self::address). What the proxy was last told holds for all connections, those that are
/// open included: once [`fail`](Self::fail) has returned, no byte passes but as it says. What passed before is on its way to the client, who
/// may read it later. The proxy ends, with its connections, when it is dropped.
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
    address: SocketAddr,
    orders: watch::Sender<Order>,
    /// The number of the order that new connections meet.
    heeded: watch::Receiver<u64>,
    counts: Arc<Counts>,
    task: AbortHandle,
}

/// How a [`FaultProxy`] breaks connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing listens any more, and open connections are reset: they are when [`fail`](FaultProxy::fail) returns.
    Refuse,
    /// Connections are accepted and stay open, and nothing passes through. What is held back passes once it is over.
    Silence,
    /// Each connection is reset once this many more bytes of answers have passed. They have 10 ms to arrive, for a reset throws away what
    /// has not, as where the client reads too slowly.
    Cut {
        /// How many bytes pass.
        after: usize,
    },
    /// Each piece of an answer comes this much later, one after the other. One that is delayed already stays so.
    Delay(Duration),
}

#[derive(Clone, Copy, Debug, Default)]
struct Order {
    number: u64,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: watch::Sender<usize>,
}

impl FaultProxy {
    /// A proxy to a server, on a free port of loopback.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        Ok(Self::keep(listener, address, server))
    }

    /// One that listens, and does so again at an address when it heals.
    fn keep(listener: TcpListener, address: SocketAddr, server: SocketAddr) -> Self {
        let (orders, heard) = watch::channel(Order::default());
        let (heed, heeded) = watch::channel(0);
        let counts = Arc::new(Counts::default());
        let door = Door {
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
            heeded,
            counts,
            task,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks connections from now on, in this way and no other.
    pub async fn fail(&self, fault: Fault) {
        self.order(Some(fault)).await;
    }

    /// Lets everything pass from now on. It returns when the proxy listens, for which it tries until it does.
    pub async fn heal(&self) {
        self.order(None).await;
    }

    async fn order(&self, fault: Option<Fault>) {
        let mut number = 0;
        self.orders.send_modify(|order| {
            order.number += 1;
            order.fault = fault;
            number = order.number;
        });
        let mut heeded = self.heeded.clone();
        // It is heeded unless the runtime of the proxy has ended, and then nothing passes anyway.
        _ = heeded.wait_for(|&heeded| heeded >= number).await;
        if fault == Some(Fault::Refuse) {
            self.all_reset(number).await;
        }
    }

    /// Waits until no connection is open, or something else is ordered.
    async fn all_reset(&self, number: u64) {
        let (mut open, mut orders) = (self.counts.open.subscribe(), self.orders.subscribe());
        tokio::select! {
            _ = open.wait_for(|&open| open == 0) => {}
            _ = orders.wait_for(|order| order.number != number) => {}
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        *self.counts.open.borrow()
    }

    /// How many connections it has accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }
}

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

/// Its port is to be had again at once, whatever connections are still known to the kernel.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    socket(address)?.listen(1024)
}

/// Who lets connections in.
struct Door {
    address: SocketAddr,
    server: SocketAddr,
    orders: watch::Receiver<Order>,
    heed: watch::Sender<u64>,
    counts: Arc<Counts>,
}

impl Door {
    async fn keep(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        // While nothing listens, nobody else is to take the port: one that is bound and does not listen refuses.
        #[cfg(unix)]
        let _held = socket(self.address);
        loop {
            let order = *self.orders.borrow_and_update();
            if order.fault == Some(Fault::Refuse) {
                listener = None;
            } else if listener.is_none() {
                listener = listen(self.address).ok();
                if listener.is_none() {
                    sleep(AGAIN_AFTER).await;
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
                    Some(client) = accept(listener.as_ref()) => self.let_in(client),
                }
            }
        }
    }

    fn let_in(&self, client: TcpStream) {
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        let open = Open::of(&self.counts);
        let line = Line {
            orders: self.orders.clone(),
        };
        let server = self.server;
        tokio::spawn(async move {
            let _open = open;
            line.carry(client, server).await;
        });
    }
}

/// Where no socket is to be had for now.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The next connection, if anybody listens.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    let listener = listener?;
    loop {
        match listener.accept().await {
            Ok((client, _)) => return Some(client),
            // Of files there are too many open, perhaps.
            Err(_) => sleep(AGAIN_AFTER).await,
        }
    }
}

/// Counts a connection for as long as it is open.
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

/// A connection that was reset, or that came to its end.
type Passed = io::Result<()>;

impl Line {
    async fn carry(&self, mut client: TcpStream, server: SocketAddr) {
        let mut orders = self.orders.clone();
        let refused = async move {
            // One whose proxy is gone is reset, too.
            _ = orders
                .wait_for(|order| order.fault == Some(Fault::Refuse))
                .await;
        };
        let passed = tokio::select! {
            () = refused => Err(io::ErrorKind::ConnectionReset.into()),
            passed = self.pass(&mut client, server) => passed,
        };
        if passed.is_err() {
            // Dropped like this, it is reset.
            _ = client.set_zero_linger();
        }
    }

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

    /// Passes all of a piece, by the orders that come meanwhile too. Those of answers may be delayed and cut.
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
                        sleep(TO_ARRIVE).await;
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

    /// Writes for as long as it is so ordered, and tells how much.
    async fn write(
        &self,
        bytes: &[u8],
        to: &tcp::WriteHalf<'_>,
        order: Order,
    ) -> io::Result<usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            to.writable().await?;
            // Held, it lets no other order come between the look and the bytes.
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

    /// Waits while nothing is to pass, and tells by which order something is.
    async fn wait(&self) -> io::Result<Order> {
        let mut orders = self.orders.clone();
        let speaks = orders.wait_for(|order| order.fault != Some(Fault::Silence));
        match speaks.await {
            Ok(order) => Ok(*order),
            Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

/// A reset throws away what has not arrived.
const TO_ARRIVE: Duration = Duration::from_millis(10);

/// How many bytes may still pass, by an order.
#[derive(Default)]
struct Cut {
    order: u64,
    left: usize,
}

impl Cut {
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
    async fn healed_it_tries_until_it_listens() {
        // Not to be shared, as that of a proxy is.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let first = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let proxy = FaultProxy::keep(first, address, address);
        proxy.fail(Fault::Refuse).await;
        let waits = tokio::time::timeout(Duration::from_millis(50), proxy.heal()).await;
        assert!(waits.is_err());
        // It heeds what comes while it tries.
        proxy.fail(Fault::Refuse).await;
        drop(taken);
        proxy.heal().await;
        TcpStream::connect(address).await.unwrap();
    }
}
