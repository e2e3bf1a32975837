//! The check of a service over HTTP.
//!
//! A run reads a response into an [`Answer`]: its status code, the kind of its body, and the
//! beginning of its body. [`HttpUpstream::judge`] then needs no connection. The status code is
//! judged first. The body counts for an expected code, and for an error of the server that reports
//! a failure.

use std::{fmt, time::Duration};

use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, Response, Url};
use tokio::time::{sleep, timeout};

use super::{
    chain,
    health_json::{self, Kind},
};
use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait};

/// How much of a body is read, in bytes.
const READ: usize = 64 * 1024;

/// How long a run waits before it repeats the request, so that the client notices other connections
/// that were closed at the same time.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// How long to wait for the body if the status code is not expected.
const BODY_TIMEOUT: Duration = Duration::from_millis(250);

/// Health check of a service over HTTP.
///
/// It judges the status code of the response to a `GET`, and the status that the body contains. A
/// body counts if it has the type `application/health+json`. A body of another JSON type counts if
/// it has a `status` that is a string, as in Spring Boot's actuator, MicroProfile and
/// Elasticsearch. Plain text counts if it is exactly one of the words below, as in ASP.NET. A
/// warning of the service is therefore a warning of the check.
///
/// | finding | outcome |
/// | --- | --- |
/// | an expected code | pass |
/// | and the body's status is `pass`, `ok`, `up`, `healthy`, `green`, `serving` or `passing` | pass |
/// | and the body's status is `warn`, `degraded` or `yellow` | warn, degraded |
/// | and the body's status is `fail`, `error`, `down`, `out_of_service`, `unhealthy`, `red`, `not_serving` or `critical` | fail, unhealthy |
/// | and the body has another status, or is health+json without a status | fail, unexpected answer |
/// | and the body is of a JSON type, is longer than the part that is read, and has no status in that part | fail, unexpected answer |
/// | and the body is of such a type, and has a compression that the client does not support | fail, unexpected answer |
/// | 503; or another unexpected code of 500 or above, with a body whose status is a failure | fail, unhealthy |
/// | 429 | warn, busy |
/// | 401 | fail, authentication failed |
/// | 403 | fail, permission denied |
/// | 404 | fail, not found |
/// | another code, or a response that is not HTTP; too many redirects | fail, unexpected answer |
/// | the client does not trust the certificate | fail, untrusted |
/// | no address was found for the name | fail, unreachable |
/// | nothing listens there, the connection is cut, no response | fail, connection refused, connection lost, timed out |
/// | the URL is not valid, or the client does not support its scheme | fail, misconfigured |
///
/// A run is one request, over a connection of the client's pool. A server closes connections that
/// are idle for too long, perhaps just as the request arrives. The request is then sent once more.
/// The second one uses a new connection if the client keeps at most one (`pool_max_idle_per_host`).
/// An application's client may have kept others.
///
/// At most 64 KiB of a body are read, and a status in that part counts. A longer body in JSON must
/// have its status there, unless it is [not read as health+json](Self::ignore_health_json).
///
/// The client determines redirects, proxies, TLS, its user agent and other headers. The check
/// sets only `Accept`, with a preference for health+json. The client sends a user and a password in
/// the URL as usual. No report contains them, or another part of the URL that may be a secret.
///
/// If two services check each other's readiness, and each is ready only if the other is, neither
/// becomes ready again once both are not. Check liveness in that case, or make the check
/// [non-critical](tower_health::Check::non_critical).
///
/// It measures `code`, the status code. To warn about slow responses, use
/// [`Check::warn_above`](tower_health::Check::warn_above).
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::HttpUpstream;
///
/// // Your own services need no proxy, and a redirect from them is not a valid response.
/// let client = reqwest::Client::builder()
///     .no_proxy()
///     .pool_max_idle_per_host(1)
///     .redirect(reqwest::redirect::Policy::none())
///     .build()?;
/// let ready = HttpUpstream::new(client, "http://stock.internal/ready").expect(|code| code == 200);
/// let stock = Check::new("stock", ready).non_critical();
/// # Ok::<(), reqwest::Error>(())
/// ```
///
/// A service that reports a warning about itself causes a warning of the check:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, http::header::CONTENT_TYPE, routing::get};
/// use tower_health::{HealthCheck, Reason, Status};
/// use tower_health_checks::HttpUpstream;
///
/// let body = r#"{"status":"warn","output":"the cache is cold"}"#;
/// let ready = ([(CONTENT_TYPE, "application/health+json")], body);
/// let app = Router::new().route("/ready", get(move || async move { ready }));
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let url = format!("http://{}/ready", listener.local_addr()?);
/// # tokio::spawn(async move { axum::serve(listener, app).await });
/// # let client = reqwest::Client::builder().no_proxy().build()?;
///
/// let outcome = HttpUpstream::new(client, url).check().await.unwrap();
/// assert_eq!((outcome.status(), outcome.reason()), (Status::Warn, Some(Reason::Degraded)));
/// # Ok(())
/// # }
/// ```
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct HttpUpstream {
    client: Client,
    /// The error if the URL is not valid.
    url: Result<Url, String>,
    /// Whether a status code is expected.
    expect: Box<dyn Fn(u16) -> bool + Send + Sync>,
    /// Whether the beginning of a body is expected. `None` for any body.
    expect_body: Option<Box<ExpectBody>>,
    /// Whether a body that is about health counts.
    reads_health_json: bool,
}

