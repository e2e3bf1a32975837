use std::{fs, net::SocketAddr, process::Command, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use time::OffsetDateTime;
use tower_health::{
    Cause, HealthCheck, Outcome, Reason, Status,
    outcome::Value,
    testing::{Contract, Fault, FaultProxy},
};
use tower_health_checks::{Certificate, StartTls};

use crate::{
    matrix::{DELAY, Row},
    server::{Server, free_address, program},
    table::assert_refusal,
    wear::{until, wear},
};

/// A server that presents the certificate in a file for each new connection, and sends nothing
/// beyond TLS.
const SERVICE: &str = r#"
import pathlib, socketserver, ssl, sys

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pathlib.Path(sys.argv[2], "shown.pem"))
        try:
            with context.wrap_socket(self.request, server_side=True) as tls:
                tls.recv(1)
        except OSError:
            pass

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

fn service() -> Server {
    Server::new(|directory, address| {
        let mut python = Command::new(program("python3", &[], "apt-get install python3"));
        python
            .args(["-c", SERVICE])
            .arg(address.port().to_string())
            .arg(directory);
        python
    })
}

fn show(server: &Server, pem: &str) {
    let path = server.directory.path();
    fs::write(path.join("new"), pem).unwrap();
    fs::rename(path.join("new"), path.join("shown.pem")).unwrap();
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The validity: since this many days ago, and for this many days and an hour from now.
pub(crate) type Days = (u32, i32);

fn params(names: &[&str], (since, left): Days) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - since * DAY;
    params.not_after = now + left * time::Duration::DAY + time::Duration::HOUR;
    params
}

