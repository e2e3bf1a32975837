//! Listening on a port and serving it, on the current runtime or on a separate thread and runtime.
//!
//! The management port and the agent use it. The address is bound before `start()` returns, so that
//! a port that is in use is an error of the service's startup. A port serves until its
//! [`Listening`] is dropped.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs},
    sync::mpsc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Handle},
    sync::oneshot,
    task::AbortHandle,
};

use crate::{check::guard, detached};

/// The addresses to listen on.
///
/// An error of the resolution is kept, and returned at the start.
pub(crate) type Addresses = io::Result<Vec<SocketAddr>>;

/// Resolves an address. A name is looked up, which blocks.
pub(crate) fn addresses(addr: impl ToSocketAddrs) -> Addresses {
    addr.to_socket_addrs().map(Iterator::collect)
}

/// A port that is served until this is dropped.
///
/// Connections end with it.
pub(crate) struct Listening {
    addr: SocketAddr,
    _served: Served,
}

/// What serves the port. It ends immediately when this is dropped.
enum Served {
    /// A task of the current runtime.
    Task(AbortHandle),
    /// The thread ends when this sender is dropped.
    Thread(#[expect(dead_code, reason = "dropping it is what counts")] oneshot::Sender<()>),
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Self::Task(task) = self {
            task.abort();
        }
    }
}

impl Listening {
    /// Binds the port, and lets `serve` accept connections.
    pub(crate) fn start<F, Fut>(
        addrs: Addresses,
        own_thread: bool,
        serve: F,
    ) -> Result<Self, ServeError>
    where
        F: FnOnce(TcpListener) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let addrs = addrs.map_err(ServeError::Address)?;
        let failed = |error| ServeError::Listen {
            addresses: addrs.clone(),
            error,
        };
        let listener = StdListener::bind(&*addrs).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let served = if own_thread {
            Served::Thread(on_thread(listener, serve)?)
        } else {
            let runtime = Handle::try_current().map_err(|_| ServeError::NoRuntime)?;
            let serving = serve(on_runtime(listener, &runtime)?);
            Served::Task(runtime.spawn(serving).abort_handle())
        };
        Ok(Self {
            addr,
            _served: served,
        })
    }

    /// Returns the bound address, with the actual port if port 0 was requested.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Registers the listener with a runtime. A runtime without I/O or timers is detected by its panic,
/// because there is no other way.
fn on_runtime(listener: StdListener, runtime: &Handle) -> Result<TcpListener, ServeError> {
    let addresses = listener.local_addr().into_iter().collect();
    let _entered = runtime.enter();
    let listener = guard(|| {
        drop(tokio::time::sleep(Duration::ZERO));
        TcpListener::from_std(listener)
    });
    listener
        .map_err(|_| ServeError::MissingDrivers)?
        .map_err(|error| ServeError::Listen { addresses, error })
}

/// Serves on a separate thread until the returned sender is dropped.
fn on_thread<F, Fut>(listener: StdListener, serve: F) -> Result<oneshot::Sender<()>, ServeError>
where
    F: FnOnce(TcpListener) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, start) = mpsc::channel();
    let served = move || {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let _entered = runtime.enter();
        Ok((TcpListener::from_std(listener)?, runtime))
    };
    let main = move || {
        let (listener, runtime) = match served() {
            Ok(served) => served,
            // The thread that starts this one waits for the result.
            Err(error) => return drop(started.send(Err(error))),
        };
        _ = started.send(Ok(()));
        runtime.block_on(async {
            tokio::select! {
                () = serve(listener) => {}
                _ = stopped => {}
            }
        });
        // Remaining tasks are not awaited.
        runtime.shutdown_background();
    };
    detached::spawn("health", Box::new(main)).map_err(ServeError::Thread)?;
    match start.recv() {
        Ok(started) => started.map_err(ServeError::Thread)?,
        Err(_) => return Err(ServeError::Thread(io::ErrorKind::Other.into())),
    }
    Ok(stop)
}

/// Accepts the next connection, without a time limit. Errors are treated as temporary.
///
/// If the process is out of file descriptors, it retries every 100 ms. Connections wait in the
/// accept queue meanwhile.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_connection(&error) => {}
            // The process may be out of file descriptors.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Whether the error affects a single connection only.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("addr", &self.addr)
            .field("own_thread", &matches!(self._served, Served::Thread(_)))
            .finish()
    }
}

/// The error when a port cannot be served.
///
/// Nothing is bound then, and nothing keeps running. The [source](Error::source) is the error of
/// the operating system, if there is one. The message contains the remedy.
///
/// ```
/// use tower_health::{Health, Status, error::ServeError};
///
/// let error = Health::fixed(Status::Pass).serve("127.0.0.1:0").start().unwrap_err();
/// assert!(matches!(error, ServeError::NoRuntime));
/// assert!(error.to_string().contains(".own_thread()"), "the remedy");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The given address is invalid or does not resolve.
    ///
    /// ```
    /// use tower_health::{Health, Status, error::ServeError};
    ///
    /// let error = Health::fixed(Status::Pass).serve("no port").own_thread().start().unwrap_err();
    /// assert!(matches!(error, ServeError::Address(_)));
    /// ```
    Address(io::Error),
    /// None of the addresses can be listened on.
    ///
    /// The port is in use, is reserved for other users, or the address does not belong to this
    /// machine.
    ///
    /// ```
    /// use std::net::TcpListener;
    ///
    /// use tower_health::{Health, Status, error::ServeError};
    ///
    /// let used = TcpListener::bind("127.0.0.1:0")?;
    /// let addr = used.local_addr()?;
    /// let started = Health::fixed(Status::Pass).serve(addr).own_thread().start();
    /// let Err(ServeError::Listen { addresses, .. }) = started else { panic!("it is in use") };
    /// assert_eq!(addresses, [addr]);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[non_exhaustive]
    Listen {
        /// The addresses that were tried.
        addresses: Vec<SocketAddr>,
        /// The error of the last address.
        error: io::Error,
    },
    /// The thread, or the runtime on it, could not be started.
    Thread(io::Error),
    /// There is no runtime to serve the port on.
    ///
    /// It is only returned without `own_thread()`.
    NoRuntime,
    /// The runtime has no I/O, or no timers.
    ///
    /// It is only returned without `own_thread()`.
    ///
    /// ```
    /// use tower_health::{Health, Status, error::ServeError};
    ///
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?; // no `enable_all()`
    /// let _entered = runtime.enter();
    /// let error = Health::fixed(Status::Pass).serve("127.0.0.1:0").start().unwrap_err();
    /// assert!(matches!(error, ServeError::MissingDrivers));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    MissingDrivers,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => write!(
                f,
                "the address is invalid ({error}): use an IP address or a name that resolves, and a port, such as \
                 \"0.0.0.0:9000\""
            ),
            Self::Listen { addresses, error } => write!(
                f,
                "cannot listen on {addresses:?} ({error}): use an address of this machine and a free port"
            ),
            Self::Thread(error) => write!(
                f,
                "the thread of the port could not be started ({error}): allow the process one more, or remove \
                 `.own_thread()`"
            ),
            Self::NoRuntime => f.write_str(
                "there is no tokio runtime here: call `start()` within one, or serve the port on a separate \
                 thread with `.own_thread()`",
            ),
            Self::MissingDrivers => f.write_str(
                "the tokio runtime has no I/O or no timers: build it with `enable_all()`, or serve the port on a \
                 separate thread with `.own_thread()`",
            ),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Address(error) | Self::Listen { error, .. } | Self::Thread(error) => Some(error),
            Self::NoRuntime | Self::MissingDrivers => None,
        }
    }
}
