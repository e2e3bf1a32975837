//! How much processor time does a response cost a server, with wrk as the client over sockets?

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
    body::Body,
    http::{Request, Response},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{Service, ServiceExt, make::Shared};

use crate::peers::{self, Nothing, Ping, Work};

/// Each round measures every server in turn, so that a slow phase of the machine affects all of
/// them.
const ROUNDS: usize = 15;

const STATIC: &str = "axum, static handler";
const LAYER: &str = "tower-health, layer of the router";
const WRAPPED: &str = "tower-health, wrapped, axum::serve";
const WRAPPED_HYPER: &str = "tower-health, wrapped, hyper";
const STATIC_HYPER: &str = "hyper, static answer";
const AXUM_HEALTH: &str = "axum-health";
const HEALTH_CHECKS: &str = "health-checks";
const HEALTH: &str = "health";

const IDLE_CHECKS: [&str; 8] = [
    STATIC,
    LAYER,
    WRAPPED,
    STATIC_HYPER,
    WRAPPED_HYPER,
    AXUM_HEALTH,
    HEALTH_CHECKS,
    HEALTH,
];

const PINGS: [&str; 4] = [LAYER, AXUM_HEALTH, HEALTH_CHECKS, HEALTH];

/// Serves ten checks. They do nothing, or each makes a round trip to a dependency.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn serve(name: &str, dependency: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    match dependency {
        "none" => serve_with(listener, name, Nothing).await,
        address => serve_with(listener, name, Ping::connect(address).await?).await,
    }
}

async fn serve_with(
    listener: TcpListener,
    name: &str,
    work: impl Work,
) -> Result<(), Box<dyn Error>> {
    let router = match name {
        STATIC => peers::static_handler().await,
        LAYER => peers::tower_health_layer(work).await,
        AXUM_HEALTH => peers::axum_health(work).await,
        HEALTH_CHECKS => peers::health_checks(work).await,
        HEALTH => peers::health(work).await,
        WRAPPED => {
            let wrapped = peers::tower_health_wrapped().await;
            let service = ServiceExt::<Request<Body>>::map_response(wrapped, |response| {
                Response::map(response, Body::new)
            });
            return Ok(axum::serve(listener, Shared::new(service)).await?);
        }
        WRAPPED_HYPER => return serve_hyper(listener, peers::tower_health_wrapped().await).await,
        STATIC_HYPER => {
            let answer = peers::tower_health(Nothing).await.service();
            let answer = answer.respond("GET", "/ready", None, []);
            let answer = answer.expect("a probe").await;
            let service = tower::service_fn(move |_: Request<_>| {
                let answer = answer.clone().map(Body::from);
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            return serve_hyper(listener, service).await;
        }
        _ => return Err("no such server".into()),
    };
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
    println!("Ten checks that do nothing:\n");
    let idle = Figures::measure(&IDLE_CHECKS, "none", STATIC)?;
    println!("\nTen checks with a round trip to a dependency each:\n");
    let pings = Figures::measure(&PINGS, &dependency()?, LAYER)?;
    println!();

    let limit = 1.0 / 1.6;
    let goals = [
        (
            "the layer of a router over a static handler",
            idle.ratios(LAYER, STATIC),
            1.0,
        ),
        (
            "wrapped round the router over a static handler",
            idle.ratios(WRAPPED, STATIC),
            0.9,
        ),
        (
            "the layer over axum-health, checks that do nothing",
            idle.ratios(LAYER, AXUM_HEALTH),
            limit,
        ),
        (
            "the layer over health-checks, checks that do nothing",
            idle.ratios(LAYER, HEALTH_CHECKS),
            limit,
        ),
        (
            "the layer over axum-health, checks that ping",
            pings.ratios(LAYER, AXUM_HEALTH),
            limit,
        ),
        (
            "the layer over health-checks, checks that ping",
            pings.ratios(LAYER, HEALTH_CHECKS),
            limit,
        ),
    ];
    for (what, ratios, limit) in goals {
        let ([_, all, _], [_, user, _]) = (ratios.all, ratios.user);
        let verdict = if all <= limit { "met" } else { "MISSED" };
        println!("{verdict}: {what}: {all:.2} (in user code {user:.2}), at most {limit:.2}");
    }
    Ok(())
}

/// Starts the dependency of the checks, an echo server, and returns its address.
fn dependency() -> Result<String, Box<dyn Error>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                _ = stream.set_nodelay(true);
                _ = std::io::copy(&mut &stream, &mut &stream);
            });
        }
    });
    Ok(address)
}

