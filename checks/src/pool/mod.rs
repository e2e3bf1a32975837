//! Checks for connection pools: [`Pooled`] checks a pool of bb8, deadpool, r2d2 or diesel-async, or
//! any pool that implements [`Pool`].
//!
//! The checks for a specific [database](crate#) report more about the server than these do, such as
//! connections near its limit, replication lag, and whether it accepts writes.

#[cfg(feature = "bb8")]
mod bb8;
mod borrowed;
#[cfg(feature = "deadpool")]
pub(crate) mod deadpool;
#[cfg(all(feature = "diesel-async", any(feature = "bb8", feature = "deadpool")))]
mod diesel_async;
#[cfg(any(feature = "bb8", feature = "deadpool"))]
mod outside;
mod pooled;
#[cfg(feature = "r2d2")]
mod r2d2;
mod refusal;
mod usage;

pub use self::{
    borrowed::{Pool, Unavailable},
    pooled::Pooled,
    usage::Usage,
};
