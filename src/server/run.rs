use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tower_service::Service;

use crate::{BoxError, Drained, Health, Unfinished, listen::accept};

/// For how long a connection may be without a request, or in the middle of a head.
const QUIET: Duration = Duration::from_secs(75);

impl Health {
    /// Serves a service over HTTP/1 and HTTP/2 with prior knowledge until a [drain](Self::drain) is over, and then finishes its
    /// connections: those that are idle are closed, and those that are busy when they have answered; over HTTP/2 they are
    /// told to go away. What is not finished at the [cap](crate::HealthBuilder::drain_cap) is ended, as by
    /// [`run`](Self::run).
    ///
    /// It wants the service with its probes round it, [`wrap`](Self::wrap)ped or layered. Connections are without TLS, and may be
    /// without a request for 75 s. For anything else write the loop: it takes [`drained`](Self::drained), and what `hyper-util`
    /// has for graceful shutdowns.
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
    /// The future's error is [`Unfinished`] if connections did not end in time.
    pub fn run_http<S, B>(&self, listener: TcpListener, service: S) -> RunHttp
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let server = serve(listener, service, self.drained());
        RunHttp {
            run: Mutex::new(Box::pin(self.run(server))),
        }
    }
}

/// Serves HTTP until a drain is over: the future of [`Health::run_http`].
#[must_use = "futures do nothing unless polled"]
pub struct RunHttp {
    /// Nobody ever locks it: who may poll it has it alone. So it is `Sync`, whatever the service is.
    run: Mutex<Running>,
}

type Running = Pin<Box<dyn Future<Output = Result<(), Unfinished>> + Send>>;

impl Future for RunHttp {
    type Output = Result<(), Unfinished>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let run = self.run.get_mut().unwrap_or_else(PoisonError::into_inner);
        run.as_mut().poll(cx)
    }
}

impl fmt::Debug for RunHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHttp").finish_non_exhaustive()
    }
}

/// Its connections end with it.
async fn serve<S, B>(listener: TcpListener, service: S, drained: Drained)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (close, closed) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut drained = pin!(drained);
    loop {
        tokio::select! {
            () = drained.as_mut() => break,
            stream = accept(&listener) => {
                connections.spawn(connection(stream, service.clone(), closed.clone()));
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop((listener, close));
    while connections.join_next().await.is_some() {}
}

/// Ends after the request that it has, once what it is `closed` by is gone.
async fn connection<S, B>(stream: TcpStream, service: S, mut closed: watch::Receiver<()>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(QUIET);
    builder.http2().timer(TokioTimer::new());
    let service = TowerToHyperService::new(service);
    let mut served = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        // What goes wrong on a connection is its client's to see.
        _ = served.as_mut() => return,
        _ = closed.changed() => {}
    }
    served.as_mut().graceful_shutdown();
    _ = served.await;
}
