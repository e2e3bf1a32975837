//! What does an answer cost a server in processor time, when wrk asks over sockets?

use std::{
    convert::Infallible,
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{Service, ServiceExt, make::Shared};

use crate::peers::{self, Nothing};

/// Each round takes every server's turn, so that what slows this machine for a while slows all of them.
const ROUNDS: usize = 5;

const SERVERS: [&str; 9] = [
    "axum, static handler",
    "tower-health, layer of the router",
    "tower-health, wrapped, axum::serve",
    "hyper, static answer",
    "tower-health, wrapped, hyper",
    "axum, static handler, hyper",
    "axum-health",
    "health-checks",
    "health",
];

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(name: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    match name {
        "axum, static handler" => serve_router(listener, peers::static_handler().await).await,
        "tower-health, layer of the router" => {
            serve_router(listener, peers::tower_health_layer(Nothing).await).await
        }
        "tower-health, wrapped, axum::serve" => {
            let wrapped = peers::tower_health_wrapped().await;
            let service = ServiceExt::<Request<Body>>::map_response(wrapped, |response| {
                Response::map(response, Body::new)
            });
            Ok(axum::serve(listener, Shared::new(service)).await?)
        }
        "hyper, static answer" => {
            let answer = peers::tower_health(Nothing).await.service();
            let answer = answer
                .respond("GET", "/ready", None, [])
                .expect("a probe")
                .await;
            let service = tower::service_fn(move |_: Request<_>| {
                let answer = answer.clone().map(Body::from);
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            serve_hyper(listener, service).await
        }
        "tower-health, wrapped, hyper" => {
            serve_hyper(listener, peers::tower_health_wrapped().await).await
        }
        "axum, static handler, hyper" => serve_hyper(listener, peers::static_handler().await).await,
        "axum-health" => serve_router(listener, peers::axum_health(Nothing).await).await,
        "health-checks" => serve_router(listener, peers::health_checks(Nothing).await).await,
        "health" => serve_router(listener, peers::health(Nothing).await).await,
        _ => Err("no such server".into()),
    }
}

async fn serve_router(listener: TcpListener, router: Router) -> Result<(), Box<dyn Error>> {
    Ok(axum::serve(listener, router).await?)
}

async fn serve_hyper<S, B>(listener: TcpListener, service: S) -> Result<(), Box<dyn Error>>
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

pub(crate) fn compare() -> Result<(), Box<dyn Error>> {
    let mut figures = SERVERS.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for (server, figures) in SERVERS.iter().zip(&mut figures) {
            let figure = measure(server)?;
            // The first only warms up.
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let medians = figures.each_mut().map(|figures| {
        figures.sort_by(f64::total_cmp);
        figures[ROUNDS / 2]
    });
    println!("| server | µs a request | over axum's static handler | least to most |");
    println!("| --- | ---: | ---: | ---: |");
    for ((server, figures), median) in SERVERS.iter().zip(&figures).zip(medians) {
        let ratio = median / medians[0];
        let (least, most) = (figures[0] / medians[0], figures[ROUNDS - 1] / medians[0]);
        println!("| {server} | {median:.2} | {ratio:.2} | {least:.2} to {most:.2} |");
    }
    let of = |name| {
        let place = SERVERS.iter().position(|server| *server == name);
        medians[place.expect("a server")]
    };
    let layer = of("tower-health, layer of the router");
    let mut met = true;
    let mut goal = |what: &str, figure: f64, limit: f64| {
        met &= figure <= limit;
        let verdict = if figure <= limit { "met" } else { "MISSED" };
        println!("{verdict}: {what}: {figure:.2}, at most {limit:.2}");
    };
    goal(
        "layer of the router over axum's static handler",
        layer / medians[0],
        1.0,
    );
    let wrapped = of("tower-health, wrapped, axum::serve") / medians[0];
    goal(
        "wrapped round the router over axum's static handler",
        wrapped,
        0.9,
    );
    for peer in ["axum-health", "health-checks"] {
        goal(
            &format!("layer of the router over {peer}"),
            layer / of(peer),
            1.0 / 1.6,
        );
    }
    if met {
        Ok(())
    } else {
        Err("a goal was missed".into())
    }
}

/// The processor time of a server for one request, in microseconds.
fn measure(name: &str) -> Result<f64, Box<dyn Error>> {
    let mut server = Server::start(name)?;
    let url = format!("http://{}/ready", server.address);
    let before = server.cpu_time()?;
    let output = Command::new("wrk")
        .args(["--threads=1", "--connections=64", "--duration=2s", &url])
        .output()
        .map_err(|error| format!("{error}: install wrk: apt-get install wrk"))?;
    let spent = server.cpu_time()? - before;
    server.process.kill()?;
    server.process.wait()?;
    let said = String::from_utf8(output.stdout)?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(said.into());
    }
    let requests = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in"));
    let requests: f64 = requests.ok_or("wrk counted nothing")?.0.parse()?;
    Ok(spent.as_secs_f64() * 1e6 / requests)
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(name: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(env::current_exe()?)
            .args(["serve", name])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut address)?;
        // Whatever runs when a server starts has run by then.
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self {
            process,
            address: address.trim().to_owned(),
        })
    }

    /// In user code and in the kernel.
    fn cpu_time(&self) -> Result<Duration, Box<dyn Error>> {
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
        let mut ticks = fields.split_whitespace().skip(11);
        let (user, system) = (
            ticks.next().ok_or("no time")?,
            ticks.next().ok_or("no time")?,
        );
        Ok(TICK * (user.parse::<u32>()? + system.parse::<u32>()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
    }
}
