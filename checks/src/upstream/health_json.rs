//! What a body in health+json says, and those of its relatives that have a `status` too.
//!
//! Source: [draft-inadarei-api-health-check-06](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06).

use std::fmt;

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use tower_health::{Outcome, Reason, Status};

/// How seriously a body is to be taken, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has to have a status.
    HealthJson,
    /// It has one if it is about health.
    Json,
}

impl Kind {
    pub(super) fn of(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/health+json" => Some(Self::HealthJson),
            "application/json" => Some(Self::Json),
            other if other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }
}

/// What the body of a health answer says; nothing if it is about something else.
pub(super) fn read(kind: Kind, body: &[u8]) -> Option<Outcome> {
    let mut said = Said::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    // What was read before the end of a body that was cut counts.
    let ended = json.deserialize_map(&mut said);
    let Some(word) = said.status else {
        let why = ended.err().map(|error| format!(": {error}"));
        let why = why.unwrap_or_default();
        return (kind == Kind::HealthJson).then(|| {
            Outcome::fail(Reason::UnexpectedAnswer)
                .with_cause(format_args!("health+json without a status{why}"))
        });
    };
    let outcome = match status(&word) {
        Some(Status::Pass) => return Some(Outcome::pass()),
        Some(Status::Warn) => Outcome::warn(Reason::Degraded),
        Some(Status::Fail) => Outcome::fail(Reason::Unhealthy),
        None => Outcome::fail(Reason::UnexpectedAnswer),
    };
    Some(match said.output {
        Some(output) => outcome.with_cause(format_args!("it says {word:?}: {output}")),
        None => outcome.with_cause(format_args!("it says {word:?}")),
    })
}

/// The words of the draft, and those of Spring Boot, MicroProfile and ASP.NET.
fn status(word: &str) -> Option<Status> {
    match word.to_ascii_lowercase().as_str() {
        "pass" | "ok" | "up" | "healthy" => Some(Status::Pass),
        "warn" | "degraded" => Some(Status::Warn),
        "fail" | "error" | "down" | "out_of_service" | "unhealthy" => Some(Status::Fail),
        _ => None,
    }
}

#[derive(Default)]
struct Said {
    status: Option<String>,
    output: Option<String>,
}

impl<'de> Visitor<'de> for &mut Said {
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
    fn words_of_several_dialects() {
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
        ] {
            let body = format!(r#"{{"checks":[{{"status":"x"}}],"status":"{word}"}}"#);
            assert_eq!(said(Kind::Json, &body), is, "{word}");
            assert_eq!(said(Kind::HealthJson, &body), is, "{word}");
        }
    }

    #[test]
    fn pitfall_04_a_status_that_nobody_knows_is_not_good() {
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
    fn a_body_that_was_cut_has_said_what_it_has_said() {
        let cut = r#"{"status":"warn","output":"slow","checks":{"a":[{"time":"20"#;
        let outcome = read(Kind::HealthJson, cut.as_bytes()).unwrap();
        assert_eq!(outcome.status(), Status::Warn);
        assert_eq!(
            outcome.cause().unwrap().redacted(),
            r#"it says "warn": slow"#
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
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }
}
