//! Checks that are composed of others.

use tower_health::{
    Cause, Check, Failure, Health, HealthCheck, Outcome, Reason, Status, async_trait,
    checks::{Freshness, Queue, Quorum, all_of, any_of, quorum},
    error::{ChangeError, StartError},
    outcome::Value,
    testing::Contract,
};

use crate::support::{Scripted, ms};

fn refused() -> Outcome {
    Outcome::fail(Reason::ConnectionRefused).with_cause("postgres://app:hunter2@db-7 is gone")
}

/// A quorum of three members with these outcomes.
fn of(quorum: Quorum, says: [Outcome; 3]) -> Quorum {
    says.into_iter()
        .zip(["a", "b", "c"])
        .fold(quorum, |quorum, (says, name)| {
            quorum.member(name, Scripted::new(says))
        })
}

async fn told(quorum: Quorum) -> (Status, Option<Reason>) {
    let outcome = quorum.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

#[tokio::test(start_paused = true)]
async fn a_quorum_needs_the_required_number_of_passing_members() {
    let (pass, warn) = (Outcome::pass, || Outcome::warn(Reason::Busy));
    let lost = || Outcome::fail(Reason::ConnectionLost);
    let degraded = (Status::Warn, Some(Reason::Degraded));
    let busy = (Status::Warn, Some(Reason::Busy));
    let gone = |reason| (Status::Fail, Some(reason));
    let rows = [
        ([pass(), pass(), pass()], [(Status::Pass, None); 3]),
        ([pass(), warn(), pass()], [busy; 3]),
        (
            [pass(), refused(), warn()],
            [gone(Reason::ConnectionRefused), degraded, degraded],
        ),
        (
            [refused(), refused(), pass()],
            [
                gone(Reason::ConnectionRefused),
                gone(Reason::ConnectionRefused),
                degraded,
            ],
        ),
        (
            [refused(), lost(), pass()],
            [gone(Reason::Failed), gone(Reason::Failed), degraded],
        ),
        (
            [refused(), refused(), refused()],
            [gone(Reason::ConnectionRefused); 3],
        ),
    ];
    for (says, expected) in rows {
        let made = [all_of(), quorum(2), any_of()];
        for (quorum, expected) in made.into_iter().zip(expected) {
            assert_eq!(told(of(quorum, says.clone())).await, expected, "{says:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn members_run_concurrently_and_fail_independently() {
    let quorum = quorum(2)
        .member("a", Scripted::new(Status::Pass).duration(ms(900)))
        .member("b", Scripted::new(Status::Pass).duration(ms(900)))
        .member("hangs", Scripted::hanging())
        .member("panics", Scripted::panicking("password=hunter2"))
        .member("code", || async { Ok::<_, Failure>(()) })
        .member_timeout(ms(1_000));
    let began = tokio::time::Instant::now();
    let outcome = quorum.check().await.unwrap();
    assert_eq!(began.elapsed(), ms(1_000));
    assert_eq!(outcome.status(), Status::Warn);
    let measured: Vec<(&str, &Value)> = outcome
        .measurements()
        .iter()
        .map(|measured| (&*measured.name, &measured.value))
        .collect();
    let text = |word: &'static str| Value::Text(word.into());
    assert_eq!(
        measured,
        [
            ("available", &Value::Integer(3)),
            ("a", &text("pass")),
            ("b", &text("pass")),
            ("hangs", &text("timed out")),
            ("panics", &text("panicked")),
            ("code", &text("pass")),
        ]
    );
    let cause = outcome.cause().map(Cause::redacted).unwrap();
    assert!(cause.starts_with("hangs timed out; panics panicked: panicked at "));
    assert!(!cause.contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_nested_quorum_reports_in_time_that_enough_members_pass() {
    let replicas = || {
        any_of()
            .member("hangs", Scripted::hanging())
            .member("good", Scripted::new(Status::Pass))
    };
    let inner = replicas().member_timeout(ms(1_000));
    let began = tokio::time::Instant::now();
    let degraded = (Status::Warn, Some(Reason::Degraded));
    assert_eq!(told(any_of().member("replicas", inner)).await, degraded);
    assert_eq!(began.elapsed(), ms(1_000));
    // The outer quorum times out the inner one, which therefore cannot report this.
    let inner = replicas().member_timeout(ms(2_000));
    let late = (Status::Fail, Some(Reason::TimedOut));
    assert_eq!(told(any_of().member("replicas", inner)).await, late);
}

#[tokio::test]
async fn a_quorum_meets_the_contract_of_checks() {
    let says = || [refused(), refused(), Outcome::pass()];
    for (status, make) in [
        (Status::Warn, any_of as fn() -> Quorum),
        (Status::Fail, all_of),
    ] {
        let contract = Contract::new(move || of(make(), says()));
        contract.expect(status).secret("hunter2").assert().await;
    }
}

#[tokio::test]
async fn impossible_quorums_are_misconfigured() {
    let pass = || Scripted::new(Status::Pass);
    for (quorum, cause) in [
        (all_of(), "0 of 0 members have to be good"),
        (any_of(), "1 of 0 members have to be good"),
        (
            quorum(0).member("a", pass()),
            "0 of 1 members have to be good",
        ),
        (
            quorum(2).member("a", pass()),
            "2 of 1 members have to be good",
        ),
        (
            all_of().member("a", pass()).member("a", pass()),
            "invalid or duplicate member name \"a\"",
        ),
        (
            all_of().member("a:b", pass()),
            "invalid or duplicate member name \"a:b\"",
        ),
        (
            all_of().member("available", pass()),
            "invalid or duplicate member name \"available\"",
        ),
    ] {
        let failure = quorum.check().await.unwrap_err();
        assert_eq!(failure.reason(), Reason::Misconfigured);
        assert_eq!(failure.cause().map(Cause::redacted), Some(cause));
    }
}

/// Returns the configuration problems of a check.
fn problems_at_start(code: impl HealthCheck) -> Vec<String> {
    let started = Health::builder("orders")
        .check(Check::new("a", code))
        .start();
    let problems = |error: &StartError| error.problems().iter().map(ToString::to_string).collect();
    started.as_ref().err().map(problems).unwrap_or_default()
}

#[tokio::test]
async fn contradicting_bounds_are_rejected_at_start_and_on_add() {
    let queue = || Queue::of(|| 0);
    let problem = "check \"a\": `warn_above` (10) is above `fail_above` (5): the check would fail before it warns, so change one \
                   of them";
    assert_eq!(
        problems_at_start(queue().warn_above(10).fail_above(5)),
        [problem]
    );
    assert!(problems_at_start(queue().warn_above(5).fail_above(10)).is_empty());
    assert!(problems_at_start(queue().warn_above(5).fail_above(5)).is_empty());
    assert!(problems_at_start(queue().fail_above(5).capacity(100)).is_empty());
    let old = Freshness::of_file("/spool", ms(5)).warn_above(ms(10));
    let problem = "check \"a\": `warn_above` (10ms) is above `fail_above` (5ms): the check would fail before it warns, so \
                   change one of them";
    assert_eq!(problems_at_start(old), [problem]);
    let member = all_of().member("b", queue().warn_above(10).fail_above(5));
    let [problem] = &problems_at_start(member)[..] else {
        panic!("one problem");
    };
    assert!(
        problem.starts_with("check \"a\": member \"b\": `warn_above` (10)"),
        "{problem}"
    );

    let health = Health::builder("orders").start().unwrap();
    let check = Check::new("a", Box::new(queue().warn_above(10).fail_above(5)));
    let error = health.add(check).await.unwrap_err();
    assert!(
        matches!(&error, ChangeError::Config(problems) if problems.len() == 1),
        "{error}"
    );
}

/// A check whose settings cannot be examined.
struct PanicsInValidation;

#[async_trait]
impl HealthCheck for PanicsInValidation {
    async fn check(&self) -> Result<Outcome, Failure> {
        Ok(Outcome::pass())
    }

    fn problems(&self) -> Vec<String> {
        panic!("hunter2")
    }
}

#[tokio::test]
async fn a_check_that_panics_in_its_validation_is_rejected_without_its_message() {
    let [problem] = &problems_at_start(PanicsInValidation)[..] else {
        panic!("one problem");
    };
    assert!(
        problem.starts_with("check \"a\": its settings cannot be examined: "),
        "{problem}"
    );
    assert!(!problem.contains("hunter2"), "{problem}");
}
