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

/// How long a run waits before it asks again, so that the client notices what else was closed at the same time.
const BEFORE_AGAIN: Duration = Duration::from_millis(10);

/// How long the body of a code that is not expected is waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether a service that is asked over HTTP says that it is well.
///
/// It judges the code of the answer to a `GET`, and what a body in health+json says: one of the type
/// `application/health+json`, or of another JSON type with a `status` that is a text, such as those of Spring Boot's actuator, of
/// MicroProfile and of Elasticsearch; or a plain text that is nothing but one of the words below, as ASP.NET has it. So what is a warning there is
/// one here.
///
/// | finding | outcome |
/// | --- | --- |
/// | an expected code | pass |
/// | and a body that says `pass`, `ok`, `up`, `healthy`, `green`, `serving` or `passing` | pass |
/// | and a body that says `warn`, `degraded` or `yellow` | warn, degraded |
/// | and a body that says `fail`, `error`, `down`, `out_of_service`, `unhealthy`, `red`, `not_serving` or `critical` | fail, unhealthy |
/// | and a body that says anything else, or a health+json without a status | fail, unexpected answer |
/// | and a body of a JSON type that is longer than what is read, without a status in that | fail, unexpected answer |
/// | and a body of such a type that is compressed in a way that the client was not built for | fail, unexpected answer |
/// | 503; or another code that is not expected, of 500 and above, with a body that says it fails | fail, unhealthy |
/// | 429 | warn, busy |
/// | 401 | fail, authentication failed |
/// | 403 | fail, permission denied |
/// | 404 | fail, not found |
/// | another code, or what is no HTTP; too many redirects | fail, unexpected answer |
/// | a certificate that the client does not trust | fail, untrusted |
/// | no address for its name | fail, unreachable |
/// | nothing listens there, the connection is cut, no answer | fail, connection refused, connection lost, timed out |
/// | a URL that is none, or of a scheme that the client does not speak | fail, misconfigured |
///
/// A run is one request, over a connection of the client's pool. A server closes a connection that was idle for as long as it allows, perhaps
/// just as the request arrives; then the request is sent once more. That is over a new connection if the client keeps one at most
/// (`pool_max_idle_per_host`); the client of an application may have kept others. Of a body at most 64 kB are read, and what they say counts: a longer one in
/// JSON has to have its status there, unless it is [not read for that](Self::ignore_health_json). The
/// client decides on redirects, proxies, TLS, its user agent and other headers; but for `Accept`, which asks for health+json first.
/// A user and a password in the URL are sent as the client does it, and told to nobody, nor is anything else of the URL that may be a secret.
///
/// Services that ask for each other's readiness, and go by it, are never ready once neither is. So ask for liveness, or let it be
/// [non-critical](tower_health::Check::non_critical).
///
/// Measured is the `code`. That an answer takes long is for [`Check::warn_above`](tower_health::Check::warn_above).
///
/// ```
/// use tower_health::Check;
/// use tower_health_checks::HttpUpstream;
///
/// // Of a service of one's own, a redirect is no answer, and there is no proxy on the way.
/// let client = reqwest::Client::builder()
///     .no_proxy()
///     .pool_max_idle_per_host(1)
///     .redirect(reqwest::redirect::Policy::none())
///     .build()?;
/// let ready = HttpUpstream::new(client, "http://stock.internal/ready").expect(|code| code == 200);
/// let stock = Check::new("stock", ready).non_critical();
/// # Ok::<(), reqwest::Error>(())
/// ```
#[must_use = "a check does nothing until it is given to `Check::new`"]
pub struct HttpUpstream {
    client: Client,
    /// Or what is wrong with it.
    url: Result<Url, String>,
    expect: Box<dyn Fn(u16) -> bool + Send + Sync>,
    expect_body: Option<Box<ExpectBody>>,
    reads_health_json: bool,
}

type ExpectBody = dyn Fn(&[u8]) -> bool + Send + Sync;

impl HttpUpstream {
    /// A check of what is at a URL, such as `http://stock.internal/ready`.
    ///
    /// What is no URL fails with [`Reason::Misconfigured`].
    pub fn new(client: Client, url: impl AsRef<str>) -> Self {
        Self {
            client,
            url: Url::parse(url.as_ref()).map_err(|error| error.to_string()),
            expect: Box::new(|code| (200..300).contains(&code)),
            expect_body: None,
            reads_health_json: true,
        }
    }

    /// Which codes are expected. Defaults to 200 to 299.
    pub fn expect(mut self, code: impl Fn(u16) -> bool + Send + Sync + 'static) -> Self {
        self.expect = Box::new(code);
        self
    }

    /// Which bodies are expected, beside what is read as health+json. Judged are the first 64 kB; what is not expected fails with
    /// [`Reason::UnexpectedAnswer`]. Defaults to any.
    ///
    /// ```
    /// # use tower_health_checks::HttpUpstream;
    /// # let client = reqwest::Client::new();
    /// let nagios = HttpUpstream::new(client, "http://stock.internal/ping").expect_body(|body| body.starts_with(b"OK"));
    /// ```
    pub fn expect_body(mut self, body: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.expect_body = Some(Box::new(body));
        self
    }

    /// Takes no body for health+json: for a service whose JSON has a `status` that is about something else. Defaults to reading it.
    pub fn ignore_health_json(mut self) -> Self {
        self.reads_health_json = false;
        self
    }

