//! How times and durations are written: in reports, in events and in the bodies of endpoints.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

/// A time on the wall clock, formatted as RFC 3339 in UTC with millisecond precision.
///
/// A time before 1970 or after the year 9999 is formatted as the nearest time that the format can
/// represent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) SystemTime);

/// The last second of the year 9999 in Unix time: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_epoch = self
            .0
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .min(Duration::from_secs(LAST_SECOND));
        let moment = SystemTime::UNIX_EPOCH + since_epoch;
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes a time as text, for `#[serde(serialize_with)]`.
pub(super) fn rfc3339<S: Serializer>(
    moment: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Timestamp(*moment).serialize(serializer)
}

/// Writes a time as text, or `null` if there is none, for `#[serde(serialize_with)]`.
pub(super) fn rfc3339_option<S: Serializer>(
    moment: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    moment.map(Timestamp).serialize(serializer)
}

/// Writes a duration as a number of milliseconds, for `#[serde(serialize_with)]`. The field is
/// renamed to end in `_ms`.
pub(super) fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(to_millis(*duration))
}

/// Writes a duration as a number of milliseconds, or `null` if there is none, for
/// `#[serde(serialize_with)]`.
pub(super) fn millis_option<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(to_millis).serialize(serializer)
}

/// Converts a duration to milliseconds, with microsecond precision: 1 234 567 ns become 1.234.
pub(crate) fn to_millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_out_of_range_are_clamped() {
        let day = Duration::from_secs(86_400);
        let written = |moment| serde_json::to_string(&Timestamp(moment)).unwrap();
        assert_eq!(
            written(SystemTime::UNIX_EPOCH - day),
            "\"1970-01-01T00:00:00.000Z\""
        );
        assert_eq!(
            written(SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND) + day),
            "\"9999-12-31T23:59:59.000Z\""
        );
    }
}
