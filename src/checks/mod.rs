//! Checks that need no driver, and building blocks for custom checks.
//!
//! Each is a [`HealthCheck`](crate::HealthCheck) for [`Check::new`](crate::Check::new):
//!
//! | what is checked | check |
//! | --- | --- |
//! | the age of a file, or of anything that has a time | [`Freshness`] |
//! | a queue in this process | [`Queue`] |
//! | several things, not all of which are needed | [`all_of`], [`any_of`], [`quorum()`] |
//!
//! Checks of databases, caches, brokers, upstreams, names, certificates and the system are in a
//! separate crate, [`tower-health-checks`](https://docs.rs/tower-health-checks), with one feature
//! for each. Its releases follow those of the drivers. This crate depends on none of them.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_health::{Check, Health, Probe, Status, checks::{Queue, any_of}};
//!
//! let (sender, mut receiver) = tokio::sync::mpsc::channel::<String>(100);
//! # let ping = || async { Status::Pass };
//! let health = Health::builder("orders")
//!     .check(Check::new("mails", Queue::of_channel(&sender)).non_critical())
//!     .check(Check::new("replicas", any_of().member("eu", ping).member("us", ping)).shared())
//!     .start()?;
//! assert_eq!(health.wait_until_good(Probe::Readiness).await?.status, Status::Pass);
//!
//! receiver.close();
//! let mails = health.run_now("mails").await?;
//! assert_eq!(mails.why().as_deref(), Some("died"));
//! assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
//! # Ok(())
//! # }
//! ```
//!
//! # Writing checks
//!
//! * [`BlockingCall`] calls blocking code, such as the system's resolver and file system, from an
//!   async check.
//! * [`contradiction()`] finds bounds that contradict each other, for
//!   [`HealthCheck::problems`](crate::HealthCheck::problems).
//! * [`Forecast`] warns of a value that will soon reach its bound.
//! * [`Reason::of`](crate::Reason::of) and [`Reason::from_message`](crate::Reason::from_message)
//!   find the public reason of an error.
//! * `testing::Contract` (feature `testing`) tests that a check meets the expectations of the
//!   engine.

mod blocking_call;
mod contradiction;
mod forecast;
mod freshness;
mod queue;
mod quorum;

pub use self::blocking_call::BlockingCall;
pub use self::contradiction::contradiction;
pub use self::forecast::{Forecast, Prediction};
pub use self::freshness::Freshness;
pub use self::queue::Queue;
pub use self::quorum::{Quorum, all_of, any_of, quorum};
