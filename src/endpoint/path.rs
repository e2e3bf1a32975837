use crate::model::Probe;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Probe(Probe),
    /// A check, by a name that may be anyone's.
    Check(&'a str),
}

/// What `path` asks for, if it is ours. Whole segments, exactly, with or without one trailing slash; nothing is
/// decoded.
#[inline]
pub(crate) fn target(path: &str) -> Option<Target<'_>> {
    // Most requests are for the application, and one letter tells most of them.
    match path.as_bytes() {
        [b'/', b'h' | b'l' | b'r' | b's', ..] => segments(path),
        _ => None,
    }
}

fn segments(path: &str) -> Option<Target<'_>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    match path {
        "health" => Some(Target::Probe(Probe::Health)),
        "ready" => Some(Target::Probe(Probe::Readiness)),
        "live" => Some(Target::Probe(Probe::Liveness)),
        "startup" => Some(Target::Probe(Probe::Startup)),
        _ => path
            .strip_prefix("health/")
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(Target::Check),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_segments_match_with_or_without_one_slash() {
        for (path, expected) in [
            ("/health", Target::Probe(Probe::Health)),
            ("/health/", Target::Probe(Probe::Health)),
            ("/ready", Target::Probe(Probe::Readiness)),
            ("/live/", Target::Probe(Probe::Liveness)),
            ("/startup", Target::Probe(Probe::Startup)),
            ("/health/db", Target::Check("db")),
            ("/health/db/", Target::Check("db")),
            ("/health/ready", Target::Check("ready")),
            ("/health/%64b", Target::Check("%64b")),
        ] {
            assert_eq!(target(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn pitfall_15_no_prefix_matches() {
        for path in [
            "",
            "/",
            "*",
            "//",
            "health",
            "//health",
            "/health//",
            "/health/a/b",
            "/health/a//",
            "/healthz",
            "/health.json",
            "/ready/db",
            "/live/admin",
            "/HEALTH",
            "/%68ealth",
            "/api/health",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_matched_by_segments(path in "/?[a-z/%.]{0,12}|/health/[a-z/]{0,8}") {
            let path = path.as_str();
            let segments: Vec<&str> = path.split('/').collect();
            let ours = match segments.as_slice() {
                ["", "health" | "ready" | "live" | "startup"] => true,
                ["", "health" | "ready" | "live" | "startup", ""] => true,
                ["", "health", name] | ["", "health", name, ""] => !name.is_empty(),
                _ => false,
            };
            prop_assert_eq!(target(path).is_some(), ours);
        }
    }
}
