//! The messages of `grpc.health.v1`.
//!
//! Source: [health.proto](https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto).

use std::collections::BTreeMap;

/// The name of the gRPC service.
pub(crate) const SERVICE: &str = "grpc.health.v1.Health";
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";
pub(crate) const LIST: &str = "/grpc.health.v1.Health/List";
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub(crate) status: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) statuses: BTreeMap<String, HealthCheckResponse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    /// Of `Watch` alone.
    ServiceUnknown = 3,
}

impl From<ServingStatus> for HealthCheckResponse {
    fn from(status: ServingStatus) -> Self {
        Self {
            status: status.into(),
        }
    }
}
