//! The messages of `grpc.health.v1`.
//!
//! Source: [health.proto].
//!
//! [health.proto]: https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto

use std::collections::BTreeMap;

#[cfg(feature = "exec")]
use {
    bytes::Bytes,
    http::uri::PathAndQuery,
    http_body::Body,
    tonic::{
        Request, Status,
        body::Body as TonicBody,
        client::{Grpc, GrpcService},
        codegen::StdError,
    },
    tonic_prost::ProstCodec,
};

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
    /// Sent by `Watch` only.
    ServiceUnknown = 3,
}

impl From<ServingStatus> for HealthCheckResponse {
    fn from(status: ServingStatus) -> Self {
        Self {
            status: status.into(),
        }
    }
}

/// Queries a server for the status of a service. The server must be ready.
#[cfg(feature = "exec")]
pub(crate) async fn ask<S>(grpc: &mut Grpc<S>, service: &str) -> Result<ServingStatus, Status>
where
    S: GrpcService<TonicBody>,
    S::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let path = PathAndQuery::from_static(CHECK);
    let response = grpc.unary(Request::new(request), path, codec).await?;
    Ok(response.into_inner().status())
}
