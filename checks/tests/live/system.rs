use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::advance;
use tower_health::{
    ComponentType, HealthCheck, Outcome, Reason, Status, checks::Freshness, outcome::Value,
    testing::Contract,
};
use tower_health_checks::{CpuPressure, Disk, FileHandles, Memory};

use crate::{table::assert_refusal, wear::wear};

const CHILD: &str = "TOWER_HEALTH_SYSTEM_CHILD";
const HOUR: Duration = Duration::from_secs(60 * 60);

const PASS: (Status, Option<Reason>) = (Status::Pass, None);
const NEAR: (Status, Option<Reason>) = (Status::Warn, Some(Reason::LimitNear));
const EXCEEDED: (Status, Option<Reason>) = (Status::Fail, Some(Reason::LimitExceeded));
const READ_ONLY: (Status, Option<Reason>) = (Status::Fail, Some(Reason::ReadOnly));

async fn said(check: &impl HealthCheck) -> (Status, Option<Reason>) {
    let outcome = check.check().await.unwrap_or_else(Outcome::from);
    (outcome.status(), outcome.reason())
}

fn measured(outcome: &Outcome, name: &str) -> Option<f64> {
    let mut all = outcome.measurements().iter();
    match all.find(|measurement| measurement.name == name)?.value {
        Value::Float(value) => Some(value),
        Value::Integer(value) => Some(value as f64),
        ref other => panic!("{other:?}"),
    }
}

/// A file system of 1000 blocks and 200 inodes. It is unmounted when this is dropped.
struct Mount(TempDir);

const BLOCK: usize = 4_096;

