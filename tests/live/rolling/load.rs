//! A constant load. It counts the answered and the lost requests.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::Protocol;

/// The number of clients for each protocol that send one request after another. Some of these send
/// requests that take 1 s.
const CLIENTS: usize = 6;
const SLOW: usize = 2;

/// The pause of the other clients between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// The number of failures that are printed.
const TOLD: usize = 10;

pub(crate) struct Load {
    runtime: Runtime,
    clients: JoinSet<()>,
    over: Arc<AtomicBool>,
    count: Arc<Mutex<Count>>,
}

/// The results of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) answered: usize,
    /// The number of answered requests that took 1 s.
    pub(crate) slow: usize,
    pub(crate) lost: usize,
    how: Vec<String>,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answered,
            slow,
            lost,
            how,
        } = self;
        write!(
            f,
            "{answered} requests answered, {slow} of them a second long, {lost} lost"
        )?;
        how.iter().try_for_each(|how| write!(f, "\n    {how}"))
    }
}

impl Load {
    /// Sends requests over HTTP/1.1 with keep-alive to the first port, and over HTTP/2 to the
    /// second.
    pub(crate) fn start(ports: [u16; 2]) -> Self {
        let runtime = Runtime::new().unwrap();
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut clients = JoinSet::new();
        for (port, protocol) in ports.into_iter().zip([Protocol::Http1, Protocol::Http2]) {
            let mut builder = Client::builder(TokioExecutor::new());
            // Lost requests must be visible.
            builder.retry_canceled_requests(false);
            builder.timer(TokioTimer::new());
            builder.http2_only(protocol == Protocol::Http2);
            let client: Client<HttpConnector, Empty<Bytes>> = builder.build_http();
            for index in 0..CLIENTS {
                let path = if index < SLOW { "slow" } else { "orders" };
                let uri: Uri = format!("http://127.0.0.1:{port}/{path}").parse().unwrap();
                let (client, over, count) = (client.clone(), Arc::clone(&over), Arc::clone(&count));
                let asks = async move {
                    while !over.load(Ordering::Relaxed) {
                        let answer = ask(&client, uri.clone()).await;
                        note(&count, protocol, path, answer);
                        tokio::time::sleep(PAUSE).await;
                    }
                };
                clients.spawn_on(asks, runtime.handle());
            }
        }
        Self {
            runtime,
            clients,
            over,
            count,
        }
    }

    /// Ends the load once every request has been answered.
    pub(crate) fn end(mut self) -> Count {
        self.over.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            while let Some(ended) = self.clients.join_next().await {
                ended.unwrap();
            }
        });
        self.count.lock().unwrap().clone()
    }
}

async fn ask(client: &Client<HttpConnector, Empty<Bytes>>, uri: Uri) -> Result<(), String> {
    let asked = async {
        let response = client
            .get(uri)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| format!("{error:?}"))?.to_bytes();
        if status == StatusCode::OK && body.starts_with(b"no orders") {
            Ok(())
        } else {
            Err(format!("{status}: {body:?}"))
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), asked).await {
        Ok(answer) => answer,
        Err(_) => Err("no answer".to_owned()),
    }
}

fn note(count: &Mutex<Count>, protocol: Protocol, path: &str, answer: Result<(), String>) {
    let mut count = count.lock().unwrap();
    match answer {
        Ok(()) => {
            count.answered += 1;
            count.slow += usize::from(path == "slow");
        }
        Err(error) => {
            count.lost += 1;
            if count.how.len() < TOLD {
                count.how.push(format!("{protocol:?}, /{path}: {error}"));
            }
        }
    }
}
