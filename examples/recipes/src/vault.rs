//! Vault.

use reqwest::Client;
use tower_health::Check;
use tower_health_checks::HttpUpstream;

/// Returns a check that the server, such as `https://vault.internal:8200`, is unsealed and accepts
/// requests, or forwards them.
pub fn vault(client: Client, server: &str) -> Check {
    let url = format!("{server}/v1/sys/health?standbyok=true&perfstandbyok=true");
    let health = HttpUpstream::new(client, url).expect(|code| code == 200);
    Check::new("vault", health).shared()
}

/// Returns a check that the token of the service is valid. The client must send it in the default
/// header `X-Vault-Token`.
pub fn token(client: Client, server: &str) -> Check {
    let url = format!("{server}/v1/auth/token/lookup-self");
    let token = HttpUpstream::new(client, url).expect(|code| code == 200);
    Check::new("vault-token", token)
        .depends_on("vault")
        .shared()
}
