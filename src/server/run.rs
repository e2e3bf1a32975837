//! [`Health::run_http`]: a server that finishes its connections. Unlike a management port, it serves
//! the service itself, and takes part in its drain.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service as _};
use hyper_util::service::TowerToHyperService;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tower_service::Service;

use super::{
    activity::{Busy, Limits},
    body::BusyBody,
    connection::{self, ServerState, Settings, http},
};
use crate::{
    BoxError, Health,
    engine::Board,
    lifecycle::{Drained, ServerError, until},
    listen::accept,
};

/// The shortest and the longest timeout of a connection.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Health {
    /// Serves a service over HTTP/1, and over HTTP/2 with prior knowledge, until a
    /// [drain](Self::drain) is over.
    ///
    /// | phase of the drain | HTTP/1 | HTTP/2 |
    /// | --- | --- | --- |
    /// | serve on | responses carry `Connection: close` | |
    /// | finish | the same | a GOAWAY; new connections receive it after their first request, once they are 1 s old |
    /// | close | idle connections are closed, others once they have responded | the same |
    /// | cut | what is left is ended, as by [`run`](Self::run) | the same |
    ///
    /// The connections that wait in the accept queue when the server closes are served. Between the
    /// last look at the queue and the close of the listener, which follows at once, a client may
    /// still connect. It is reset then.
    ///
    /// A connection that has not sent a request yet has 1 s to send one once the server closes. The
    /// part of a response that is not written yet counts as in flight, so the drain also waits for
    /// a client that reads slowly.
    ///
    /// Pass the service with its probes: [`wrap`](Self::wrap) it, or use the layer. Connections do
    /// not use TLS. Their [bounds](crate::server#bounds) are partly
    /// [configurable](RunHttp::idle_timeout). For anything else, write the accept loop yourself,
    /// with [`drained`](Self::drained) and the graceful shutdown of `hyper-util`.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").handle_signals().start()?;
    /// let app = Router::new().route("/orders", get(|| async { "no orders" }));
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
    /// health.run_http(listener, health.wrap(app)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns [`ServerError::DrainTimeout`] if requests were cut.
    pub fn run_http<S, B>(&self, listener: TcpListener, service: S) -> RunHttp
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let limits = Arc::new(Mutex::new(Limits::default()));
        let server = serve(
            listener,
            service,
            Arc::clone(self.board()),
            self.drained(),
            Arc::clone(&limits),
        );
        RunHttp {
            run: Mutex::new(Box::pin(self.run(server))),
            limits,
        }
    }
}

/// Future that serves HTTP until a drain is over. Returned by [`Health::run_http`].
///
/// It runs the server while it is polled, and returns `Ok` after a drain that cut no request. It
/// returns as well if no drain can begin any more. Dropping it closes all connections immediately.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{convert::Infallible, time::Duration};
///
/// use http::{Request, Response, StatusCode};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tokio::net::TcpListener;
/// use tower::service_fn;
/// use tower_health::Health;
///
/// let health = Health::builder("orders").drain_delay(Duration::ZERO).start()?;
/// let orders = service_fn(|_: Request<hyper::body::Incoming>| async {
///     Ok::<_, Infallible>(Response::new("no orders".to_owned()))
/// });
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let addr = listener.local_addr()?;
/// let server = tokio::spawn(health.run_http(listener, health.wrap(orders)));
///
/// let client = Client::builder(TokioExecutor::new()).build_http::<String>();
/// let response = client.get(format!("http://{addr}/orders").parse()?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
///
/// drop((client, response));
/// health.drain().await;
/// server.await??; // no request was cut
/// # Ok(())
/// # }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct RunHttp {
    /// Never locked: `poll` has exclusive access. The mutex makes the type `Sync`, whatever the
    /// service is.
    run: Mutex<Running>,
    /// Read at the first poll.
    limits: Arc<Mutex<Limits>>,
}

/// The server, until the drain is over.
type Running = Pin<Box<dyn Future<Output = Result<(), ServerError>> + Send>>;

