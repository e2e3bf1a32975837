//! A service's health: a check type of its own, and one of `tower-health-checks`.

use tower_health::{
    Check, Failure, Health, HealthBuilder, HealthCheck, Outcome, Reason, async_trait,
};
use tower_health_checks::Tcp;

/// The service's own check: how many orders wait.
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

/// The health of the service, with its mail server at an address.
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
    async fn the_own_check_keeps_the_contract() {
        Contract::new(|| Backlog(3))
            .expect(Status::Pass)
            .assert()
            .await;
    }

    #[tokio::test]
    async fn a_port_that_accepts_and_a_backlog_that_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backlog = ScriptedCheck::new(Status::Pass);
        let mail = listener.local_addr().unwrap().to_string();
        let health = health(&mail, backlog.clone()).start().unwrap();
        assert_becomes(&health, Probe::Readiness, Status::Pass, SOON).await;
        backlog.say(Status::Fail);
        health.run_now("backlog").await.unwrap();
        assert_becomes(&health, Probe::Readiness, Status::Fail, SOON).await;
        assert_eq!(health.check("mail").unwrap().status, Status::Pass);
    }
}
