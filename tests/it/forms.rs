//! Each form in which a check can be written.

use std::sync::Arc;

use tower_health::{Check, Failure, HealthCheck, Outcome, Reason, Status, async_trait};

#[derive(Clone)]
struct Ledger;

impl Ledger {
    async fn ping(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl HealthCheck for Ledger {
    async fn check(&self) -> Result<Outcome, Failure> {
        self.ping().await?;
        Ok(Outcome::pass())
    }
}

async fn function() -> Result<Status, String> {
    Err("no luck".to_owned())
}

#[test]
fn each_form_of_a_check_compiles() {
    let shared: Arc<dyn HealthCheck> = Arc::new(Ledger);
    let boxed: Box<dyn HealthCheck> = Box::new(Ledger);
    let ledger = Arc::new(Ledger);
    let checks = [
        Check::new("type", Ledger),
        Check::new("arc", shared),
        Check::new("box", boxed),
        Check::new("function", function),
        Check::new("status", || async { Status::Pass }),
        Check::new("outcome", || async { Outcome::warn(Reason::Busy) }),
        Check::new("failure", || async {
            Err::<(), _>(Failure::new(Reason::Busy))
        }),
        Check::new("async-closure", async || {
            Ok::<Outcome, Box<dyn std::error::Error + Send + Sync>>(Outcome::pass())
        }),
        Check::with("with", ledger, |ledger| async move { ledger.ping().await }),
        Check::with("with-type", Ledger, |ledger: Ledger| async move {
            ledger.ping().await
        }),
        Check::blocking("blocking", || std::fs::metadata("/").map(|_| ())),
    ];
    assert_eq!(checks.len(), 11);
}
