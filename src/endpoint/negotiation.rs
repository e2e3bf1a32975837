//! What a client reads best.
//!
//! Source: [RFC 9110, section 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1).

use super::dialect::Format;

/// What can be asked for. Of what a client likes alike, the first.
const OFFERS: [(Format, &str, &str); 4] = [
    (Format::HealthJson, "application", "health+json"),
    (Format::Json, "application", "json"),
    (Format::KubernetesText, "text", "plain"),
    (
        Format::Actuator,
        "application",
        "vnd.spring-boot.actuator.v3+json",
    ),
];

const DEFAULT: Format = Format::HealthJson;

/// How much of what clients say is read, in bytes.
const READ: usize = 8 * 1024;

/// How well a client reads something: how exactly it names it, and how much it prefers it, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Liking {
    exactness: u8,
    quality: u16,
    /// How many ranges the client named before.
    place: usize,
}

/// The format for a client that accepts what the values of its `Accept` say.
///
/// Of what it likes best, that is which it names most exactly, then the first of [`OFFERS`]. One that accepts nothing
/// of what there is gets the first, too: a prober with an odd `Accept` wants an answer, not a 406. What cannot be
/// read counts for nothing.
pub(super) fn negotiate<'v>(accept: impl IntoIterator<Item = &'v [u8]>) -> Format {
    let mut accept = accept.into_iter().peekable();
    // What most probers send.
    match accept.peek() {
        None => DEFAULT,
        Some(_) => best(accept),
    }
}

fn best<'v>(accept: impl Iterator<Item = &'v [u8]>) -> Format {
    let mut likings = [Liking::default(); OFFERS.len()];
    let (mut left, mut place) = (READ, 0);
    for value in accept {
        let Some(rest) = left.checked_sub(value.len()) else {
            break;
        };
        left = rest;
        for range in split(value, b',') {
            hear(&mut likings, range, place);
            place += 1;
        }
    }
    let acceptable = OFFERS
        .iter()
        .zip(likings)
        .filter(|(_, liking)| liking.quality > 0);
    // The last of equals is what `max_by_key` takes.
    let best = acceptable
        .clone()
        .rev()
        .max_by_key(|(_, liking)| (liking.quality, liking.exactness));
    let Some(((best, ..), liking)) = best else {
        return DEFAULT;
    };
    // Of text and JSON that it likes alike, what it names first: so probers mean it that were made for text.
    let text_first = acceptable.clone().any(|((format, ..), text)| {
        *format == Format::KubernetesText
            && (text.quality, text.exactness) == (liking.quality, liking.exactness)
            && text.place < liking.place
    });
    match text_first {
        true => Format::KubernetesText,
        false => *best,
    }
}

/// Takes a media range into account. The most exact one that matches decides.
fn hear(likings: &mut [Liking; OFFERS.len()], range: &[u8], place: usize) {
    let Some((kind, subtype, quality)) = read(range) else {
        return;
    };
    for ((_, offered_kind, offered_subtype), liking) in OFFERS.iter().zip(likings) {
        let exactness = match (kind, subtype) {
            (b"*", b"*") => 1,
            (kind, _) if !kind.eq_ignore_ascii_case(offered_kind.as_bytes()) => continue,
            (_, b"*") => 2,
            (_, subtype) if subtype.eq_ignore_ascii_case(offered_subtype.as_bytes()) => 3,
            _ => continue,
        };
        if exactness > liking.exactness {
            *liking = Liking {
                exactness,
                quality,
                place,
            };
        } else if exactness == liking.exactness {
            liking.quality = liking.quality.max(quality);
        }
    }
}

/// The type, the subtype and the quality of a media range, if it is one.
fn read(range: &[u8]) -> Option<(&[u8], &[u8], u16)> {
    let mut parts = split(range, b';').map(<[u8]>::trim_ascii);
    let media = parts.next()?;
    let slash = media.iter().position(|&byte| byte == b'/')?;
    let (kind, subtype) = (media.get(..slash)?, media.get(slash + 1..)?);
    let mut quality = 1000;
    for parameter in parts {
        if let [b'q' | b'Q', b'=', value @ ..] = parameter {
            quality = thousandths(value)?;
        }
    }
    Some((kind, subtype, quality))
}