impl Mount {
    /// Returns `None`, with a message, if this process may not mount.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = "size=4000k,nr_inodes=200";
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory.path())
            .output();
        match mount {
            Ok(mounted) if mounted.status.success() => Some(Self(directory)),
            refused => {
                println!("not tested, for nothing can be mounted here: {refused:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) {
        let remount = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status();
        assert!(remount.unwrap().success());
    }

    fn fill(&self, blocks: usize) {
        let mut file = OpenOptions::new();
        let mut file = file.create(true).append(true).open(self.file()).unwrap();
        file.write_all(&vec![1; blocks * BLOCK]).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.path().join("fills")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_steadily_warns_a_day_ahead() {
    let Some(mount) = Mount::new() else { return };
    let disk = Disk::new(mount.path());
    // Usage grows by one percent per hour, and the bound is 95 percent. The bound is a day ahead
    // from 71 percent on, and the third run after that reports it.
    for percent in 0..=100 {
        let outcome = disk.check().await.unwrap();
        let expected = match percent {
            ..73 => PASS,
            73..=95 => NEAR,
            _ => EXCEEDED,
        };
        assert_eq!((outcome.status(), outcome.reason()), expected, "{percent}");
        assert_eq!(
            measured(&outcome, "free_percent"),
            Some(f64::from(100 - percent))
        );
        if percent >= 71 {
            let left = f64::from(95 - percent.min(95)) * 3_600.0;
            assert_eq!(measured(&outcome, "time_left"), Some(left), "{percent}");
        }
        if percent < 100 {
            mount.fill(10);
        }
        advance(HOUR).await;
    }
    // The disk is cleaned up.
    fs::remove_file(mount.file()).unwrap();
    let outcome = disk.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass);
    assert_eq!(measured(&outcome, "time_left"), None);
    assert_eq!(
        measured(&outcome, "free"),
        Some((1_000 * BLOCK) as f64),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_disk_with_few_inodes_warns_and_then_fails() {
    let Some(mount) = Mount::new() else { return };
    let disk = Disk::new(mount.path());
    assert_eq!(said(&disk).await, PASS);
    // The directory uses one inode.
    let create = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            File::create(mount.path().join(number.to_string())).unwrap();
        }
    };
    create(1..180);
    assert_eq!(said(&disk).await, PASS);
    create(180..181);
    assert_eq!(said(&disk).await, NEAR);
    create(181..191);
    assert_eq!(said(&disk).await, EXCEEDED);
    assert_refusal("disk", "no inodes are left", &disk).await;
    assert_eq!(
        said(&Disk::new(mount.path()).fail_below(1.0).warn_below(2.0)).await,
        PASS
    );
}

#[tokio::test]
async fn a_read_only_disk_fails() {
    let Some(mount) = Mount::new() else { return };
    let disk = Disk::new(mount.path()).writable();
    assert_eq!(said(&disk).await, PASS);
    mount.remount("ro");
    assert_eq!(said(&disk).await, READ_ONLY);
    let what = "a file system that became read-only";
    assert_refusal("disk, writable", what, &disk).await;
    assert_eq!(said(&Disk::new(mount.path())).await, PASS);
    mount.remount("rw");
    assert_eq!(said(&disk).await, PASS);
}

#[tokio::test]
async fn an_unmounted_volume_fails() {
    let Some(mount) = Mount::new() else { return };
    let path = mount.path().to_owned();
    let disk = || {
        Disk::new(&path)
            .mount_point()
            .fail_below(0.0)
            .warn_below(0.0)
    };
    let kept = disk();
    assert_eq!(said(&kept).await, PASS);
    let unmounted = Command::new("umount").arg(&path).status();
    assert!(unmounted.unwrap().success());
    let what = "a volume that is not mounted";
    for check in [kept, disk()] {
        assert_refusal("disk, as a mount point", what, &check).await;
    }
}

/// The backup of tonight, while it is being written.
#[tokio::test]
async fn an_empty_or_unfinished_newest_file_does_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let check = Freshness::newest_in(directory.path(), HOUR)
        .named(|name| name.ends_with(".sql.gz"))
        .at_least_bytes(4);
    for (name, bytes) in [("monday.sql.gz", ""), ("monday.sql.gz.part", "abcd")] {
        fs::write(directory.path().join(name), bytes).unwrap();
        let what = "a newest file that is empty, or is named like a partial file";
        assert_refusal("freshness", what, &check).await;
    }
}

#[tokio::test]
async fn system_checks_meet_the_contract_on_any_system() {
    let nowhere = Disk::new("/no/such/path");
    assert_eq!(said(&nowhere).await, (Status::Fail, Some(Reason::NotFound)));
    let disk = || Disk::new(env::temp_dir()).fail_below(0.0).warn_below(0.0);
    let contract = Contract::new(disk).expect(Status::Pass);
    contract.assert().await;
    wear(&disk()).await;
    Contract::new(|| Disk::new("/no/such/path"))
        .expect(Status::Fail)
        .assert()
        .await;
    let memory = || Memory::new().warn_above(100.0);
    Contract::new(memory).expect(Status::Pass).assert().await;
    wear(&memory()).await;
    let handles = || FileHandles::new().warn_above(100.0).fail_above(100.0);
    Contract::new(handles).expect(Status::Pass).assert().await;
    wear(&handles()).await;
    Contract::new(|| FileHandles::new().fail_above(-1.0))
        .expect(Status::Fail)
        .assert()
        .await;
    let cpu = || {
        CpuPressure::new()
            .warn_above(100.0)
            .warn_throttled_above(100.0)
    };
    println!("{:?}", cpu().check().await.unwrap());
    Contract::new(cpu).assert().await;
    assert_eq!(disk().component_type(), ComponentType::System);
    // The values of this machine.
    let outcome = Memory::new().check().await.unwrap();
    println!("{outcome:?}");
    let (used, limit) = (measured(&outcome, "used"), measured(&outcome, "limit"));
    assert!(used > Some(0.0) && used < limit, "{outcome:?}");
}

/// Runs this test again as a child of a shell that first runs another command.
fn start_again(test: &str, first: &str) {
    let output = Command::new("sh")
        .args(["-c", &format!("{first} && exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{output:#?}"
    );
}

#[tokio::test]
async fn few_free_file_handles_warn_and_fail_until_they_are_released() {
    if env::var_os(CHILD).is_none() {
        return start_again(
            "system::few_free_file_handles_warn_and_fail_until_they_are_released",
            "ulimit -n 200",
        );
    }
    let check = FileHandles::new();
    let outcome = check.check().await.unwrap();
    assert_eq!(outcome.status(), Status::Pass, "{outcome:?}");
    assert_eq!(measured(&outcome, "limit"), Some(200.0));
    let open_at_first = measured(&outcome, "open").unwrap() as usize;
    let mut files = Vec::new();
    for (open, expected) in [(160, PASS), (161, NEAR), (190, NEAR), (191, EXCEEDED)] {
        while open_at_first + files.len() < open {
            files.push(File::open("/dev/null").unwrap());
        }
        let outcome = check.check().await.unwrap();
        assert_eq!(measured(&outcome, "open"), Some(open as f64));
        assert_eq!((outcome.status(), outcome.reason()), expected, "{open}");
    }
    // There is no handle left to inspect the limit with.
    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    let failure = check.check().await.unwrap_err();
    assert_eq!(failure.reason(), Reason::LimitExceeded, "{failure:?}");
    drop(files);
    assert_eq!(said(&check).await, PASS);
}

/// The memory files of a control group, by version.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The key in `memory.stat` of reclaimable memory.
    inactive: &'static str,
}

const TWO: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    inactive: "inactive_file ",
};
const ONE: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    inactive: "total_inactive_file ",
};

