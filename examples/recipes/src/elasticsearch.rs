//! Elasticsearch.

use reqwest::Client;
use tower_health::Check;
use tower_health_checks::HttpUpstream;

/// Returns a check that all shards of an index answer a search. The server, such as
/// `http://search.internal:9200`, searches for one document and returns none.
pub fn search(client: Client, server: &str, index: &str) -> Check {
    // Without `allow_no_indices=false`, a pattern that matches no index is searched successfully.
    let query = "size=0&terminate_after=1&timeout=1s&allow_partial_search_results=false\
                 &allow_no_indices=false";
    let url = format!("{server}/{index}/_search?{query}");
    Check::new("search", HttpUpstream::new(client, url)).shared()
}

/// Returns a check that an index has all of its primary and replica shards. Pass a name and not a
/// pattern, because a pattern may match no index.
pub fn index(client: Client, server: &str, index: &str) -> Check {
    let url = format!("{server}/_cluster/health/{index}?timeout=1s&master_timeout=1s");
    Check::new("search-index", HttpUpstream::new(client, url)).non_critical()
}
