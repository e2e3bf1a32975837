//! Redaction of secrets in a text. It prefers to remove too much.

const MASK: &str = "***";

/// A key that contains one of these has a secret value.
const SECRET_PARTS: &[&str] = &[
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
const SECRET_ENDS: &[&str] = &["key", "pass", "pw", "sig", "auth", "otp"];

/// In the query of a URL, these keys have a secret value, too.
const SECRET_IN_QUERIES: &[&str] = &["code", "state", "ticket"];

/// The word after one of these is a credential.
const SCHEMES: &[&str] = &["bearer", "basic", "negotiate"];

/// The word after one of these is a credential if it looks like one, because these words also occur
/// in ordinary sentences.
const ORDINARY_SCHEMES: &[&str] = &["token", "apikey"];

/// Words that describe the state of a secret and are not secret themselves, as in
/// `password: authentication failed`.
const STATE_WORDS: &[&str] = &[
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

/// The maximum length of a word that is examined, in bytes. It keeps the time proportional to the
/// length of the text.
const MAX_WORD_LEN: usize = 1024;

/// Settings of servers that have no separator before their value.
const SETTINGS: &[&str] = &["requirepass", "masterauth"];

/// Words that follow the command `AUTH` in ordinary sentences, where it has no credential.
const AFTER_AUTH: &[&str] = &[
    "called", "command", "error", "failed", "is", "needed", "not", "password", "required",
    "username", "was",
];

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

/// Returns the start of a text, up to the length that is examined.
fn near(text: &str) -> &str {
    let end = (MAX_WORD_LEN.saturating_sub(3)..=MAX_WORD_LEN)
        .rev()
        .find(|&end| text.is_char_boundary(end));
    match end {
        Some(end) if text.len() > MAX_WORD_LEN => text.get(..end).unwrap_or_default(),
        _ => text,
    }
}

/// Returns the secret part of a URL, after its scheme: the userinfo, the path of a webhook, or the
/// whole URL if it has both.
fn url(rest: &str) -> Option<(usize, usize)> {
    let word_len = rest.split(ends_word).next()?.len();
    let has_userinfo = rest.split('/').next()?.contains('@');
    let hook = webhook(rest).filter(|_| !has_userinfo);
    hook.or_else(|| {
        let len = userinfo(rest)?;
        let host = rest.get(len..)?.trim_start_matches('@');
        let all = webhook(host).is_some();
        Some((0, if all { word_len.max(len) } else { len }))
    })
}

/// Returns the whole word of a URL whose authority is longer than what is examined, if it may
/// contain a password.
fn endless_userinfo(rest: &str) -> Option<(usize, usize)> {
    let near = near(rest);
    let is_endless = near.len() < rest.len() && !near.contains(ends_word) && !near.contains('/');
    let word = || rest.split(ends_word).next().map_or(0, str::len);
    (is_endless && near.contains(':')).then(|| (0, word()))
}

/// Returns the text from the secret that a word introduces, and the length of the secret.
fn introduced_secret<'a>(word: &str, after: &'a str, before: char) -> Option<(&'a str, usize)> {
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

/// Returns the next word, or the text in quotes.
fn next_word(after: &str) -> Option<(&str, usize)> {
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

/// Matches `AUTH password` and `AUTH user password`. Returns the whole rest of the text, unless a
/// sentence mentions the command.
fn command<'a>(word: &str, value: &'a str) -> Option<(&'a str, usize)> {
    let value_word = value.trim_start_matches(['<', '[']);
    let first = value_word.split(|c: char| !c.is_alphanumeric()).next()?;
    let is_spoken_of = AFTER_AUTH.contains(&&*first.to_ascii_lowercase());
    (word == "AUTH" && !is_spoken_of).then_some((value, value.len()))
}

/// Matches `Password("x")` and `password { … }`. Returns the whole rest of the text, because
/// brackets may be nested. `password(s)` does not match.
fn debug_value(after: &str) -> Option<(&str, usize)> {
    let value = match after.strip_prefix('(') {
        Some(value) if value.starts_with("s)") => return None,
        Some(value) => value,
        None => after.trim_start().strip_prefix('{')?,
    };
    Some((value, value.len()))
}

/// Matches `PASSWORD 'x'`, `PASSWORD E'x'` and `PASSWORD FOR y = 'x'`. Returns the text up to the
/// closing quote. A doubled quote is part of the text.
fn sql_value(after: &str) -> Option<(&str, usize)> {
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
fn dollar_quoted(value: &str) -> Option<(&str, usize)> {
    let tag = value.strip_prefix('$')?.split('$').next()?;
    let is_tag = tag.len() < 64 && tag.chars().all(is_key_char);
    let mark = value
        .get(..tag.len() + 2)
        .filter(|mark| is_tag && mark.ends_with('$'))?;
    let inner = value.get(mark.len()..)?;
    Some((inner, inner.find(mark).unwrap_or(inner.len())))
}

/// Matches `<password>x</password>`. Returns the text up to the next tag.
fn tag_value(after: &str, before: char) -> Option<(&str, usize)> {
    // In a description of a command, `<password>` is a placeholder.
    let is_tag = |value: &&str| matches!(before, '<' | ':') && !value.starts_with(' ');
    let value = after.strip_prefix('>').filter(is_tag)?;
    Some((value, value.find('<').unwrap_or(value.len())))
}

/// Skips `[]`, `[0]` and `.value` after a key.
fn indexed(after: &str) -> &str {
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

/// Matches a key that is itself a value, followed by its own value: `("key", "value")` and
/// `name: "key", value: "value"`.
fn named_value<'a>(after: &'a str, before: char, key: &str) -> Option<(&'a str, usize)> {
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

/// Skips `WITH plugin`, and `BY`, `AS`, `VALUES` and `PASSWORD`, after `IDENTIFIED`.
fn skip_plugin(after: &str) -> &str {
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
fn skip_words<'a>(text: &'a str, words: &[&str]) -> &'a str {
    words.iter().fold(text, |text, word| {
        match strip_prefix(text.trim_start(), word) {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest,
            _ => text,
        }
    })
}

/// Removes a prefix, ignoring ASCII case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    text.get(prefix.len()..)
        .filter(|_| start.eq_ignore_ascii_case(prefix))
}

fn has(value: &str, len: usize, wanted: char) -> bool {
    value.get(..len).is_some_and(|value| value.contains(wanted))
}

/// Whether a word looks like a credential and not like an ordinary word.
fn is_credential(value: &str, len: usize) -> bool {
    let word = value.get(..len).unwrap_or_default();
    let is_odd = |c: char| c.is_ascii_digit() || matches!(c, '=' | '_' | '.');
    // A partly masked word no longer counts as a credential.
    len >= 8 && word.contains(is_odd) && !word.contains(MASK)
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

/// Returns the offset and the length of the secret part of a webhook's path, after `://`. Knowing
/// the path is enough to call the webhook.
fn webhook(rest: &str) -> Option<(usize, usize)> {
    let word = rest.split(ends_word).next()?;
    let path = word.find('/')? + 1;
    let (host, below) = (word.get(..path)?, word.get(path..)?);
    let is_hook = |segment: &str| {
        let bot = segment.strip_prefix("bot").unwrap_or_default();
        segment.trim_end_matches('s').ends_with("hook")
            || bot.starts_with(|c: char| c.is_ascii_digit())
    };
    let lower = below.to_ascii_lowercase();
    let is_one = host.starts_with("hooks.") || lower.split('/').any(is_hook);
    (is_one && !is_masked(below)).then_some((path, below.len()))
}

/// Returns the length of the userinfo of a percent-encoded URL.
fn encoded_userinfo(rest: &str) -> Option<usize> {
    let word = rest.split(ends_word).next()?.to_ascii_lowercase();
    word.rfind("%40").filter(|_| !is_masked(rest))
}

fn is_key_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

fn is_secret_key(word: &str) -> bool {
    let key = word.to_ascii_lowercase().replace(['_', '-'], "");
    SECRET_PARTS.iter().any(|part| key.contains(part))
        || SECRET_ENDS.iter().any(|end| key.ends_with(end))
}

/// Whether a value is already masked.
fn is_masked(value: &str) -> bool {
    value.strip_prefix(MASK).is_some_and(|rest| {
        rest.chars().next().is_none_or(|c| {
            c.is_whitespace() || is_quote(c) || matches!(c, '@' | '\\' | '%' | ',' | ';')
        })
    })
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`')
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || is_quote(c) || matches!(c, '<' | '>')
}

/// Returns the length of the `user:password` before an `@` that starts here, in an address without
/// a scheme.
fn bare_userinfo(here: &str) -> Option<usize> {
    let word = here.split(ends_word).next()?;
    let len = word.rfind('@')?;
    let user = word.get(..len)?;
    let password = user.split_once(':')?.1;
    Some(len).filter(|_| !password.is_empty() && !user.contains("://"))
}

/// Returns the length of the userinfo at the start of `authority`. A password may contain a
/// character that ends a word, an `@` or a `://` that was not encoded. The userinfo therefore
/// extends to the last `@` of the word and of the text before another URL.
fn userinfo(authority: &str) -> Option<usize> {
    let word = authority.split(ends_word).next()?;
    let own = until_next_url(authority);
    let len = word.rfind('@').max(own.rfind('@'));
    let len = len.or_else(|| userinfo_across(authority, own))?;
    Some(len).filter(|_| !is_masked(authority))
}

/// Returns the text up to and including the scheme of another URL.
fn until_next_url(authority: &str) -> &str {
    let ends_in_scheme = |text: &&str| text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let urls = authority.match_indices("://");
    let mut before = urls.filter_map(|(at, _)| authority.get(..at));
    before.find(ends_in_scheme).unwrap_or(authority)
}

/// Returns the length of a userinfo whose password seems to contain another URL. In that case
/// `own`, the text before that URL, is not a host with a port.
fn userinfo_across(authority: &str, own: &str) -> Option<usize> {
    let password = own.split_once(':')?.1.split(ends_word).next()?;
    let is_host = own.starts_with('[') || password.contains('/');
    let is_port = password.bytes().all(|byte| byte.is_ascii_digit());
    let after = authority.get(own.len()..)?.strip_prefix("://")?;
    if is_host || is_port && !after.starts_with('@') {
        return None;
    }
    authority.rfind('@')
}

/// Returns the text from the value after a secret key, and the length of the value: `=value`,
/// `: "value"`, `\" : \"value\"`, `=Some("value")`.
fn pair_value<'a>(after: &'a str, key: &str) -> Option<(&'a str, usize)> {
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
fn setting_len(value: &str) -> Option<usize> {
    let near = near(value);
    let len = near.find(';')?;
    let words = near.get(..len)?;
    (!words.contains(['=', ':'])).then_some(len)
}

/// Matches `''x''` and `"""x"""`. Returns the text between the repeated quotes, unless it is empty.
fn doubled(opened: &str, quote: char) -> Option<(&str, usize)> {
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
fn clause_len(value: &str) -> usize {
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
fn quoted_len(inner: &str, quote: char, escaped: bool) -> usize {
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

fn word_len(value: &str) -> usize {
    value.find(char::is_whitespace).unwrap_or(value.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_redacted() {
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
            ("amqp://u:AA>://@host/v", "amqp://***@host/v"),
            ("amqp://u:A@B>://C@host/v", "amqp://***@host/v"),
            ("amqp://u:A>B://C@host/v", "amqp://***@host/v"),
            ("amqp://u:1>B://@host/v", "amqp://***@host/v"),
            (
                "at http://db:80> amqp://u:hunter2@host",
                "at http://db:80> amqp://***@host",
            ),
            (
                "at http://[::1]> amqp://u:hunter2@host",
                "at http://[::1]> amqp://***@host",
            ),
            (
                "at http://db> amqp://u:hunter2@host",
                "at http://db> amqp://***@host",
            ),
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

    /// Forms in which secrets occur in errors.
    #[test]
    fn secrets_are_recognized_by_their_form() {
        for (text, clean) in [
            // PEM: complete, truncated, and on one line.
            (
                "key is -----BEGIN PRIVATE KEY-----\nMIIE\nvQIB==\n-----END PRIVATE KEY----- ok",
                "key is *** ok",
            ),
            ("-----BEGIN RSA PRIVATE KEY----- MIIE", "***"),
            // JSON web tokens.
            ("got eyJhbGciOi.eyJzdWIi.c2ln-_A here", "got *** here"),
            ("(eyJhbGciOi.eyJzdWIi.)", "(***)"),
            // Cookies.
            ("Cookie: sid=abc; theme=dark", "Cookie: ***"),
            ("set-cookie: sid=abc; HttpOnly", "set-cookie: ***"),
            // Webhooks.
            (
                "POST https://hooks.slack.com/services/T0/B0/abc failed",
                "POST https://hooks.slack.com/*** failed",
            ),
            (
                "https://discord.com/api/webhooks/1/abc",
                "https://discord.com/***",
            ),
            (
                "https://api.telegram.org/bot12:abc/send",
                "https://api.telegram.org/***",
            ),
            // SQL.
            (
                "ALTER ROLE app PASSWORD 'hun ter2' VALID",
                "ALTER ROLE app PASSWORD '***' VALID",
            ),
            (
                "CREATE USER x IDENTIFIED BY 'pw'",
                "CREATE USER x IDENTIFIED BY '***'",
            ),
            (
                "identified by password '*2470'",
                "identified by password '***'",
            ),
            // Commands.
            ("AUTH hunter2", "AUTH ***"),
            ("AUTH default hunter2", "AUTH ***"),
            (
                "mysqldump --password hunter2 x",
                "mysqldump --password *** x",
            ),
            ("--api-key=abc x", "--api-key=*** x"),
            ("curl -u app:hunter2 http://x", "curl -u *** http://x"),
            // Schemes.
            ("sent Token 0123456789abcdef", "sent Token ***"),
            ("sent ApiKey a2V5Ojpz==", "sent ApiKey ***"),
            ("Negotiate YIIabc", "Negotiate ***"),
            ("Basic dXNlcjpwYXNz", "Basic ***"),
            (
                "https://u:p@hooks.slack.com/services/T0/B0/abc x",
                "https://*** x",
            ),
            (
                "https://x.webhook.office.com/webhookb2/a@b/IncomingWebhook/01",
                "https://x.webhook.office.com/***",
            ),
            (
                "IDENTIFIED WITH caching_sha2_password BY 'hunter2' x",
                "IDENTIFIED WITH caching_sha2_password BY '***' x",
            ),
            ("IDENTIFIED BY \"hunter2\"", "IDENTIFIED BY \"***\""),
            ("PASSWORD E'hunter2'", "PASSWORD E'***'"),
            ("PASSWORD 'hun''ter2' x", "PASSWORD '***' x"),
            (
                "SET PASSWORD FOR 'a'@'%' = 'hunter2'",
                "SET PASSWORD FOR 'a'@'%' = '***'",
            ),
            ("Password(hunter2)", "Password(***"),
            ("Token(8472893472)", "Token(***"),
            ("--password \"correct horse\" x", "--password \"***\" x"),
            ("password%3Dhun%24ter2%26b", "password%3D***%26b"),
            ("--proxy-user app:pw", "--proxy-user ***"),
            ("passcode=1234", "passcode=***"),
            // Queries.
            ("GET /cb?code=abc&x=1", "GET /cb?code=***"),
            ("grant&client_assertion=abc", "grant&client_assertion=***"),
            // Percent-encoded.
            ("a%26password%3Dhunter2%26b", "a%26password%3D***%26b"),
            (
                "postgres%3A%2F%2Fapp%3Apw%40db",
                "postgres%3A%2F%2F***%40db",
            ),
            // Rust's Debug.
            ("Password(\"hunter2\")", "Password(***"),
            (
                "Config { password: Secret { inner: \"hunter2\" } }",
                "Config { password: ***",
            ),
            (
                "Credentials { user: \"a\", pass: \"b\" }",
                "Credentials {***",
            ),
            // Passwords that begin with a word of `STATE_WORDS`.
            ("password: wrong-horse-battery", "password: ***"),
            ("password: no!", "password: ***"),
            // Quotes in quotes.
            ("password = '''hunter2'''", "password = '''***'''"),
            (
                "password = \"\"\"hunter2\"\"\" x",
                "password = \"\"\"***\"\"\" x",
            ),
            (
                r#""{""password"":""hunter2"",""n"":1}""#,
                r#""{""password"":""***"",""n"":1}""#,
            ),
            ("password='it''s hunter2' x", "password='***' x"),
            ("password=\"\", user=app", "password=\"\", user=app"),
            // Keys that are values themselves.
            (
                "[(\"DB_PASSWORD\", \"hunter2\"), (\"A\", \"b\")]",
                "[(\"DB_PASSWORD\", \"***\"), (\"A\", \"b\")]",
            ),
            (
                r#"{"name":"DB_PASSWORD","value":"hunter2"}"#,
                r#"{"name":"DB_PASSWORD","value":"***"}"#,
            ),
            (
                "EnvVar { name: \"DB_PASSWORD\", value: Some(\"hunter2\") }",
                "EnvVar { name: \"DB_PASSWORD\", value: ***",
            ),
            (
                "- name: DB_PASSWORD\n  value: hunter2",
                "- name: DB_PASSWORD   value: ***",
            ),
            ("password[]=hunter2&x", "password[]=***"),
            ("passwd[0]=hunter2", "passwd[0]=***"),
            ("password.value=hunter2", "password.value=***"),
            // XML.
            ("<password>hunter2</password>", "<password>***</password>"),
            (
                "<SecretAccessKey>hun ter2</SecretAccessKey>",
                "<SecretAccessKey>***</SecretAccessKey>",
            ),
            (
                "<wsse:Password>hunter2</wsse:Password>",
                "<wsse:Password>***</wsse:Password>",
            ),
            // Encoded twice.
            (
                "%7B%22password%22%3A%22hunter2%22%7D",
                "%7B%22password%22%3A%22***%22%7D",
            ),
            ("x?y=password%253Dhunter2", "x?y=password%253D***"),
            // Other SQL.
            ("IDENTIFIED BY hunter2", "IDENTIFIED BY ***"),
            (
                "IDENTIFIED BY VALUES 'S:hunter2'",
                "IDENTIFIED BY VALUES '***'",
            ),
            ("PASSWORD $$hunter2$$ x", "PASSWORD $$***$$ x"),
            ("PASSWORD U&'hunter2'", "PASSWORD U&'***'"),
            // Settings.
            ("requirepass hunter2", "requirepass ***"),
            ("masterauth hunter2", "masterauth ***"),
            (
                "Password=correct horse battery;Database=x",
                "Password=***;Database=x",
            ),
            // Several words.
            (
                "password: correct horse battery, user: app",
                "password: ***, user: app",
            ),
            (
                "passphrase: correct horse user=app",
                "passphrase: *** user=app",
            ),
        ] {
            assert_eq!(redact(text), clean, "{text}");
            assert_eq!(redact(clean), clean, "again: {clean}");
        }
    }

    #[test]
    fn a_password_beyond_the_examined_length_is_redacted_completely() {
        let long = "x".repeat(2 * MAX_WORD_LEN);
        let text = format!("at postgres://app:{long}@db/x and more");
        assert_eq!(redact(&text), "at postgres://*** and more");
    }

    /// Twice the text takes about twice the time, whatever is repeated.
    #[test]
    fn words_are_examined_up_to_the_limit() {
        let long = "a.".repeat(MAX_WORD_LEN * 4);
        assert_eq!(near(&long).len(), MAX_WORD_LEN);
        assert!(near(&"é".repeat(MAX_WORD_LEN)).len() <= MAX_WORD_LEN);
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in [
            "password authentication failed for user",
            "http://127.0.0.1:80/ready refused",
            "token",
            "token expired yesterday",
            "the password(s) of",
            "ERR AUTH <password> called without any password configured",
            "could not negotiate TLS version",
            "a basic check failed",
            "auth: connection refused by 10.0.0.1",
            "password: authentication failed for user app",
            "Access denied (using password: NO)",
            "unexpected token { at line 3",
            "digest sha256:0123456789abcdef",
            "NOAUTH Authentication required",
            "AUTH failed",
            "http status code=500",
            "https://shop.example/orders/1",
            "-u app",
            "user identified by name",
            "a basic",
            "mail to ops@example.com",
            "duplicate key value violates unique constraint",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    /// A password as people choose them, with characters that do not occur in the rest of the text.
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
        fn redaction_is_idempotent(text in "\\PC{0,64}") {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }

        #[test]
        fn redaction_of_text_about_secrets_is_idempotent(
            text in "(password|key|auth|@|=|:| |\"|\\\\|\\*|x|\\(|bearer ){0,16}",
        ) {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
