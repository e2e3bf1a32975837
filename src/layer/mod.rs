//! tower middleware, one folder each.

pub mod probes;
