use tower_health::Check;

// A check of a crate that depends on another version of tower-health.
struct Foreign;

#[older::async_trait]
impl older::HealthCheck for Foreign {
    async fn check(&self) -> Result<older::Outcome, older::Failure> {
        Ok(older::Outcome::pass())
    }
}

fn main() {
    let _ = Check::new("foreign", Foreign);
}
