//! What the public interface shows: whose types, a major release of one of which is one of this crate; and that everything
//! can be shared and shown.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command, sync::LazyLock};

use serde_json::Value;

/// Those that anybody meets who uses the crate, and those of the drivers that their users give it.
const ALLOWED: &[&str] = &[
    "async_nats::client::Client",
    "async_trait::async_trait",
    "bytes::bytes::Bytes",
    "deadpool_postgres::Pool",
    "hickory_resolver::resolver::TokioResolver",
    "http::request::Parts",
    "http::request::Request",
    "http::response::Response",
    "http::status::StatusCode",
    "http_body::Body",
    "http_body::frame::Frame",
    "http_body::size_hint::SizeHint",
    "hyper::body::incoming::Incoming",
    "lapin::connection::Connection",
    "lapin::error::Error",
    "redis::aio::ConnectionLike",
    "redis::cluster_handling::async_connection::ClusterConnection",
    "reqwest::async_impl::client::Client",
    "rustls::client::client_conn::ClientConfig",
    "serde_core::de::Deserialize",
    "serde_core::de::Deserializer",
    "serde_core::ser::Serialize",
    "serde_core::ser::Serializer",
    "sqlx_core::database::Database",
    "sqlx_core::migrate::migrate::Migrate",
    "sqlx_core::migrate::migrator::Migrator",
    "sqlx_core::pool::Pool",
    "sqlx_mysql::MySqlPool",
    "sqlx_postgres::PgPool",
    "sqlx_sqlite::SqlitePool",
    "tokio::net::tcp::listener::TcpListener",
    "tokio::runtime::handle::Handle",
    "tokio::sync::mpsc::bounded::Sender",
    "tokio_postgres::config::Config",
    "tokio_postgres::socket::Socket",
    "tokio_postgres::tls::MakeTlsConnect",
    "tokio_postgres::tls::TlsConnect",
    "tonic::body::Body",
    "tonic::client::service::GrpcService",
    "tonic::codegen::StdError",
    "tonic::server::NamedService",
    "tonic::transport::channel::Channel",
    "tower_layer::Layer",
    "tower_service::Service",
];

/// Crates of the standard library, and what a macro leaves in a place that nobody can name.
const IGNORED: &[&str] = &["alloc", "core", "pin_project_lite", "std"];

#[test]
fn no_foreign_type_is_public_but_those_that_are_allowed() {
    let found = foreign_types(&INTERFACE);
    let allowed: BTreeSet<String> = ALLOWED.iter().map(ToString::to_string).collect();
    let new: Vec<_> = found.difference(&allowed).collect();
    let gone: Vec<_> = allowed.difference(&found).collect();
    assert!(new.is_empty(), "not on the list: {new:#?}");
    assert!(gone.is_empty(), "on the list, and not there: {gone:#?}");
}

#[test]
fn whatever_is_public_can_be_shared_and_shown() {
    let items = INTERFACE["index"].as_object().unwrap();
    let mut types = 0;
    let mut missing = Vec::new();
    for item in items.values().filter(|item| item["crate_id"] == 0) {
        let inner = item["inner"].as_object().unwrap();
        let kinds = ["struct", "enum"];
        let Some(kind) = kinds.iter().find_map(|kind| inner.get(*kind)) else {
            continue;
        };
        let implementations: Vec<&Value> = kind["impls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| &items[&id.to_string()]["inner"]["impl"])
            .collect();
        let is_synthetic = |it: &&Value| it["is_synthetic"] == Value::Bool(true);
        if !implementations.iter().any(is_synthetic) {
            // Nobody can name it.
            continue;
        }
        types += 1;
        let implemented: BTreeSet<&str> = implementations
            .iter()
            .filter(|it| it["is_negative"] == Value::Bool(false))
            .filter_map(|it| it["trait"]["path"].as_str())
            .collect();
        for wanted in ["Debug", "Send", "Sync"] {
            let path = format!("::{wanted}");
            let has = |name: &&str| *name == wanted || name.ends_with(&path);
            if !implemented.iter().any(has) {
                missing.push(format!("{} is not {wanted}", item["name"]));
            }
        }
    }
    assert!(types > 80, "{types}");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The public interface, as rustdoc tells it. Its form is not stable yet, so the compiler has to be asked for it.
static INTERFACE: LazyLock<Value> = LazyLock::new(interface);

fn interface() -> Value {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    // A place of its own: what is built for a compiler that is asked so is not what everybody else builds.
    let target = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(target)
        .join("interface");
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "rustdoc",
            "--locked",
            "--all-features",
            "--lib",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let interface = fs::read(target.join("doc/tower_health.json")).unwrap();
    serde_json::from_slice(&interface).unwrap()
}

fn foreign_types(interface: &Value) -> BTreeSet<String> {
    let items = interface["index"].as_object().unwrap().values();
    let mut used = BTreeSet::new();
    for item in items.filter(|item| item["crate_id"] == 0) {
        let mut inner = item["inner"].clone();
        let implementation = &inner["impl"];
        let is_ours = implementation["blanket_impl"].is_null()
            && implementation["is_synthetic"] != Value::Bool(true);
        // The fields of variants are as public as those.
        let is_public = item["visibility"] == "public" || item["visibility"] == "default";
        let is_hidden = inner.get("struct_field").is_some() && !is_public;
        if !is_ours || is_hidden {
            continue;
        }
        if let Some(implementation) = inner.get_mut("impl") {
            // They are items of their own.
            implementation["items"].take();
        }
        collect(&inner, &mut used);
    }
    let named = used.iter().filter_map(|id| {
        let item = &interface["paths"][id];
        let path: Vec<&str> = item["path"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let is_foreign = item["crate_id"] != 0 && !IGNORED.contains(path.first()?);
        is_foreign.then(|| path.join("::"))
    });
    named.collect()
}

/// The ids of all types and traits that a part of an item names.
fn collect(part: &Value, used: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            let names = fields.contains_key("path") || fields.contains_key("source");
            if let Some(Value::Number(id)) = fields.get("id").filter(|_| names) {
                used.insert(id.to_string());
            }
            fields.values().for_each(|part| collect(part, used));
        }
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, used)),
        _ => {}
    }
}