impl Files {
    fn of(group: &Path) -> Self {
        if group.join(TWO.limit).exists() {
            TWO
        } else {
            ONE
        }
    }

    /// Returns `None` for a group without a limit.
    fn limit(&self, group: &Path) -> Option<u64> {
        let told = fs::read_to_string(group.join(self.limit)).ok()?;
        told.trim().parse().ok()
    }

    fn used(&self, group: &Path) -> Option<u64> {
        let told = fs::read_to_string(group.join(self.used)).ok()?;
        let stat = fs::read_to_string(group.join("memory.stat")).ok()?;
        let mut lines = stat.lines();
        let inactive = lines.find_map(|line| line.strip_prefix(self.inactive)?.parse().ok());
        let used: u64 = told.trim().parse().ok()?;
        Some(used.saturating_sub(inactive.unwrap_or(0)))
    }
}

/// A control group of this test. It is removed when this is dropped.
struct Group(PathBuf);

impl Group {
    /// Creates a group of version 2 or 1 with 256 MiB, or with half of what the parent group has
    /// left if that is less. Returns `None`, with a message, if neither version delegates writable
    /// memory control, and if the parent group has too little memory or is nearly full itself.
    fn new() -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let passed_on = fs::read_to_string(root.join("cgroup.subtree_control"));
        let has_memory =
            passed_on.is_ok_and(|names| names.split(' ').any(|n| n.trim() == "memory"));
        let (root, files) = if has_memory {
            (root.to_owned(), TWO)
        } else {
            (root.join("memory"), ONE)
        };
        let around = files.limit(&root).zip(files.used(&root));
        let room = around.map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
        let is_near = around.is_some_and(|(limit, _)| room < limit / 8);
        let limit = (256 << 20).min(room / 2) & !0xffff;
        if is_near || limit < 64 << 20 {
            print_not_tested(format_args!("{room} bytes are left around it"));
            return None;
        }
        let path = root.join(format!("tower-health-{}", std::process::id()));
        if fs::create_dir(&path).is_err() {
            let root = root.display();
            print_not_tested(format_args!(
                "none can be made in {root}; see the trees of files in `memory.rs`"
            ));
            return None;
        }
        let group = Self(path);
        fs::write(group.0.join(files.limit), limit.to_string()).unwrap();
        Some(group)
    }
}

/// Prints why a test did not run. It bypasses the capture of output, because the test passes.
fn print_not_tested(why: std::fmt::Arguments<'_>) {
    _ = writeln!(
        io::stderr(),
        "NOT TESTED with a real control group, because {why}"
    );
}

impl Drop for Group {
    fn drop(&mut self) {
        _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn the_memory_limit_of_the_control_group_applies() {
    const NAME: &str = "system::the_memory_limit_of_the_control_group_applies";
    const GROUP: &str = "TOWER_HEALTH_SYSTEM_GROUP";
    if env::var_os(CHILD).is_none() {
        let Some(group) = Group::new() else {
            return;
        };
        let path = group.0.display();
        let join = format!("export {GROUP}={path} && echo $$ > {path}/cgroup.procs");
        return start_again(NAME, &join);
    }
    let group = PathBuf::from(env::var_os(GROUP).unwrap());
    let files = Files::of(&group);
    let limit = files.limit(&group).unwrap();
    let check = Memory::new();
    // The parent group may be fuller until this group is nearly full, and has enough memory for all
    // of that.
    assert_eq!(said(&check).await, PASS);
    let used = files.used(&group).unwrap();
    let much = vec![1_u8; (limit as f64 * 0.94 - used as f64) as usize];
    let outcome = check.check().await.unwrap();
    assert_eq!((outcome.status(), outcome.reason()), NEAR, "{outcome:?}");
    assert_eq!(measured(&outcome, "limit"), Some(limit as f64));
    drop(much);
    assert_eq!(said(&check).await, PASS);
}
