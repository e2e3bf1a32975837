//! The documents of the crate: architecture, benchmarks, changelog, configurations and examples.

/// The architecture of the crate, for contributors.
pub mod architecture {
    #![doc = include_str!("../ARCHITECTURE.md")]
}

/// The cost of the crate, and the commands that measure it.
pub mod benchmarks {
    #![doc = include_str!("../BENCHMARKS.md")]
}

/// The changes of each release.
pub mod changelog {
    #![doc = include_str!("../CHANGELOG.md")]
}

/// Starting configurations for probers.
pub mod configurations {
    //! The tests validate each configuration with its own program.
    //!
    //! # Kubernetes
    //!
    //! ```yaml
    #![doc = include_str!("../docs/kubernetes.yml")]
    //! ```
    //!
    //! # HAProxy
    //!
    //! ```text
    #![doc = include_str!("../docs/haproxy.cfg")]
    //! ```
    //!
    //! # Envoy
    //!
    //! ```yaml
    #![doc = include_str!("../docs/envoy.yml")]
    //! ```
    //!
    //! # Alert rules for Prometheus
    //!
    //! ```yaml
    #![doc = include_str!("../docs/prometheus-rules.yml")]
    //! ```
}

/// Complete programs. Each begins with the command that runs it, in a clone of the repository or in
/// the unpacked package.
pub mod examples {
    //! The repository has more examples, which take longer to compile: actix-web, poem,
    //! OpenTelemetry, and the quickstart, whose dependencies you can break and repair.
    //!
    //! # An axum service: `axum`
    //!
    //! ```rust
    #![doc = include_str!("../examples/axum.rs")]
    //! ```
    //!
    //! # Startup and shutdown in a rolling update that drops no requests: `graceful`
    //!
    //! ```rust
    #![doc = include_str!("../examples/graceful.rs")]
    //! ```
    //!
    //! # A management port, gRPC, HAProxy's agent-check and `--health-probe`: `management`
    //!
    //! ```rust
    #![doc = include_str!("../examples/management.rs")]
    //! ```
    //!
    //! # A hyper service without a framework: `hyper`
    //!
    //! ```rust
    #![doc = include_str!("../examples/hyper.rs")]
    //! ```
    //!
    //! # Several parts in one process, each with its own health: `hyper_several`
    //!
    //! ```rust
    #![doc = include_str!("../examples/hyper_several.rs")]
    //! ```
    //!
    //! # A tonic service: `tonic`
    //!
    //! ```rust
    #![doc = include_str!("../examples/tonic.rs")]
    //! ```
    //!
    //! # A check type of your own: `custom_check`
    //!
    //! ```rust
    #![doc = include_str!("../examples/custom_check.rs")]
    //! ```
}

/// The results of each prober in each state of a service.
pub mod probers {
    #![doc = include_str!("../docs/probers.md")]
}
