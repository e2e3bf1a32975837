//! Programs that someone else wrote.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A program that runs until this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn piped(command: &mut Command) -> (Self, std::process::ChildStdout) {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        (Self(child), output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Says what to install if a program is missing.
pub(crate) fn installed(program: &str, asks: &str, installs: &str) {
    let mut command = Command::new(program);
    let ran = command
        .arg(asks)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.is_ok(), "{program} is missing: {installs}");
}

/// The Python that has what these tests need.
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
