//! The words and characters that give a secret away.

pub(super) const MASK: &str = "***";

/// A key that contains one of these has a secret value.
pub(super) const SECRET_PARTS: &[&str] = &[
    "passw",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "signature",
    "apikey",
    "jwt",
    "cookie",
    "assertion",
];

/// A key that ends with one of these has a secret value.
pub(super) const SECRET_ENDS: &[&str] = &["key", "pass", "pw", "sig", "auth", "otp"];

/// In the query of a URL, these keys have a secret value, too.
pub(super) const SECRET_IN_QUERIES: &[&str] = &["code", "state", "ticket"];

/// The word after one of these is a credential.
pub(super) const SCHEMES: &[&str] = &["bearer", "basic", "negotiate"];

/// The word after one of these is a credential if it looks like one, because these words also occur
/// in ordinary sentences.
pub(super) const ORDINARY_SCHEMES: &[&str] = &["token", "apikey"];

/// Words that describe the state of a secret and are not secret themselves, as in
/// `password: authentication failed`.
pub(super) const STATE_WORDS: &[&str] = &[
    "authentication",
    "cannot",
    "connection",
    "could",
    "denied",
    "error",
    "expired",
    "failed",
    "failure",
    "incorrect",
    "invalid",
    "is",
    "missing",
    "no",
    "not",
    "rejected",
    "required",
    "timed",
    "timeout",
    "unknown",
    "was",
    "wrong",
    "yes",
];

/// Settings of servers that have no separator before their value.
pub(super) const SETTINGS: &[&str] = &["requirepass", "masterauth"];

/// Words that follow the command `AUTH` in ordinary sentences, where it has no credential.
pub(super) const AFTER_AUTH: &[&str] = &[
    "called", "command", "error", "failed", "is", "needed", "not", "password", "required",
    "username", "was",
];

pub(super) fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

pub(super) fn is_secret_key(word: &str) -> bool {
    let key = word.to_ascii_lowercase().replace(['_', '-'], "");
    SECRET_PARTS.iter().any(|part| key.contains(part))
        || SECRET_ENDS.iter().any(|end| key.ends_with(end))
}

pub(super) fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

pub(super) fn ends_word(c: char) -> bool {
    c.is_whitespace() || is_quote(c) || matches!(c, '<' | '>')
}

/// Whether a word looks like a credential and not like an ordinary word.
pub(super) fn is_credential(value: &str, len: usize) -> bool {
    let word = value.get(..len).unwrap_or_default();
    let is_odd = |c: char| c.is_ascii_digit() || matches!(c, '=' | '_' | '.');
    // A partly masked word no longer counts as a credential.
    len >= 8 && word.contains(is_odd) && !word.contains(MASK)
}

pub(super) fn word_len(value: &str) -> usize {
    value.find(char::is_whitespace).unwrap_or(value.len())
}

/// Removes a prefix, ignoring ASCII case.
pub(super) fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    text.get(prefix.len()..)
        .filter(|_| start.eq_ignore_ascii_case(prefix))
}

/// Whether a value is already masked.
pub(super) fn is_masked(value: &str) -> bool {
    value.strip_prefix(MASK).is_some_and(|rest| {
        rest.chars().next().is_none_or(|c| {
            c.is_whitespace() || is_quote(c) || matches!(c, '@' | '\\' | '%' | ',' | ';')
        })
    })
}

pub(super) fn has(value: &str, len: usize, wanted: char) -> bool {
    value.get(..len).is_some_and(|value| value.contains(wanted))
}

/// The maximum length of a word that is examined, in bytes. It keeps the time proportional to the
/// length of the text.
pub(super) const MAX_WORD_LEN: usize = 1024;

/// Returns the start of a text, up to the length that is examined.
pub(super) fn near(text: &str) -> &str {
    let end = (MAX_WORD_LEN.saturating_sub(3)..=MAX_WORD_LEN)
        .rev()
        .find(|&end| text.is_char_boundary(end));
    match end {
        Some(end) if text.len() > MAX_WORD_LEN => text.get(..end).unwrap_or_default(),
        _ => text,
    }
}
