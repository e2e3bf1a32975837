//! The query of a request, with the parameters of the Kubernetes API server.
//!
//! `verbose` and `exclude` mean what they mean there. Values are percent-decoded. Only names that
//! are valid are kept, so that a response never repeats arbitrary text of a request.

use form_urlencoded::parse;

use crate::model::Name;

/// The maximum length of a query, in bytes. A longer one is ignored.
const MAX_LEN: usize = 8 * 1024;

/// The parameters of a query. Other parameters are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// Whether `verbose` is present, with any value.
    pub(super) verbose: bool,
    /// The values of `exclude` that are valid names, sorted and without duplicates.
    pub(super) excluded: Vec<Name>,
    /// The number of values of `exclude` that are not valid names.
    pub(super) invalid: usize,
}

impl Query {
    /// Parses a query. Most probes have none, and cost nothing here.
    pub(super) fn read(query: Option<&str>) -> Self {
        match query {
            None | Some("") => Self::default(),
            Some(query) => Self::parse(query),
        }
    }

    /// Parses a query that is not empty. It never fails.
    fn parse(query: &str) -> Self {
        let mut read = Self::default();
        if query.len() > MAX_LEN {
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
                    Err(_) => read.invalid += 1,
                },
                _ => {}
            }
        }
        read
    }

    /// Whether there is an `exclude`, valid or not.
    pub(super) fn excludes(&self) -> bool {
        !self.excluded.is_empty() || self.invalid > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(query: &str) -> (bool, Vec<String>, usize) {
        let read = Query::read(Some(query));
        let names = read.excluded.iter().map(|name| name.to_string()).collect();
        (read.verbose, names, read.invalid)
    }

    #[test]
    fn verbose_and_exclude_are_read() {
        for (query, verbose, excluded, invalid) in [
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
            assert_eq!(of(query), (verbose, excluded, invalid), "{query}");
        }
        assert_eq!(Query::read(None), Query::default());
        let long = format!("verbose&x={}", "x".repeat(MAX_LEN));
        assert_eq!(Query::read(Some(&long)), Query::default());
    }

    proptest! {
        #[test]
        fn any_query_is_parsed(query in "\\PC{0,64}|((verbose|exclude=?[a-z%<0-9]{0,6})&){0,8}") {
            let read = Query::read(Some(&query));
            prop_assert!(read.excluded.len() + read.invalid <= query.len());
        }
    }
}
