//! What the quickstart prints.

use std::net::SocketAddr;

/// Says what there is to try.
pub(crate) fn introduce(address: SocketAddr) {
    println!("Listening on http://{address}. Ask it how it is:");
    for path in ["health", "ready", "live", "startup", "health/database"] {
        println!("  curl -i http://{address}/{path}");
    }
    println!("What Prometheus scrapes:");
    println!("  curl http://{address}/metrics");
    println!("Break something, see what is logged here, ask again, and mend it:");
    for (thing, effect) in [
        ("database", "critical: /ready is 503"),
        ("upstream", "shared: /ready is 200 and warns"),
        ("disk", "non-critical: /ready is 200 and warns"),
    ] {
        println!("  curl -X POST http://{address}/demo/break/{thing}  # {effect}");
        println!("  curl -X POST http://{address}/demo/mend/{thing}");
    }
}