/// Whether a body, up to [`READ`] bytes of it, is expected.
type ExpectBody = dyn Fn(&[u8]) -> bool + Send + Sync;

impl HttpUpstream {
    /// Creates a check of a URL, such as `http://stock.internal/ready`.
    ///
    /// If the URL is not valid, each run fails with [`Reason::Misconfigured`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::HttpUpstream;
    ///
    /// let relative = HttpUpstream::new(reqwest::Client::new(), "stock.internal/ready");
    /// assert_eq!(relative.check().await.unwrap_err().reason(), Reason::Misconfigured);
    /// # }
    /// ```
    pub fn new(client: Client, url: impl AsRef<str>) -> Self {
        Self {
            client,
            url: Url::parse(url.as_ref()).map_err(|error| error.to_string()),
            expect: Box::new(|code| (200..300).contains(&code)),
            expect_body: None,
            reads_health_json: true,
        }
    }

    /// Sets the status codes that are expected. Defaults to 200 to 299.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, http::StatusCode, routing::get};
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::HttpUpstream;
    ///
    /// let app = Router::new().route("/ready", get(|| async { StatusCode::NO_CONTENT }));
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let url = format!("http://{}/ready", listener.local_addr()?);
    /// # tokio::spawn(async move { axum::serve(listener, app).await });
    /// # let client = reqwest::Client::builder().no_proxy().build()?;
    ///
    /// let any = HttpUpstream::new(client.clone(), &url);
    /// assert_eq!(any.check().await.unwrap().status(), Status::Pass);
    ///
    /// let exact = HttpUpstream::new(client, &url).expect(|code| code == 200);
    /// assert_eq!(exact.check().await.unwrap().reason(), Some(Reason::UnexpectedAnswer));
    /// # Ok(())
    /// # }
    /// ```
    pub fn expect(mut self, code: impl Fn(u16) -> bool + Send + Sync + 'static) -> Self {
        self.expect = Box::new(code);
        self
    }

    /// Sets the bodies that are expected, in addition to what is read as health+json. Only the
    /// first 64 KiB are passed to the function. An unexpected body fails with
    /// [`Reason::UnexpectedAnswer`].
    ///
    /// Defaults to any body.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::HttpUpstream;
    ///
    /// let app = Router::new().route("/ready", get(|| async { "OK - 3 workers" }));
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let url = format!("http://{}/ready", listener.local_addr()?);
    /// # tokio::spawn(async move { axum::serve(listener, app).await });
    /// # let client = reqwest::Client::builder().no_proxy().build()?;
    ///
    /// let check = HttpUpstream::new(client, url).expect_body(|body| body.starts_with(b"OK"));
    /// assert_eq!(check.check().await.unwrap().status(), Status::Pass);
    ///
    /// let check = check.expect_body(|body| body == b"pong");
    /// assert_eq!(check.check().await.unwrap().reason(), Some(Reason::UnexpectedAnswer));
    /// # Ok(())
    /// # }
    /// ```
    pub fn expect_body(mut self, body: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.expect_body = Some(Box::new(body));
        self
    }

