//! Certificates in PEM, as various tools write them.
//!
//! The PEM parser of rustls reads only the label `CERTIFICATE`, without indentation. This module
//! converts a text to that form, and counts the certificates, so that the caller notices if the
//! parser skips one.

use tower_health::Failure;

use super::unreadable;

/// PEM text in which all certificates have the label of
/// [RFC 7468](https://www.rfc-editor.org/rfc/rfc7468).
pub(super) struct Plain {
    /// The text, with one line for each line of the file.
    pub(super) text: String,
    /// The number of certificates that begin in it.
    pub(super) certificates: usize,
}

/// Other labels of certificates, which OpenSSL writes. In the second, trust settings follow the
/// certificate.
const LABELS: [&str; 2] = ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"];

/// Normalizes PEM text. Fails if the text contains certificates in PKCS #7, which are not
/// supported. The file may have been written on Windows, be a concatenation of several files, or be
/// indented as in YAML.
pub(super) fn plain(pem: &[u8]) -> Result<Plain, Failure> {
    // Bytes around a certificate that are not UTF-8, such as a name in another encoding, are
    // irrelevant.
    let text = String::from_utf8_lossy(pem);
    let mut plain = Plain {
        text: String::with_capacity(text.len()),
        certificates: 0,
    };
    for line in text.lines() {
        let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        match label(line) {
            Some((edge, name)) if name == "CERTIFICATE" || LABELS.contains(&name) => {
                plain.certificates += usize::from(edge == "BEGIN");
                plain.text += &format!("-----{edge} CERTIFICATE-----");
            }
            Some((_, name @ ("PKCS7" | "CMS"))) => {
                return Err(unreadable(&format_args!(
                    "certificates in {name} are not supported: use one PEM block for each certificate"
                )));
            }
            _ => plain.text += line,
        }
        plain.text.push('\n');
    }
    Ok(plain)
}

/// Returns the edge, which is `BEGIN` or `END`, and the label of a line. `None` for any other line.
fn label(line: &str) -> Option<(&str, &str)> {
    let label = line.strip_prefix("-----")?.strip_suffix("-----")?;
    label.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_the_output_of_tools() {
        let body = "MIIB\n";
        let of = |label: &str| format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n");
        let expected = of("CERTIFICATE");
        for text in [
            of("CERTIFICATE"),
            of("X509 CERTIFICATE"),
            of("TRUSTED CERTIFICATE"),
            format!("\u{feff}{}", of("CERTIFICATE")),
            of("CERTIFICATE").replace('\n', "\r\n"),
            of("CERTIFICATE").replace("\n", " \n"),
            of("CERTIFICATE")
                .lines()
                .map(|line| format!("    {line}\n"))
                .collect(),
        ] {
            let plain = plain(text.as_bytes()).unwrap();
            assert_eq!(
                (plain.text.as_str(), plain.certificates),
                (expected.as_str(), 1),
                "{text}"
            );
        }
        let two = format!(
            "{}\u{feff}{}",
            of("PRIVATE KEY"),
            of("CERTIFICATE").repeat(2)
        );
        assert_eq!(plain(two.as_bytes()).unwrap().certificates, 2);
        assert!(plain(of("PKCS7").as_bytes()).is_err());
        assert_eq!(
            plain(of("CERTIFICATE REQUEST").as_bytes())
                .unwrap()
                .certificates,
            0
        );
    }
}
