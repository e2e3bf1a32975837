//! Parses bodies in health+json and in similar formats with a `status`.
//!
//! Source:
//! [draft-inadarei-api-health-check-06](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06).
//!
//! [`HttpUpstream`](super::HttpUpstream) calls [`read`] with the part of a body that it has read.
//! The result is `None` if the body is not about health. Such a body neither passes nor fails a
//! check. An unknown status does fail it, because a service that reports one may be down.

use std::fmt;

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use tower_health::{Outcome, Reason, Status};

/// How strictly a body is interpreted, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The body must have a status.
    HealthJson,
    /// The body has a status if it is about health.
    Json,
    /// The body is one of the known words and nothing else, if it is about health.
    Text,
}

impl Kind {
    /// Returns the kind of a media type, which may have parameters. `None` if bodies of this type
    /// are not about health.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/health+json" => Some(Self::HealthJson),
            "application/json" => Some(Self::Json),
            "text/plain" => Some(Self::Text),
            other if other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// Returns the outcome that a body reports, or `None` if it is about something else. The body may
/// be cut off.
pub(super) fn read(kind: Kind, body: &[u8]) -> Option<Outcome> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if kind == Kind::Text {
        let word = std::str::from_utf8(body).ok()?.trim();
        return status(word).map(|status| outcome(Some(status), word, None));
    }
    let mut said = Fields::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    // A status that was read before the end of a truncated body counts.
    let ended = json.deserialize_map(&mut said);
    let Some(word) = said.status else {
        let why = ended.err().map(|error| format!(": {error}"));
        let why = why.unwrap_or_default();
        return (kind == Kind::HealthJson).then(|| {
            Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause(format_args!("health+json without a status{why}"))
        });
    };
    Some(outcome(status(&word), &word, said.output))
}

/// Returns the outcome of a status. The cause contains the status as it was sent, and the `output`
/// of the service.
fn outcome(status: Option<Status>, word: &str, output: Option<String>) -> Outcome {
    let outcome = match status {
        Some(Status::Pass) => return Outcome::pass(),
        Some(Status::Warn) => Outcome::warn(Reason::Degraded),
        Some(Status::Fail) => Outcome::fail(Reason::Unhealthy),
        None => Outcome::fail(Reason::UnexpectedAnswer),
    };
    match output {
        Some(output) => outcome.with_cause(format_args!("the status is {word:?}: {output}")),
        None => outcome.with_cause(format_args!("the status is {word:?}")),
    }
}

/// The byte order mark with which text from Windows may begin.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The known values of a status, in any case, with their origin.
const STATUSES: [(&str, Status); 18] = [
    // The draft of health+json.
    ("pass", Status::Pass),
    ("warn", Status::Warn),
    ("fail", Status::Fail),
    // The alternatives in the draft, and those of Spring Boot and MicroProfile.
    ("ok", Status::Pass),
    ("error", Status::Fail),
    ("up", Status::Pass),
    ("down", Status::Fail),
    ("out_of_service", Status::Fail),
    // ASP.NET.
    ("healthy", Status::Pass),
    ("degraded", Status::Warn),
    ("unhealthy", Status::Fail),
    // Elasticsearch and OpenSearch: all shards available, some replicas missing, data missing.
    ("green", Status::Pass),
    ("yellow", Status::Warn),
    ("red", Status::Fail),
    // gRPC, as its gateways write it in JSON.
    ("serving", Status::Pass),
    ("not_serving", Status::Fail),
    // Consul.
    ("passing", Status::Pass),
    ("critical", Status::Fail),
];

/// Returns the meaning of a status, or `None` if it is not a known one.
fn status(word: &str) -> Option<Status> {
    let mut words = STATUSES.iter();
    let (_, status) = words.find(|(known, _)| word.eq_ignore_ascii_case(known))?;
    Some(*status)
}

/// The two fields of the object that count. A field that is not a string is left out, and of a
/// repeated field the last string counts.
#[derive(Default)]
struct Fields {
    status: Option<String>,
    output: Option<String>,
}

impl<'de> Visitor<'de> for &mut Fields {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let field = match name.as_str() {
                "status" => &mut self.status,
                "output" => &mut self.output,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if let Value::String(text) = map.next_value()? {
                *field = Some(text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: Kind, body: &str) -> Option<(Status, Option<Reason>)> {
        read(kind, body.as_bytes()).map(|outcome| (outcome.status(), outcome.reason()))
    }

    #[test]
    fn statuses_of_several_frameworks() {
        let fails = Some((Status::Fail, Some(Reason::Unhealthy)));
        let warns = Some((Status::Warn, Some(Reason::Degraded)));
        for (word, is) in [
            ("pass", Some((Status::Pass, None))),
            ("UP", Some((Status::Pass, None))),
            ("ok", Some((Status::Pass, None))),
            ("Warn", warns),
            ("fail", fails),
            ("error", fails),
            ("DOWN", fails),
            ("OUT_OF_SERVICE", fails),
            ("Healthy", Some((Status::Pass, None))),
            ("Degraded", warns),
            ("Unhealthy", fails),
            ("green", Some((Status::Pass, None))),
            ("yellow", warns),
            ("red", fails),
            ("SERVING", Some((Status::Pass, None))),
            ("NOT_SERVING", fails),
            ("passing", Some((Status::Pass, None))),
            ("critical", fails),
        ] {
            let body = format!(r#"{{"checks":[{{"status":"x"}}],"status":"{word}"}}"#);
            for body in [body.clone(), format!("\u{feff}{body}")] {
                assert_eq!(said(Kind::Json, &body), is, "{word}");
                assert_eq!(said(Kind::HealthJson, &body), is, "{word}");
            }
            for body in [word.to_owned(), format!("\u{feff}{word}\r\n")] {
                assert_eq!(said(Kind::Text, &body), is, "{word}");
            }
        }
        // Text that is about something else.
        for text in ["", "orders", "all is ok", "down the road"] {
            assert_eq!(said(Kind::Text, text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_status_does_not_pass() {
        let unexpected = Some((Status::Fail, Some(Reason::UnexpectedAnswer)));
        for kind in [Kind::Json, Kind::HealthJson] {
            assert_eq!(said(kind, r#"{"status":"UNKNOWN"}"#), unexpected);
        }
        for body in ["", "[]", "{", "{}", r#"{"status":1}"#, "<html>", "null"] {
            assert_eq!(said(Kind::HealthJson, body), unexpected, "{body}");
            assert_eq!(said(Kind::Json, body), None, "{body}");
        }
    }

    #[test]
    fn a_truncated_body_counts_up_to_its_end() {
        let cut = r#"{"status":"warn","output":"slow","checks":{"a":[{"time":"20"#;
        let outcome = read(Kind::HealthJson, cut.as_bytes()).unwrap();
        assert_eq!(outcome.status(), Status::Warn);
        assert_eq!(
            outcome.cause().unwrap().redacted(),
            r#"the status is "warn": slow"#
        );
    }

    #[test]
    fn media_types() {
        for (text, kind) in [
            (
                "application/health+json; charset=utf-8",
                Some(Kind::HealthJson),
            ),
            ("Application/JSON", Some(Kind::Json)),
            (
                "application/vnd.spring-boot.actuator.v3+json",
                Some(Kind::Json),
            ),
            ("text/plain; charset=utf-8", Some(Kind::Text)),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }
}
