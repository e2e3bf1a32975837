//! A poem service that answers probes. poem is not based on tower, so a middleware calls
//! [`ProbeService::respond`].
//!
//! Run `cargo run -p frameworks --example poem`, then `curl -i localhost:3000/ready`. The response
//! is a 200 once the first run of the check has ended. Set `PORT` to use another port.

use std::{env, io, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Result, Route, Server,
    endpoint::make_sync, get, listener::TcpAcceptor,
};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, Health, Status, endpoint::ProbeService};

/// Answers probes, and forwards every other request.
async fn answer_probes(
    probes: ProbeService,
    app: Arc<impl Endpoint>,
    request: Request,
) -> Result<Response> {
    let (method, uri) = (request.method().as_str(), request.uri());
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    match probes.respond(method, uri.path(), uri.query(), headers) {
        Some(answer) => Ok(to_poem(answer.await)),
        None => app.call(request).await.map(IntoResponse::into_response),
    }
}

fn to_poem(response: http::Response<Bytes>) -> Response {
    let (head, body) = response.into_parts();
    let mut response = Response::from(body);
    response.set_status(head.status);
    *response.headers_mut() = head.headers;
    response
}

/// Serves a greeting and the probes.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    let probes = health.service();
    let app = Route::new()
        .at("/", get(make_sync(|_| "Hello")))
        .around(move |app, request| answer_probes(probes.clone(), app, request)); // outermost

    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?)
        .run(app)
        .await
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let health = Health::builder("orders")
        .check(Check::new("clock", || async { Status::Pass }))
        .start()?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve(listener, health).await?;
    Ok(())
}
