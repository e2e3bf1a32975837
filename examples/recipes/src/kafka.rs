//! Kafka.

use std::{error::Error as _, sync::Arc};

use rskafka::client::{
    error::{Error, ProtocolError},
    partition::{OffsetAt, PartitionClient},
};
use tower_health::{Check, Failure, Reason};

/// Returns a check for a service that produces. It queries the end offset of each partition from
/// the leader of that partition.
pub fn produces(partitions: Vec<Arc<PartitionClient>>) -> Check {
    let ask = |partitions: Vec<Arc<PartitionClient>>| async move {
        for partition in &partitions {
            let end = partition.get_offset(OffsetAt::Latest).await;
            end.map_err(|error| failure(partition, &error))?;
        }
        Ok::<_, Failure>(())
    };
    Check::with("kafka", partitions, ask).shared()
}

/// Returns a check for a service that consumes. It also fetches at the end offset, where there is
/// no record yet.
pub fn consumes(partitions: Vec<Arc<PartitionClient>>) -> Check {
    let ask = |partitions: Vec<Arc<PartitionClient>>| async move {
        for partition in &partitions {
            let end = partition.get_offset(OffsetAt::Latest).await;
            let end = end.map_err(|error| failure(partition, &error))?;
            let read = partition.fetch_records(end, 0..1, 0).await;
            read.map_err(|error| failure(partition, &error))?;
        }
        Ok::<_, Failure>(())
    };
    Check::with("kafka", partitions, ask).shared()
}

fn failure(partition: &PartitionClient, error: &Error) -> Failure {
    let (topic, number) = (partition.topic(), partition.partition());
    Failure::new(reason(error)).with_cause(format_args!("{topic}/{number}: {error}"))
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::ServerError { protocol_error, .. } => match protocol_error {
            ProtocolError::TopicAuthorizationFailed => Reason::PermissionDenied,
            ProtocolError::UnknownTopicOrPartition => Reason::NotFound,
            ProtocolError::LeaderNotAvailable
            | ProtocolError::NotLeaderOrFollower
            | ProtocolError::OffsetNotAvailable
            | ProtocolError::ReplicaNotAvailable
            | ProtocolError::KafkaStorageError => Reason::Unhealthy,
            _ => Reason::UnexpectedAnswer,
        },
        // The error of the last attempt, if the client has a deadline.
        Error::RetryFailed(gave_up) => match gave_up.source().and_then(|e| e.downcast_ref()) {
            Some(last) => reason(last),
            None => Reason::TimedOut,
        },
        Error::Connection(_) => Reason::ConnectionLost,
        error => Reason::of(error),
    }
}