    /// Sends the request, and once more if the server closed the connection before it answered anything.
    async fn ask(&self, url: &Url) -> Result<Response, reqwest::Error> {
        let ask = || {
            let accept = "application/health+json, application/json;q=0.9, */*;q=0.1";
            self.client.get(url.clone()).header(ACCEPT, accept).send()
        };
        match ask().await {
            Err(error) if is_lost(&error) => {
                sleep(BEFORE_AGAIN).await;
                ask().await
            }
            answered => answered,
        }
    }

    async fn answer(&self, url: &Url) -> Result<Answer, reqwest::Error> {
        let mut response = self.ask(url).await?;
        let code = response.status().as_u16();
        let media_type = response.headers().get(CONTENT_TYPE);
        let kind = media_type.and_then(|text| Kind::of(text.to_str().ok()?));
        // The client takes away what it has decoded.
        let encoding = response.headers().get(CONTENT_ENCODING);
        let is_encoded = encoding.is_some_and(|encoding| encoding != "identity");
        let body = match (self.expect)(code) {
            true => Body::of(&mut response).await?,
            // The code alone is bad enough, if no more is to be had.
            false => match timeout(PATIENCE, Body::of(&mut response)).await {
                Ok(Ok(body)) => body,
                Ok(Err(_)) | Err(_) => Body::default(),
            },
        };
        Ok(Answer {
            code,
            kind,
            is_encoded,
            body,
        })
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        let health_json = answer.kind.filter(|_| self.reads_health_json);
        let readable = health_json.filter(|_| !answer.is_encoded);
        let says = readable.and_then(|kind| answer.body.says(kind));
        if !(self.expect)(answer.code) {
            return unexpected(answer.code, says);
        }
        // What was not read is not taken for granted.
        if answer.is_encoded && (health_json.is_some() || self.expect_body.is_some()) {
            return Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause("its body is compressed in a way that the client was not built for");
        }
        let is_expected = self
            .expect_body
            .as_ref()
            .is_none_or(|is| is(&answer.body.start));
        let body = match is_expected {
            true => Outcome::pass(),
            false => {
                Outcome::fail(Reason::UnexpectedAnswer).with_cause("its body is not as expected")
            }
        };
        body.merge(says.unwrap_or_else(Outcome::pass))
    }
}

fn unexpected(code: u16, says: Option<Outcome>) -> Outcome {
    let says_fail = says.filter(|says| says.reason() == Some(Reason::Unhealthy));
    let outcome = match (code, says_fail) {
        (500.., Some(says)) => return says,
        (401, _) => Outcome::fail(Reason::AuthenticationFailed),
        (403, _) => Outcome::fail(Reason::PermissionDenied),
        (404, _) => Outcome::fail(Reason::NotFound),
        (429, _) => Outcome::warn(Reason::Busy),
        (503, _) => Outcome::fail(Reason::Unhealthy),
        _ => Outcome::fail(Reason::UnexpectedAnswer),
    };
    outcome.with_cause(format_args!("it answers {code}"))
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
            answer.map_err(|error| Failure::new(reason(&error)).with_cause(words(&error)))?;
        let outcome = self.judge(&answer);
        Ok(outcome.measure("code", u64::from(answer.code), ""))
    }
}

struct Answer {
    code: u16,
    kind: Option<Kind>,
    /// Whether it was compressed in a way that the client does not know.
    is_encoded: bool,
    body: Body,
}

/// What was read of a body.
#[derive(Default)]
struct Body {
    start: Vec<u8>,
    /// Whether there is more of it.
    is_cut: bool,
}

impl Body {
    /// One that ends within what is read is read to its end, so that its connection can be used again.
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

    fn says(&self, kind: Kind) -> Option<Outcome> {
        let cut = || {
            Outcome::fail(Reason::UnexpectedAnswer).with_cause(format_args!(
                "no status in the first {READ} bytes of its JSON"
            ))
        };
        // What a status that was not read says is not taken for granted.
        let is_json = kind != Kind::Text;
        health_json::read(kind, &self.start).or_else(|| (self.is_cut && is_json).then(cut))
    }
}

/// Whether the connection was closed before anything was answered.
fn is_lost(error: &reqwest::Error) -> bool {
    let may_be = error.is_request() && !(error.is_timeout() || error.is_connect());
    may_be && reason(error) == Reason::ConnectionLost
}

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
            .find_map(|source| by_words(&source.to_string()))
            .unwrap_or(Reason::UnexpectedAnswer),
        reason => reason,
    }
}

/// What those sources are about whose types are of crates that this one does not know: of hyper, and of the client's TLS.
fn by_words(text: &str) -> Option<Reason> {
    let starts = |words: &[&str]| words.iter().any(|words| text.starts_with(words));
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

/// An error and its sources, without the URL, which may hold a secret in its query.
fn words(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for source in chain(error) {
        let url = source.downcast_ref::<reqwest::Error>();
        let url = url.and_then(reqwest::Error::url);
        let text = match url {
            Some(url) => source.to_string().replace(&format!(" for url ({url})"), ""),
            None => source.to_string(),
        };
        words.push(text);
    }
    words.join(": ")
}

/// Without the URL.
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
    fn what_tls_says_of_a_certificate() {
        #[cfg(feature = "certificate")]
        {
            let error = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
            assert_eq!(by_words(&error.to_string()), Some(Reason::Untrusted));
            let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
            assert_eq!(by_words(&alert.to_string()), None);
        }
        let openssl = "error:0A000086:SSL routines::certificate verify failed";
        assert_eq!(by_words(openssl), Some(Reason::Untrusted));
    }
}
