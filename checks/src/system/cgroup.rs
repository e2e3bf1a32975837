//! Paths of the kernel's files about this process and its control groups.
//!
//! A process in a container has limits in several places: in its own control group, and in each
//! ancestor of that group. [`Kernel::groups`] finds the directories of all of them that are
//! visible. The checks of memory and processors then read the files in each directory. Nothing here
//! caches: limits may change while the process runs.
//!
//! Control groups have two versions. In version 2 a process is in one group for all controllers. In
//! version 1 each controller has a hierarchy of its own. A machine may use both, each for other
//! controllers.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use procfs::{FromRead, ProcessCGroups};

use tower_health::{Failure, Reason};

/// Where the two file systems with these files are mounted. The default is the usual place of each.
/// A test uses a directory of its own.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// The file system of processes. Defaults to `/proc`.
    pub(super) proc: PathBuf,
    /// The file system of control groups. Defaults to `/sys/fs/cgroup`.
    pub(super) cgroup: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            cgroup: "/sys/fs/cgroup".into(),
        }
    }
}

/// The visible control groups of this process: its own first, then its ancestors.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Groups {
    /// The version, which determines the names of the files.
    pub(super) version: Version,
    /// The existing directories of the groups. Empty if the kernel has no control groups.
    pub(super) directories: Vec<PathBuf>,
}

/// The version of control groups that a controller belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Version {
    One,
    #[default]
    Two,
}

impl Kernel {
    /// Returns the groups with this controller. They are of version 1 if the controller belongs to
    /// it, as on machines with both versions.
    pub(super) fn groups(&self, controller: &str) -> Result<Groups, Failure> {
        let membership = self.membership()?;
        let first = membership
            .as_ref()
            .and_then(|groups| path_v1(groups, controller));
        Ok(match first {
            Some(path) => Groups {
                version: Version::One,
                directories: directories(&self.cgroup.join(controller), path),
            },
            None => self.unified_of(membership.as_ref()),
        })
    }

    /// Returns the groups of version 2, which have the pressure of all resources. There are none on
    /// a machine that has only version 1.
    pub(super) fn unified(&self) -> Result<Groups, Failure> {
        Ok(self.unified_of(self.membership()?.as_ref()))
    }

    /// Returns the groups of version 2 for a membership that was already read. On a machine with
    /// both versions, they are below `unified`.
    fn unified_of(&self, membership: Option<&ProcessCGroups>) -> Groups {
        let root = [self.cgroup.clone(), self.cgroup.join("unified")]
            .into_iter()
            .find(|root| root.join("cgroup.controllers").exists());
        let directories = match (root, membership.and_then(path_v2)) {
            (Some(root), Some(path)) => directories(&root, path),
            _ => Vec::new(),
        };
        Groups {
            version: Version::Two,
            directories,
        }
    }

    /// Returns the groups that this process is in, or `None` if the kernel has no control groups.
    fn membership(&self) -> Result<Option<ProcessCGroups>, Failure> {
        found(fs::read_to_string(self.proc.join("self/cgroup")))?
            .map(|text| parse(&text))
            .transpose()
    }
}

/// Returns the path of the group of version 1 with a controller, below the directory of the
/// controller.
fn path_v1<'a>(groups: &'a ProcessCGroups, controller: &str) -> Option<&'a str> {
    let has_it = |names: &[String]| names.iter().any(|name| name == controller);
    let mut groups = groups.0.iter();
    let group = groups.find(|group| has_it(&group.controllers))?;
    Some(&group.pathname)
}

/// Returns the path of the group of version 2, which is the entry without controllers.
fn path_v2(groups: &ProcessCGroups) -> Option<&str> {
    let mut groups = groups.0.iter();
    let group = groups.find(|group| group.hierarchy == 0 && group.controllers.is_empty())?;
    Some(&group.pathname)
}

/// Returns the directory of a group, then those of its ancestors up to the root.
///
/// In a container the path may be that of the host. Only the root then exists, and it is the
/// container's group. A path outside the namespace is treated as the root.
fn directories(root: &Path, path: &str) -> Vec<PathBuf> {
    let inside = Path::new(path.trim_start_matches('/'));
    let is_seen = |part| matches!(part, Component::Normal(_));
    let inside = if inside.components().all(is_seen) {
        inside
    } else {
        Path::new("")
    };
    inside
        .ancestors()
        .map(|group| {
            if group.as_os_str().is_empty() {
                root.to_owned()
            } else {
                root.join(group)
            }
        })
        .filter(|directory| directory.is_dir())
        .collect()
}

/// Parses the text of a file. A text that cannot be parsed is an [unexpected] answer.
///
/// [unexpected]: Reason::UnexpectedAnswer
pub(super) fn parse<T: FromRead>(text: &str) -> Result<T, Failure> {
    T::from_read(text.as_bytes()).map_err(unexpected)
}

/// Creates a failure for a file with an unexpected content.
pub(super) fn unexpected(cause: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::UnexpectedAnswer).with_cause(cause)
}

