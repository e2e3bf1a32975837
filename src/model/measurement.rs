use std::borrow::Cow;

use serde::Serialize;

use super::Cause;

/// One thing that a run measured: `connections`, 12, `1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measurement {
    /// What was measured, such as `connections` or `utilization`.
    pub name: Cow<'static, str>,
    /// How much.
    pub value: Value,
    /// The unit, such as `ms`, `percent` or `bytes`; empty for a plain number or a word.
    pub unit: Cow<'static, str>,
}

impl Measurement {
    /// A value with its name and unit. Words are redacted like those of an error, see [`Cause::new`](crate::Cause::new); of a
    /// name and a unit, those that are not written in the code.
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

fn owned_redacted(text: Cow<'static, str>) -> Cow<'static, str> {
    match text {
        Cow::Owned(text) => redacted(&text).into(),
        literal => literal,
    }
}

fn redacted(text: &str) -> String {
    Cause::new(text).redacted().to_owned()
}

/// What a [`Measurement`] measured: a number, a truth or a word.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number. One that is not finite is written as `null`.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A word.
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

/// A number past [`i64::MAX`] becomes a [`Float`](Value::Float).
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Float(value as f64), Self::Integer)
    }
}

/// A number past [`i64::MAX`] becomes a [`Float`](Value::Float).
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
