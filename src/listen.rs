//! A port, and what serves it: on the runtime that is current, or on a thread and a runtime of its own.

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

use crate::{check::guard, detached, endpoint::EndpointsError};

/// Where to listen.
pub(crate) type Addresses = io::Result<Vec<SocketAddr>>;

pub(crate) fn addresses(addr: impl ToSocketAddrs) -> Addresses {
    addr.to_socket_addrs().map(Iterator::collect)
}

/// A port that is served until this is dropped.
pub(crate) struct Listening {
    addr: SocketAddr,
    _served: Served,
}

/// What serves; it ends at once when this is dropped.
enum Served {
    Task(AbortHandle),
    /// The thread ends when nobody can stop it any more.
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
    /// Listens, and has `serve` accept connections.
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
        let served = match own_thread {
            true => Served::Thread(on_thread(listener, serve)?),
            false => {
                let runtime = Handle::try_current().map_err(|_| ServeError::NoRuntime)?;
                let serving = serve(on_runtime(listener, &runtime)?);
                Served::Task(runtime.spawn(serving).abort_handle())
            }
        };
        Ok(Self {
            addr,
            _served: served,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A runtime without I/O or timers says so by a panic alone.
fn on_runtime(listener: StdListener, runtime: &Handle) -> Result<TcpListener, ServeError> {
    let addresses = listener.local_addr().into_iter().collect();
    let _entered = runtime.enter();
    let listener = guard(|| {
        drop(tokio::time::sleep(Duration::ZERO));
        TcpListener::from_std(listener)
    });
    listener
        .map_err(|_| ServeError::RuntimeWithout)?
        .map_err(|error| ServeError::Listen { addresses, error })
}

/// Serves on a thread, until what is returned is dropped.
fn on_thread<F, Fut>(listener: StdListener, serve: F) -> Result<oneshot::Sender<()>, ServeError>
where
    F: FnOnce(TcpListener) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = mpsc::channel();
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
            // Somebody waits for it.
            Err(error) => return drop(tell.send(Err(error))),
        };
        _ = tell.send(Ok(()));
        runtime.block_on(async {
            tokio::select! {
                () = serve(listener) => {}
                _ = stopped => {}
            }
        });
        // Nobody waits for what is left.
        runtime.shutdown_background();
    };
    detached::spawn("health", Box::new(main)).map_err(ServeError::Thread)?;
    match told.recv() {
        Ok(started) => started.map_err(ServeError::Thread)?,
        Err(_) => return Err(ServeError::Thread(io::ErrorKind::Other.into())),
    }
    Ok(stop)
}

/// The next connection, however long that takes. What keeps one from being accepted passes.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_connection(&error) => {}
            // There are no file handles left, perhaps.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Whether only one connection is concerned.
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

/// Why a port is not served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// What was to be answered there cannot be.
    Endpoints(EndpointsError),
    /// What was given is no address.
    Address(io::Error),
    /// None of the addresses can be listened on.
    #[non_exhaustive]
    Listen {
        /// The addresses.
        addresses: Vec<SocketAddr>,
        /// What became of the last of them.
        error: io::Error,
    },
    /// There is no thread, or no runtime on it, to be had.
    Thread(io::Error),
    /// There is no runtime to serve it on.
    NoRuntime,
    /// The runtime has no I/O, or no timers.
    RuntimeWithout,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoints(error) => error.fmt(f),
            Self::Address(error) => write!(
                f,
                "the address is none ({error}): give an IP address or a name that resolves, and a port, such as \
                 \"0.0.0.0:9000\""
            ),
            Self::Listen { addresses, error } => write!(
                f,
                "{addresses:?} cannot be listened on ({error}): give an address of this machine, and a port that is free"
            ),
            Self::Thread(error) => write!(
                f,
                "there is no thread of its own to be had ({error}): give the process room for one more, or leave out \
                 `.own_thread()`"
            ),
            Self::NoRuntime => f.write_str(
                "there is no tokio runtime here: call `start()` within one, or give the port a thread of its own \
                 with `.own_thread()`",
            ),
            Self::RuntimeWithout => f.write_str(
                "the tokio runtime has no I/O or no timers: build it with `enable_all()`, or give the port a thread \
                 of its own with `.own_thread()`",
            ),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Endpoints(error) => Some(error),
            Self::Address(error) | Self::Listen { error, .. } | Self::Thread(error) => Some(error),
            Self::NoRuntime | Self::RuntimeWithout => None,
        }
    }
}