/// Returns the text of a file, or `None` if the group does not have it.
pub(super) fn text(directory: &Path, file: &str) -> Result<Option<String>, Failure> {
    Ok(found(fs::read_to_string(directory.join(file)))?)
}

/// Converts the error of a missing file to `None`. All other errors remain.
fn found(read: io::Result<String>) -> io::Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the file does not exist, was removed while it was read, or is disabled.
fn is_missing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::OPNOTSUPP)
    )
}

/// Returns the number after a name, in a file of names and numbers such as `memory.stat` and
/// `meminfo`.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some(name);
        is_it.then(|| words.next()?.parse().ok())?
    })
}

/// A directory with files as a kernel would provide them.
#[cfg(test)]
pub(super) mod fixture {
    use super::*;

    pub(crate) struct Fixture {
        pub(crate) kernel: Kernel,
        directory: PathBuf,
    }

    impl Fixture {
        /// Creates the files from pairs of a path, below `proc` or `cgroup`, and its text.
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let id = format!("tower-health-{}-{name}", std::process::id());
            let directory = std::env::temp_dir().join(id);
            let fixture = Self {
                kernel: Kernel {
                    proc: directory.join("proc"),
                    cgroup: directory.join("cgroup"),
                },
                directory,
            };
            for (path, text) in files {
                fixture.write(path, text);
            }
            fixture
        }

        pub(crate) fn write(&self, path: &str, text: &str) {
            let path = self.directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fixture::Fixture, *};

    fn found(kernel: &Kernel, groups: &Groups) -> Vec<String> {
        let shown = |directory: &PathBuf| {
            let inside = directory.strip_prefix(&kernel.cgroup).unwrap();
            inside.display().to_string()
        };
        groups.directories.iter().map(shown).collect()
    }

    #[test]
    fn a_group_and_its_ancestors() {
        let fixture = Fixture::new(
            "nested",
            &[
                ("proc/self/cgroup", "0::/pods/pod:1/app\n"),
                ("cgroup/cgroup.controllers", "cpu memory\n"),
                ("cgroup/pods/pod:1/app/memory.max", "max\n"),
            ],
        );
        let groups = fixture.kernel.groups("memory").unwrap();
        assert_eq!(groups.version, Version::Two);
        assert_eq!(
            found(&fixture.kernel, &groups),
            ["pods/pod:1/app", "pods/pod:1", "pods", ""]
        );
        assert_eq!(groups, fixture.kernel.unified().unwrap());
    }

    #[test]
    fn the_root_of_a_namespace_and_paths_outside() {
        let fixture = Fixture::new("namespace", &[("cgroup/cgroup.controllers", "memory\n")]);
        fixture.write("cgroup/other/memory.max", "1\n");
        for path in ["/", "/../other", "/docker/of/the/machine"] {
            fixture.write("proc/self/cgroup", &format!("0::{path}\n"));
            let groups = fixture.kernel.groups("memory").unwrap();
            assert_eq!(found(&fixture.kernel, &groups), [""], "{path}");
        }
    }

    #[test]
    fn controllers_of_version_one_beside_version_two() {
        let fixture = Fixture::new(
            "hybrid",
            &[
                (
                    "proc/self/cgroup",
                    "4:memory:/app\n1:cpu,cpuacct:/\n0::/app.scope\n",
                ),
                ("cgroup/memory/app/memory.limit_in_bytes", "1\n"),
                ("cgroup/cpu/cpu.stat", ""),
                ("cgroup/unified/cgroup.controllers", ""),
                ("cgroup/unified/app.scope/cpu.pressure", ""),
            ],
        );
        let kernel = &fixture.kernel;
        let memory = kernel.groups("memory").unwrap();
        assert_eq!(memory.version, Version::One);
        assert_eq!(found(kernel, &memory), ["memory/app", "memory"]);
        let cpu = kernel.groups("cpu").unwrap();
        assert_eq!(found(kernel, &cpu), ["cpu"]);
        let unified = kernel.unified().unwrap();
        assert_eq!(found(kernel, &unified), ["unified/app.scope", "unified"]);
    }

    #[test]
    fn no_groups_and_invalid_text() {
        let fixture = Fixture::new("nothing", &[]);
        let groups = fixture.kernel.groups("memory").unwrap();
        assert_eq!(groups, Groups::default());
        fixture.write("proc/self/cgroup", "what?\n");
        let nonsense = fixture.kernel.groups("memory").unwrap_err();
        assert_eq!(nonsense.reason(), Reason::UnexpectedAnswer);
    }

    #[test]
    fn numbers_by_name() {
        let text =
            "MemTotal:    7 kB\nanon 1\ninactive_file 22\nfile_inactive_file 3\nodd\nbad x\n";
        assert_eq!(number(text, "inactive_file"), Some(22));
        assert_eq!(number(text, "MemTotal:"), Some(7));
        for name in ["inactive", "odd", "bad", ""] {
            assert_eq!(number(text, name), None);
        }
    }
}
