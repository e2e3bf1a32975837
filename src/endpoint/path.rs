//! Routes: the paths of probes, and their targets.
//!
//! Every request of a service passes [`Paths::find`], so it must be fast for requests that are not
//! probes. It looks at one byte of the path first, and compares strings only if some route begins
//! with that byte. It does not allocate.

use http::Method;

use super::Dialect;
use crate::model::Probe;

/// The maximum length of a custom path, in bytes.
pub(super) const MAX_PATH: usize = 256;

/// The placeholder for the name of a check at the end of a path.
pub(super) const CHECK: &str = "/{check}";

/// The target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Probe(Probe),
    /// A check. The name comes from the request and may be unknown.
    Check(&'a str),
}

/// The target of a path, and the dialect of its responses if it is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteMatch<'a> {
    pub(crate) target: Target<'a>,
    pub(super) dialect: Option<Dialect>,
}

/// A path, or all paths that are one segment below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The path as in a request, without a trailing slash. Empty for the root.
    pub(super) path: Box<str>,
    pub(super) kind: Kind,
    pub(super) dialect: Option<Dialect>,
}

impl Route {
    /// Returns the path as the builder accepts it.
    pub(super) fn written(&self) -> String {
        match self.kind {
            Kind::Checks => format!("{}{CHECK}", self.path),
            Kind::Probe(_) if self.path.is_empty() => "/".to_owned(),
            Kind::Probe(_) => self.path.to_string(),
        }
    }
}

/// The kind of a route. Exact routes are searched first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Probe(Probe),
    /// The checks below the path.
    Checks,
}

/// All routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// Exact routes first, then the routes of checks. Otherwise `/{check}` would hide `/up`.
    routes: Vec<Route>,
    /// The bytes that follow the first slash of some path. 0 stands for the end of the path.
    first_bytes: ByteSet,
}

impl Paths {
    /// Returns the routes, in the order in which they are searched.
    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Returns the routes, so that their dialect can be set. Their paths must not change, because
    /// `first_bytes` depends on them.
    pub(super) fn routes_mut(&mut self) -> &mut [Route] {
        &mut self.routes
    }

    /// Adds a route. The caller ensures that its path is valid, and that no route has the same
    /// path.
    pub(super) fn push(&mut self, route: Route) {
        match (route.path.as_bytes().get(1), route.kind) {
            (first, Kind::Probe(_)) | (first @ Some(_), Kind::Checks) => {
                self.first_bytes.insert(first.copied().unwrap_or(0));
            }
            (None, Kind::Checks) => self.first_bytes = ByteSet::ALL,
        }
        // Exact paths come before the paths of checks.
        let place = match route.kind {
            Kind::Checks => self.routes.len(),
            Kind::Probe(_) => self
                .routes
                .iter()
                .take_while(|route| route.kind != Kind::Checks)
                .count(),
        };
        self.routes.insert(place, route);
    }

    /// Returns the target of `path`, if it is a probe path. Whole segments must match exactly, with
    /// or without one trailing slash. Nothing is decoded.
    #[inline]
    pub(super) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<RouteMatch<'p>> {
        // Most requests are for the application, and one byte rules out most of them.
        match *path.as_bytes() {
            [b'/', first, ..] if self.first_bytes.contains(first) => self.search(path),
            [b'/'] if self.first_bytes.contains(0) => self.search(path),
            // `OPTIONS *` refers to the server as a whole.
            [b'*'] if *method == Method::OPTIONS => self.readiness(),
            _ => None,
        }
    }

    /// Returns the target of the readiness path, if there is one.
    #[cold]
    fn readiness(&self) -> Option<RouteMatch<'static>> {
        let kind = Kind::Probe(Probe::Readiness);
        let route = self.routes.iter().find(|route| route.kind == kind)?;
        Some(RouteMatch {
            target: Target::Probe(Probe::Readiness),
            dialect: route.dialect,
        })
    }

    /// Compares the path with each route. There are few routes, so a list is as fast as a map.
    fn search<'p>(&self, path: &'p str) -> Option<RouteMatch<'p>> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.routes.iter().find_map(|route| {
            let target = match route.kind {
                Kind::Probe(probe) if path == &*route.path => Target::Probe(probe),
                Kind::Probe(_) => return None,
                Kind::Checks => Target::Check(segment_below(&route.path, path)?),
            };
            Some(RouteMatch {
                target,
                dialect: route.dialect,
            })
        })
    }
}

/// Returns the segment of `path` below `parent`, if there is exactly one.
fn segment_below<'p>(parent: &str, path: &'p str) -> Option<&'p str> {
    let name = path.strip_prefix(parent)?.strip_prefix('/')?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// A set of bytes.
///
/// It has one bit for each byte.
#[derive(Clone, Debug, Default)]
struct ByteSet([u32; 8]);

impl ByteSet {
    /// The set of all bytes, for checks directly below the root.
    const ALL: Self = Self([u32::MAX; 8]);

    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 5)) {
            *word |= 1 << (byte & 31);
        }
    }

    #[inline]
    fn contains(&self, byte: u8) -> bool {
        let word = self.0.get(usize::from(byte >> 5));
        word.is_some_and(|word| word & (1 << (byte & 31)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::Endpoints;

    fn target(path: &str) -> Option<Target<'_>> {
        Endpoints::default()
            .find(&Method::GET, path)
            .map(|found| found.target)
    }

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
    fn no_prefix_matches() {
        for path in [
            "",
            "/",
            "**",
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
            "/\u{e9}",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn an_exact_path_comes_before_the_paths_of_checks() {
        let endpoints = Endpoints::none()
            .checks("/{check}")
            .probe("/", Probe::Health)
            .probe("/up", Probe::Readiness)
            .build()
            .unwrap();
        let target = |path| endpoints.find(&Method::GET, path).map(|found| found.target);
        assert_eq!(target("/"), Some(Target::Probe(Probe::Health)));
        assert_eq!(target("/up/"), Some(Target::Probe(Probe::Readiness)));
        assert_eq!(target("/db"), Some(Target::Check("db")));
        for path in ["", "//", "**", "/db/x", "db"] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn options_asterisk_returns_readiness_if_it_has_a_path() {
        let asked = |endpoints: Endpoints| {
            assert_eq!(endpoints.find(&Method::GET, "*"), None);
            endpoints.find(&Method::OPTIONS, "*")
        };
        let text = asked(Endpoints::kubernetes().into_valid()).unwrap();
        assert_eq!(text.target, Target::Probe(Probe::Readiness));
        assert_eq!(text.dialect, Some(Dialect::KubernetesText));
        assert_eq!(asked(Endpoints::default()).unwrap().dialect, None);
        let other = Endpoints::none().probe("/up", Probe::Liveness);
        assert_eq!(asked(other.build().unwrap()), None);
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
