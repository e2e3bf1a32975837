//! Clients that do not pause while their server is told to end: none loses a request that it has sent.

#[path = "../probers/process.rs"]
#[expect(dead_code, reason = "what runs until it is dropped is for other tests")]
mod process;

use std::{
    io::{BufRead, BufReader, ErrorKind},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use process::python;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

const DRAINS: usize = 10;

/// How long a request takes.
const WORK: Duration = Duration::from_millis(200);

/// How many requests each client has in flight.
const OVERLAPPING: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Asks {
    /// Over one connection of HTTP/2.
    Http2,
    /// Over HTTP/1.1, each on a connection of its own.
    Http1,
    /// By gRPC, four calls at a time.
    Grpc,
}

/// What became of a request.
enum Asked {
    Answered,
    /// Nobody was there to take it.
    Refused,
    /// The client knows that nobody has begun with it, and asks again.
    Unsent,
    Lost(String),
}

/// A server that is told to end and ends.
struct Server(Child);

impl Server {
    fn start(server: &str, close: Duration, work: Duration) -> (Self, SocketAddr) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_live-drains"))
            .arg(server)
            .args([close, work].map(|time| time.as_millis().to_string()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        (Self(process), line.trim().parse().unwrap())
    }

    async fn ends_well(&mut self) -> bool {
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status.success(),
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Whether the client's pool gave up before it was sent, for another connection was opened in the meantime; or it was for a connection
/// that the server has said goodbye to since, which begins nothing new (RFC 9113, section 6.8).
fn is_unsent(error: &hyper_util::client::legacy::Error) -> bool {
    let error = format!("{error:?}");
    error.contains("CheckoutNoLongerWanted") || error.contains("GoAway(b\"\", NO_ERROR, Remote)")
}

fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = error.source();
    }
    false
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Asked {
    match is_refused(error) {
        true => Asked::Refused,
        false => Asked::Lost(format!("{error:?}")),
    }
}

async fn over_http2(client: &Client<HttpConnector, Empty<bytes::Bytes>>, at: SocketAddr) -> Asked {
    let response = match client
        .get(format!("http://{at}/orders").parse().unwrap())
        .await
    {
        Ok(response) => response,
        Err(error) if is_unsent(&error) => return Asked::Unsent,
        Err(error) => return failed(&error),
    };
    match response
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
    {
        Ok(body) if body == "no orders" => Asked::Answered,
        Ok(_) => Asked::Lost("a body in part".to_owned()),
        Err(error) => failed(&error),
    }
}

async fn over_http1(at: SocketAddr) -> Asked {
    let stream = match TcpStream::connect(at).await {
        Ok(stream) => stream,
        // The listener was closed before the two had shaken hands: nothing was sent.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Asked::Unsent,
        Err(error) => return failed(&error),
    };
    let asked = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/orders").header("host", "orders");
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await?;
        response.into_body().collect().await
    };
    match asked.await.map(|body| body.to_bytes()) {
        Ok(body) if body == "no orders" => Asked::Answered,
        Ok(_) => Asked::Lost("a body in part".to_owned()),
        Err(error) => Asked::Lost(format!("{error:?}")),
    }
}

/// The client of gRPC that most languages have: how many calls were answered and lost.
async fn over_grpc(at: SocketAddr) -> (usize, usize) {
    let output = tokio::process::Command::new(python())
        .args(["drains/client.py", &at.to_string()])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    print!("{}", String::from_utf8_lossy(&output.stderr));
    let (answered, lost) = said.trim_end().split_once(' ').unwrap();
    (answered.parse().unwrap(), lost.parse().unwrap())
}

/// Asks without a pause until nobody is there any more: how many requests were answered and lost.
async fn load(asks: Asks, clients: usize, at: SocketAddr) -> (usize, usize) {
    if matches!(asks, Asks::Grpc) {
        return over_grpc(at).await;
    }
    let http2 = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut each = JoinSet::new();
    for offset in 0..clients {
        let http2 = http2.clone();
        each.spawn(async move {
            // They overlap: there is never a moment without one.
            sleep(WORK / clients as u32 * offset as u32).await;
            let (mut answered, mut lost) = (0, 0);
            loop {
                let asked = match asks {
                    Asks::Http2 => over_http2(&http2, at).await,
                    _ => over_http1(at).await,
                };
                match asked {
                    Asked::Answered => answered += 1,
                    Asked::Refused => return (answered, lost),
                    Asked::Unsent => {}
                    Asked::Lost(why) => {
                        println!("lost: {asks:?}: {why}");
                        lost += 1;
                        // The process goes, or has gone.
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }
    let counts = each.join_all().await;
    let add = |(answered, lost), (more, less)| (answered + more, lost + less);
    counts.into_iter().fold((0, 0), add)
}

/// One drain: how many requests were answered and lost, and whether the server ended well.
async fn drain(
    server: &str,
    asks: Asks,
    clients: usize,
    close: Duration,
    work: Duration,
) -> (usize, usize, bool) {
    let (mut process, at) = Server::start(server, close, work);
    let load = tokio::spawn(load(asks, clients, at));
    // A while for it to begin.
    sleep(Duration::from_millis(1_500)).await;
    kill_process(Pid::from_child(&process.0), Signal::TERM).unwrap();
    let ended_well = process.ends_well().await;
    let (answered, lost) = load.await.unwrap();
    (answered, lost, ended_well)
}

const SERVERS: [&str; 3] = ["run_http", "axum", "tonic"];
const CLIENTS: [Asks; 3] = [Asks::Http2, Asks::Http1, Asks::Grpc];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_that_never_pauses_loses_a_request_in_a_drain() {
    println!("| server | client | drains | answered | lost | ended well |");
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    for server in SERVERS {
        for asks in CLIENTS {
            let mut drains = JoinSet::new();
            for _ in 0..DRAINS {
                let close = Duration::from_secs(5);
                drains.spawn(drain(server, asks, OVERLAPPING, close, WORK));
            }
            let drains = drains.join_all().await;
            let answered: usize = drains.iter().map(|drain| drain.0).sum();
            let lost: usize = drains.iter().map(|drain| drain.1).sum();
            let well = drains.iter().filter(|drain| drain.2).count();
            println!("| {server} | {asks:?} | {DRAINS} | {answered} | {lost} | {well} |");
            assert!(answered > DRAINS * OVERLAPPING * 3, "{server}, {asks:?}");
            assert_eq!((lost, well), (0, DRAINS), "{server}, {asks:?}");
        }
    }
}

/// Of many clients with short requests, some connect in the very moment in which the server closes. That of the crate takes what is in the
/// queue of its listener; others reset it, which is theirs to mend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_as_the_server_of_the_crate_closes_is_answered() {
    let (mut answered, clients) = (0, 16);
    for _ in 0..DRAINS {
        let (close, work) = (Duration::from_secs(5), Duration::from_millis(5));
        let drain = drain("run_http", Asks::Http1, clients, close, work).await;
        assert_eq!((drain.1, drain.2), (0, true));
        answered += drain.0;
    }
    println!("run_http, {clients} clients: {answered} answered in {DRAINS} drains, and none lost");
    assert!(answered > 1_000 * DRAINS, "{answered}");
}

/// What a drain would be that ends as it closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_time_to_close_some_are_lost() {
    for server in SERVERS {
        let (asks, close) = (Asks::Http1, Duration::ZERO);
        let (_, lost, ended_well) = drain(server, asks, OVERLAPPING, close, WORK).await;
        assert!(lost > 0 && !ended_well, "{server}: {lost}, {ended_well}");
    }
}
