//! The messages of `grpc.health.v1`, for the service in `grpc` and for the client in `exec`.
//!
//! They are written by hand, so that no build needs `protoc`. The tags and types are those of the
//! published file, and fields that it may add later are ignored.
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
/// The path of the unary method `Check`, which returns the status of one service.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";
/// The path of the unary method `List`, which returns the statuses of all services.
pub(crate) const LIST: &str = "/grpc.health.v1.Health/List";
/// The path of the streaming method `Watch`, which returns the status of one service and each
/// change.
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The request of `Check` and `Watch`. An empty name is the whole server.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// The response of `Check`, and each message of `Watch`. `status` is a [`ServingStatus`]. A value
/// that is unknown here decodes as [`Unknown`](ServingStatus::Unknown).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub(crate) status: i32,
}

/// The request of `List`, which has no fields.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct HealthListRequest {}

/// The response of `List`: the statuses by the names of their services. The map is ordered, so that
/// equal states have equal bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) statuses: BTreeMap<String, HealthCheckResponse>,
}

/// Whether a service accepts requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    /// The server does not have this service. Sent by `Watch` only. `Check` returns the code
    /// `NOT_FOUND`.
    ServiceUnknown = 3,
}

impl From<ServingStatus> for HealthCheckResponse {
    fn from(status: ServingStatus) -> Self {
        Self {
            status: status.into(),
        }
    }
}

/// Queries a server for the status of a service. The server must be ready: this does not wait for
/// its connection.
///
/// # Errors
///
/// Returns the status of the call, such as `NOT_FOUND` for a service that the server does not have.
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
