//! The words that introduce a secret.

use super::{
    value::{
        debug_value, indexed, named_value, next_word, pair_value, skip_plugin, sql_value, tag_value,
    },
    words::{
        AFTER_AUTH, ORDINARY_SCHEMES, SCHEMES, SECRET_IN_QUERIES, SETTINGS, has, is_credential,
        is_secret_key,
    },
};

/// Returns the text from the secret that a word introduces, and the length of the secret.
pub(super) fn introduced_secret<'a>(
    word: &str,
    after: &'a str,
    before: char,
) -> Option<(&'a str, usize)> {
    let lower = word.to_ascii_lowercase();
    let known = |words: &[&str]| words.contains(&&*lower);
    let next = || next_word(after);
    let is_capital = word.starts_with(|c: char| c.is_ascii_uppercase());
    if is_secret_key(word) || (matches!(before, '?' | '&') && known(SECRET_IN_QUERIES)) {
        return tag_value(after, before)
            .or_else(|| pair_value(indexed(after), &lower))
            .or_else(|| named_value(after, before, &lower))
            .or_else(|| {
                debug_value(after).filter(|_| !known(ORDINARY_SCHEMES) || after.starts_with('('))
            })
            .or_else(|| sql_value(after))
            .or_else(|| next().filter(|_| word.starts_with("--") || known(SETTINGS)))
            .or_else(|| {
                next().filter(|(value, len)| known(ORDINARY_SCHEMES) && is_credential(value, *len))
            })
            .or_else(|| command(word, next()?.0));
    }
    match &*lower {
        "identified" => {
            let value = skip_plugin(after);
            // Lower case also occurs in ordinary sentences, such as "identified by name".
            let is_command = word == "IDENTIFIED" && value.len() < after.len();
            sql_value(value).or_else(|| next_word(value).filter(|_| is_command))
        }
        "-u" | "--user" | "--proxy-user" => next().filter(|(value, len)| has(value, *len, ':')),
        _ if known(SCHEMES) => {
            next().filter(|(value, len)| is_capital || is_credential(value, *len))
        }
        _ if known(ORDINARY_SCHEMES) => next().filter(|(value, len)| is_credential(value, *len)),
        _ => None,
    }
}

/// Matches `AUTH password` and `AUTH user password`. Returns the whole rest of the text, unless a
/// sentence mentions the command.
pub(super) fn command<'a>(word: &str, value: &'a str) -> Option<(&'a str, usize)> {
    let value_word = value.trim_start_matches(['<', '[']);
    let first = value_word.split(|c: char| !c.is_alphanumeric()).next()?;
    let is_spoken_of = AFTER_AUTH.contains(&&*first.to_ascii_lowercase());
    (word == "AUTH" && !is_spoken_of).then_some((value, value.len()))
}