/// A certificate authority.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority_params(name: &str, days: Days) -> CertificateParams {
    let mut params = params(&[], days);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(crate) fn root() -> Authority {
    let params = authority_params("root", (1, 3_650));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Returns what a server presents: a certificate for 127.0.0.1 and `orders.example`, and its key.
pub(crate) fn leaf(authority: &Authority, days: Days) -> String {
    let key = KeyPair::generate().unwrap();
    let params = params(&["127.0.0.1", "orders.example"], days);
    let certificate = params.signed_by(&key, authority).unwrap();
    certificate.pem() + &key.serialize_pem()
}

pub(crate) fn trusting(root: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

pub(crate) fn check(address: SocketAddr, root: &Authority) -> Certificate {
    Certificate::of_address(address.to_string(), trusting(root.der()))
}

async fn run(check: &Certificate) -> Outcome {
    check.check().await.unwrap_or_else(Outcome::from)
}

async fn told(check: &Certificate) -> (Status, Option<Reason>, Option<i64>) {
    let outcome = run(check).await;
    let measured = outcome.measurements().iter();
    let mut days_left = measured.map(|measurement| match &measurement.value {
        Value::Integer(days) => *days,
        other => panic!("{other:?}"),
    });
    (outcome.status(), outcome.reason(), days_left.next_back())
}

fn fails(reason: Reason) -> (Status, Option<Reason>, Option<i64>) {
    (Status::Fail, Some(reason), None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_reported_as_documented() {
    let root = root();
    let mut server = service();
    let pem = leaf(&root, (1, 90));
    show(&server, &pem);
    server.start();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let mut row = Row::of("certificate", check(proxy.address(), &root)).await;
    for (fault, how) in [
        ("refusing", Fault::Refuse),
        ("silent", Fault::Silence),
        ("cut", Fault::Cut { after: 5 }),
        ("slow", Fault::Delay(DELAY)),
    ] {
        row.when(fault, proxy.fail(how)).await;
        row.over(proxy.heal()).await;
    }

    let mut direct = Row::of("certificate", check(server.address, &root)).await;
    direct.when("suspended", async { server.suspend() }).await;
    direct.over(async { server.resume() }).await;
    direct.when("restarted", async { server.kill() }).await;
    direct.over(async { server.start() }).await;
    direct.when("not there", async { server.kill() }).await;
    row.with(direct).assert_documented(&["PRIVATE", &pem]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_leaves_no_connection_behind() {
    let root = root();
    let mut server = service();
    show(&server, &leaf(&root, (1, 90)));
    server.start();
    let proxy = FaultProxy::start(server.address).await.unwrap();
    let contract = |status| {
        Contract::new(|| check(proxy.address(), &root))
            .expect(status)
            .assert()
    };
    contract(Status::Pass).await;
    wear(&check(proxy.address(), &root)).await;
    until("all are closed", async || proxy.open() == 0).await;
    proxy.fail(Fault::Refuse).await;
    contract(Status::Fail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_presented_certificate_decides_the_status() {
    let root = root();
    let mut server = service();
    show(&server, &leaf(&root, (1, 90)));
    server.start();
    let check = check(server.address, &root).fail_below(7);
    let expired = Some(Reason::Expired);
    let soon = Some(Reason::ExpiresSoon);
    // The result does not depend on the previous certificate, because a handshake never resumes a
    // session.
    for (days, expected) in [
        ((1, 90), (Status::Pass, None, Some(90))),
        ((1, 21), (Status::Pass, None, Some(21))),
        ((1, 20), (Status::Warn, soon, Some(20))),
        ((1, 7), (Status::Warn, soon, Some(7))),
        ((1, 6), (Status::Fail, soon, Some(6))),
        ((1, 0), (Status::Fail, soon, Some(0))),
        ((9, -2), (Status::Fail, expired, Some(-2))),
        ((1, 90), (Status::Pass, None, Some(90))),
    ] {
        show(&server, &leaf(&root, days));
        assert_eq!(told(&check).await, expected, "{days:?}");
    }
    let mut later = params(&["127.0.0.1"], (0, 90));
    later.not_before += time::Duration::DAY;
    let key = KeyPair::generate().unwrap();
    let later = later.signed_by(&key, &root).unwrap();
    show(&server, &(later.pem() + &key.serialize_pem()));
    assert_eq!(told(&check).await, fails(Reason::Expired));

    show(&server, &leaf(&self::root(), (1, 90)));
    assert_eq!(told(&check).await, fails(Reason::Untrusted));
    let key = KeyPair::generate().unwrap();
    let own = params(&["127.0.0.1"], (1, 90)).self_signed(&key).unwrap();
    show(&server, &(own.pem() + &key.serialize_pem()));
    assert_eq!(told(&check).await, fails(Reason::Untrusted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_the_address_is_verified_unless_another_is_set() {
    let root = root();
    let mut server = service();
    show(&server, &leaf(&root, (1, 90)));
    server.start();
    let check = || check(server.address, &root);
    for (name, reason) in [
        ("orders.example", None),
        ("127.0.0.1", None),
        ("stock.example", Some(Reason::Untrusted)),
        ("127.0.0.2", Some(Reason::Untrusted)),
        ("", Some(Reason::Misconfigured)),
        ("orders example", Some(Reason::Misconfigured)),
    ] {
        assert_eq!(
            run(&check().server_name(name)).await.reason(),
            reason,
            "{name}"
        );
    }
    let port = server.address.port();
    let at = |address: String| Certificate::of_address(address, trusting(root.der()));
    // The system resolves the name, but the certificate is not valid for it.
    let named = at(format!("localhost:{port}"));
    assert_eq!(told(&named).await, fails(Reason::Untrusted));
    let named = named.server_name("orders.example");
    assert_eq!(run(&named).await.status(), Status::Pass);
    for nonsense in ["", "orders.example", "127.0.0.1:65536", "::1", "a b:443"] {
        let outcome = run(&at(nonsense.to_owned())).await;
        assert_eq!(outcome.reason(), Some(Reason::Misconfigured), "{nonsense}");
    }
    let unknown = at(format!("nobody.invalid:{port}"));
    assert_eq!(told(&unknown).await, fails(Reason::Unreachable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_certificate_of_a_chain_to_expire_counts() {
    let root = root();
    let between = |days| {
        let params = authority_params("between", days);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap()
    };
    let mut server = service();
    let shown = |between: &Authority, days| {
        let leaf = leaf(between, days);
        let (certificate, key) = leaf.split_once("-----BEGIN PRIVATE KEY").unwrap();
        let chain = certificate.to_owned() + &between.pem() + &root.pem();
        chain + "-----BEGIN PRIVATE KEY" + key
    };
    show(&server, &shown(&between((1, 90)), (1, 60)));
    server.start();
    let served = check(server.address, &root);
    let path = server.directory.path().join("shown.pem");
    let file = Certificate::of_file(path);
    for (between_days, leaf_days, expected) in [
        (90, 60, (Status::Pass, None, Some(60))),
        (30, 60, (Status::Pass, None, Some(30))),
        (10, 60, (Status::Warn, Some(Reason::ExpiresSoon), Some(10))),
    ] {
        show(&server, &shown(&between((1, between_days)), (1, leaf_days)));
        assert_eq!(told(&served).await, expected);
        assert_eq!(told(&file).await, expected);
    }
    // An unnecessary certificate, as of a root that most clients have replaced.
    let params = authority_params("another", (9, -1));
    let another = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    show(
        &server,
        &(shown(&between((1, 90)), (1, 60)) + &another.pem()),
    );
    assert_eq!(told(&served).await, (Status::Pass, None, Some(60)));
    show(&server, &shown(&between((9, -1)), (1, 60)));
    let expired = (Status::Fail, Some(Reason::Expired), Some(-1));
    assert_eq!(told(&served).await, expired);
    assert_eq!(told(&file).await, expired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificates_in_a_file_decide_the_status() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fullchain.pem");
    let check = Certificate::of_file(&path);
    assert_eq!(told(&check).await, fails(Reason::NotFound));
    let root = root();
    let pem = leaf(&root, (1, 30));
    let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").unwrap());
    let valid = (Status::Pass, None, Some(30));
    let no_file = fails(Reason::UnexpectedAnswer);
    let cut = &certificate[..certificate.len() / 2];
    let bytes = certificate.replace("MII", "MIJ");
    for (holds, expected) in [
        (pem.clone(), valid),
        (format!("{key}{certificate}"), valid),
        (format!("Orders\n\n{certificate}"), valid),
        (format!("{certificate}{}", "\n".repeat(1_000_000)), valid),
        (String::new(), no_file),
        (key.to_owned(), no_file),
        (cut.to_owned(), no_file),
        (bytes, no_file),
        ("no certificate".to_owned(), no_file),
        (format!("{}{certificate}", "\n".repeat(2_000_000)), no_file),
    ] {
        fs::write(&path, &holds).unwrap();
        let outcome = run(&check).await;
        let told = told(&check).await;
        let start: String = holds.chars().take(60).collect();
        assert_eq!(told, expected, "{start:?}");
        let cause = outcome.cause().map_or("", Cause::redacted);
        assert!(
            !cause.contains("PRIVATE") && !cause.contains(key),
            "{cause}"
        );
    }
    fs::write(&path, &pem).unwrap();
    Contract::new(|| Certificate::of_file(&path))
        .expect(Status::Pass)
        .assert()
        .await;
    let directory = Certificate::of_file(directory.path());
    assert_eq!(run(&directory).await.status(), Status::Fail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_several_roots_in_a_file_to_expire_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots.pem");
    let check = Certificate::of_file(&path);
    let root = |days| {
        let params = authority_params("root", days);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (late, soon, over) = (root((1, 90)), root((1, 10)), root((9, -1)));
    let warns = (Status::Warn, Some(Reason::ExpiresSoon), Some(10));
    let expired = (Status::Fail, Some(Reason::Expired), Some(-1));
    for (roots, expected) in [
        (vec![&late], (Status::Pass, None, Some(90))),
        (vec![&late, &soon], warns),
        (vec![&soon, &late], warns),
        (vec![&late, &over, &soon], expired),
    ] {
        let pem: String = roots.iter().map(|root| root.pem()).collect();
        fs::write(&path, pem).unwrap();
        assert_eq!(told(&check).await, expected);
    }
    // Roots do not count if the certificates that they have signed are present.
    fs::write(&path, leaf(&late, (1, 60)) + &soon.pem()).unwrap();
    assert_eq!(told(&check).await, (Status::Pass, None, Some(60)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_signed_certificate_alone_decides_the_status() {
    let mut server = service();
    let key = KeyPair::generate().unwrap();
    let own = params(&["127.0.0.1"], (1, 10)).self_signed(&key).unwrap();
    let (other, root) = (leaf(&root(), (1, 60)), root());
    // The other certificates that it sends are unrelated.
    let (other, _) = other.split_once("-----BEGIN PRIVATE KEY").unwrap();
    let chain = own.pem() + other + &root.pem();
    show(&server, &(chain + &key.serialize_pem()));
    server.start();
    let config = trusting(own.der());
    let check = Certificate::of_address(server.address.to_string(), config);
    let warns = (Status::Warn, Some(Reason::ExpiresSoon), Some(10));
    assert_eq!(told(&check).await, warns);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_fails() {
    let root = root();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = check(listener.local_addr().unwrap(), &root);
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        while let Ok((mut stream, _)) = listener.accept().await {
            _ = stream.write_all(answer).await;
            // Until the client has read the response.
            _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    assert_eq!(told(&plain).await, fails(Reason::UnexpectedAnswer));
    let nobody = check(free_address(), &root);
    assert_eq!(told(&nobody).await, fails(Reason::ConnectionRefused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusually_encoded_certificate_in_a_file_is_not_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chain.pem");
    let root = root();
    let between = || {
        let params = authority_params("between", (1, 900));
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap()
    };
    let between = between();
    let pem = leaf(&between, (1, 9));
    let chain = pem.clone() + &between.pem();
    let relabelled = |label: &str| chain.replacen("CERTIFICATE", label, 2);
    let check = Certificate::of_file(&path);
    let soon = (Status::Warn, Some(Reason::ExpiresSoon), Some(9));
    for text in [
        chain.clone(),
        format!("\u{feff}{chain}"),
        relabelled("X509 CERTIFICATE"),
        relabelled("TRUSTED CERTIFICATE"),
        chain.replace('\n', "\r\n"),
        chain.lines().map(|line| format!("    {line}\n")).collect(),
        format!("{}\u{feff}{pem}", between.pem()),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(told(&check).await, soon, "{text}");
    }
    for text in [
        // A truncated certificate is not replaced by the remaining one.
        chain.replacen("-----END CERTIFICATE-----", "", 1),
        relabelled("PKCS7"),
        String::new(),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(
            told(&check).await,
            fails(Reason::UnexpectedAnswer),
            "{text}"
        );
        let what = "a certificate in a file that cannot be read, beside others that can";
        assert_refusal("certificate", what, &check).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_tls_protocols_are_supported() {
    let root = root();
    let mut server = Server::new(|directory, address| {
        let mut python = Command::new(program("python3", &[], "apt-get install python3"));
        python
            .args(["-c", GREETS])
            .arg(address.port().to_string())
            .arg(directory);
        python
    });
    show(&server, &leaf(&root, (1, 90)));
    let speaks = |server: &Server, what: &str| {
        fs::write(server.directory.path().join("speaks"), what).unwrap()
    };
    speaks(&server, "smtp");
    server.start();
    let check = |protocol| self::check(server.address, &root).start_tls(protocol);
    let passes = (Status::Pass, None, Some(90));
    for (what, protocol) in [
        ("smtp", StartTls::Smtp),
        ("imap", StartTls::Imap),
        ("ldap", StartTls::Ldap),
        ("postgres", StartTls::Postgres),
    ] {
        speaks(&server, what);
        assert_eq!(told(&check(protocol)).await, passes, "{what}");
        speaks(&server, &format!("{what} without"));
        let without = told(&check(protocol)).await;
        assert_eq!(without, fails(Reason::Misconfigured), "{what}");
    }
    speaks(&server, "nonsense");
    for protocol in [
        StartTls::Smtp,
        StartTls::Imap,
        StartTls::Ldap,
        StartTls::Postgres,
    ] {
        let nonsense = told(&check(protocol)).await;
        assert_eq!(nonsense, fails(Reason::UnexpectedAnswer), "{protocol:?}");
    }
}

/// A server that sends the text of a file before it speaks TLS, or refuses TLS.
const GREETS: &str = r#"
import pathlib, socketserver, ssl, sys

LDAP = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01%c\x04\x00\x04\x00"

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        speaks = pathlib.Path(sys.argv[2], "speaks").read_text()
        protocol, has = speaks.split()[0], " " not in speaks
        say = lambda text: self.wfile.write(text if isinstance(text, bytes) else text.encode() + b"\r\n")
        if protocol == "smtp":
            say("220 mail.internal ESMTP")
            assert self.rfile.readline().startswith(b"EHLO ")
            say("250-mail.internal"); say("250 STARTTLS")
            assert self.rfile.readline() == b"STARTTLS\r\n"
            say("220 go ahead" if has else "454 not now")
        elif protocol == "imap":
            say("* OK IMAP4rev1")
            assert self.rfile.readline() == b"a STARTTLS\r\n"
            say("* CAPABILITY IMAP4rev1"); say("a OK" if has else "a BAD no")
        elif protocol == "ldap":
            assert self.request.recv(31, 0x100) == b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
            say(LDAP % (0 if has else 2))
        elif protocol == "postgres":
            assert self.request.recv(8, 0x100) == bytes([0, 0, 0, 8, 4, 210, 22, 47])
            say(b"S" if has else b"N")
        else:
            say("nonsense"); return
        if not has:
            return
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pathlib.Path(sys.argv[2], "shown.pem"))
        try:
            with context.wrap_socket(self.request, server_side=True) as tls:
                tls.recv(1)
        except OSError:
            pass

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;
