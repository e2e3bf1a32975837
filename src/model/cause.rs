use std::{error::Error, fmt, sync::Arc};

use super::{reason::MAX_SOURCES, redact::redact};

/// What stands behind a [`Reason`](crate::Reason): an error's own words, for the operator alone.
///
/// It is redacted when it is made, so a password that stood in a URL or behind a `password=` is never kept:
/// see [`Cause::new`]. It still names hosts, roles and files, so it is private: `Debug` withholds it, it is
/// not serialised, and only what asks for it by name with [`redacted`](Self::redacted) sees it.
///
/// ```
/// use tower_health::Cause;
///
/// let cause = Cause::new("cannot reach postgres://app:hunter2@db.internal/orders");
/// assert_eq!(cause.redacted(), "cannot reach postgres://***@db.internal/orders");
/// assert_eq!(format!("{cause:?}"), "Cause(withheld)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Cause(Arc<str>);

impl Cause {
    /// The longest text that is kept, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Redacts and keeps a text. What gives somebody access becomes `***`:
    ///
    /// * the userinfo of URLs and of addresses such as `user:password@host`, and the path of a webhook;
    /// * the values of pairs whose key speaks of a password, a secret, a token, a key, a cookie or credentials, however they are
    ///   written: `key=value`, `key: value`, JSON, percent-encoded, Rust's `Debug`, `--key value`, SQL's `PASSWORD '…'` and
    ///   `IDENTIFIED BY '…'`;
    /// * what follows `Bearer`, `Basic`, `Negotiate`, and `AUTH`; JSON web tokens; PEM blocks.
    ///
    /// It errs towards taking too much, and takes a time that grows with the length of the text. Control characters become spaces.
    /// Past [`MAX_LEN`](Self::MAX_LEN) the text is cut.
    pub fn new(text: impl fmt::Display) -> Self {
        let mut text = redact(whole_words(&text.to_string()));
        if text.len() > Self::MAX_LEN {
            text.truncate(char_boundary(&text, Self::MAX_LEN));
            text.push('…');
        }
        Self(text.into())
    }

    /// An error and its sources, joined by `: `.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let sources = std::iter::successors(error.source(), |&error| error.source());
        for source in sources.take(MAX_SOURCES) {
            if text.len() > READ {
                break;
            }
            let source = source.to_string();
            // Many errors repeat their source in their own message.
            if !text.ends_with(&source) {
                text = format!("{text}: {source}");
            }
        }
        Self::new(text)
    }

    /// The redacted text.
    #[must_use]
    pub fn redacted(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cause(withheld)")
    }
}

/// How much of a text is looked at.
const READ: usize = 4 * Cause::MAX_LEN;

/// The start of an overlong text, without the word that a cut would halve: half a URL hides that it holds a
/// password.
fn whole_words(text: &str) -> &str {
    if text.len() <= READ {
        return text;
    }
    let start = text.get(..char_boundary(text, READ)).unwrap_or_default();
    start
        .rsplit_once(char::is_whitespace)
        .map_or("", |(words, _)| words)
}

/// The largest index at or below `index` at which `text` can be cut.
fn char_boundary(text: &str, index: usize) -> usize {
    (0..=index)
        .rev()
        .find(|&index| text.is_char_boundary(index))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cause_is_cut_between_characters() {
        let cause = Cause::new("é ".repeat(Cause::MAX_LEN));
        assert!(cause.redacted().len() <= Cause::MAX_LEN + '…'.len_utf8());
        assert!(cause.redacted().ends_with('…'));
    }

    #[test]
    fn a_cut_leaves_no_half_url() {
        let url = "amqp://app:hunter2";
        let text = format!(
            "token={} {url}@host",
            "x".repeat(4 * Cause::MAX_LEN - 6 - 1 - url.len())
        );
        assert_eq!(Cause::new(text).redacted(), "token=***");
    }

    #[test]
    fn sources_are_joined_and_not_repeated() {
        let inner = std::io::Error::other("no route");
        let outer = std::io::Error::other(inner);
        assert_eq!(Cause::of(&outer).redacted(), "no route");
    }
}
