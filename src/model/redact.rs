//! Taking secrets out of a text, erring towards taking too much.

const MASK: &str = "***";

/// A key that ends in one of these has a value that nobody may read.
const SECRET_KEYS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "access-key",
    "accesskey",
    "private_key",
    "private-key",
    "authorization",
    "credential",
    "credentials",
    "signature",
    "sig",
];

/// A word after which the next word is a credential.
const SCHEMES: &[&str] = &["bearer", "basic"];

/// Replaces the userinfo of URLs, the values of secret pairs and the credentials of an authorization header,
/// and makes control characters spaces, so that the text stays one line.
pub(super) fn redact(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((clean, tail)) = next_secret(rest) {
        out.push_str(clean);
        out.push_str(MASK);
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The text before the first secret of `text` and the text after it.
fn next_secret(text: &str) -> Option<(&str, &str)> {
    text.char_indices()
        .find_map(|(at, _)| secret_at(text, at))
        .and_then(|(start, end)| Some((text.get(..start)?, text.get(end..)?)))
}

/// The range of the secret that what stands at `at` introduces.
fn secret_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let here = text.get(at..)?;
    if let Some(authority) = here.strip_prefix("://") {
        return userinfo(authority).map(|len| (at + 3, at + 3 + len));
    }
    if text.get(..at)?.ends_with(is_key_char) {
        return None;
    }
    let word = here.split(|c| !is_key_char(c)).next()?;
    let after = here.get(word.len()..)?;
    let lower = word.to_ascii_lowercase();
    let (skipped, value) = if SECRET_KEYS.iter().any(|key| lower.ends_with(key)) {
        pair_value(after)?
    } else if SCHEMES.contains(&lower.as_str()) {
        word_value(after)?
    } else {
        return None;
    };
    let start = at + word.len() + skipped;
    Some((start, start + value)).filter(|_| !after.get(skipped..).is_some_and(is_masked))
}

fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// What was masked before must not be masked again, or the scan would not end.
fn is_masked(value: &str) -> bool {
    value.starts_with(MASK)
}

/// How long the userinfo at the start of `authority` is: all up to the last `@` of the word, for a password
/// may hold an `@` or a `/` that nobody encoded.
fn userinfo(authority: &str) -> Option<usize> {
    let word = authority
        .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'))
        .and_then(|end| authority.get(..end))
        .unwrap_or(authority);
    word.rfind('@').filter(|_| !is_masked(word))
}

/// Where the value behind a secret key starts and how long it is: `=value`, `: "value"`, `" : 'value'`.
fn pair_value(after: &str) -> Option<(usize, usize)> {
    let key_closed = after.trim_start_matches(['"', '\'', '`', ']', ')', ' ']);
    let value = key_closed
        .strip_prefix("=>")
        .or_else(|| key_closed.strip_prefix(['=', ':']))?
        .trim_start();
    let skipped = after.len() - value.len();
    if let Some(quote) = value
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'))
    {
        let inner = value.get(quote.len_utf8()..)?;
        return Some((skipped + quote.len_utf8(), quoted_len(inner, quote)));
    }
    // `authorization: Bearer xyz` is two words.
    if let Some((scheme, credentials)) = value.split_once(' ')
        && SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
    {
        return Some((skipped, scheme.len() + 1 + word_len(credentials)));
    }
    Some((skipped, word_len(value))).filter(|&(_, len)| len > 0)
}

fn word_value(after: &str) -> Option<(usize, usize)> {
    let value = after.strip_prefix(' ')?.trim_start();
    Some((after.len() - value.len(), word_len(value))).filter(|&(_, len)| len > 0)
}

/// Up to the closing quote, passing over escaped characters; all of it where none closes.
fn quoted_len(inner: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    inner.len()
}

fn word_len(value: &str) -> usize {
    value
        .find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | ','))
        .unwrap_or(value.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        for (text, clean) in [
            ("postgres://app:pw@db:5432/x", "postgres://***@db:5432/x"),
            (
                "redis://:p@ss/word@host/0 is down",
                "redis://***@host/0 is down",
            ),
            (
                "host=db user=app password=pw dbname=x",
                "host=db user=app password=*** dbname=x",
            ),
            (
                "Server=db;Pwd=pw;Database=x",
                "Server=db;Pwd=***;Database=x",
            ),
            (
                r#"{"access_token":"a b\"c","n":1}"#,
                r#"{"access_token":"***","n":1}"#,
            ),
            ("GET /x?api_key=abc&y=1", "GET /x?api_key=***&y=1"),
            ("authorization: Bearer abc.def", "authorization: ***"),
            ("sent Bearer abc.def to it", "sent Bearer *** to it"),
            ("DB_PASSWORD: 'a b c' end", "DB_PASSWORD: '***' end"),
            ("password = \"never closed", "password = \"***"),
            ("line one\nline two", "line one line two"),
        ] {
            assert_eq!(redact(text), clean, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "password authentication failed for user",
            "http://127.0.0.1:80/ready refused",
            "token",
            "a basic",
            "mail to ops@example.com",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(
            before in "[a-zé ]{0,12}",
            password in "[A-Z0-9/:@%!]{6,12}",
            after in "( [a-z@ ]{0,12})?",
        ) {
            let url = format!("{before} amqp://u:{password}@host/v{after}");
            let pair = format!("{before} password={password}{after}");
            let json = format!("{before} {{\"secret\": \"{password}\"}}{after}");
            for text in [url, pair, json] {
                let clean = redact(&text);
                prop_assert!(!clean.contains(&password), "{}", clean);
            }
        }

        #[test]
        fn any_text_is_redacted_once_and_for_all(text in "\\PC{0,64}") {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
