//! Checks for connection pools: [`Pooled`] checks a pool of bb8, deadpool, r2d2 or diesel-async, or
//! any pool that implements [`Pool`].
//!
//! The checks for a specific [database](crate#) report more about the server than these do, such as
//! connections near its limit, replication lag, and whether it accepts writes.
//!
//! | pool | constructor | connection of a run |
//! | --- | --- | --- |
//! | bb8 | [`Pooled::bb8`] | dedicated |
//! | deadpool | [`Pooled::deadpool`] | dedicated |
//! | r2d2 | [`Pooled::r2d2`] | dedicated, on a separate thread |
//! | bb8 of diesel-async | [`Pooled::diesel_bb8`] | dedicated |
//! | deadpool of diesel-async | [`Pooled::diesel_deadpool`] | dedicated |
//! | an implementation of [`Pool`] | [`Pooled::new`] | borrowed from the pool |
//!
//! A full pool is a warning, because the server may work:
//!
//! ```
//! # use deadpool::managed::{Manager, Metrics, RecycleResult};
//! # struct Connection;
//! # impl Connection { async fn ping(&mut self) -> std::io::Result<()> { Ok(()) } }
//! # struct Connections;
//! # impl Manager for Connections {
//! #     type Type = Connection;
//! #     type Error = std::io::Error;
//! #     async fn create(&self) -> std::io::Result<Connection> { Ok(Connection) }
//! #     async fn recycle(
//! #         &self, _: &mut Connection, _: &Metrics,
//! #     ) -> RecycleResult<std::io::Error> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use deadpool::managed::Pool;
//! use tower_health::{HealthCheck, Reason, Status};
//! use tower_health_checks::pool::Pooled;
//!
//! let pool: Pool<Connections> = Pool::builder(Connections).max_size(1).build()?;
//! let check = Pooled::deadpool(pool.clone(), |connection| Box::pin(connection.ping()));
//!
//! let taken = pool.get().await.unwrap();
//! let outcome = check.check().await.unwrap();
//! assert_eq!((outcome.status(), outcome.reason()), (Status::Warn, Some(Reason::Busy)));
//!
//! drop(taken);
//! assert_eq!(check.check().await.unwrap().status(), Status::Pass);
//! # Ok(())
//! # }
//! ```

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
mod source;
mod usage;

pub use self::{
    borrowed::{Pool, Unavailable},
    pooled::Pooled,
    usage::Usage,
};
