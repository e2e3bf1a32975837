//! A probe that does not need curl, for images without it: Docker's `HEALTHCHECK`, ECS, Kubernetes'
//! `exec`.
//!
//! The binary of the service probes the running service. Call [`run_if_asked`] at the start of
//! `main`, and let the prober run `orders --health-probe`:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     if let Some(code) = tower_health::exec::run_if_asked("http://127.0.0.1:8080/ready") {
//!         return code;
//!     }
//!     // Run the service.
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! ```text
//! HEALTHCHECK --interval=10s --timeout=2s CMD ["/orders", "--health-probe"]
//! ```
//!
//! Alternatively, install the program `tower-health-probe`, which does nothing else:
//! `cargo install tower-health --features exec`.
//!
//! | target | is healthy if |
//! | --- | --- |
//! | `http://127.0.0.1:8080/ready` | `GET` returns 2xx |
//! | `unix:/run/orders.sock:/ready` | the same, on a Unix socket |
//! | `grpc://127.0.0.1:50051/orders.v1.Orders` | `grpc.health.v1` returns `SERVING`; without a service name, the server itself is checked |
//!
//! The exit code is 0 if the target is healthy, and 1 otherwise. One line on the standard output
//! contains the reason. The probe times out after 800 ms by default. This is within the 1 s that a
//! kubelet waits.

mod ask;
mod error;
mod target;

use std::{
    env, fmt,
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use tokio::runtime;

pub use self::error::InvalidTarget;
use self::{error::LINE, target::Target};

/// The default timeout. It is within the 1 s that a kubelet waits.
const TIMEOUT: Duration = Duration::from_millis(800);

/// The argument that requests a probe.
const FLAG: &str = "--health-probe";
/// The argument that sets the timeout. It is an error without the other one.
const TIMEOUT_FLAG: &str = "--health-probe-timeout";

/// A probe of another process, or of another process of the same binary.
///
/// ```
/// use std::time::Duration;
/// use tower_health::exec::ExecProbe;
///
/// let probe = ExecProbe::new("http://127.0.0.1:1/ready")?.timeout(Duration::from_millis(100));
/// let answer = probe.run();
/// assert!(!answer.is_healthy(), "nobody listens there");
/// # Ok::<_, tower_health::exec::InvalidTarget>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is run"]
pub struct ExecProbe {
    target: Target,
    timeout: Duration,
}

/// The result of a probe.
///
/// Its `Display` is the line that is printed: `healthy` or `unhealthy`, and the reason.
///
/// ```
/// use tower_health::exec::{ExecAnswer, ExecProbe};
///
/// // Nobody listens on port 1.
/// let answer: ExecAnswer = ExecProbe::new("http://127.0.0.1:1/ready")?.run();
/// assert!(!answer.is_healthy());
/// assert_eq!(answer.to_string(), format!("unhealthy: {}", answer.line()));
/// # Ok::<_, tower_health::exec::InvalidTarget>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ExecAnswer {
    is_healthy: bool,
    line: String,
}

/// Runs the probe of `target` if the process was started with `--health-probe`, and prints its
/// line. Returns the exit code with which `main` must end, and `None` if no probe was requested.
/// `--health-probe=TARGET` probes another target. `--health-probe-timeout=SECONDS` sets the
/// timeout. All other arguments are ignored, because they belong to the service. An invalid target
/// or timeout is printed as unhealthy.
///
/// This function blocks. It can be called inside and outside of a runtime.
///
/// ```
/// # use std::process::ExitCode;
/// # fn main() -> ExitCode {
/// use tower_health::exec::run_if_asked;
///
/// // This process was started without `--health-probe`, so it is the service.
/// if let Some(code) = run_if_asked("http://127.0.0.1:8080/ready") {
///     return code;
/// }
/// ExitCode::SUCCESS
/// # }
/// ```
#[must_use = "the process is to end with this code"]
pub fn run_if_asked(target: &str) -> Option<ExitCode> {
    // Arguments that are not valid Unicode are ignored.
    let args = env::args_os().skip(1);
    let args = args.filter_map(|arg| arg.into_string().ok());
    Some(match asked(args, target)? {
        Ok(probe) => probe.run().print(),
        Err(error) => ExecAnswer::unhealthy(error.to_string()).print(),
    })
}

