//! The secret after a key: where it begins and where it ends.

use super::words::{STATE_WORDS, is_key_char, is_quote, near, strip_prefix, word_len};

/// Returns the next word, or the text in quotes.
pub(super) fn next_word(after: &str) -> Option<(&str, usize)> {
    let value = after.trim_start_matches([' ', ':', '=']);
    if value.len() == after.len() {
        return None;
    }
    Some(match value.chars().next().filter(|&c| is_quote(c)) {
        Some(quote) => {
            let inner = value.get(quote.len_utf8()..)?;
            (inner, quoted_len(inner, quote, false))
        }
        None => (value, word_len(value)),
    })
}

/// Matches `Password("x")` and `password { … }`. Returns the whole rest of the text, because
/// brackets may be nested. `password(s)` does not match.
pub(super) fn debug_value(after: &str) -> Option<(&str, usize)> {
    let value = match after.strip_prefix('(') {
        Some(value) if value.starts_with("s)") => return None,
        Some(value) => value,
        None => after.trim_start().strip_prefix('{')?,
    };
    Some((value, value.len()))
}

/// Matches `PASSWORD 'x'`, `PASSWORD E'x'` and `PASSWORD FOR y = 'x'`. Returns the text up to the
/// closing quote. A doubled quote is part of the text.
pub(super) fn sql_value(after: &str) -> Option<(&str, usize)> {
    let value = after.trim_start();
    if value.len() == after.len() {
        return None;
    }
    let value = match strip_prefix(value, "for ") {
        Some(rest) => rest.split_once('=')?.1.trim_start(),
        None => value,
    };
    if let Some(quoted) = dollar_quoted(value) {
        return Some(quoted);
    }
    let unmarked = strip_prefix(value, "u&").or_else(|| value.strip_prefix(['E', 'e', 'N', 'n']));
    let value = unmarked
        .filter(|rest| rest.starts_with('\''))
        .unwrap_or(value);
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = value.get(1..)?;
    let mut quotes = inner.match_indices(quote).map(|(at, _)| at).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            return Some((inner, at));
        }
    }
    Some((inner, inner.len()))
}

/// Matches `$$x$$` and `$tag$x$tag$`.
pub(super) fn dollar_quoted(value: &str) -> Option<(&str, usize)> {
    let tag = value.strip_prefix('$')?.split('$').next()?;
    let is_tag = tag.len() < 64 && tag.chars().all(is_key_char);
    let mark = value
        .get(..tag.len() + 2)
        .filter(|mark| is_tag && mark.ends_with('$'))?;
    let inner = value.get(mark.len()..)?;
    Some((inner, inner.find(mark).unwrap_or(inner.len())))
}

/// Matches `<password>x</password>`. Returns the text up to the next tag.
pub(super) fn tag_value(after: &str, before: char) -> Option<(&str, usize)> {
    // In a description of a command, `<password>` is a placeholder.
    let is_tag = |value: &&str| matches!(before, '<' | ':') && !value.starts_with(' ');
    let value = after.strip_prefix('>').filter(is_tag)?;
    Some((value, value.find('<').unwrap_or(value.len())))
}

/// Matches a key that is itself a value, followed by its own value: `("key", "value")` and
/// `name: "key", value: "value"`.
pub(super) fn named_value<'a>(after: &'a str, before: char, key: &str) -> Option<(&'a str, usize)> {
    let closed = after.trim_start_matches(|c: char| is_quote(c) || c == '\\');
    let listed = closed.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    let opened = listed.trim_start_matches(|c: char| is_quote(c) || c == '\\');
    if let Some(rest) = strip_prefix(opened, "value") {
        return pair_value(rest, key);
    }
    let is_pair = is_quote(before) && closed.starts_with(',');
    let quote = listed.chars().next().filter(|&c| is_pair && is_quote(c))?;
    let inner = listed.get(quote.len_utf8()..)?;
    Some((inner, quoted_len(inner, quote, false)))
}

/// Skips `[]`, `[0]` and `.value` after a key.
pub(super) fn indexed(after: &str) -> &str {
    let is_short = |name: &str| name.len() < 16 && name.chars().all(is_key_char);
    let bracket = || after.strip_prefix('[')?.split_once(']');
    let member = || {
        let rest = after.strip_prefix('.')?;
        let end = rest.find(['=', ':'])?;
        Some((rest.get(..end)?, rest.get(end..)?))
    };
    match bracket().or_else(member) {
        Some((name, rest)) if is_short(name) && rest.starts_with(['=', ':']) => rest,
        _ => after,
    }
}