/// The processor time of a request, in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    all: f64,
    /// The part in user mode.
    user: f64,
}

/// The cost of a request at each server, in each round.
struct Figures(Vec<(&'static str, Vec<Cost>)>);

/// The quartiles of ratios.
struct Ratios {
    all: [f64; 3],
    user: [f64; 3],
}

impl Figures {
    fn measure(
        servers: &[&'static str],
        dependency: &str,
        base: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let mut all = Self(servers.iter().map(|&server| (server, Vec::new())).collect());
        for round in 0..=ROUNDS {
            for (server, costs) in &mut all.0 {
                let cost = measure(server, dependency)?;
                // The first round only warms up.
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        println!(
            "| server | µs a request | in user code | over {base} | half of the rounds | in user code |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        for (server, costs) in &all.0 {
            let [_, cost, _] = quartiles(costs.iter().map(|cost| cost.all));
            let [_, user, _] = quartiles(costs.iter().map(|cost| cost.user));
            let ratios = all.ratios(server, base);
            let [low, ratio, high] = ratios.all;
            println!(
                "| {server} | {cost:.2} | {user:.2} | {ratio:.2} | {low:.2} to {high:.2} | {:.2} |",
                ratios.user[1],
            );
        }
        Ok(all)
    }

    fn of(&self, server: &str) -> &[Cost] {
        let costs = self.0.iter().find(|(name, _)| *name == server);
        &costs.expect("a server").1
    }

    /// Returns the ratios of two servers in the same round, because a slow phase of the machine
    /// affects both.
    fn ratios(&self, server: &str, other: &str) -> Ratios {
        let pairs = || self.of(server).iter().zip(self.of(other));
        Ratios {
            all: quartiles(pairs().map(|(cost, other)| cost.all / other.all)),
            user: quartiles(pairs().map(|(cost, other)| cost.user / other.user)),
        }
    }
}

fn quartiles(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| figures[(figures.len() - 1) * quarter / 4])
}

fn measure(name: &str, dependency: &str) -> Result<Cost, Box<dyn Error>> {
    let mut server = Server::start(name, dependency)?;
    let url = format!("http://{}/ready", server.address);
    let (user_before, kernel_before) = server.cpu_time()?;
    let output = Command::new("taskset")
        .args(["--cpu-list", "1", "wrk"])
        .args(["--threads=1", "--connections=64", "--duration=1s", &url])
        .output()
        .map_err(|error| format!("{error}: install taskset: apt-get install util-linux"))?;
    if !output.status.success() {
        return Err("install wrk: apt-get install wrk".into());
    }
    let (user, kernel) = server.cpu_time()?;
    let (user, kernel) = (user - user_before, kernel - kernel_before);
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
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / requests;
    Ok(Cost {
        all: each(user + kernel),
        user: each(user),
    })
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(name: &str, dependency: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new("taskset")
            .args(["--cpu-list", "0"])
            .arg(env::current_exe()?)
            .args(["serve", name, dependency])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut address)?;
        // Everything that runs at the start of a server has run by then.
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self {
            process,
            address: address.trim().to_owned(),
        })
    }

    /// Returns the processor time in user mode and in the kernel.
    fn cpu_time(&self) -> Result<(Duration, Duration), Box<dyn Error>> {
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
        let ticks = fields.split_whitespace().skip(11);
        let times: Vec<u32> = ticks.take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok((TICK * times[0], TICK * times[1]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
    }
}
