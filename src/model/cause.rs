//! The private cause of a failure or of a maintenance. The redaction itself is in `redact`; this
//! module limits the length of what is redacted and of what is kept.

use std::{error::Error, fmt, sync::Arc};

use super::{reason::MAX_SOURCES, redact::redact};

/// The private cause of a [`Reason`](crate::Reason): the text of an error, for operators only.
///
/// It is redacted when it is created, so a password in a URL or after `password=` is never kept:
/// see [`Cause::new`]. It still names hosts, roles and files, so it is private: `Debug` withholds
/// it, it is not serialized, and only code that calls [`redacted`](Self::redacted) sees it.
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
    /// The longest text that is kept, in bytes. A text that was truncated ends in `…`, which is
    /// added to this length.
    pub const MAX_LEN: usize = 1024;

    /// Redacts and keeps a text. These credentials are replaced by `***`:
    ///
    /// * The userinfo of URLs and of addresses such as `user:password@host`, and the path of a
    ///   webhook.
    /// * The values of pairs whose key refers to a password, a secret, a token, a key, a cookie or
    ///   credentials. The forms are `key=value`, `key: value`, JSON, percent-encoded, Rust's
    ///   `Debug`, `--key value`, and SQL's `PASSWORD '…'` and `IDENTIFIED BY '…'`.
    /// * The text after `Bearer`, `Basic`, `Negotiate` and `AUTH`, JSON web tokens, and PEM blocks.
    ///
    /// Redaction prefers to remove too much, and takes time proportional to the length of the text.
    /// Control characters become spaces. A text that is longer than [`MAX_LEN`](Self::MAX_LEN) is
    /// truncated.
    ///
    /// ```
    /// use tower_health::Cause;
    ///
    /// let cause = Cause::new("login failed\npassword=hunter2 host=db.internal");
    /// assert_eq!(cause.redacted(), "login failed password=*** host=db.internal");
    ///
    /// let long = Cause::new("no route to host. ".repeat(1_000));
    /// assert!(long.redacted().ends_with('…'));
    /// assert!(long.redacted().len() <= Cause::MAX_LEN + '…'.len_utf8());
    /// ```
    pub fn new(text: impl fmt::Display) -> Self {
        let mut text = redact(whole_words(&text.to_string()));
        if text.len() > Self::MAX_LEN {
            text.truncate(char_boundary(&text, Self::MAX_LEN));
            text.push('…');
        }
        Self(text.into())
    }

    /// Creates a cause from an error and its sources, joined by `: `. A source that the text
    /// already ends with is not repeated, because many errors contain their source in their own
    /// message. At most 32 sources are read.
    ///
    /// ```
    /// # use std::{error::Error, fmt, io};
    /// # #[derive(Debug)]
    /// # struct PingFailed(io::Error);
    /// # impl fmt::Display for PingFailed {
    /// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    /// #         f.write_str("ping failed")
    /// #     }
    /// # }
    /// # impl Error for PingFailed {
    /// #     fn source(&self) -> Option<&(dyn Error + 'static)> { Some(&self.0) }
    /// # }
    /// use tower_health::Cause;
    ///
    /// let error = PingFailed(io::Error::other("no route to db.internal"));
    /// assert_eq!(Cause::of(&error).redacted(), "ping failed: no route to db.internal");
    /// ```
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

    /// Returns the redacted text. It still names hosts, roles and files: show it to operators only.
    /// Its wording is that of a driver and may change. Code that has to decide matches on a
    /// [`Reason`](crate::Reason).
    #[must_use]
    pub fn redacted(&self) -> &str {
        &self.0
    }
}

/// Withholds the text, so that a cause may be part of any `Debug` output.
impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cause(withheld)")
    }
}

/// The maximum length of the text that is examined, in bytes.
const READ: usize = 4 * Cause::MAX_LEN;

/// Returns the start of an overlong text without its last word, because truncation may cut that
/// word in half, and half a URL does not reveal that it contains a password.
fn whole_words(text: &str) -> &str {
    if text.len() <= READ {
        return text;
    }
    let start = text.get(..char_boundary(text, READ)).unwrap_or_default();
    start
        .rsplit_once(char::is_whitespace)
        .map_or("", |(words, _)| words)
}

/// Returns the largest index at or below `index` at which `text` can be cut.
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
    fn truncation_keeps_no_partial_url() {
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
