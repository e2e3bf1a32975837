use std::{
    fs::{self, File, FileTimes},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use tower_health::{
    Failure, HealthCheck, Outcome, Reason, Status, checks::Freshness, outcome::Value,
    testing::Contract,
};

use crate::support::thousand_runs;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Creates a file that was modified this long ago.
fn write(path: &Path, age: Duration) {
    set(path, SystemTime::now() - age);
}

fn set(path: &Path, time: SystemTime) {
    let file = File::create(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

async fn said(check: &Freshness) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

fn age(outcome: &Outcome) -> f64 {
    let age = outcome.measurements().iter().find(|m| m.name == "age");
    match age.map(|age| (&age.value, &*age.unit)) {
        Some((Value::Float(age), "s")) => *age,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_old_file_warns_and_then_fails() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let check = Freshness::of_file(&file, 3 * HOUR).warn_above(2 * HOUR);
    assert_eq!(said(&check).await, (Status::Fail, Some(Reason::NotFound)));
    write(&file, HOUR);
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass);
    assert!((3_600.0..7_200.0).contains(&age(&outcome)), "{outcome:?}");
    write(&file, 2 * HOUR + HOUR / 2);
    assert_eq!(said(&check).await, (Status::Warn, Some(Reason::LimitNear)));
    write(&file, 3 * HOUR + HOUR / 2);
    assert_eq!(
        said(&check).await,
        (Status::Fail, Some(Reason::LimitExceeded))
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(said(&check).await, (Status::Fail, Some(Reason::NotFound)));
    write(&file, Duration::ZERO);
    assert_eq!(said(&check).await, (Status::Pass, None));
}

#[tokio::test]
async fn a_time_far_ahead_of_the_clock_fails() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let check = Freshness::of_file(&file, HOUR);
    set(&file, SystemTime::now() + Duration::from_secs(30));
    let outcome = check.check().await.unwrap();
    assert_eq!((outcome.status(), age(&outcome)), (Status::Pass, 0.0));
    set(&file, SystemTime::now() + HOUR);
    let ahead = said(&check).await;
    assert_eq!(ahead, (Status::Fail, Some(Reason::UnexpectedAnswer)));
}

#[tokio::test]
async fn the_newest_file_of_a_directory_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let check = Freshness::newest_in(path, 3 * HOUR).warn_above(2 * HOUR);
    let empty = said(&check).await;
    assert_eq!(empty, (Status::Fail, Some(Reason::NotFound)));
    // Neither of them counts.
    fs::create_dir(path.join("just made")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("broken")).unwrap();
    let empty = said(&check).await;
    assert_eq!(empty, (Status::Fail, Some(Reason::NotFound)));
    write(&path.join("1"), 5 * HOUR);
    let old = said(&check).await;
    assert_eq!(old, (Status::Fail, Some(Reason::LimitExceeded)));
    write(&path.join("2"), 2 * HOUR + HOUR / 2);
    write(&path.join("3"), 4 * HOUR);
    assert_eq!(said(&check).await, (Status::Warn, Some(Reason::LimitNear)));
    write(&path.join("4"), HOUR);
    assert_eq!(said(&check).await, (Status::Pass, None));
    let missing = Freshness::newest_in(path.join("missing"), HOUR);
    assert_eq!(said(&missing).await, (Status::Fail, Some(Reason::NotFound)));
}

#[tokio::test]
async fn a_directory_with_too_many_files_is_misconfigured_unless_one_is_fresh() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let old = path.join("0");
    write(&old, 5 * HOUR);
    for number in 1..=Freshness::MAX_FILES {
        fs::hard_link(&old, path.join(number.to_string())).unwrap();
    }
    let strict = Freshness::newest_in(path, HOUR);
    let unknown = said(&strict).await;
    assert_eq!(unknown, (Status::Fail, Some(Reason::Misconfigured)));
    // One of the files is fresh enough, whatever the others are.
    let lenient = Freshness::newest_in(path, 6 * HOUR);
    assert_eq!(said(&lenient).await, (Status::Pass, None));
    fs::remove_file(path.join("1")).unwrap();
    let known = said(&strict).await;
    assert_eq!(known, (Status::Fail, Some(Reason::LimitExceeded)));
}

#[tokio::test]
async fn a_time_from_a_function_is_checked_and_its_errors_fail() {
    let check = Freshness::of(
        || async { Ok::<_, Failure>(SystemTime::now() - 2 * HOUR) },
        3 * HOUR,
    );
    assert_eq!(said(&check).await, (Status::Pass, None));
    assert_eq!(
        said(&check.warn_above(HOUR)).await,
        (Status::Warn, Some(Reason::LimitNear))
    );
    let refused = || async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) };
    let refused = said(&Freshness::of(refused, HOUR)).await;
    assert_eq!(refused, (Status::Fail, Some(Reason::ConnectionRefused)));
    let told = || async { Err(Failure::new(Reason::Busy)) };
    let told = said(&Freshness::of(told, HOUR)).await;
    assert_eq!(told, (Status::Fail, Some(Reason::Busy)));
}

#[tokio::test]
async fn contract() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    write(&file, 2 * HOUR);
    let of_file = |bound| {
        let file = file.clone();
        Contract::new(move || Freshness::of_file(&file, bound))
    };
    of_file(3 * HOUR).expect(Status::Pass).assert().await;
    of_file(HOUR).expect(Status::Fail).assert().await;
    let newest_in = Contract::new(|| Freshness::newest_in(directory.path(), 3 * HOUR));
    newest_in.expect(Status::Pass).assert().await;
}

#[tokio::test]
async fn many_runs_pass() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    write(&file, Duration::ZERO);
    let check = Freshness::of_file(&file, HOUR);
    thousand_runs(&check).await;
    assert_eq!(said(&check).await, (Status::Pass, None));
}

/// The backup of tonight, while it is being written.
#[tokio::test]
async fn a_file_that_is_empty_or_unfinished_is_not_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let check = |hours| {
        Freshness::newest_in(directory.path(), hours * HOUR)
            .named(|name| name.ends_with(".sql.gz"))
            .at_least_bytes(4)
    };
    let missing = (Status::Fail, Some(Reason::NotFound));
    let write_bytes = |name: &str, bytes: &str, hours: u32| {
        fs::write(path(name), bytes).unwrap();
        let file = File::options().write(true).open(path(name)).unwrap();
        let time = SystemTime::now() - hours * HOUR;
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    for (name, bytes) in [
        ("monday.sql.gz", ""),
        ("monday.sql.gz", "abc"),
        ("monday.sql.gz.part", "abcd"),
    ] {
        write_bytes(name, bytes, 0);
        assert_eq!(said(&check(3)).await, missing, "{name} {bytes:?}");
    }
    write_bytes("sunday.sql.gz", "abcd", 2);
    assert_eq!(said(&check(3)).await, (Status::Pass, None));
    let old = (Status::Fail, Some(Reason::LimitExceeded));
    assert_eq!(said(&check(1)).await, old);

    let one = Freshness::of_file(path("monday.sql.gz"), HOUR);
    assert_eq!(said(&one).await, (Status::Pass, None));
    let small = (Status::Fail, Some(Reason::UnexpectedAnswer));
    assert_eq!(said(&one.at_least_bytes(4)).await, small);
}
