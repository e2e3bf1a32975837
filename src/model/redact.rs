//! Taking secrets out of a text, erring towards taking too much.

const MASK: &str = "***";

/// A key that has one of these in it has a value that nobody may read.
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

/// So has a key that ends in one of these.
const SECRET_ENDS: &[&str] = &["key", "pass", "pw", "sig", "auth", "otp"];

/// So has one of these in the query of a URL.
const SECRET_IN_QUERIES: &[&str] = &["code", "state", "ticket"];

/// A word after which the next word is a credential.
const SCHEMES: &[&str] = &["bearer", "basic", "negotiate"];

/// The same, if the next word looks like one: people speak of these.
const SPOKEN_OF: &[&str] = &["token", "apikey"];

/// What is said of a secret, and is none: `password: authentication failed`.
const STATES: &[&str] = &[
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

/// How far a word is looked at, in bytes: so the time grows with the length of the text and no faster.
const FAR: usize = 1024;

/// Settings of servers, which are told without a sign between them and their values.
const SETTINGS: &[&str] = &["requirepass", "masterauth"];

/// What is said of `AUTH`, a command, without a credential.
const OF_AUTH: &[&str] = &[
    "called", "command", "error", "failed", "is", "needed", "not", "password", "required",
    "username", "was",
];

/// Replaces what gives somebody access by a mask, and makes control characters spaces, so that the text stays one line:
///
/// * the userinfo of URLs and of addresses without a scheme, and what is secret in the path of a webhook;
/// * the values of pairs with a secret key: `key=value`, `key: value`, `"key":"value"`, `Key("value")`, `key: Struct { … }`,
///   `--key value`, percent-encoded, and in SQL;
/// * the credentials of an authorization header, of cookies, and of the commands that take them;
/// * JSON web tokens and PEM blocks, wherever they are.
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
        let before = std::mem::replace(&mut previous, c);
        let here = text.get(at..)?;
        if let Some((start, len)) = secret_in(here, before) {
            let (start, end) = (at + start, at + start + len);
            return Some((text.get(..start)?, text.get(end..)?));
        }
    }
    None
}

/// Where the secret that the start of `here` introduces begins in it, and how long it is.
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
    let (value, len) = introduced(word, after, before)
        .or_else(|| jwt(here).map(|len| (here, len)))
        .or_else(|| {
            bare_userinfo(near(here))
                .filter(|_| begins)
                .map(|len| (here, len))
        })?;
    let start = here.len() - value.len();
    Some((start, len)).filter(|_| len > 0 && !is_masked(value))
}

/// The start of a text, up to where a word is looked at.
fn near(text: &str) -> &str {
    let end = (FAR.saturating_sub(3)..=FAR)
        .rev()
        .find(|&end| text.is_char_boundary(end));
    match end {
        Some(end) if text.len() > FAR => text.get(..end).unwrap_or_default(),
        _ => text,
    }
}

/// What is secret of a URL, behind its scheme: the userinfo, the path of a webhook, or all of it if it has both.
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

/// Of a URL whose authority goes on for longer than is looked at, and has a password if it has a user: all of the word.
fn endless_userinfo(rest: &str) -> Option<(usize, usize)> {
    let near = near(rest);
    let is_endless = near.len() < rest.len() && !near.contains(ends_word) && !near.contains('/');
    let word = || rest.split(ends_word).next().map_or(0, str::len);
    (is_endless && near.contains(':')).then(|| (0, word()))
}

/// What a word says is behind it: the text from the secret on, and how long that is.
fn introduced<'a>(word: &str, after: &'a str, before: char) -> Option<(&'a str, usize)> {
    let lower = word.to_ascii_lowercase();
    let known = |words: &[&str]| words.contains(&&*lower);
    let next = || next_word(after);
    let is_capital = word.starts_with(|c: char| c.is_ascii_uppercase());
    if is_secret_key(word) || (matches!(before, '?' | '&') && known(SECRET_IN_QUERIES)) {
        return tag_value(after, before)
            .or_else(|| pair_value(indexed(after), &lower))
            .or_else(|| named_value(after, before, &lower))
            .or_else(|| debug_value(after).filter(|_| !known(SPOKEN_OF) || after.starts_with('(')))
            .or_else(|| sql_value(after))
            .or_else(|| next().filter(|_| word.starts_with("--") || known(SETTINGS)))
            .or_else(|| {
                next().filter(|(value, len)| known(SPOKEN_OF) && is_credential(value, *len))
            })
            .or_else(|| command(word, next()?.0));
    }
    match &*lower {
        "identified" => {
            let value = skip_plugin(after);
            // People speak of who is identified by what.
            let is_command = word == "IDENTIFIED" && value.len() < after.len();
            sql_value(value).or_else(|| next_word(value).filter(|_| is_command))
        }
        "-u" | "--user" | "--proxy-user" => next().filter(|(value, len)| has(value, *len, ':')),
        _ if known(SCHEMES) => {
            next().filter(|(value, len)| is_capital || is_credential(value, *len))
        }
        _ if known(SPOKEN_OF) => next().filter(|(value, len)| is_credential(value, *len)),
        _ => None,
    }
}

