//! The wire formats of a report, one file each.

pub(super) mod health_json;
