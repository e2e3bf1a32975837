use std::borrow::Cow;

use serde::Serialize;

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
    /// A value with its name and unit.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            unit: unit.into(),
        }
    }
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
