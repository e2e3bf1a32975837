//! Redaction of secrets in a text. It prefers to remove too much.

mod key;
mod url;
mod value;
mod words;

#[cfg(test)]
mod tests;

use self::{
    key::introduced_secret,
    url::{bare_userinfo, encoded_userinfo, endless_userinfo, url},
    words::{MASK, ends_word, is_key_char, is_masked, near, strip_prefix},
};

/// Replaces credentials by a mask. Control characters become spaces, so that the text stays on one
/// line. Credentials are:
///
/// * The userinfo of URLs and of addresses without a scheme, and the secret part of the path of a
///   webhook.
/// * The values of pairs with a secret key: `key=value`, `key: value`, `"key":"value"`,
///   `Key("value")`, `key: Struct { … }`, `--key value`, percent-encoded, and in SQL.
/// * The credentials of an authorization header, of cookies, and of the commands that take them.
/// * JSON web tokens and PEM blocks anywhere in the text.
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

/// Returns the text before the first secret of `text`, and the text after it.
fn next_secret(text: &str) -> Option<(&str, &str)> {
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let before = std::mem::replace(&mut previous, c);
        let here = text.get(at..)?;
        if let Some((start, len)) = secret_in(here, before) {
            let (start, end) = (at + start, at + start + len);
            return Some((text.get(..start)?, text.get(end..)?));
        }
    }
    None
}

/// Returns the offset and the length of the secret that the start of `here` introduces.
fn secret_in(here: &str, before: char) -> Option<(usize, usize)> {
    let first = *here.as_bytes().first()?;
    match first {
        b':' if here.starts_with("://") => {
            let rest = here.get("://".len()..)?;
            let found = url(near(rest)).or_else(|| endless_userinfo(rest));
            return found.map(|(start, len)| (start + "://".len(), len));
        }
        b'%' => {
            let rest = strip_prefix(here, "%3a%2f%2f")?;
            return encoded_userinfo(near(rest)).map(|len| (here.len() - rest.len(), len));
        }
        b'-' if here.starts_with(PEM) => return Some((0, pem(here))),
        _ if is_key_char(before) => return None,
        _ => {}
    }
    let word = here.split(|c| !is_key_char(c)).next()?;
    if word.is_empty() && first != b':' {
        return None;
    }
    let after = here.get(word.len()..)?;
    let begins = ends_word(before) || matches!(before, '(' | '[' | '{' | '=' | ',' | ';');
    let (value, len) = introduced_secret(word, after, before)
        .or_else(|| jwt(here).map(|len| (here, len)))
        .or_else(|| {
            bare_userinfo(near(here))
                .filter(|_| begins)
                .map(|len| (here, len))
        })?;
    let start = here.len() - value.len();
    Some((start, len)).filter(|_| len > 0 && !is_masked(value))
}

/// Returns the length of the JSON web token that starts here, signed or encrypted. Its first part
/// is an object in base64.
fn jwt(here: &str) -> Option<usize> {
    if !here.starts_with("eyJ") {
        return None;
    }
    let word = here
        .split(|c| !(is_key_char(c) || matches!(c, '.' | '=')))
        .next()?;
    (word.split('.').count() >= 3).then_some(word.len())
}

const PEM: &str = "-----BEGIN ";

/// Returns the length of the PEM block that starts here, even if it is truncated.
fn pem(here: &str) -> usize {
    const END: &str = "-----END ";
    const DASHES: &str = "-----";
    let end = || {
        let end = here.find(END)? + END.len();
        Some(end + here.get(end..)?.find(DASHES)? + DASHES.len())
    };
    end().unwrap_or(here.len())
}