    /// Does not read the body as health+json. Use it for a service whose JSON has a `status` that
    /// is not about health. Defaults to reading it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use tower_health::{HealthCheck, Reason, Status};
    /// use tower_health_checks::HttpUpstream;
    ///
    /// // The `status` is that of an order.
    /// let order = axum::Json(std::collections::BTreeMap::from([("status", "shipped")]));
    /// let app = Router::new().route("/ready", get(|| async { order }));
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let url = format!("http://{}/ready", listener.local_addr()?);
    /// # tokio::spawn(async move { axum::serve(listener, app).await });
    /// # let client = reqwest::Client::builder().no_proxy().build()?;
    ///
    /// let check = HttpUpstream::new(client, url);
    /// assert_eq!(check.check().await.unwrap().reason(), Some(Reason::UnexpectedAnswer));
    /// assert_eq!(check.ignore_health_json().check().await.unwrap().status(), Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ignore_health_json(mut self) -> Self {
        self.reads_health_json = false;
        self
    }

    /// Sends the request, and repeats it once if the server closed the connection before it
    /// responded.
    async fn ask(&self, url: &Url) -> Result<Response, reqwest::Error> {
        let ask = || {
            let accept = "application/health+json, application/json;q=0.9, */*;q=0.1";
            self.client.get(url.clone()).header(ACCEPT, accept).send()
        };
        match ask().await {
            Err(error) if is_lost(&error) => {
                sleep(RETRY_DELAY).await;
                ask().await
            }
            answered => answered,
        }
    }

    /// Sends the request and reads the body. The body of an unexpected code is optional, so the run
    /// waits only [`BODY_TIMEOUT`] for it.
    async fn answer(&self, url: &Url) -> Result<Answer, reqwest::Error> {
        let mut response = self.ask(url).await?;
        let code = response.status().as_u16();
        let media_type = response.headers().get(CONTENT_TYPE);
        let kind = media_type.and_then(|text| Kind::of(text.to_str().ok()?));
        // The client removes the encodings that it has decoded.
        let encoding = response.headers().get(CONTENT_ENCODING);
        let is_encoded = encoding.is_some_and(|encoding| encoding != "identity");
        let body = if (self.expect)(code) {
            Body::of(&mut response).await?
        } else {
            match timeout(BODY_TIMEOUT, Body::of(&mut response)).await {
                Ok(Ok(body)) => body,
                Ok(Err(_)) | Err(_) => Body::default(),
            }
        };
        Ok(Answer {
            code,
            kind,
            is_encoded,
            body,
        })
    }

    /// Judges a response.
    fn judge(&self, answer: &Answer) -> Outcome {
        let health_json = answer.kind.filter(|_| self.reads_health_json);
        let readable = health_json.filter(|_| !answer.is_encoded);
        let status = readable.and_then(|kind| answer.body.status(kind));
        if !(self.expect)(answer.code) {
            return unexpected(answer.code, status);
        }
        // A body that cannot be read does not pass.
        if answer.is_encoded && (health_json.is_some() || self.expect_body.is_some()) {
            return Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause("the body has a compression that the client does not support");
        }
        let is_expected = self
            .expect_body
            .as_ref()
            .is_none_or(|is| is(&answer.body.start));
        let body = if is_expected {
            Outcome::pass()
        } else {
            Outcome::fail(Reason::UnexpectedAnswer).with_cause("the body is not as expected")
        };
        body.merge(status.unwrap_or_else(Outcome::pass))
    }
}

/// Returns the outcome of an unexpected status code. The status in the body counts if it is a
/// failure and the code is 500 or above.
fn unexpected(code: u16, status: Option<Outcome>) -> Outcome {
    let says_fail = status.filter(|status| status.reason() == Some(Reason::Unhealthy));
    let outcome = match (code, says_fail) {
        (500.., Some(status)) => return status,
        (401, _) => Outcome::fail(Reason::AuthenticationFailed),
        (403, _) => Outcome::fail(Reason::PermissionDenied),
        (404, _) => Outcome::fail(Reason::NotFound),
        (429, _) => Outcome::warn(Reason::Busy),
        (503, _) => Outcome::fail(Reason::Unhealthy),
        _ => Outcome::fail(Reason::UnexpectedAnswer),
    };
    outcome.with_cause(format_args!("the status code is {code}"))
}

#[async_trait]
impl HealthCheck for HttpUpstream {
    async fn check(&self) -> Result<Outcome, Failure> {
        let url = match &self.url {
            Ok(url) => url,
            Err(fault) => return Err(Failure::new(Reason::Misconfigured).with_cause(fault)),
        };
        let answer = self.answer(url).await;
        let answer =
            answer.map_err(|error| Failure::new(reason(&error)).with_cause(message(&error)))?;
        let outcome = self.judge(&answer);
        Ok(outcome.measure("code", u64::from(answer.code), ""))
    }

