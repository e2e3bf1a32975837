//! A probe for images without curl, as a program of its own. See `tower_health::exec` for its
//! targets, and for the function that builds the same into the binary of a service.
//!
//! It prints one line to the standard output, and exits with 0 or 1:
//!
//! ```text
//! $ tower-health-probe --timeout 0.5 http://127.0.0.1:8080/ready
//! unhealthy: 503, postgres connection refused
//! ```

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use tower_health::exec::ExecProbe;

/// Printed if the arguments are not valid.
const USAGE: &str = "\
usage: tower-health-probe [--timeout SECONDS] TARGET

TARGET is one of
    http://HOST:PORT/PATH      healthy if GET returns 2xx
    unix:/SOCKET:/PATH         the same, on a Unix socket
    grpc://HOST:PORT[/SERVICE] healthy if grpc.health.v1 returns SERVING

Exits with 0 if the target is healthy, and with 1 otherwise. The timeout defaults to 0.8 s.";

fn main() -> ExitCode {
    match probe(env::args_os().skip(1).map(OsString::into_string)) {
        Ok(probe) => probe.run().print(),
        Err(error) => {
            // If stdout is closed, the exit code is still reported.
            _ = writeln!(io::stdout(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Parses the arguments, without the name of the program. The options and the target may have any
/// order. A later `--timeout` replaces an earlier one.
fn probe(mut args: impl Iterator<Item = Result<String, OsString>>) -> Result<ExecProbe, String> {
    let (mut target, mut timeout) = (None, None);
    while let Some(arg) = args.next() {
        let arg = arg.map_err(|_| USAGE)?;
        match arg.as_str() {
            "--timeout" => {
                let seconds = args.next().ok_or(USAGE)?.map_err(|_| USAGE)?;
                let seconds = seconds.parse().map_err(|_| USAGE)?;
                timeout = Some(Duration::try_from_secs_f64(seconds).map_err(|_| USAGE)?);
            }
            _ if target.is_none() && !arg.starts_with('-') => target = Some(arg),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let probe = ExecProbe::new(&target.ok_or(USAGE)?).map_err(|error| error.to_string())?;
    Ok(match timeout {
        Some(timeout) => probe.timeout(timeout),
        None => probe,
    })
}
