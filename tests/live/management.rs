//! The example with every transport, tested from outside as its users would use it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_live-management");

struct Service {
    process: Child,
    base: u16,
    _output: BufReader<ChildStdout>,
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Starts the example at four consecutive free ports.
fn start() -> Service {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let bases = (20_000..30_000).step_by(10);
    let skipped = std::process::id() as usize % 500;
    for base in bases
        .skip(skipped)
        .filter(|&base| (base..base + 4).all(is_free))
    {
        let mut process = Command::new(PROGRAM)
            .env("BASE", base.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        // Otherwise another process took a port in the meantime.
        if line.starts_with("listening") {
            return Service {
                process,
                base,
                _output: output,
            };
        }
        process.wait().unwrap();
    }
    panic!("there are no four free ports in a row");
}

impl Service {
    fn ask(&self, port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.base + port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, port: u16, path: &str, header: &str) -> String {
        self.ask(port, &format!("GET {path} HTTP/1.0\r\n{header}\r\n"))
    }
}

#[test]
fn every_transport_of_the_example_responds() {
    let service = start();
    let probe = |args: &[&str]| {
        let mut probe = Command::new(PROGRAM);
        let output = probe
            .env("BASE", service.base.to_string())
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while probe(&["--health-probe", "--health-probe-timeout=10"]).0 != Some(0) {
        assert!(std::time::Instant::now() < deadline, "it is never ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    let target = |scheme: &str, port: u16, path: &str| {
        let at = service.base + port;
        format!("--health-probe={scheme}://127.0.0.1:{at}/{path}")
    };
    let patient = "--health-probe-timeout=10";
    assert_eq!(
        probe(&[patient, &target("grpc", 3, "orders.v1.Orders")]),
        (Some(0), "healthy: SERVING\n".into())
    );
    let (code, said) = probe(&[patient, &target("http", 0, "nowhere")]);
    assert_eq!((code, &*said), (Some(1), "unhealthy: 404 Not Found\n"));

    let public = service.get(0, "/health", "");
    assert!(
        public.contains(" 200 OK\r\n") && !public.contains("spool:files"),
        "{public}"
    );
    assert!(
        public.contains("x-envoy-upstream-healthchecked-cluster: orders\r\n"),
        "{public}"
    );
    let verbose = service.get(0, "/readyz?verbose", "");
    assert!(
        verbose.ends_with("[+]spool ok\nreadyz check passed\n"),
        "{verbose}"
    );
    let full = service.get(1, "/health", "");
    for shown in ["\"spool:files\"", "https://wiki.example/orders/spool"] {
        assert!(full.contains(shown), "{full}");
    }
    let run =
        |header: &str| service.ask(1, &format!("POST /health/spool HTTP/1.0\r\n{header}\r\n"));
    assert!(run("").starts_with("HTTP/1.0 401 "));
    assert!(run("authorization: Bearer let-me\r\n").starts_with("HTTP/1.0 200 "));
    assert_eq!(service.ask(2, ""), "ready up 100% #ok\n");
}