/// The next word, or what is in quotes.
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

/// `AUTH password`, `AUTH user password`: all that comes, unless somebody speaks of the command.
fn command<'a>(word: &str, value: &'a str) -> Option<(&'a str, usize)> {
    let value_word = value.trim_start_matches(['<', '[']);
    let first = value_word.split(|c: char| !c.is_alphanumeric()).next()?;
    let is_spoken_of = OF_AUTH.contains(&&*first.to_ascii_lowercase());
    (word == "AUTH" && !is_spoken_of).then_some((value, value.len()))
}

/// `Password("x")`, `password { … }`: all that comes, for brackets may nest. `password(s)` is none.
fn debug_value(after: &str) -> Option<(&str, usize)> {
    let value = match after.strip_prefix('(') {
        Some(value) if value.starts_with("s)") => return None,
        Some(value) => value,
        None => after.trim_start().strip_prefix('{')?,
    };
    Some((value, value.len()))
}

/// `PASSWORD 'x'`, `PASSWORD E'x'`, `PASSWORD FOR y = 'x'`: up to the closing quote, of which two are one inside.
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

/// `$$x$$`, `$tag$x$tag$`.
fn dollar_quoted(value: &str) -> Option<(&str, usize)> {
    let tag = value.strip_prefix('$')?.split('$').next()?;
    let is_tag = tag.len() < 64 && tag.chars().all(is_key_char);
    let mark = value
        .get(..tag.len() + 2)
        .filter(|mark| is_tag && mark.ends_with('$'))?;
    let inner = value.get(mark.len()..)?;
    Some((inner, inner.find(mark).unwrap_or(inner.len())))
}

/// `<password>x</password>`: up to the next tag.
fn tag_value(after: &str, before: char) -> Option<(&str, usize)> {
    // In words about a command, `<password>` is the place of one.
    let is_tag = |value: &&str| matches!(before, '<' | ':') && !value.starts_with(' ');
    let value = after.strip_prefix('>').filter(is_tag)?;
    Some((value, value.find('<').unwrap_or(value.len())))
}

/// Behind a key: without `[]`, `[0]` and `.value`.
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

/// A key that is a value itself, with what it is the key of behind it: `("key", "value")`, `name: "key", value: "value"`.
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

/// Behind `IDENTIFIED`: without `WITH plugin`, and `BY`, `AS` and `PASSWORD`.
fn skip_plugin(after: &str) -> &str {
    let rest = skip_words(after, &["with"]);
    let rest = match rest.len() < after.len() {
        true => rest
            .trim_start()
            .split_once(char::is_whitespace)
            .map_or(rest, |(plugin, _)| {
                rest.trim_start().get(plugin.len()..).unwrap_or(rest)
            }),
        false => rest,
    };
    skip_words(rest, &["by", "as", "values", "password"])
}

/// Without those of the words that it begins with.
fn skip_words<'a>(text: &'a str, words: &[&str]) -> &'a str {
    words.iter().fold(text, |text, word| {
        match strip_prefix(text.trim_start(), word) {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest,
            _ => text,
        }
    })
}

/// Whatever the case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    text.get(prefix.len()..)
        .filter(|_| start.eq_ignore_ascii_case(prefix))
}

fn has(value: &str, len: usize, wanted: char) -> bool {
    value.get(..len).is_some_and(|value| value.contains(wanted))
}

/// Whether a word is none that people say.
fn is_credential(value: &str, len: usize) -> bool {
    let word = value.get(..len).unwrap_or_default();
    let is_odd = |c: char| c.is_ascii_digit() || matches!(c, '=' | '_' | '.');
    // What was masked in part is no longer one.
    len >= 8 && word.contains(is_odd) && !word.contains(MASK)
}

/// How long a JSON web token is that starts here, signed or encrypted: parts of which the first is an object in base64.
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

/// How long the block is that starts here, or what there is of it.
fn pem(here: &str) -> usize {
    const END: &str = "-----END ";
    const DASHES: &str = "-----";
    let end = || {
        let end = here.find(END)? + END.len();
        Some(end + here.get(end..)?.find(DASHES)? + DASHES.len())
    };
    end().unwrap_or(here.len())
}

