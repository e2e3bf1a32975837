//! Health checks for clients without a feature in `tower-health-checks`. Each has a module.
//! `checks/docs/recipes.md` shows the modules word for word, in the same order.
#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

/// Cassandra and ScyllaDB, with scylla.
pub mod cassandra;
/// ClickHouse, with clickhouse.
pub mod clickhouse;
/// Elasticsearch and OpenSearch, over HTTP.
pub mod elasticsearch;
/// etcd, with etcd-client.
#[cfg(feature = "etcd")]
pub mod etcd;
/// Kafka, with rskafka.
pub mod kafka;
/// MongoDB, with mongodb.
pub mod mongodb;
/// MQTT, with rumqttc.
pub mod mqtt;
/// Quorum queues of RabbitMQ, over the management API.
pub mod rabbitmq_quorum;
/// S3, with aws-sdk-s3.
pub mod s3;
/// The database connections of SeaORM.
pub mod sea_orm;
/// SMTP, with lettre.
pub mod smtp;
/// Vault, over HTTP.
pub mod vault;
