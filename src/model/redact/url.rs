//! Secrets in URLs and addresses.

use super::words::{ends_word, is_masked, near};

/// Returns the secret part of a URL, after its scheme: the userinfo, the path of a webhook, or the
/// whole URL if it has both.
pub(super) fn url(rest: &str) -> Option<(usize, usize)> {
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
pub(super) fn endless_userinfo(rest: &str) -> Option<(usize, usize)> {
    let near = near(rest);
    let is_endless = near.len() < rest.len() && !near.contains(ends_word) && !near.contains('/');
    let word = || rest.split(ends_word).next().map_or(0, str::len);
    (is_endless && near.contains(':')).then(|| (0, word()))
}

/// Returns the offset and the length of the secret part of a webhook's path, after `://`. Knowing
/// the path is enough to call the webhook.
pub(super) fn webhook(rest: &str) -> Option<(usize, usize)> {
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
pub(super) fn encoded_userinfo(rest: &str) -> Option<usize> {
    let word = rest.split(ends_word).next()?.to_ascii_lowercase();
    word.rfind("%40").filter(|_| !is_masked(rest))
}

/// Returns the length of the `user:password` before an `@` that starts here, in an address without
/// a scheme.
pub(super) fn bare_userinfo(here: &str) -> Option<usize> {
    let word = here.split(ends_word).next()?;
    let len = word.rfind('@')?;
    let user = word.get(..len)?;
    let password = user.split_once(':')?.1;
    Some(len).filter(|_| !password.is_empty() && !user.contains("://"))
}

/// Returns the length of the userinfo at the start of `authority`. A password may contain a
/// character that ends a word, an `@` or a `://` that was not encoded. The userinfo therefore
/// extends to the last `@` of the word and of the text before another URL.
pub(super) fn userinfo(authority: &str) -> Option<usize> {
    let word = authority.split(ends_word).next()?;
    let own = until_next_url(authority);
    let len = word.rfind('@').max(own.rfind('@'));
    let len = len.or_else(|| userinfo_across(authority, own))?;
    Some(len).filter(|_| !is_masked(authority))
}

/// Returns the text up to and including the scheme of another URL.
pub(super) fn until_next_url(authority: &str) -> &str {
    let ends_in_scheme = |text: &&str| text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let urls = authority.match_indices("://");
    let mut before = urls.filter_map(|(at, _)| authority.get(..at));
    before.find(ends_in_scheme).unwrap_or(authority)
}

/// Returns the length of a userinfo whose password seems to contain another URL. In that case
/// `own`, the text before that URL, is not a host with a port.
pub(super) fn userinfo_across(authority: &str, own: &str) -> Option<usize> {
    let password = own.split_once(':')?.1.split(ends_word).next()?;
    let is_host = own.starts_with('[') || password.contains('/');
    let is_port = password.bytes().all(|byte| byte.is_ascii_digit());
    let after = authority.get(own.len()..)?.strip_prefix("://")?;
    if is_host || is_port && !after.starts_with('@') {
        return None;
    }
    authority.rfind('@')
}
