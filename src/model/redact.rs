//! Taking secrets out of a text, erring towards taking too much.

const MASK: &str = "***";

/// A key that has one of these in it has a value that nobody may read.
const SECRET_PARTS: &[&str] = &[
    "passw",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "signature",
    "apikey",
    "jwt",
];

/// So has a key that ends in one of these.
const SECRET_ENDS: &[&str] = &["key", "pass", "pw", "sig", "auth"];

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
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let starts_word = !is_key_char(previous);
        previous = c;
        let here = text.get(at..)?;
        if let Some((start, len)) = secret_in(here, starts_word) {
            let (start, end) = (at + start, at + start + len);
            return Some((text.get(..start)?, text.get(end..)?));
        }
    }
    None
}

/// Where the secret that the start of `here` introduces begins in it, and how long it is.
fn secret_in(here: &str, starts_word: bool) -> Option<(usize, usize)> {
    if let Some(authority) = here.strip_prefix("://") {
        return userinfo(authority).map(|len| (3, len));
    }
    let word = here
        .split(|c| !is_key_char(c))
        .next()
        .filter(|_| starts_word)?;
    let after = here.get(word.len()..)?;
    let value = if is_secret_key(word) {
        pair_value(after, word)?
    } else if SCHEMES.contains(&word.to_ascii_lowercase().as_str()) {
        let value = after.trim_start_matches([' ', ':', '=']);
        (value.len() < after.len()).then_some((value, word_len(value)))?
    } else {
        return bare_userinfo(here).map(|len| (0, len));
    };
    let (value, len) = value;
    let start = here.len() - value.len();
    Some((start, len)).filter(|_| len > 0 && !is_masked(value))
}

fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

fn is_secret_key(word: &str) -> bool {
    let key = word.to_ascii_lowercase().replace(['_', '-'], "");
    SECRET_PARTS.iter().any(|part| key.contains(part))
        || SECRET_ENDS.iter().any(|end| key.ends_with(end))
}

/// What was masked before need not be masked again.
fn is_masked(value: &str) -> bool {
    value.strip_prefix(MASK).is_some_and(|rest| {
        rest.chars()
            .next()
            .is_none_or(|c| c.is_whitespace() || is_quote(c) || c == '@' || c == '\\')
    })
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || is_quote(c) || matches!(c, '<' | '>')
}

/// How long a `user:password` before an `@` is that starts here, in an address that has no scheme.
fn bare_userinfo(here: &str) -> Option<usize> {
    let word = here.split(ends_word).next()?;
    let len = word.rfind('@')?;
    let user = word.get(..len)?;
    let password = user.split_once(':')?.1;
    Some(len).filter(|_| !password.is_empty() && !user.contains("://"))
}

/// How long the userinfo at the start of `authority` is. A password may hold what ends a word, or an `@`, that
/// nobody encoded: so it is all up to the last `@` of the word, and of what comes before another URL.
fn userinfo(authority: &str) -> Option<usize> {
    let word = authority.split(ends_word).next()?;
    let until_next_url = authority.split("://").next()?;
    let len = word.rfind('@').max(until_next_url.rfind('@'))?;
    Some(len).filter(|_| !is_masked(authority))
}

/// The text from the value behind a secret key on, and how long the value is: `=value`, `: "value"`,
/// `\" : \"value\"`, `=Some("value")`.
fn pair_value<'a>(after: &'a str, key: &str) -> Option<(&'a str, usize)> {
    let closed = after.trim_start_matches(|c: char| {
        c.is_whitespace() || is_quote(c) || matches!(c, '\\' | ']' | ')')
    });
    let value = closed.trim_start_matches(['=', ':', '>']);
    if value.len() == closed.len() {
        return None;
    }
    let value = value.trim_start();
    let opened = value.trim_start_matches('\\');
    if let Some(quote) = opened.chars().next().filter(|&c| is_quote(c)) {
        let inner = opened.get(quote.len_utf8()..)?;
        let escaped = opened.len() < value.len();
        return Some((inner, quoted_len(inner, quote, escaped)));
    }
    // A scheme and its credentials are several words, and what opens a bracket or a quote may be.
    let len = word_len(value);
    let many = key.to_ascii_lowercase().contains("auth")
        || value.get(..len)?.contains(['"', '\'', '(', '[', '{']);
    Some((value, if many { value.len() } else { len }))
}