/// Returns the probe that the arguments request, if they request one.
fn asked(
    mut args: impl Iterator<Item = String>,
    target: &str,
) -> Option<Result<ExecProbe, InvalidTarget>> {
    let (mut asked, mut seconds) = (None, None);
    while let Some(arg) = args.next() {
        match arg.split_once('=') {
            None if arg == FLAG => asked = Some(target.to_owned()),
            Some((FLAG, other)) => asked = Some(other.to_owned()),
            None if arg == TIMEOUT_FLAG => seconds = Some(args.next().unwrap_or_default()),
            Some((TIMEOUT_FLAG, given)) => seconds = Some(given.to_owned()),
            _ => {}
        }
    }
    let timeout = match seconds.as_deref().map(timeout) {
        Some(Err(error)) => return Some(Err(error)),
        Some(Ok(timeout)) => timeout,
        None => TIMEOUT,
    };
    let Some(target) = asked else {
        let lonely = "requires --health-probe";
        return seconds.map(|_| Err(InvalidTarget::new(TIMEOUT_FLAG, lonely)));
    };
    Some(ExecProbe::new(&target).map(|probe| probe.timeout(timeout)))
}

/// Parses a timeout in seconds, with decimals.
fn timeout(seconds: &str) -> Result<Duration, InvalidTarget> {
    let timeout = seconds.parse().map(Duration::try_from_secs_f64);
    match timeout {
        Ok(Ok(timeout)) => Ok(timeout),
        _ => Err(InvalidTarget::new(
            seconds,
            "is not a number of seconds, such as 0.8",
        )),
    }
}

impl ExecProbe {
    /// Creates a probe of a [target](self).
    ///
    /// # Errors
    ///
    /// Returns [`InvalidTarget`], which describes valid targets, if `target` is not one.
    ///
    /// Nothing is connected yet. The port of `http` defaults to 80, and `grpc` needs one. A target
    /// with TLS or with a user is not valid.
    ///
    /// ```
    /// use tower_health::exec::ExecProbe;
    ///
    /// let is_valid = |target| ExecProbe::new(target).is_ok();
    /// assert!(is_valid("http://127.0.0.1:8080/ready") && is_valid("http://[::1]/ready"));
    /// assert!(is_valid("unix:/run/orders.sock:/ready"));
    /// assert!(is_valid("grpc://127.0.0.1:50051") && !is_valid("grpc://127.0.0.1"));
    /// for target in ["/ready", "https://127.0.0.1/ready", "http://user@127.0.0.1/ready"] {
    ///     assert!(!is_valid(target), "{target}");
    /// }
    /// ```
    pub fn new(target: &str) -> Result<Self, InvalidTarget> {
        Ok(Self {
            target: Target::parse(target)?,
            timeout: TIMEOUT,
        })
    }

    /// Sets the timeout of the whole probe. Set it below the timeout of the prober. Otherwise the
    /// prober ends the process, and the reason is lost. Defaults to 800 ms.
    ///
    /// It includes the lookup of a name, the connection and the response. A timeout is unhealthy.
    ///
    /// ```
    /// use std::{net::TcpListener, time::Duration};
    ///
    /// use tower_health::exec::ExecProbe;
    ///
    /// // It accepts connections, and never responds.
    /// let silent = TcpListener::bind("127.0.0.1:0")?;
    /// let target = format!("http://{}/ready", silent.local_addr()?);
    /// let answer = ExecProbe::new(&target)?.timeout(Duration::from_millis(50)).run();
    /// assert!(!answer.is_healthy());
    /// assert!(answer.line().contains("50ms"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the probe and waits for its result. Blocks the current thread.
    ///
    /// It may be called on a thread of a runtime, and then blocks that thread. Every failure is an
    /// unhealthy result, such as a refused connection.
    ///
    /// ```
    /// use std::{io::{Read, Write}, net::TcpListener, thread};
    ///
    /// use tower_health::exec::ExecProbe;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let target = format!("http://{}/ready", listener.local_addr()?);
    /// # thread::spawn(move || {
    /// #     let (mut stream, _) = listener.accept().unwrap();
    /// #     _ = stream.read(&mut [0; 1024]);
    /// #     _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    /// # });
    /// // The server responds with 204.
    /// let answer = ExecProbe::new(&target)?.run();
    /// assert!(answer.is_healthy(), "{answer}");
    /// assert!(answer.line().starts_with("204"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self) -> ExecAnswer {
        // A separate thread, because a runtime may already be active on this one, and it could not
        // block on another.
        let answer = thread::scope(|scope| {
            let asking = thread::Builder::new().spawn_scoped(scope, || self.ask());
            asking.map(|thread| thread.join())
        });
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => ExecAnswer::unhealthy("the probe itself panicked".to_owned()),
            Err(error) => ExecAnswer::unhealthy(format!("no thread could be started: {error}")),
        }
    }

    /// Runs the probe on a new runtime of the current thread, which must have no runtime yet.
    fn ask(&self) -> ExecAnswer {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                return ExecAnswer::unhealthy(format!("no runtime could be started: {error}"));
            }
        };
        let asked = async { tokio::time::timeout(self.timeout, ask::ask(&self.target)).await };
        let answer = match runtime.block_on(asked) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => ExecAnswer::unhealthy(error.to_string()),
            Err(_) => ExecAnswer::unhealthy(format!("no response within {:?}", self.timeout)),
        };
        // Do not wait for a name lookup that is still running.
        runtime.shutdown_background();
        answer
    }
}

