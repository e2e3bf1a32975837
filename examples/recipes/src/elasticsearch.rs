//! Elasticsearch.

use reqwest::Client;
use tower_health::Check;
use tower_health_checks::HttpUpstream;

/// Whether all shards of an index answer a search, as they do the service's own. The server, as in
/// `http://search.internal:9200`, looks for one document and returns none.
pub fn search(client: Client, server: &str, index: &str) -> Check {
    // Without the last, a pattern that no index matches is searched with success.
    let query = "size=0&terminate_after=1&timeout=1s&allow_partial_search_results=false\
                 &allow_no_indices=false";
    let url = format!("{server}/{index}/_search?{query}");
    Check::new("search", HttpUpstream::new(client, url)).shared()
}

/// Whether an index has all of its shards and their copies; by its name, for a pattern may match none.
pub fn index(client: Client, server: &str, index: &str) -> Check {
    let url = format!("{server}/_cluster/health/{index}?timeout=1s&master_timeout=1s");
    Check::new("search-index", HttpUpstream::new(client, url)).non_critical()
}
