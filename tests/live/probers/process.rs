//! External programs.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// A program that runs until this is dropped, together with the processes that it starts.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.process_group(0).spawn().unwrap())
    }

    pub(crate) fn piped(command: &mut Command) -> (Self, std::process::ChildStdout) {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        (Self(child), output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The workers of a killed server would continue to run.
        _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        _ = self.0.wait();
    }
}

/// Panics with the command that installs a program if the program is missing.
pub(crate) fn installed(program: &str, asks: &str, installs: &str) {
    let mut command = Command::new(program);
    let ran = command
        .arg(asks)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.is_ok(), "{program} is missing: {installs}");
}

/// Returns the Python interpreter with the packages that these tests need.
pub(crate) fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("programs/bin/python");
    let (venv, requirements) = (target.join("programs"), "tests/requirements.txt");
    assert!(
        python.exists(),
        "Envoy and a gRPC client are missing: python3 -m venv {0} && {0}/bin/pip install -r {requirements}",
        venv.display()
    );
    python
}
