//! What the query of a request asks for, as the Kubernetes API server understands it.

use form_urlencoded::parse;

use crate::model::Name;

/// The longest query that is read, in bytes.
const READ: usize = 8 * 1024;

/// What a query asks for; what else is in it does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `verbose`, whatever its value.
    pub(super) verbose: bool,
    /// Each `exclude=NAME` that may be the name of a check, in order.
    pub(super) excluded: Vec<Name>,
    /// How many others there are.
    pub(super) nameless: usize,
}

impl Query {
    pub(super) fn read(query: Option<&str>) -> Self {
        match query {
            None | Some("") => Self::default(),
            Some(query) => Self::parse(query),
        }
    }

    fn parse(query: &str) -> Self {
        let mut read = Self::default();
        if query.len() > READ {
            return read;
        }
        for (key, value) in parse(query.as_bytes()) {
            match &*key {
                "verbose" => read.verbose = true,
                "exclude" => match Name::new(value) {
                    Ok(name) => {
                        if let Err(place) = read.excluded.binary_search(&name) {
                            read.excluded.insert(place, name);
                        }
                    }
                    Err(_) => read.nameless += 1,
                },
                _ => {}
            }
        }
        read
    }

    /// Whether it leaves something out, or means to.
    pub(super) fn excludes(&self) -> bool {
        !self.excluded.is_empty() || self.nameless > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(query: &str) -> (bool, Vec<String>, usize) {
        let read = Query::read(Some(query));
        let names = read.excluded.iter().map(|name| name.to_string()).collect();
        (read.verbose, names, read.nameless)
    }

    #[test]
    fn verbose_and_exclude_are_read() {
        for (query, verbose, excluded, nameless) in [
            ("", false, &[][..], 0),
            ("verbose", true, &[], 0),
            ("verbose=", true, &[], 0),
            ("verbose=false", true, &[], 0),
            ("verbosely", false, &[], 0),
            ("exclude=db", false, &["db"], 0),
            (
                "exclude=db&verbose&exclude=cache",
                true,
                &["cache", "db"],
                0,
            ),
            ("exclude=db&exclude=db", false, &["db"], 0),
            ("exclude=%64b", false, &["db"], 0),
            ("exclude=<script>&exclude=&exclude", false, &[], 3),
            ("exclude=%zz&=&&%", false, &[], 1),
            ("timeout=1s", false, &[], 0),
        ] {
            let excluded: Vec<String> = excluded.iter().map(|&name| name.into()).collect();
            assert_eq!(of(query), (verbose, excluded, nameless), "{query}");
        }
        assert_eq!(Query::read(None), Query::default());
        let long = format!("verbose&x={}", "x".repeat(READ));
        assert_eq!(Query::read(Some(&long)), Query::default());
    }

    proptest! {
        #[test]
        fn anything_is_read(query in "\\PC{0,64}|((verbose|exclude=?[a-z%<0-9]{0,6})&){0,8}") {
            let read = Query::read(Some(&query));
            prop_assert!(read.excluded.len() + read.nameless <= query.len());
        }
    }
}