impl RunHttp {
    /// Sets how long a connection may be without a request, before the first request and between
    /// two. A time below 1 s or above 365 days is adjusted to that bound. Defaults to 75 s.
    ///
    /// A client that keeps connections open, such as a load balancer, must be the one that closes
    /// them. If it keeps them for longer than 75 s, set a longer time here. Otherwise it may send a
    /// request on a connection that is being closed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// use http::{Request, Response};
    /// use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}, time::Instant};
    /// use tower::service_fn;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let orders = service_fn(|_: Request<hyper::body::Incoming>| async {
    ///     Ok::<_, Infallible>(Response::new(String::new()))
    /// });
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let addr = listener.local_addr()?;
    /// let server = health.run_http(listener, orders).idle_timeout(Duration::from_secs(300));
    /// tokio::spawn(server);
    ///
    /// let mut silent = TcpStream::connect(addr).await?;
    /// let began = Instant::now();
    /// silent.read_to_end(&mut Vec::new()).await?; // until the server closes
    /// assert!(began.elapsed() >= Duration::from_secs(300));
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|limits| limits.idle = timeout.clamp(SHORTEST, LONGEST))
    }

    /// Sets how long a connection may take to send a request's head, or the preface of HTTP/2. A
    /// time below 1 s or above 365 days is adjusted to that bound. Defaults to 75 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// use http::{Request, Response};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// use tokio::{net::{TcpListener, TcpStream}, time::Instant};
    /// use tower::service_fn;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let orders = service_fn(|_: Request<hyper::body::Incoming>| async {
    ///     Ok::<_, Infallible>(Response::new(String::new()))
    /// });
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let addr = listener.local_addr()?;
    /// let server = health.run_http(listener, orders).head_timeout(Duration::from_secs(5));
    /// tokio::spawn(server);
    ///
    /// let mut slow = TcpStream::connect(addr).await?;
    /// slow.write_all(b"GET / HT").await?;
    /// let began = Instant::now();
    /// _ = slow.read_to_end(&mut Vec::new()).await; // until the server closes
    /// assert!(began.elapsed() < Duration::from_secs(75), "earlier than by default");
    /// # Ok(())
    /// # }
    /// ```
    pub fn head_timeout(self, timeout: Duration) -> Self {
        self.set(|limits| limits.head = timeout.clamp(SHORTEST, LONGEST))
    }

    /// Changes a limit. It has no effect after the first poll, when the server reads them.
    fn set(self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner));
        self
    }
}

impl Future for RunHttp {
    type Output = Result<(), ServerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let run = self.run.get_mut().unwrap_or_else(PoisonError::into_inner);
        run.as_mut().poll(cx)
    }
}

impl fmt::Debug for RunHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHttp")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Serves connections. They end when this future is dropped.
///
/// It accepts until the drain reaches its third phase. Then it answers what is left in the accept
/// queue, and waits for its connections. [`Health::run`] ends it when the drain is over.
async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    board: Arc<Board>,
    drained: Drained,
    limits: Arc<Mutex<Limits>>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (sender, state) = watch::channel(ServerState::Serving);
    let settings = Settings {
        http: http(),
        limits: *limits.lock().unwrap_or_else(PoisonError::into_inner),
        state,
    };
    let service = TowerToHyperService::new(service);
    let mut connections = JoinSet::new();
    let counted = Arc::clone(&board);
    let begin = move |connections: &mut JoinSet<()>, stream| {
        let (service, board) = (service.clone(), Arc::clone(&counted));
        let answer = move |request, busy: Busy| {
            let (answer, board) = (service.call(request), Arc::clone(&board));
            async move {
                let response = answer.await?;
                Ok::<_, S::Error>(response.map(|body| BusyBody::new(body, busy, &board)))
            }
        };
        connections.spawn(connection::serve(stream, answer, settings.clone()));
    };
    let mut finishing = pin!(until(&board, |board| board.control.is_finishing()));
    let mut drained = pin!(drained);
    loop {
        tokio::select! {
            () = drained.as_mut() => break,
            () = finishing.as_mut(), if *sender.borrow() == ServerState::Serving => {
                _ = sender.send(ServerState::Finishing);
            }
            stream = accept(&listener) => begin(&mut connections, stream),
        }
        while connections.try_join_next().is_some() {}
    }
    // Serves the connections that are still in the accept queue, because closing the listener resets
    // them.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                begin(&mut connections, stream);
            }
        }
    }
    _ = sender.send(ServerState::Closing);
    while connections.join_next().await.is_some() {}
}
