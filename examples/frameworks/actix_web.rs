//! An actix-web service that answers probes. actix-web is not based on tower, so a middleware calls
//! [`ProbeService::respond`].
//!
//! Run `cargo run -p frameworks --example actix_web`, then `curl -i localhost:3000/ready`. The
//! response is a 200 once the first run of the check has ended. Set `PORT` to use another port.

use std::{
    env, io,
    net::{Ipv4Addr, TcpListener},
};

use actix_web::{
    App, Error, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode},
    middleware::{Next, from_fn},
    rt::System,
    web,
};
use bytes::Bytes;
use tower_health::{BoxError, Check, Health, Status, endpoint::ProbeService};

/// Answers probes, and forwards every other request.
async fn answer_probes(
    probes: ProbeService,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let method = match request.method() {
        // actix-web computes `Content-Length` from the body, and omits the body of a response to
        // `HEAD` by itself. It therefore needs the body of `GET`.
        &Method::HEAD => Method::GET.as_str(),
        method => method.as_str(),
    };
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let query = request.uri().query();
    match probes.respond(method, request.path(), query, headers) {
        Some(answer) => {
            let answer = to_actix(answer.await);
            Ok(request.into_response(answer).map_into_right_body())
        }
        None => {
            let response = next.call(request).await?;
            Ok(response.map_into_left_body())
        }
    }
}

/// Converts a response, because actix-web uses the types of an older `http`.
fn to_actix(response: http::Response<Bytes>) -> HttpResponse {
    let status = StatusCode::from_u16(response.status().as_u16());
    let mut builder = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in response.headers() {
        builder.insert_header((name.as_str(), value.as_bytes()));
    }
    builder.body(response.into_body())
}

/// Serves a greeting and the probes.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    let app = move || {
        let probes = health.service();
        App::new()
            .route("/", web::get().to(|| async { "Hello" }))
            .wrap(from_fn(move |request, next| {
                answer_probes(probes.clone(), request, next)
            })) // The last line: outermost.
    };
    let server = HttpServer::new(app).listen(listener)?.run();
    server.await
}

fn main() -> Result<(), BoxError> {
    // The checks run on the runtime that they are started in.
    System::new().block_on(async {
        let health = Health::builder("orders")
            .check(Check::new("clock", || async { Status::Pass }))
            .start()?;

        let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        serve(listener, health).await?;
        Ok(())
    })
}
