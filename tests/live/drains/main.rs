//! Clients that send requests continuously while their server shuts down. None of them loses a
//! request that it has sent.

#[path = "../probers/process.rs"]
#[expect(dead_code, reason = "some helpers are used by other tests only")]
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

/// The duration of a request.
const WORK: Duration = Duration::from_millis(200);

/// The number of requests that each client has in flight.
const OVERLAPPING: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Transport {
    /// Over one HTTP/2 connection.
    Http2,
    /// Over HTTP/1.1, with a connection for each request.
    Http1,
    /// Over gRPC, four calls at a time.
    Grpc,
}

/// The result of a request.
enum Asked {
    Answered,
    /// Nothing listens any more.
    Refused,
    /// The client knows that the request was not processed, and retries it.
    Unsent,
    Lost(String),
}

/// A server process that shuts down on a signal.
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

/// Returns whether the request was never processed. Either the pool of the client gave up before
/// sending it, because another connection was opened in the meantime, or the server had sent a
/// GOAWAY on the connection, after which no new request is processed (RFC 9113, section 6.8).
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
    if is_refused(error) {
        Asked::Refused
    } else {
        Asked::Lost(format!("{error:?}"))
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
        // The listener was closed before the handshake was complete, so nothing was sent.
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

/// Runs the gRPC client that most languages use. Returns how many calls were answered and how many
/// were lost.
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

/// Sends requests continuously until nothing listens any more. Returns how many were answered and
/// how many were lost.
async fn load(asks: Transport, clients: usize, at: SocketAddr) -> (usize, usize) {
    if matches!(asks, Transport::Grpc) {
        return over_grpc(at).await;
    }
    let http2 = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut each = JoinSet::new();
    for offset in 0..clients {
        let http2 = http2.clone();
        each.spawn(async move {
            // The requests overlap, so that there is always one in flight.
            sleep(WORK / clients as u32 * offset as u32).await;
            let (mut answered, mut lost) = (0, 0);
            loop {
                let asked = match asks {
                    Transport::Http2 => over_http2(&http2, at).await,
                    _ => over_http1(at).await,
                };
                match asked {
                    Asked::Answered => answered += 1,
                    Asked::Refused => return (answered, lost),
                    Asked::Unsent => {}
                    Asked::Lost(why) => {
                        println!("lost: {asks:?}: {why}");
                        lost += 1;
                        // The process is ending, or has ended.
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

/// Runs one drain. Returns how many requests were answered and lost, and whether the server ended
/// successfully.
async fn drain(
    server: &str,
    asks: Transport,
    clients: usize,
    close: Duration,
    work: Duration,
) -> (usize, usize, bool) {
    let (mut process, at) = Server::start(server, close, work);
    let load = tokio::spawn(load(asks, clients, at));
    // Time for the load to begin.
    sleep(Duration::from_millis(1_500)).await;
    kill_process(Pid::from_child(&process.0), Signal::TERM).unwrap();
    let ended_well = process.ends_well().await;
    let (answered, lost) = load.await.unwrap();
    (answered, lost, ended_well)
}

const SERVERS: [&str; 3] = ["run_http", "axum", "tonic"];
const CLIENTS: [Transport; 3] = [Transport::Http2, Transport::Http1, Transport::Grpc];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_no_request_of_continuous_clients() {
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

/// With many clients and short requests, some clients connect at the moment at which the server
/// closes. The server of this crate serves the queue of its listener. Other servers reset these
/// connections, which this crate cannot change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_connect_while_run_http_closes_are_answered() {
    let (mut answered, clients) = (0, 16);
    for _ in 0..DRAINS {
        let (close, work) = (Duration::from_secs(5), Duration::from_millis(5));
        let drain = drain("run_http", Transport::Http1, clients, close, work).await;
        assert_eq!((drain.1, drain.2), (0, true));
        answered += drain.0;
    }
    println!("run_http, {clients} clients: {answered} answered in {DRAINS} drains, and none lost");
    assert!(answered > 1_000 * DRAINS, "{answered}");
}

/// The opposite case: a drain without time to close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_time_to_close_some_requests_are_lost() {
    for server in SERVERS {
        let (asks, close) = (Transport::Http1, Duration::ZERO);
        let (_, lost, ended_well) = drain(server, asks, OVERLAPPING, close, WORK).await;
        assert!(lost > 0 && !ended_well, "{server}: {lost}, {ended_well}");
    }
}
