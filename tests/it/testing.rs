//! The test utilities of the crate, including that they detect failures.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures_like::catch;
use tokio::sync::Semaphore;
use tower_health::{
    Check, Failure, Health, HealthCheck, Outcome, Probe, Reason, Status, async_trait,
    error::{ChangeError, RunError, Stopped},
    testing::{Contract, ScriptedCheck, assert_becomes, assert_stays, assert_verdict},
};

use crate::support::{SECOND, after, ask, ms, status_only};

const PROBES: [Probe; 4] = [
    Probe::Liveness,
    Probe::Startup,
    Probe::Readiness,
    Probe::Health,
];

#[test]
fn fixed_health_needs_no_runtime_and_does_not_change() {
    for (status, verdicts) in [
        (
            Status::Pass,
            [Status::Pass, Status::Pass, Status::Pass, Status::Pass],
        ),
        (
            Status::Warn,
            [Status::Pass, Status::Pass, Status::Warn, Status::Warn],
        ),
        (
            Status::Fail,
            [Status::Pass, Status::Pass, Status::Fail, Status::Fail],
        ),
    ] {
        let health = Health::fixed(status);
        for (probe, verdict) in PROBES.into_iter().zip(verdicts) {
            assert_verdict(&health, probe, verdict);
        }
        assert_eq!(health.report().status, verdicts[3]);
        assert_eq!(health.check("fixed").unwrap().status, status);
        assert_eq!(health.clone().check("fixed").unwrap().status, status);
        assert!(health.check("db").is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn fixed_health_answers_probes_and_neither_ages_nor_changes() {
    let health = Health::fixed(Status::Fail);
    let service = health.service();
    for days in [0, 1, 1_000] {
        after(days * 24 * 3_600 * SECOND).await;
        let answer = ask(&service, "/ready").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, Some("2"))
        );
        assert_eq!(
            ask(&service, "/health/fixed").await.json()["output"],
            "failed"
        );
    }
    let secretive = health.service().endpoints(status_only().build().unwrap());
    assert_eq!(ask(&secretive, "/ready").await.body, r#"{"status":"fail"}"#);
    let check = || Check::new("fixed", ScriptedCheck::new(Status::Pass)).on_demand(SECOND);
    let stopped = |change: Result<_, ChangeError>| matches!(change, Err(ChangeError::Stopped(_)));
    assert!(stopped(health.add(check()).await));
    assert!(stopped(health.replace(check()).await));
    assert!(stopped(health.remove("fixed").await));
    assert_eq!(health.run_now("fixed").await.unwrap().status, Status::Fail);
    assert!(matches!(
        health.run_now("db").await,
        Err(RunError::Unknown(_))
    ));
    let never = health.wait_until(Probe::Readiness, Status::Pass);
    assert_eq!(never.await.unwrap_err(), Stopped);
    assert!(health.subscribe().next().await.is_none());
    assert_eq!(
        health.watch(Probe::Health).changed().await.unwrap_err(),
        Stopped
    );
}

#[tokio::test(start_paused = true)]
async fn a_script_returns_each_line_once_and_then_the_last_set_outcome() {
    let db = ScriptedCheck::new(Status::Pass).duration(ms(50));
    for status in [Status::Fail, Status::Warn] {
        db.push_outcome(status);
    }
    let health = Health::builder("orders")
        .check(
            Check::new("db", db.clone())
                .period(3_600 * SECOND)
                .retry_period(3_600 * SECOND),
        )
        .start()
        .unwrap();
    for status in [Status::Fail, Status::Warn, Status::Pass, Status::Pass] {
        assert_eq!(health.run_now("db").await.unwrap().status, status);
    }
    db.panic("password=hunter2");
    assert_eq!(
        health.run_now("db").await.unwrap().reason,
        Some(Reason::Panicked)
    );
    db.hang();
    assert_eq!(
        health.run_now("db").await.unwrap().reason,
        Some(Reason::TimedOut)
    );
    assert_eq!((db.runs(), db.max_running()), (6, 1));
    after(ms(1)).await;
    assert_eq!(db.running(), 0);
    assert!(!format!("{db:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn the_assertions_pass_and_fail_as_documented() {
    let db = ScriptedCheck::new(Status::Pass);
    let health = Health::builder("orders")
        .check(Check::new("db", db.clone()))
        .start()
        .unwrap();
    let took = assert_becomes(&health, Probe::Readiness, Status::Pass, SECOND).await;
    assert!(took <= ms(210), "{took:?}");
    assert_stays(&health, Probe::Readiness, Status::Pass, 60 * SECOND).await;

    db.set_outcome(Outcome::fail(Reason::Busy).with_cause("8 of 8"));
    let message = panics(assert_stays(
        &health,
        Probe::Readiness,
        Status::Pass,
        60 * SECOND,
    ))
    .await;
    assert!(message.contains("testing.rs:"), "{message}");
    assert!(
        message.contains(
            "readiness is fail (checks; db fail, busy: 8 of 8), and did not stay pass: after "
        ),
        "{message}"
    );
    let message = panics(assert_becomes(
        &health,
        Probe::Readiness,
        Status::Warn,
        SECOND,
    ))
    .await;
    assert!(
        message.contains("testing.rs:") && message.contains("did not become warn within 1s"),
        "{message}"
    );
    let message = panics(async { assert_verdict(&health, Probe::Health, Status::Pass) }).await;
    assert!(
        message.starts_with("health is fail (checks; db fail, busy: 8 of 8), not pass"),
        "{message}"
    );
    // The status is already reached.
    assert_eq!(
        assert_becomes(&health, Probe::Readiness, Status::Fail, SECOND).await,
        Duration::ZERO
    );
    let late = assert_stays(&health, Probe::Readiness, Status::Fail, 60 * SECOND);
    drop(health);
    assert!(panics(late).await.contains("engine stopped"));
}

/// Returns the message that a future panics with.
async fn panics(future: impl Future<Output = impl Sized> + Send) -> String {
    let payload = catch(future).await.err().expect("it does not panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

mod futures_like {
    //! Catches the panic of a future that borrows.

    use std::{
        any::Any,
        future::poll_fn,
        panic::{AssertUnwindSafe, catch_unwind},
        pin::pin,
        task::Poll,
    };

    pub(super) async fn catch<T>(
        future: impl Future<Output = T>,
    ) -> Result<T, Box<dyn Any + Send>> {
        let mut future = pin!(future);
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(payload) => Poll::Ready(Err(payload)),
            },
        )
        .await
    }
}

// Each clause of the contract, broken by a check that breaks no other clause.

type Code = fn(&Broken) -> Result<Outcome, Failure>;

/// A check that breaks the contract in one way.
struct Broken {
    runs: AtomicUsize,
    code: Code,
}

#[async_trait]
impl HealthCheck for Broken {
    async fn check(&self) -> Result<Outcome, Failure> {
        tokio::task::yield_now().await;
        self.runs.fetch_add(1, Ordering::SeqCst);
        (self.code)(self)
    }
}

async fn violations(code: Code) -> Vec<String> {
    let make = || Broken {
        runs: AtomicUsize::new(0),
        code,
    };
    let contract = Contract::new(make).secret("hunter2").timeout(ms(200));
    match contract.verify().await {
        Ok(()) => Vec::new(),
        Err(error) => error.violations().to_vec(),
    }
}

#[tokio::test]
async fn a_correct_check_meets_the_contract() {
    for (code, status) in [
        (
            (|_| {
                Ok(Outcome::pass()
                    .measure("backlog", 3, "")
                    .measure("age", 0.5, "s"))
            }) as Code,
            Status::Pass,
        ),
        (|_| Ok(Outcome::warn(Reason::Busy)), Status::Warn),
        (
            |_| Err(Failure::new(Reason::TimedOut).with_cause("token=hunter2")),
            Status::Fail,
        ),
    ] {
        assert_eq!(violations(code).await, [""; 0]);
        let make = || Broken {
            runs: AtomicUsize::new(0),
            code,
        };
        Contract::new(make).expect(status).assert().await;
    }
    // A script is a check like any other.
    Contract::new(|| ScriptedCheck::new(Status::Pass).duration(ms(1)))
        .assert()
        .await;
}

#[tokio::test]
async fn each_broken_clause_of_the_contract_is_detected() {
    let cases: [(Code, &str); 8] = [
        (
            |check| match check.runs.load(Ordering::SeqCst) {
                10.. => Err(Failure::new(Reason::Busy).with_cause("no place left")),
                _ => Ok(Outcome::pass()),
            },
            "a run returned fail instead of pass: no place left",
        ),
        (
            |_| panic!("hunter2"),
            concat!("it panicked: panicked at ", file!()),
        ),
        (
            |_| {
                thread::sleep(ms(120));
                Ok(Outcome::pass())
            },
            "belongs in `Check::blocking`",
        ),
        (
            |_| Ok(Outcome::pass().measure("", 1, "")),
            "\"\" is not a valid name of a measurement",
        ),
        (
            |_| Ok(Outcome::pass().measure("a", 1, "").measure("a", 2, "")),
            "two measurements are named \"a\"",
        ),
        (
            |_| Ok(Outcome::pass().measure("a", f64::NAN, "")),
            "\"a\" is not finite",
        ),
        (
            |_| Ok(Outcome::fail(Reason::Stale)),
            "the reason Stale is reserved for the engine",
        ),
        (
            |_| Ok(Outcome::pass().measure("user", "hunter2".to_owned(), "")),
            "an outcome contains a secret",
        ),
    ];
    for (code, part) in cases {
        let violations = violations(code).await;
        assert!(
            matches!(violations.as_slice(), [only] if only.contains(part)),
            "{part}: {violations:?}"
        );
    }
    let fails = |_: &Broken| Ok(Outcome::fail(Reason::Failed));
    let make = || Broken {
        runs: AtomicUsize::new(0),
        code: fails,
    };
    let message = panics(AssertUnwindSafe(
        Contract::new(make).expect(Status::Pass).assert(),
    ))
    .await;
    assert!(
        message.contains(
            "breaks the contract of `HealthCheck`:\n  - a run returned fail instead of pass"
        ),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_contract_detects_a_check_that_hangs() {
    let error = Contract::new(ScriptedCheck::hanging)
        .verify()
        .await
        .unwrap_err();
    assert_eq!(error.violations(), ["a run did not end within 2s"]);
}

/// A pool of one connection. A run that is dropped does not return the connection.
struct Leaky(Arc<Semaphore>);

#[async_trait]
impl HealthCheck for Leaky {
    async fn check(&self) -> Result<Outcome, Failure> {
        let Ok(permit) = self.0.try_acquire() else {
            return Err(Failure::new(Reason::Busy));
        };
        permit.forget();
        tokio::time::sleep(ms(1)).await;
        self.0.add_permits(1);
        Ok(Outcome::pass())
    }
}

/// A check whose cleanup panics.
struct Spiteful;

#[async_trait]
impl HealthCheck for Spiteful {
    async fn check(&self) -> Result<Outcome, Failure> {
        struct Guard;
        impl Drop for Guard {
            fn drop(&mut self) {
                if !thread::panicking() && CUT.with(std::cell::Cell::get) {
                    panic!("hunter2");
                }
            }
        }
        let _guard = Guard;
        CUT.with(|cut| cut.set(true));
        tokio::task::yield_now().await;
        CUT.with(|cut| cut.set(false));
        Ok(Outcome::pass())
    }
}

thread_local! {
    static CUT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[tokio::test]
async fn the_contract_detects_leaks_of_a_dropped_run() {
    let error = Contract::new(|| Leaky(Arc::new(Semaphore::new(1))))
        .verify()
        .await
        .unwrap_err();
    assert_eq!(
        error.violations(),
        ["a run returned fail instead of pass: no cause"]
    );
    let error = Contract::new(|| Spiteful).verify().await.unwrap_err();
    let [only] = error.violations() else {
        panic!("{error}");
    };
    assert!(
        only.starts_with(concat!(
            "it panicked while it was dropped: panicked at ",
            file!()
        )),
        "{only}"
    );
}

/// A watch does not notice an expiry that nobody reads. The assertion reads the verdict itself.
#[tokio::test(start_paused = true)]
async fn assert_stays_detects_an_unread_expiry() {
    let health = Health::builder("orders")
        .check(Check::new("db", ScriptedCheck::new(Status::Pass)).on_demand(SECOND))
        .start()
        .unwrap();
    health.run_now("db").await.unwrap();
    let stays = assert_stays(&health, Probe::Readiness, Status::Pass, 60 * SECOND);
    assert!(panics(stays).await.contains("db fail, stale"));
}

/// A check that panics when it is dropped.
struct Bad;

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("hunter2");
    }
}

#[async_trait]
impl HealthCheck for Bad {
    async fn check(&self) -> Result<Outcome, Failure> {
        Ok(Outcome::pass())
    }
}

#[tokio::test]
async fn the_contract_detects_a_check_that_panics_when_it_is_dropped() {
    let error = Contract::new(|| Bad).verify().await.unwrap_err();
    let [only] = error.violations() else {
        panic!("{error}");
    };
    assert!(
        only.contains("while it was dropped") && !only.contains("hunter2"),
        "{only}"
    );
}

#[tokio::test]
async fn an_empty_secret_is_ignored_and_a_quoted_one_is_found() {
    let check =
        || ScriptedCheck::new(Outcome::pass().measure("user", "pa\"ss\\word".to_owned(), ""));
    Contract::new(check).secret("").assert().await;
    let error = Contract::new(check).secret("pa\"ss\\word").verify().await;
    assert_eq!(
        error.unwrap_err().violations(),
        ["an outcome contains a secret"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_contract_fails_a_hanging_check_soon_and_detects_a_blocking_one() {
    let began = tokio::time::Instant::now();
    assert!(
        Contract::new(ScriptedCheck::hanging)
            .verify()
            .await
            .is_err()
    );
    assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
    let blocks = |_: &Broken| {
        thread::sleep(ms(120));
        Ok(Outcome::pass())
    };
    let make = || Broken {
        runs: AtomicUsize::new(0),
        code: blocks,
    };
    let error = Contract::new(make)
        .timeout(ms(200))
        .verify()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`Check::blocking`"), "{error}");
}
