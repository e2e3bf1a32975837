//! Pools of connections, of any make: [`Pooled`] checks one of bb8, deadpool, r2d2 or diesel-async, or any that implements [`Pool`].
//!
//! The checks of a [database](crate#) tell more about the server than these do: connections near its limit, a lag, whether it takes writes.

#[cfg(feature = "bb8")]
mod bb8;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod beside;
#[cfg(feature = "deadpool")]
pub(crate) mod deadpool;
#[cfg(all(feature = "diesel-async", any(feature = "bb8", feature = "deadpool")))]
mod diesel_async;
mod lent;
mod pooled;
#[cfg(feature = "r2d2")]
mod r2d2;
mod refusal;
mod usage;

pub use self::{
    lent::{Pool, Unavailable},
    pooled::Pooled,
    usage::Usage,
};
