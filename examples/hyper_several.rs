//! Several parts in one process, on one port. Each part has its own [`Health`] and answers probes
//! below its own path, so that a load balancer can take one part out of rotation and keep the
//! others.
//!
//! Run `cargo run --example hyper_several`. Then `curl -i localhost:3000/orders/ready` returns 200,
//! and `curl -i localhost:3000/billing/ready` returns 503, because its ledger is down. Set `PORT`
//! to use another port.

use std::{convert::Infallible, env, io, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, Health, Outcome, Reason, Status, endpoint::ProbeService};

/// A part of the process, and its path prefix.
struct Part {
    prefix: String,
    probes: ProbeService,
}

impl Part {
    async fn answer(&self, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        let (method, uri) = (request.method().as_str(), request.uri());
        let path = uri.path().strip_prefix(&self.prefix)?;
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let answer = self.probes.respond(method, path, uri.query(), headers)?;
        Some(answer.await.map(Full::new))
    }
}

async fn answer(parts: Arc<[Part]>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    for part in parts.iter() {
        if let Some(answer) = part.answer(&request).await {
            return answer;
        }
    }
    if request.uri().path() == "/" {
        return Response::new(Full::from("Hello"));
    }
    // A probe of `/ready` matches no part. With the greeting as its response, the prober would
    // assume that all is well.
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Serves a greeting, and the probes of each part below its path.
pub async fn serve<const N: usize>(
    listener: TcpListener,
    parts: [(&str, Health); N],
) -> io::Result<()> {
    let parts: Arc<[Part]> = Arc::from(parts.map(|(prefix, health)| Part {
        prefix: prefix.to_owned(),
        probes: health.service(),
    }));
    loop {
        let (stream, _) = listener.accept().await?;
        let parts = Arc::clone(&parts);
        let service = service_fn(move |request| {
            let answer = answer(Arc::clone(&parts), request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = connection {
                eprintln!("connection: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let orders = Health::builder("orders")
        .check(Check::new("stock", || async { Status::Pass }))
        .start()?;
    let billing = Health::builder("billing")
        .check(Check::new("ledger", || async {
            Outcome::fail(Reason::Unreachable)
        }))
        .start()?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve(listener, [("/orders", orders), ("/billing", billing)]).await?;
    Ok(())
}