    fn problems(&self) -> Vec<String> {
        let problem = match &self.url {
            Ok(url) if matches!(url.scheme(), "http" | "https") => None,
            Ok(url) => Some(format!("the scheme is {:?}", url.scheme())),
            Err(problem) => Some(problem.clone()),
        };
        let problem = problem
            .map(|problem| format!("the URL is invalid ({problem}): use http:// or https://"));
        problem.into_iter().collect()
    }
}

/// What a run reads of a response.
struct Answer {
    code: u16,
    /// `None` if the body has no media type, or one that is not about health.
    kind: Option<Kind>,
    /// Whether it has a compression that the client does not support.
    is_encoded: bool,
    body: Body,
}

/// The part of a body that was read.
#[derive(Default)]
struct Body {
    start: Vec<u8>,
    /// Whether the body continues after that part.
    is_cut: bool,
}

impl Body {
    /// Reads a body. A body within the limit is read to its end, so that its connection can be
    /// reused.
    async fn of(response: &mut Response) -> Result<Self, reqwest::Error> {
        let mut body = Self::default();
        while let Some(chunk) = response.chunk().await? {
            let room = READ - body.start.len();
            body.start.extend(chunk.iter().take(room));
            if chunk.len() > room {
                body.is_cut = true;
                break;
            }
        }
        Ok(body)
    }

    /// Returns the outcome that the body reports, or `None` if it is not about health.
    fn status(&self, kind: Kind) -> Option<Outcome> {
        let cut = || {
            Outcome::fail(Reason::UnexpectedAnswer).with_cause(format_args!(
                "no status in the first {READ} bytes of the JSON body"
            ))
        };
        // A body whose status may be in the part that was not read does not pass.
        let is_json = kind != Kind::Text;
        health_json::read(kind, &self.start).or_else(|| (self.is_cut && is_json).then(cut))
    }
}

/// Whether the connection was closed before the server responded.
fn is_lost(error: &reqwest::Error) -> bool {
    let may_be = error.is_request() && !(error.is_timeout() || error.is_connect());
    may_be && reason(error) == Reason::ConnectionLost
}

/// Returns the reason of a request that failed without a response.
fn reason(error: &reqwest::Error) -> Reason {
    if error.is_builder() {
        return Reason::Misconfigured;
    }
    if error.is_timeout() {
        return Reason::TimedOut;
    }
    if error.is_dns() {
        return Reason::Unreachable;
    }
    match Reason::of(error) {
        Reason::Failed => chain(error)
            .find_map(|source| reason_from_message(&source.to_string()))
            .unwrap_or(Reason::UnexpectedAnswer),
        reason => reason,
    }
}

/// Returns the reason that an error's message implies, for errors of crates that this crate does
/// not know: hyper, and the client's TLS.
fn reason_from_message(text: &str) -> Option<Reason> {
    let starts = |message: &[&str]| message.iter().any(|message| text.starts_with(message));
    if starts(&[
        "connection closed",
        "connection error",
        "operation was canceled",
    ]) {
        Some(Reason::ConnectionLost)
    } else if starts(&["invalid URL"]) {
        Some(Reason::Misconfigured)
    } else {
        Reason::from_message(text)
    }
}

/// Returns the messages of an error and its sources, without the URL, which may contain a secret in
/// its query.
fn message(error: &reqwest::Error) -> String {
    let mut message: Vec<String> = Vec::new();
    for source in chain(error) {
        let url = source.downcast_ref::<reqwest::Error>();
        let url = url.and_then(reqwest::Error::url);
        let text = match url {
            Some(url) => source.to_string().replace(&format!(" for url ({url})"), ""),
            None => source.to_string(),
        };
        message.push(text);
    }
    message.join(": ")
}

/// The URL is omitted, because it may contain a secret.
impl fmt::Debug for HttpUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUpstream")
            .field("reads_health_json", &self.reads_health_json)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_from_tls_messages() {
        #[cfg(feature = "certificate")]
        {
            let error = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
            assert_eq!(
                reason_from_message(&error.to_string()),
                Some(Reason::Untrusted)
            );
            let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
            assert_eq!(reason_from_message(&alert.to_string()), None);
        }
        let openssl = "error:0A000086:SSL routines::certificate verify failed";
        assert_eq!(reason_from_message(openssl), Some(Reason::Untrusted));
    }
}
