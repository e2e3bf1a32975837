//! Negotiation of the format by `Accept`.
//!
//! Source: [RFC 9110, section 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1).
//!
//! It works on bytes, because a header value need not be UTF-8, and does not allocate. Parameters
//! other than `q` are ignored. A prober never receives 406, because it would treat that as a
//! failure of the service.

use super::dialect::Format;

/// The formats that can be negotiated. If several are preferred equally, the first is used.
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

/// The format without `Accept`, and if nothing in it is acceptable.
const DEFAULT: Format = Format::HealthJson;

/// The maximum total length of the `Accept` values that are read, in bytes.
const MAX_LEN: usize = 8 * 1024;

/// The preference of a client for a format: how specific its media range is, and its quality in
/// thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Preference {
    /// From 1 for `*/*` to 3 for a complete media type. 0 if no range matches.
    specificity: u8,
    /// 0 if the format is not acceptable.
    quality: u16,
    /// The number of ranges before it in the header.
    place: usize,
}

/// Returns the format for a client with these values of `Accept`.
///
/// The highest quality wins, then the most specific media range, then the order of [`OFFERS`].
/// The exception is text that ties with the winner and is named before it. If no format is
/// acceptable, the result is the first of [`OFFERS`], because a prober with an unusual `Accept`
/// needs a response and not a 406. Ranges that cannot be parsed are ignored.
pub(super) fn negotiate<'v>(accept: impl IntoIterator<Item = &'v [u8]>) -> Format {
    let mut accept = accept.into_iter().peekable();
    // Most probers send no `Accept`.
    match accept.peek() {
        None => DEFAULT,
        Some(_) => best(accept),
    }
}

/// Returns the preferred format. It reads at most [`MAX_LEN`] bytes, and ignores the values after
/// that.
fn best<'v>(accept: impl Iterator<Item = &'v [u8]>) -> Format {
    let mut preferences = [Preference::default(); OFFERS.len()];
    let (mut left, mut place) = (MAX_LEN, 0);
    for value in accept {
        let Some(rest) = left.checked_sub(value.len()) else {
            break;
        };
        left = rest;
        for range in split(value, b',') {
            apply(&mut preferences, range, place);
            place += 1;
        }
    }
    let acceptable = OFFERS
        .iter()
        .zip(preferences)
        .filter(|(_, preference)| preference.quality > 0);
    // `max_by_key` returns the last of equal elements.
    let best = acceptable
        .clone()
        .rev()
        .max_by_key(|(_, preference)| (preference.quality, preference.specificity));
    let Some(((best, ..), preference)) = best else {
        return DEFAULT;
    };
    // If text and JSON tie, the first in the header wins. Probers that want text name it first.
    let text_first = acceptable.clone().any(|((format, ..), text)| {
        *format == Format::KubernetesText
            && (text.quality, text.specificity) == (preference.quality, preference.specificity)
            && text.place < preference.place
    });
    if text_first {
        Format::KubernetesText
    } else {
        *best
    }
}

/// Applies a media range to the formats that it matches. The most specific range decides.
fn apply(preferences: &mut [Preference; OFFERS.len()], range: &[u8], place: usize) {
    let Some((kind, subtype, quality)) = read(range) else {
        return;
    };
    for ((_, offered_kind, offered_subtype), preference) in OFFERS.iter().zip(preferences) {
        let specificity = match (kind, subtype) {
            (b"*", b"*") => 1,
            (kind, _) if !kind.eq_ignore_ascii_case(offered_kind.as_bytes()) => continue,
            (_, b"*") => 2,
            (_, subtype) if subtype.eq_ignore_ascii_case(offered_subtype.as_bytes()) => 3,
            _ => continue,
        };
        if specificity > preference.specificity {
            *preference = Preference {
                specificity,
                quality,
                place,
            };
        } else if specificity == preference.specificity {
            preference.quality = preference.quality.max(quality);
        }
    }
}

/// Returns the type, the subtype and the quality of a media range, if it is valid.
///
/// The quality is 1000 if it is not given.
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

/// Parses a quality, from 0 to 1 with at most three decimals, in thousandths.
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

/// Splits at separators that are not in a quoted string.
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
    fn accept_of_probers_and_clients() {
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
            // A named type is preferred over a wildcard.
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
            // No acceptable format.
            ("", HealthJson),
            ("image/png", HealthJson),
            ("application/openmetrics-text", HealthJson),
            ("*/*;q=0", HealthJson),
            ("text/plain;q=0", HealthJson),
            // Invalid ranges.
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
        let long = format!("text/plain;x={}", "x".repeat(MAX_LEN));
        assert_eq!(of(&long), HealthJson);
    }

    proptest! {
        #[test]
        fn any_accept_is_accepted(accept in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4)) {
            negotiate(accept.iter().map(Vec::as_slice));
        }

        #[test]
        fn a_higher_quality_wins(text in 1_u16..=999, json in 1_u16..=999) {
            let accept = format!("text/plain;q=0.{text:03}, application/json;q=0.{json:03}");
            // If they tie, text wins, because it is named first.
            let expected = if text >= json { Format::KubernetesText } else { Format::Json };
            prop_assert_eq!(of(&accept), expected);
        }
    }
}
