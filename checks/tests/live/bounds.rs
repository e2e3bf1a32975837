//! Contradicting bounds are problems of each check that has such a pair.

use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use sqlx::{MySqlPool, PgPool};
use tower_health::HealthCheck;
use tower_health_checks::{Certificate, Disk, MySql, Postgres, RabbitMqQueue};

const LOW: Duration = Duration::from_secs(1);
const HIGH: Duration = Duration::from_secs(2);

fn problems(check: impl HealthCheck) -> Vec<String> {
    check.problems()
}

/// Asserts that a check has exactly one problem, which names these two settings.
fn assert_contradiction(check: impl HealthCheck, [lower, upper]: [&str; 2]) {
    let problems = problems(check);
    let [problem] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert!(
        problem.starts_with(&format!("`{lower}` (")) && problem.contains(&format!("`{upper}` (")),
        "{problem}"
    );
}

#[tokio::test]
async fn contradicting_bounds_of_a_replica_are_problems() {
    let names = ["warn_lag_above", "fail_lag_above"];
    let postgres = || Postgres::sqlx(PgPool::connect_lazy("postgres://app@127.0.0.1").unwrap());
    assert_contradiction(postgres().warn_lag_above(HIGH).fail_lag_above(LOW), names);
    assert!(problems(postgres().warn_lag_above(LOW).fail_lag_above(HIGH)).is_empty());
    let mysql = || MySql::sqlx(MySqlPool::connect_lazy("mysql://app@127.0.0.1").unwrap());
    assert_contradiction(mysql().warn_lag_above(HIGH).fail_lag_above(LOW), names);
    assert!(problems(mysql().warn_lag_above(LOW)).is_empty());
}

#[tokio::test]
async fn a_bound_that_is_no_percentage_is_a_problem() {
    let assert_invalid = |check: &dyn HealthCheck, name: &str| {
        let expected = format!("`{name}` is NaN: set it to a percentage from 0 to 100");
        assert_eq!(check.problems(), [expected]);
    };
    let postgres = Postgres::sqlx(PgPool::connect_lazy("postgres://app@127.0.0.1").unwrap());
    let mysql = MySql::sqlx(MySqlPool::connect_lazy("mysql://app@127.0.0.1").unwrap());
    let name = "warn_connections_above";
    assert_invalid(&postgres.warn_connections_above(f64::NAN), name);
    assert_invalid(&mysql.warn_connections_above(f64::NAN), name);
    let below = Disk::new("/").fail_below(-5.0);
    let problem = "`fail_below` is -5: set it to a percentage from 0 to 100";
    assert_eq!(below.problems()[0], problem);
    #[cfg(target_os = "linux")]
    assert_invalid(
        &tower_health_checks::CpuPressure::new().warn_throttled_above(f64::NAN),
        "warn_throttled_above",
    );
}

#[test]
fn contradicting_bounds_of_a_queue_and_a_certificate_are_problems() {
    let queue = || {
        RabbitMqQueue::new("orders", || {
            Connection::connect("amqp://127.0.0.1", ConnectionProperties::default())
        })
    };
    assert_contradiction(
        queue().warn_above(2).fail_above(1),
        ["warn_above", "fail_above"],
    );
    assert!(problems(queue().warn_above(1).fail_above(2)).is_empty());
    let certificate = || Certificate::of_file("/etc/tls.pem");
    let names = ["fail_below", "warn_below"];
    assert_contradiction(certificate().warn_below(7).fail_below(21), names);
    assert!(
        problems(certificate().fail_below(30)).is_empty(),
        "a default contradicts nothing"
    );
}

#[test]
fn contradicting_bounds_of_a_disk_are_problems() {
    let disk = || Disk::new("/");
    let names = ["fail_below", "warn_below"];
    assert_contradiction(disk().warn_below(5.0).fail_below(10.0), names);
    let names = ["fail_below_bytes", "warn_below_bytes"];
    assert_contradiction(disk().warn_below_bytes(5).fail_below_bytes(10), names);
    assert!(
        problems(disk().fail_below(15.0)).is_empty(),
        "a default contradicts nothing"
    );
    assert!(problems(disk().warn_below(5.0).fail_below_bytes(10)).is_empty());
    let problems = problems(disk().warn_below(f64::NAN));
    assert_eq!(
        problems,
        ["`warn_below` is NaN: set it to a percentage from 0 to 100"]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn contradicting_bounds_of_system_resources_are_problems() {
    use tower_health_checks::{CpuPressure, FileHandles, Memory};

    let names = ["warn_above", "fail_above"];
    assert_contradiction(Memory::new().warn_above(90.0).fail_above(80.0), names);
    assert_contradiction(FileHandles::new().warn_above(90.0).fail_above(80.0), names);
    assert_contradiction(CpuPressure::new().warn_above(90.0).fail_above(80.0), names);
    assert!(
        problems(Memory::new().fail_above(80.0)).is_empty(),
        "a default contradicts nothing"
    );
}

#[test]
fn an_invalid_url_of_an_upstream_is_a_problem() {
    for (url, problem) in [
        ("/health", "relative URL without a base"),
        ("ftp://stock.internal/", "the scheme is \"ftp\""),
    ] {
        let check = tower_health_checks::HttpUpstream::new(reqwest::Client::new(), url);
        let problems = problems(check);
        assert!(
            problems.len() == 1 && problems[0].contains(problem),
            "{problems:?}"
        );
    }
    let check = tower_health_checks::HttpUpstream::new(reqwest::Client::new(), "http://stock/");
    assert!(problems(check).is_empty());
}
