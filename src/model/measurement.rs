//! Measurements: the numbers and texts that a run returns beside its status.

use std::borrow::Cow;

use serde::Serialize;

use super::Cause;

/// A value that a run measured, with its name and unit.
///
/// A run returns measurements with [`Outcome::measure`](crate::Outcome::measure). Only callers with
/// [full exposure](crate::endpoint::Exposure::Full) see them in a body.
///
/// ```
/// use tower_health::outcome::{Measurement, Value};
///
/// let measurement = Measurement::new("connections", 12, "");
/// assert_eq!(measurement.name, "connections");
/// assert_eq!(measurement.value, Value::Integer(12));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measurement {
    /// The name of what was measured, such as `connections` or `utilization`. It is a part of a key
    /// in health+json (`postgres:connections`), so it must not be empty or contain `:` or control
    /// characters.
    pub name: Cow<'static, str>,
    /// The measured value.
    pub value: Value,
    /// The unit, such as `ms`, `percent` or `bytes`. Empty for a plain number or a text.
    pub unit: Cow<'static, str>,
}

impl Measurement {
    /// Creates a measurement. A text value is redacted like the text of an error: see
    /// [`Cause::new`](crate::Cause::new). So are a name and a unit, unless they are literals in the
    /// code.
    ///
    /// ```
    /// use tower_health::outcome::{Measurement, Value};
    ///
    /// let server = String::from("postgres://app:hunter2@db.internal/orders");
    /// let measurement = Measurement::new("server", server, "");
    /// assert_eq!(measurement.value, Value::Text("postgres://***@db.internal/orders".into()));
    /// ```
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            name: owned_redacted(name.into()),
            value: match value.into() {
                Value::Text(text) => Value::Text(redacted(&text).into()),
                number => number,
            },
            unit: owned_redacted(unit.into()),
        }
    }
}

/// Redacts a text that was made at run time. A literal is part of the code and contains no secret.
fn owned_redacted(text: Cow<'static, str>) -> Cow<'static, str> {
    match text {
        Cow::Owned(text) => redacted(&text).into(),
        literal => literal,
    }
}

/// Redacts a text in the same way as a [`Cause`].
fn redacted(text: &str) -> String {
    Cause::new(text).redacted().to_owned()
}

/// The value of a [`Measurement`]: a number, a boolean or a text.
///
/// ```
/// use tower_health::outcome::Value;
///
/// assert_eq!(Value::from(12), Value::Integer(12));
/// assert_eq!(Value::from(u64::MAX), Value::Float(u64::MAX as f64));
/// assert_eq!(Value::from("primary"), Value::Text("primary".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// An integer.
    Integer(i64),
    /// A floating-point number. A number that is not finite is serialized as `null`, because JSON
    /// has no such numbers.
    ///
    /// ```
    /// use tower_health::outcome::Value;
    ///
    /// assert_eq!(serde_json::to_string(&Value::from(0.5)).unwrap(), "0.5");
    /// assert_eq!(serde_json::to_string(&Value::from(f64::NAN)).unwrap(), "null");
    /// ```
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A text. A [`Measurement`] redacts it, and truncates it to [`Cause::MAX_LEN`] bytes.
    Text(Cow<'static, str>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from! {
    i64 => Integer,
    i32 => Integer,
    i16 => Integer,
    i8 => Integer,
    u32 => Integer,
    u16 => Integer,
    u8 => Integer,
    f64 => Float,
    f32 => Float,
    bool => Bool,
    &'static str => Text,
    String => Text,
}

/// A number above [`i64::MAX`] becomes a [`Float`](Value::Float).
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Float(value as f64), Self::Integer)
    }
}

/// A number above [`i64::MAX`] becomes a [`Float`](Value::Float).
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_measurement_keeps_a_password() {
        let url = "amqp://app:hunter2@broker".to_owned();
        let measurement = Measurement::new(url.clone(), url.clone(), url);
        let shown = [
            format!("{measurement:?}"),
            serde_json::to_string(&measurement).unwrap(),
        ];
        for shown in shown {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert_eq!(shown.matches("***@broker").count(), 3, "{shown}");
        }
    }
}
