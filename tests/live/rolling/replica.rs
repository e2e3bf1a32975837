//! A replica: the example `graceful` in a separate process.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    On,
    Off,
}

pub(crate) struct Replica {
    port: u16,
    drain: Drain,
    process: Child,
}

/// Returns consecutive free ports that no other caller received. They are below the range that the
/// operating system uses for clients.
pub(crate) fn ports<const N: usize>() -> [u16; N] {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    if *next == 0 {
        *next = 12_000 + (std::process::id() % 500) as u16 * 20;
    }
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    loop {
        let first = *next;
        *next = if first > 30_000 {
            12_000
        } else {
            first + N as u16
        };
        let ports = std::array::from_fn(|offset| first + offset as u16);
        if ports.iter().all(is_free) {
            return ports;
        }
    }
}

impl Replica {
    pub(crate) fn start(port: u16, drain: Drain) -> Self {
        Self {
            port,
            drain,
            process: spawn(port, drain),
        }
    }

    pub(crate) fn wait_until_ready(&self) {
        until("the replica is ready", || self.is_ready());
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200 "))
    }

    /// Stops the replica with SIGTERM, as an orchestrator does, and starts another one in its place
    /// once it has ended.
    pub(crate) fn restart(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let told = Instant::now();
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(told.elapsed() < PATIENCE, "it does not end"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.success(), self.drain == Drain::On, "{status}");
        self.process = spawn(self.port, self.drain);
    }
}

fn spawn(port: u16, drain: Drain) -> Child {
    let drain = match drain {
        Drain::On => "on",
        Drain::Off => "off",
    };
    Command::new(env!("CARGO_BIN_EXE_live-replica"))
        .env("PORT", port.to_string())
        .env("DRAIN_DELAY", "1000")
        .env("DRAIN", drain)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Replica {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
