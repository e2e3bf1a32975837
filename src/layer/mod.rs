//! tower middleware, one module each.

pub mod probes;
