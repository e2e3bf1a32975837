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
    connection::{self, Settings, Told, http},
};
use crate::{
    BoxError, Drained, Health, Unfinished, engine::Board, lifecycle::until, listen::accept,
};

/// The shortest and the longest time that a connection may be given.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Health {
    /// Serves a service over HTTP/1 and HTTP/2 with prior knowledge until a [drain](Self::drain) is over.
    ///
    /// | part of the drain | HTTP/1 | HTTP/2 |
    /// | --- | --- | --- |
    /// | serve on | answers say `Connection: close` | |
    /// | finish | the same | a GOAWAY; new connections are told after their first requests, when they are 1 s old |
    /// | close | idle connections are closed, others when they have answered | the same |
    /// | cut | what is left is ended, as by [`run`](Self::run) | the same |
    ///
    /// A connection that has asked nothing yet has 1 s for it once the server closes. What is not written of an answer yet counts as
    /// in flight, so a client that reads slowly is waited for as well.
    ///
    /// It wants the service with its probes round it, [`wrap`](Self::wrap)ped or layered. Connections are without TLS;
    /// [what bounds them](crate::server#bounds) can be [set](RunHttp::idle_timeout). For anything else write the loop: it takes
    /// [`drained`](Self::drained), and what `hyper-util` has for graceful shutdowns.
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
    /// The future's error is [`Unfinished`] if requests were cut.
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

/// Serves HTTP until a drain is over: the future of [`Health::run_http`].
#[must_use = "futures do nothing unless polled"]
pub struct RunHttp {
    /// Nobody ever locks it: who may poll it has it alone. So it is `Sync`, whatever the service is.
    run: Mutex<Running>,
    /// Read when it is polled first.
    limits: Arc<Mutex<Limits>>,
}

type Running = Pin<Box<dyn Future<Output = Result<(), Unfinished>> + Send>>;

impl RunHttp {
    /// For how long a connection may be without a request, before the first and between two; at least 1 s. Defaults to 75 s.
    ///
    /// Whoever keeps connections open in front, such as a load balancer, must be the one that closes them: where it keeps them for
    /// longer than 75 s, set more than that here. Otherwise a request may meet a connection that is being closed.
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|limits| limits.idle = timeout.clamp(SHORTEST, LONGEST))
    }

    /// For how long a connection may be in the middle of a request's head, or of the preface of HTTP/2; at least 1 s. Defaults to
    /// 75 s.
    pub fn head_timeout(self, timeout: Duration) -> Self {
        self.set(|limits| limits.head = timeout.clamp(SHORTEST, LONGEST))
    }

    fn set(self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner));
        self
    }
}

impl Future for RunHttp {
    type Output = Result<(), Unfinished>;

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

/// Its connections end with it.
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
    let (tell, told) = watch::channel(Told::Serve);
    let settings = Settings {
        http: http(),
        limits: *limits.lock().unwrap_or_else(PoisonError::into_inner),
        told,
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
    let mut finishing = pin!(until(&board, |board| board.departure.is_finishing()));
    let mut drained = pin!(drained);
    loop {
        tokio::select! {
            () = drained.as_mut() => break,
            () = finishing.as_mut(), if *tell.borrow() == Told::Serve => {
                _ = tell.send(Told::Finish);
            }
            stream = accept(&listener) => begin(&mut connections, stream),
        }
        while connections.try_join_next().is_some() {}
    }
    // Those that were connected while it served: closed unaccepted, they would be reset.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                begin(&mut connections, stream);
            }
        }
    }
    _ = tell.send(Told::Close);
    while connections.join_next().await.is_some() {}
}
