//! The health of a service: its own check type, and a check of `tower-health-checks`.

use tower_health::{
    Check, Failure, Health, HealthBuilder, HealthCheck, Outcome, Reason, async_trait,
};
use tower_health_checks::Tcp;

/// A check type of the service: the number of waiting orders.
#[derive(Debug)]
pub struct Backlog(pub u64);

#[async_trait]
impl HealthCheck for Backlog {
    async fn check(&self) -> Result<Outcome, Failure> {
        let outcome = if self.0 > 1_000 {
            Outcome::warn(Reason::LimitNear)
        } else {
            Outcome::pass()
        };
        Ok(outcome.measure("orders", self.0, ""))
    }
}

/// Returns the health of the service, with a mail server at this address.
pub fn health(mail: &str, backlog: impl HealthCheck) -> HealthBuilder {
    Health::builder("orders")
        .check(Check::new("mail", Tcp::new(mail)).shared())
        .check(Check::new("backlog", backlog))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tower_health::{
        Probe, Status,
        testing::{Contract, ScriptedCheck, assert_becomes},
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_custom_check_meets_the_contract() {
        Contract::new(|| Backlog(3))
            .expect(Status::Pass)
            .assert()
            .await;
    }

    #[tokio::test]
    async fn readiness_fails_with_the_backlog_while_the_mail_port_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backlog = ScriptedCheck::new(Status::Pass);
        let mail = listener.local_addr().unwrap().to_string();
        let health = health(&mail, backlog.clone()).start().unwrap();
        assert_becomes(&health, Probe::Readiness, Status::Pass, SOON).await;
        backlog.set_outcome(Status::Fail);
        health.run_now("backlog").await.unwrap();
        assert_becomes(&health, Probe::Readiness, Status::Fail, SOON).await;
        assert_eq!(health.check("mail").unwrap().status, Status::Pass);
    }
}