/// Returns the text from the value after a secret key, and the length of the value: `=value`,
/// `: "value"`, `\" : \"value\"`, `=Some("value")`.
pub(super) fn pair_value<'a>(after: &'a str, key: &str) -> Option<(&'a str, usize)> {
    let closed = after.trim_start_matches(|c: char| {
        c.is_whitespace() || is_quote(c) || matches!(c, '\\' | ']' | ')')
    });
    let unquoted = strip_prefix(closed, "%22").unwrap_or(closed);
    for encoded in ["%3d", "%3a", "%253d", "%253a"] {
        if let Some(value) = strip_prefix(unquoted, encoded) {
            let value = strip_prefix(value, "%22").unwrap_or(value);
            let word = value.get(..word_len(value))?.to_ascii_lowercase();
            let ends = ["%26", "%2526", "%3b", "%22", "&"];
            let ends = ends.iter().filter_map(|end| word.find(end));
            return Some((value, ends.min().unwrap_or(word.len())));
        }
    }
    let value = closed.trim_start_matches(['=', ':', '>']);
    if !closed.starts_with(['=', ':']) {
        return None;
    }
    let is_prose = closed.starts_with(':') && value.starts_with(char::is_whitespace);
    let value = value.trim_start();
    let said = value.split(|c: char| !c.is_alphanumeric()).next()?;
    // A password may begin with such a word.
    let is_word = value
        .get(said.len()..)?
        .chars()
        .next()
        .is_none_or(|next| next.is_whitespace() || matches!(next, ',' | '.' | ';' | ':' | ')'));
    if is_prose && is_word && STATE_WORDS.contains(&&*said.to_ascii_lowercase()) {
        return None;
    }
    let opened = value.trim_start_matches('\\');
    if let Some(quote) = opened.chars().next().filter(|&c| is_quote(c)) {
        let escaped = opened.len() < value.len();
        if let Some(quoted) = doubled(opened, quote) {
            return Some(quoted);
        }
        let inner = opened.get(quote.len_utf8()..)?;
        return Some((inner, quoted_len(inner, quote, escaped)));
    }
    // A scheme and its credentials are several words. So may be a value that opens a bracket or a
    // quote, and a struct.
    let len = word_len(value);
    let many = ["auth", "cookie"].iter().any(|part| key.contains(part))
        || value.get(..len)?.contains(['"', '\'', '(', '[', '{'])
        || value.get(len..)?.trim_start().starts_with('{');
    let len = match many {
        true => value.len(),
        false if is_prose => clause_len(value).max(len),
        false => setting_len(value).unwrap_or(len).max(len),
    };
    Some((value, len))
}

/// Returns the length of a value in a list that is separated by semicolons. Such a value may have
/// several words, and ends at the next semicolon.
pub(super) fn setting_len(value: &str) -> Option<usize> {
    let near = near(value);
    let len = near.find(';')?;
    let words = near.get(..len)?;
    (!words.contains(['=', ':'])).then_some(len)
}

/// Matches `''x''` and `"""x"""`. Returns the text between the repeated quotes, unless it is empty.
pub(super) fn doubled(opened: &str, quote: char) -> Option<(&str, usize)> {
    let inner = opened.trim_start_matches(quote);
    let mark = opened.get(..opened.len() - inner.len())?;
    let is_empty = inner.is_empty()
        || inner.starts_with(|c: char| {
            c.is_whitespace() || matches!(c, ',' | '}' | ']' | ')' | ';' | '&' | '\\')
        });
    let many = mark.chars().count() >= 2 && !is_empty;
    many.then(|| (inner, inner.find(mark).unwrap_or(inner.len())))
}

/// Returns the length of a clause, which may have several words but does not contain another pair.
pub(super) fn clause_len(value: &str) -> usize {
    let mut end = 0;
    for word in value.split_inclusive(char::is_whitespace) {
        let said = word.trim_end();
        if end > 0 && said.contains(['=', ':']) {
            break;
        }
        end += word.len();
        if said.ends_with([',', ';', '.', ')']) {
            return end - (word.len() - said.len()) - 1;
        }
    }
    value.get(..end).map_or(end, |value| value.trim_end().len())
}

/// Returns the length up to the closing quote, or the whole length if no quote closes. If the
/// quotes are themselves escaped, an escaped quote closes the text. Otherwise an escaped quote is
/// skipped.
pub(super) fn quoted_len(inner: &str, quote: char, escaped: bool) -> usize {
    let mut backslash = None;
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, backslash) {
            (c, Some(start)) if c == quote && escaped => return start,
            // In SQL and CSV, a doubled quote is part of the quoted text.
            (c, None) if c == quote => match chars.next_if(|&(_, next)| next == quote) {
                Some(_) => {}
                None => return at,
            },
            ('\\', None) => backslash = Some(at),
            ('\\', Some(_)) if escaped => {}
            _ => backslash = None,
        }
    }
    inner.len()
}

/// Skips `WITH plugin`, and `BY`, `AS`, `VALUES` and `PASSWORD`, after `IDENTIFIED`.
pub(super) fn skip_plugin(after: &str) -> &str {
    let rest = skip_words(after, &["with"]);
    let rest = if rest.len() < after.len() {
        rest.trim_start()
            .split_once(char::is_whitespace)
            .map_or(rest, |(plugin, _)| {
                rest.trim_start().get(plugin.len()..).unwrap_or(rest)
            })
    } else {
        rest
    };
    skip_words(rest, &["by", "as", "values", "password"])
}

/// Skips those of the words that the text begins with.
pub(super) fn skip_words<'a>(text: &'a str, words: &[&str]) -> &'a str {
    words.iter().fold(text, |text, word| {
        match strip_prefix(text.trim_start(), word) {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest,
            _ => text,
        }
    })
}