/// A quality: from 0 to 1, with at most three decimals.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut quality = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = decimals.get(place).copied().unwrap_or(b'0');
        quality = quality * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (quality <= 1000).then_some(quality)
}

/// The parts between separators, but for those in quoted strings.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return byte == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(accept: &str) -> Format {
        negotiate([accept.as_bytes()])
    }

    #[test]
    fn what_probers_and_clients_send() {
        use Format::{Actuator, HealthJson, Json, KubernetesText};
        for (accept, format) in [
            ("*/*", HealthJson),
            ("application/*", HealthJson),
            ("text/*", KubernetesText),
            ("text/plain", KubernetesText),
            ("TEXT/Plain; charset=utf-8", KubernetesText),
            ("application/json", Json),
            ("application/health+json", HealthJson),
            ("application/json, application/health+json", HealthJson),
            (
                "application/json;q=0.9, application/health+json;q=0.8",
                Json,
            ),
            ("application/vnd.spring-boot.actuator.v3+json", Actuator),
            (
                "application/vnd.spring-boot.actuator.v3+json,application/json;q=0.9",
                Actuator,
            ),
            // What a client names is more to it than what it takes, too.
            ("application/json, text/plain, */*", Json),
            ("text/plain, */*", KubernetesText),
            ("text/plain;q=0.5, */*;q=0.1", KubernetesText),
            ("text/plain;q=0.5, */*", HealthJson),
            ("text/plain, application/json", KubernetesText),
            ("text/plain, application/health+json;q=0.9", KubernetesText),
            ("application/json, text/plain", Json),
            // Consul.
            ("text/plain, text/*, */*", KubernetesText),
            // The most exact range decides.
            ("application/*, application/health+json;q=0", Json),
            ("*/*, application/*;q=0", KubernetesText),
            (
                "text/plain;q=0.1, text/plain;q=0.7, application/json;q=0.5",
                KubernetesText,
            ),
            // A browser.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
                HealthJson,
            ),
            // Nothing of what there is.
            ("", HealthJson),
            ("image/png", HealthJson),
            ("application/openmetrics-text", HealthJson),
            ("*/*;q=0", HealthJson),
            ("text/plain;q=0", HealthJson),
            // What cannot be read.
            ("text", HealthJson),
            ("text/plain;q=2", HealthJson),
            ("text/plain;q=0.5555", HealthJson),
            ("text/plain;q=", HealthJson),
            ("text/plain;q=0.x", HealthJson),
            ("text/plain;q=1.001", HealthJson),
            (",,;,/,*/x,text/plain;;", KubernetesText),
            (r#"text/plain;x="a,b;q=0";q=1"#, KubernetesText),
            (r#"image/png;x="\",text/plain"#, HealthJson),
        ] {
            assert_eq!(of(accept), format, "{accept}");
        }
        assert_eq!(negotiate([]), HealthJson);
        let lines: [&[u8]; 2] = [b"image/png", b"text/plain"];
        assert_eq!(negotiate(lines), KubernetesText);
        let long = format!("text/plain;x={}", "x".repeat(READ));
        assert_eq!(of(&long), HealthJson);
    }

    proptest! {
        #[test]
        fn anything_is_answered(accept in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4)) {
            negotiate(accept.iter().map(Vec::as_slice));
        }

        #[test]
        fn a_higher_quality_wins(text in 1_u16..=999, json in 1_u16..=999) {
            let accept = format!("text/plain;q=0.{text:03}, application/json;q=0.{json:03}");
            // Of what it likes alike, text if it is named first.
            let expected = if text >= json { Format::KubernetesText } else { Format::Json };
            prop_assert_eq!(of(&accept), expected);
        }
    }
}
