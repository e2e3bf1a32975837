//! Real servers, each private to a test.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The time that a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server with its own directory, on a free port of the loopback interface. It ends when it is
/// dropped.
pub(crate) struct Server {
    start: Box<dyn Fn() -> Command + Send>,
    pub(crate) address: SocketAddr,
    child: Option<Child>,
    pub(crate) directory: tempfile::TempDir,
}

impl Server {
    /// Creates a server that is started by a command. The closure receives its directory and its
    /// address.
    pub(crate) fn new(start: impl Fn(&Path, SocketAddr) -> Command + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let path = directory.path().to_owned();
        Self {
            start: Box::new(move || start(&path, address)),
            address,
            child: None,
            directory,
        }
    }

    /// Starts the server, and returns once its port accepts connections.
    pub(crate) fn start(&mut self) {
        let mut command = (self.start)();
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        self.child = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{command:?} does not listen: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Stops all its processes, and returns once each of their threads has stopped.
    pub(crate) fn suspend(&self) {
        if let Some(child) = &self.child {
            suspend(Pid::from_child(child));
        }
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the server with all its processes.
    pub(crate) fn kill(&mut self) {
        // Otherwise a process may start another one between the list and the signal.
        self.suspend();
        self.signal(Signal::KILL);
        if let Some(mut child) = self.child.take() {
            _ = child.wait();
        }
    }

    fn signal(&self, signal: Signal) {
        let Some(child) = &self.child else {
            return;
        };
        for pid in tree(Pid::from_child(child)) {
            // A process that has just ended needs no signal.
            _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops a process and all its descendants, including those that it starts meanwhile.
fn suspend(root: Pid) {
    let mut stopped = Vec::new();
    loop {
        let running = tree(root).into_iter().find(|pid| !stopped.contains(pid));
        let Some(pid) = running else {
            return;
        };
        // A process that has just ended needs no signal.
        _ = kill_process(pid, Signal::STOP);
        until_stopped(pid);
        stopped.push(pid);
    }
}

/// Waits until each thread of a process has stopped or ended, because the signal does not stop
/// threads immediately.
fn until_stopped(pid: Pid) {
    let deadline = Instant::now() + PATIENCE;
    let is_running = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_some_and(|state| !state.starts_with(['T', 't', 'Z', 'X']))
    };
    let threads = format!("/proc/{}/task", pid.as_raw_nonzero());
    while fs::read_dir(&threads).is_ok_and(|threads| threads.flatten().any(is_running)) {
        assert!(Instant::now() < deadline, "{pid:?} does not stop");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns a process and all its descendants.
fn tree(root: Pid) -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name may contain spaces and brackets.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((pid, parent.parse().ok()?))
        })
        .collect();
    let mut tree = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(parents.iter().filter(|of| of.1 == parent).map(|of| of.0));
        next += 1;
    }
    tree.into_iter().filter_map(Pid::from_raw).collect()
}

/// Returns an address of the loopback interface on which nothing listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Returns a program from one of these directories or the path. Panics with the command that
/// installs it if it is missing.
pub(crate) fn program(name: &str, places: &[&str], installs: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = places.iter().map(PathBuf::from);
    places
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: {installs}"))
}