impl ExecAnswer {
    /// Returns the result of a target that is healthy.
    fn healthy(line: String) -> Self {
        Self::new(true, &line)
    }

    /// Returns the result of a target that is not healthy, or that could not be probed.
    fn unhealthy(line: String) -> Self {
        Self::new(false, &line)
    }

    /// Creates a result with a single line, whatever the server sent.
    fn new(is_healthy: bool, line: &str) -> Self {
        let shown = |c: char| if is_shown(c) { c } else { ' ' };
        Self {
            is_healthy,
            line: line.chars().map(shown).take(LINE).collect(),
        }
    }

    /// Returns whether the target is healthy.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.is_healthy
    }

    /// Returns the reason, in at most 200 characters.
    ///
    /// It is a single line without control characters, whatever the server sent. For HTTP it
    /// contains the status code, and the `output` of a body in health+json.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Returns 0 if the target is healthy, and 1 otherwise.
    ///
    /// ```
    /// use std::process::ExitCode;
    ///
    /// use tower_health::exec::ExecProbe;
    ///
    /// let answer = ExecProbe::new("http://127.0.0.1:1/ready")?.run();
    /// assert_eq!(answer.exit_code(), ExitCode::FAILURE);
    /// # Ok::<_, tower_health::exec::InvalidTarget>(())
    /// ```
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.is_healthy {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Prints the result for the prober on the standard output, and returns the exit code.
    ///
    /// If the standard output is closed, nothing is printed, and the exit code is the same.
    pub fn print(&self) -> ExitCode {
        // A failure to print is ignored, because the exit code is sufficient.
        _ = writeln!(io::stdout(), "{self}");
        self.exit_code()
    }
}

/// Whether a character neither breaks a line nor hides the characters next to it.
fn is_shown(c: char) -> bool {
    let hides =
        matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !hides
}

impl fmt::Display for ExecAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_healthy {
            "healthy"
        } else {
            "unhealthy"
        };
        write!(f, "{word}: {}", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Option<Result<(String, Duration), String>> {
        let args = args.iter().map(|&arg| arg.to_owned());
        let asked = asked(args, "http://localhost/ready")?;
        let probe = asked.map(|probe| (format!("{:?}", probe.target), probe.timeout));
        Some(probe.map_err(|error| error.to_string()))
    }

    #[test]
    fn it_is_asked_by_its_own_flags_and_by_no_others() {
        for args in [
            &[][..],
            &["--port", "80"],
            &["--health-probes"],
            &["health-probe"],
            &["--health-probe-port=1"],
        ] {
            assert_eq!(of(args), None, "{args:?}");
        }
        let (ready, timeout) = of(&["--health-probe"]).unwrap().unwrap();
        assert!(ready.contains("/ready") && timeout == TIMEOUT, "{ready}");
        for args in [
            &[
                "--health-probe=http://localhost/live",
                "--health-probe-timeout=0.1",
            ][..],
            &[
                "--health-probe-timeout",
                "0.1",
                "--verbose",
                "--health-probe=http://localhost/live",
            ],
        ] {
            let (live, timeout) = of(args).unwrap().unwrap();
            assert!(
                live.contains("/live") && timeout == Duration::from_millis(100),
                "{live}"
            );
        }
    }

    #[test]
    fn what_it_is_asked_wrongly_it_does_not_do() {
        for args in [
            &["--health-probe="][..],
            &["--health-probe=ready"],
            &["--health-probe", "--health-probe-timeout=soon"],
            &["--health-probe", "--health-probe-timeout"],
            &["--health-probe", "--health-probe-timeout=-1"],
            &["--health-probe-timeout=1"],
        ] {
            assert!(of(args).unwrap().is_err(), "{args:?}");
        }
    }
}