/// Where the secret part of a webhook's path begins behind `://`, and how long it is: whoever knows it may call.
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

/// How long the userinfo of a percent-encoded URL is.
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

/// What was masked before need not be masked again.
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

/// How long a `user:password` before an `@` is that starts here, in an address that has no scheme.
fn bare_userinfo(here: &str) -> Option<usize> {
    let word = here.split(ends_word).next()?;
    let len = word.rfind('@')?;
    let user = word.get(..len)?;
    let password = user.split_once(':')?.1;
    Some(len).filter(|_| !password.is_empty() && !user.contains("://"))
}

/// How long the userinfo at the start of `authority` is. A password may hold what ends a word, an `@`
/// or a `://` that nobody encoded. So it is all up to the last `@` of the word and of what comes before
/// another URL.
fn userinfo(authority: &str) -> Option<usize> {
    let word = authority.split(ends_word).next()?;
    let own = until_next_url(authority);
    let len = word.rfind('@').max(own.rfind('@'));
    let len = len.or_else(|| userinfo_across(authority, own))?;
    Some(len).filter(|_| !is_masked(authority))
}

/// The text up to the scheme of another URL, and with that scheme.
fn until_next_url(authority: &str) -> &str {
    let ends_in_scheme = |text: &&str| text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let urls = authority.match_indices("://");
    let mut before = urls.filter_map(|(at, _)| authority.get(..at));
    before.find(ends_in_scheme).unwrap_or(authority)
}

/// How long a userinfo is whose password looks as if it held another URL. What precedes that, `own`,
/// is then no host with a port.
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

/// The text from the value behind a secret key on, and how long the value is: `=value`, `: "value"`,
/// `\" : \"value\"`, `=Some("value")`.
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
    let is_said = closed.starts_with(':') && value.starts_with(char::is_whitespace);
    let value = value.trim_start();
    let said = value.split(|c: char| !c.is_alphanumeric()).next()?;
    // A password may begin with such a word.
    let is_word = value
        .get(said.len()..)?
        .chars()
        .next()
        .is_none_or(|next| next.is_whitespace() || matches!(next, ',' | '.' | ';' | ':' | ')'));
    if is_said && is_word && STATES.contains(&&*said.to_ascii_lowercase()) {
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
    // A scheme and its credentials are several words, and what opens a bracket or a quote may be, or a struct.
    let len = word_len(value);
    let many = ["auth", "cookie"].iter().any(|part| key.contains(part))
        || value.get(..len)?.contains(['"', '\'', '(', '[', '{'])
        || value.get(len..)?.trim_start().starts_with('{');
    let len = match many {
        true => value.len(),
        false if is_said => clause_len(value).max(len),
        false => setting_len(value).unwrap_or(len).max(len),
    };
    Some((value, len))
}

/// Of a value in a list that semicolons part, which may have several words: up to the next of them.
fn setting_len(value: &str) -> Option<usize> {
    let near = near(value);
    let len = near.find(';')?;
    let words = near.get(..len)?;
    (!words.contains(['=', ':'])).then_some(len)
}

/// `''x''`, `"""x"""`: what is between several quotes, unless there is nothing between the first two.
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

/// Up to the end of what is said: several words, but no other pair.
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

/// Up to the closing quote; all of it where none closes. If the quotes are escaped themselves, an escaped one
/// closes, else it is passed over.
fn quoted_len(inner: &str, quote: char, escaped: bool) -> usize {
    let mut backslash = None;
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, backslash) {
            (c, Some(start)) if c == quote && escaped => return start,
            // One that is doubled is a part of what is quoted, in SQL and in CSV.
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

    /// Forms in which secrets were seen in errors.
    #[test]
    fn secrets_are_known_by_their_shape() {
        for (text, clean) in [
            // PEM, whole, cut, and on one line.
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
            // What begins with a word that is said of passwords.
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
            // What is the key of another value.
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
            // Encoded again.
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
    fn a_password_that_is_longer_than_is_looked_at_is_taken_out_to_its_end() {
        let long = "x".repeat(2 * FAR);
        let text = format!("at postgres://app:{long}@db/x and more");
        assert_eq!(redact(&text), "at postgres://*** and more");
    }

    /// Twice the text, about twice the time, whatever is repeated.
    #[test]
    fn a_word_is_looked_at_no_further_than_it_is_needed() {
        let long = "a.".repeat(FAR * 4);
        assert_eq!(near(&long).len(), FAR);
        assert!(near(&"é".repeat(FAR)).len() <= FAR);
    }

    #[test]
    fn what_is_no_secret_stays() {
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
