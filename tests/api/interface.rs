//! Checks of the public interfaces of the two crates. They cover the foreign types in an interface,
//! because a major release of their crate is a major release of this one. They also cover that
//! every type can be shared and formatted, and the interface as text, whose changes are reviewed.
//!
//! To accept a change: `INSTA_UPDATE=always cargo test -p api-tests --test interface`.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write},
    path::PathBuf,
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

/// A published crate.
struct Published {
    name: &'static str,
    /// The foreign types that may occur in its interface.
    allowed: &'static [&'static str],
    /// A lower bound for the number of public types. It ensures that the types are found and
    /// tested.
    types: usize,
}

/// The types of every user of the crate. Those of tonic and hyper require a feature.
const CORE: Published = Published {
    name: "tower-health",
    allowed: &[
        "async_trait::async_trait",
        "bytes::bytes::Bytes",
        "http::extensions::Extensions",
        "http::request::Parts",
        "http::request::Request",
        "http::response::Response",
        "http::status::StatusCode",
        "http::uri::Uri",
        "http_body::Body",
        "http_body::frame::Frame",
        "http_body::size_hint::SizeHint",
        "hyper::body::incoming::Incoming",
        "serde_core::de::Deserialize",
        "serde_core::de::Deserializer",
        "serde_core::ser::Serialize",
        "serde_core::ser::Serializer",
        "tokio::net::tcp::listener::TcpListener",
        "tokio::runtime::handle::Handle",
        "tokio::sync::mpsc::bounded::Sender",
        "tonic::body::Body",
        "tonic::codegen::StdError",
        "tonic::server::NamedService",
        "tower_layer::Layer",
        "tower_service::Service",
    ],
    types: 75,
};

/// The types that users of each driver pass to its check.
const CHECKS: Published = Published {
    name: "tower-health-checks",
    allowed: &[
        "async_nats::client::Client",
        "bb8::api::ManageConnection",
        "bb8::api::Pool",
        "bytes::bytes::Bytes",
        "deadpool::managed::manager::Manager",
        "deadpool::managed::object::Object",
        "deadpool::managed::pool::Pool",
        "deadpool_postgres::Pool",
        "diesel_async::AsyncConnection",
        "diesel_async::pooled_connection::AsyncDieselConnectionManager",
        "diesel_async::pooled_connection::PoolError",
        "hickory_resolver::resolver::TokioResolver",
        "http_body::Body",
        "lapin::connection::Connection",
        "lapin::error::Error",
        "r2d2::ManageConnection",
        "r2d2::Pool",
        "redis::aio::ConnectionLike",
        "redis::cluster_handling::async_connection::ClusterConnection",
        "reqwest::async_impl::client::Client",
        "rustls::client::client_conn::ClientConfig",
        "sqlx_core::database::Database",
        "sqlx_core::migrate::migrate::Migrate",
        "sqlx_core::migrate::migrator::Migrator",
        "sqlx_core::pool::Pool",
        "sqlx_mysql::MySqlPool",
        "sqlx_postgres::PgPool",
        "sqlx_sqlite::SqlitePool",
        "tokio_postgres::config::Config",
        "tokio_postgres::socket::Socket",
        "tokio_postgres::tls::MakeTlsConnect",
        "tokio_postgres::tls::TlsConnect",
        "tonic::body::Body",
        "tonic::client::service::GrpcService",
        "tonic::codegen::StdError",
        "tonic::transport::channel::Channel",
        "tower_health::check::HealthCheck",
        "tower_health::model::component::ComponentType",
        "tower_health::model::failure::BoxError",
        "tower_health::model::failure::Failure",
        "tower_health::model::outcome::Outcome",
    ],
    types: 15,
};

/// Crates of the standard library, and a crate whose macro leaves a type in a place that cannot be
/// named.
const IGNORED: &[&str] = &["alloc", "core", "pin_project_lite", "std"];

#[test]
fn only_allowed_foreign_types_are_public() {
    for published in [CORE, CHECKS] {
        let found = foreign_types(&published.interface());
        let allowed: BTreeSet<String> = published.allowed.iter().map(ToString::to_string).collect();
        let new: Vec<_> = found.difference(&allowed).collect();
        let gone: Vec<_> = allowed.difference(&found).collect();
        assert!(new.is_empty(), "not on the list: {new:#?}");
        assert!(gone.is_empty(), "on the list, and not there: {gone:#?}");
    }
}

#[test]
fn each_public_type_can_be_shared_and_formatted() {
    for published in [CORE, CHECKS] {
        let types = assert_shared_and_formatted(&published.interface());
        assert!(types > published.types, "{}: {types}", published.name);
    }
}

#[test]
fn the_interface_matches_the_snapshot() {
    for published in [CORE, CHECKS] {
        let format = published.interface()["format_version"].as_u64().unwrap();
        if format != READABLE {
            // A newer Rust is not a problem of the interface, but it must be visible. This is the
            // only output that is visible for a test that passes.
            _ = writeln!(
                io::stderr(),
                "NOT COMPARED: rustdoc of this Rust writes format {format}, and public-api 0.52.0 reads {READABLE}. Compare with Rust 1.95, \
                 or move to the release of public-api that reads it"
            );
            return;
        }
        let interface = public_api::Builder::from_rustdoc_json(published.json())
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()
            .unwrap();
        insta::with_settings!({
            omit_expression => true,
            prepend_module_to_snapshot => false,
        }, {
            insta::assert_snapshot!(published.name, interface.to_string());
        });
    }
}

/// The format of rustdoc's JSON that `public-api` reads.
const READABLE: u64 = 57;

/// Asserts that each type can be shared and formatted, and returns the number of types.
fn assert_shared_and_formatted(interface: &Value) -> usize {
    let items = interface["index"].as_object().unwrap();
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
            // The type cannot be named.
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
    assert!(missing.is_empty(), "{missing:#?}");
    types
}

impl Published {
    fn json(&self) -> PathBuf {
        DOC.join(format!("{}.json", self.name.replace('-', "_")))
    }

    /// Returns the public interface as rustdoc writes it.
    fn interface(&self) -> Value {
        serde_json::from_slice(&fs::read(self.json()).unwrap()).unwrap()
    }
}

/// The directory of the interfaces. The format is unstable, so only rustdoc is run with unstable
/// features. Everything else is built as usual.
static DOC: LazyLock<PathBuf> = LazyLock::new(|| {
    let here = env!("CARGO_MANIFEST_DIR");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(here)
        .args(["doc", "--locked", "--no-deps", "--all-features"])
        .args(["--package", CORE.name, "--package", CHECKS.name])
        .env("RUSTDOC", format!("{here}/rustdoc.sh"))
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    let output = cargo.output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("doc")
});

fn foreign_types(interface: &Value) -> BTreeSet<String> {
    let items = interface["index"].as_object().unwrap().values();
    let mut used = BTreeSet::new();
    for item in items.filter(|item| item["crate_id"] == 0) {
        let mut inner = item["inner"].clone();
        let implementation = &inner["impl"];
        let is_ours = implementation["blanket_impl"].is_null()
            && implementation["is_synthetic"] != Value::Bool(true);
        // Fields of variants are public if their variant is.
        let is_public = item["visibility"] == "public" || item["visibility"] == "default";
        let is_hidden = inner.get("struct_field").is_some() && !is_public;
        if !is_ours || is_hidden {
            continue;
        }
        if let Some(implementation) = inner.get_mut("impl") {
            // These are separate items.
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

/// Collects the ids of all types and traits that a part of an item names.
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
