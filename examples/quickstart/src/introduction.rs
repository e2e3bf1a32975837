//! The text that the quickstart prints at start.

use std::net::SocketAddr;

/// Prints the commands to try.
pub(crate) fn introduce(address: SocketAddr) {
    println!("Listening on http://{address}. Query its health:");
    for path in ["health", "ready", "live", "startup", "health/database"] {
        println!("  curl -i http://{address}/{path}");
    }
    println!("Metrics, as Prometheus scrapes them:");
    println!("  curl http://{address}/metrics");
    println!("Break a dependency, watch the log here, query again, and repair it:");
    for (thing, effect) in [
        ("database", "critical: /ready is 503"),
        ("upstream", "shared: /ready is 200 and warns"),
        ("disk", "non-critical: /ready is 200 and warns"),
    ] {
        println!("  curl -X POST http://{address}/demo/break/{thing}  # {effect}");
        println!("  curl -X POST http://{address}/demo/mend/{thing}");
    }
}
