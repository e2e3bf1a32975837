//! The documents that come with the crate.

/// How the crate holds together, for those who change it.
pub mod architecture {
    #![doc = include_str!("../ARCHITECTURE.md")]
}

/// What it costs, and the commands that say so.
pub mod benchmarks {
    #![doc = include_str!("../BENCHMARKS.md")]
}

/// What changed, release by release.
pub mod changelog {
    #![doc = include_str!("../CHANGELOG.md")]
}

/// Starting configurations for probers.
pub mod configurations {
    //! The tests validate each of them with the program that it is for.
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

/// Whole programs. Each begins with the command that runs it, in a clone of the repository or the unpacked package.
pub mod examples {
    //! The repository has more, which are heavier to compile: actix-web, poem, OpenTelemetry, and the quickstart, whose dependencies can be
    //! broken and mended.
    //!
    //! # A service in axum: `axum`
    //!
    //! ```rust
    #![doc = include_str!("../examples/axum.rs")]
    //! ```
    //!
    //! # Start, live and leave so that a rolling update drops no request: `graceful`
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
    //! # A bare hyper service: `hyper`
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

/// How each prober sees each state of a service.
pub mod probers {
    #![doc = include_str!("../docs/probers.md")]
}
