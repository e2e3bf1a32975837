//! Checks that need no driver, and what helps to write others.
//!
//! Each is a [`HealthCheck`](crate::HealthCheck) for [`Check::new`](crate::Check::new):
//!
//! | what is asked | check |
//! | --- | --- |
//! | the age of a file, or of anything that has a time | [`Freshness`] |
//! | a queue of this process | [`Queue`] |
//! | several things, of which not all are needed | [`all_of`], [`any_of`], [`quorum()`] |
//!
//! Checks of databases, caches, brokers, upstreams, names, certificates and the system are in a crate of their own,
//! [`tower-health-checks`](https://docs.rs/tower-health-checks), a feature for each. It moves with the releases of the drivers; this
//! crate depends on none of them.
//!
//! # For those who write checks
//!
//! * [`BlockingCall`] calls code that blocks, such as the system's resolver and file system, from an async check.
//! * [`contradiction()`] finds bounds that contradict each other, for [`HealthCheck::problems`](crate::HealthCheck::problems).
//! * [`Forecast`] warns of a value that will meet its bound before long.
//! * [`Reason::of`](crate::Reason::of) and [`Reason::from_message`](crate::Reason::from_message) find the public reason of an error.
//! * `testing::Contract` (feature `testing`) holds a check to what the engine expects of it.

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