/// Up to the closing quote; all of it where none closes. If the quotes are escaped themselves, an escaped one
/// closes, else it is passed over.
fn quoted_len(inner: &str, quote: char, escaped: bool) -> usize {
    let mut backslash = None;
    for (at, c) in inner.char_indices() {
        match (c, backslash) {
            (c, Some(start)) if c == quote && escaped => return start,
            (c, None) if c == quote => return at,
            ('\\', None) => backslash = Some(at),
            ('\\', Some(_)) if escaped => {}
            _ => backslash = None,
        }
    }
    inner.len()
}

fn word_len(value: &str) -> usize {
    value.find(char::is_whitespace).unwrap_or(value.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        for (text, clean) in [
            ("postgres://app:pw@db:5432/x", "postgres://***@db:5432/x"),
            ("no host app:pw@db:5432", "no host ***@db:5432"),
            (
                "app:p@ss@tcp(db:3306)/x git@host:x",
                "***@tcp(db:3306)/x git@host:x",
            ),
            (
                "redis://:p@ss/word@host/0 is down",
                "redis://***@host/0 is down",
            ),
            ("bad postgres://app:hun ter2@db", "bad postgres://***@db"),
            ("bad postgres://app:hun<ter2@db", "bad postgres://***@db"),
            ("redis://***:hunter2@host", "redis://***@host"),
            (
                "host=db user=app password=pw dbname=x",
                "host=db user=app password=*** dbname=x",
            ),
            ("Server=db;Pwd=pw;Database=x", "Server=db;Pwd=***"),
            ("Pwd={hun;ter2}", "Pwd=***"),
            ("password=hun,ter2", "password=***"),
            ("password=***hunter2", "password=***"),
            ("password := pw", "password := ***"),
            ("password == pw", "password == ***"),
            ("password\u{a0}=\u{a0}pw", "password\u{a0}=\u{a0}***"),
            ("password: Some(\"hun ter2\"), x", "password: ***"),
            ("password: [104, 117, 110]", "password: ***"),
            (
                r#"{"access_token":"a b\"c","n":1}"#,
                r#"{"access_token":"***","n":1}"#,
            ),
            (
                r#""{\"password\":\"hun ter2\",\"n\":1}""#,
                r#""{\"password\":\"***\",\"n\":1}""#,
            ),
            (r#"password=\"hun ter2\" x"#, r#"password=\"***\" x"#),
            ("GET /x?api_key=abc&y=1 HTTP", "GET /x?api_key=*** HTTP"),
            (
                "secretKey=a AccountKey=b key=c",
                "secretKey=*** AccountKey=*** key=***",
            ),
            (
                "password2=a DB_PASSWORD_PROD=b jwt=c pw=d",
                "password2=*** DB_PASSWORD_PROD=*** jwt=*** pw=***",
            ),
            ("authorization: Bearer abc.def", "authorization: ***"),
            ("authorization: Token abc def", "authorization: ***"),
            (
                "Authorization: Digest u=\"a\", response=\"b\"",
                "Authorization: ***",
            ),
            ("sent Bearer  abc.def to it", "sent Bearer  *** to it"),
            ("sent Bearer: abc", "sent Bearer: ***"),
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
            "duplicate key value violates unique constraint",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    /// A password as people choose them, and none that another part of the text may have in it.
    fn password() -> impl Strategy<Value = String> {
        "[A-Z0-9/:@%!,;&#?$(){}\\[\\]<>é]{6,12}"
    }

    proptest! {
        #[test]
        fn no_password_survives(
            before in "[a-zé ]{0,12}",
            password in password(),
            after in "( [a-z@ ]{0,12})?",
        ) {
            let url = format!("{before} amqp://u:{password}@host/v{after}");
            let pair = format!("{before} password={password}{after}");
            let json = format!("{before} {{\"secret\": \"{password}\"}}{after}");
            let escaped = format!("{:?}", json);
            for text in [url, pair, json, escaped] {
                let clean = redact(&text);
                prop_assert!(!clean.contains(&password), "{}", clean);
            }
        }

        #[test]
        fn any_text_is_redacted_once_and_for_all(text in "\\PC{0,64}") {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }

        #[test]
        fn text_that_speaks_of_secrets_is_redacted_once_and_for_all(
            text in "(password|key|auth|@|=|:| |\"|\\\\|\\*|x|\\(|bearer ){0,16}",
        ) {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
