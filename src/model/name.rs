//! Names of checks and of services, and the errors for names that are invalid or unknown.

use std::{borrow::Borrow, error::Error, fmt, ops::Deref, sync::Arc};

use serde::Serialize;

/// Words that are paths or gRPC services of probes. A check with such a name would be mistaken for
/// a probe. A service may have one.
const RESERVED: &[&str] = &[
    "health",
    "live",
    "liveness",
    "ready",
    "readiness",
    "started",
    "startup",
];

/// The name of a check. It has 1 to 64 characters of `a-z 0-9 . _ -`. The first and the last are a
/// letter or a digit. The words `health live liveness ready readiness started startup` are
/// reserved.
///
/// Such a name can be used unchanged in a path, a metric label and a gRPC service name. It is cheap
/// to clone, because it shares its text. It dereferences to a `str`, and is ordered like one.
///
/// ```
/// use tower_health::report::Name;
///
/// assert!(Name::new("payments-api.v2").is_ok());
/// let error = Name::new("Payments API").unwrap_err();
/// assert!(error.to_string().contains("try `payments-api`"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The length of the longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Validates and keeps a name.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidName`] that describes the problem and, where possible, proposes a valid
    /// name.
    ///
    /// ```
    /// use tower_health::report::Name;
    ///
    /// let problem = |name: &str| Name::new(name).unwrap_err().to_string();
    /// assert!(problem("").starts_with("the name is empty"));
    /// assert!(problem("orders/db").ends_with("try `orders-db`"));
    /// assert!(problem("db-").contains("does not start and end with a letter or a digit"));
    /// assert!(problem(&"x".repeat(Name::MAX_LEN + 1)).contains("longer than 64 characters"));
    /// ```
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let name = name.as_ref();
        match fault(name) {
            None => Ok(Self(name.into())),
            Some(fault) => Err(InvalidName {
                name: name.chars().take(Self::MAX_LEN).collect(),
                fault,
            }),
        }
    }

    /// Returns the name as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text without copying it, for a label of a metric.
    #[cfg(feature = "metrics")]
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Returns what is wrong with a name, or `None` if it is valid. A name that breaks several rules
/// gets the first of: empty, too long, reserved, character, edge.
fn fault(name: &str) -> Option<Fault> {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: u8| edge(Some(c)) || matches!(c, b'.' | b'_' | b'-');
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        Some(Fault::Empty)
    } else if bytes.len() > Name::MAX_LEN {
        Some(Fault::TooLong)
    } else if RESERVED.contains(&name) {
        Some(Fault::Reserved)
    } else if !bytes.iter().all(|&c| inner(c)) {
        Some(Fault::Character)
    } else if !(edge(bytes.first().copied()) && edge(bytes.last().copied())) {
        Some(Fault::Edge)
    } else {
        None
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Lets a map with names as its keys be searched with a `&str`.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use tower_health::report::Name;
///
/// let owners = BTreeMap::from([(Name::new("postgres").unwrap(), "storage team")]);
/// assert_eq!(owners.get("postgres"), Some(&"storage team"));
/// ```
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Writes the name as a quoted string, without the type.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Compares a name with a text, as in `report.name == *"postgres"`. The text need not be a valid
/// name.
impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

/// The error for a text that is not a valid [`Name`]. The message contains at most the first 64
/// characters of the text, and proposes a valid name where one is near.
///
/// ```
/// use tower_health::report::Name;
///
/// let error = Name::new("ready").unwrap_err();
/// assert!(error.to_string().contains("`ready-check`"));
/// assert!(Name::new("!!").unwrap_err().to_string().ends_with("choose another"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    name: String,
    fault: Fault,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Empty,
    TooLong,
    /// A character is not one of `a-z 0-9 . _ -`.
    Character,
    /// The first or the last character is neither a letter nor a digit.
    Edge,
    /// The name is one of [`RESERVED`].
    Reserved,
}

impl InvalidName {
    /// Whether the text is a reserved word, which is a valid name of a service but not of a check.
    pub(crate) fn is_reserved(&self) -> bool {
        self.fault == Fault::Reserved
    }

    /// Returns a valid name that resembles the text, if replacing its invalid characters yields
    /// one.
    fn proposal(&self) -> Option<String> {
        let mut proposal: String = self
            .name
            .to_ascii_lowercase()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        if self.fault == Fault::Reserved {
            proposal.push_str("-check");
        }
        let proposal = proposal.trim_matches(['.', '_', '-']);
        fault(proposal).is_none().then(|| proposal.to_owned())
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.fault {
            Fault::Empty => {
                return f.write_str("the name is empty: use 1 to 64 characters of `a-z 0-9 . _ -`");
            }
            Fault::TooLong => write!(f, "the name {name:?}… is longer than 64 characters")?,
            Fault::Character => write!(
                f,
                "the name {name:?} has a character outside `a-z 0-9 . _ -`"
            )?,
            Fault::Edge => write!(
                f,
                "the name {name:?} does not start and end with a letter or a digit"
            )?,
            Fault::Reserved => write!(f, "the name {name:?} is reserved for a probe")?,
        }
        match self.proposal() {
            Some(proposal) => write!(f, ": try `{proposal}`"),
            None => f.write_str(": choose another"),
        }
    }
}

impl Error for InvalidName {}

/// The error for a name that no check has.
///
/// Its message lists up to 16 names of registered checks, and the number of the others.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// let error = health.check("clok").unwrap_err();
/// assert_eq!(error.known(), ["clock"]);
/// assert_eq!(error.to_string(), "no check is named \"clok\" (registered: clock)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCheck {
    name: String,
    known: Vec<Name>,
}

impl UnknownCheck {
    /// Keeps at most the first 64 characters of the name, because it may come from a client.
    pub(crate) fn new(name: &str, known: Vec<Name>) -> Self {
        Self {
            name: name.chars().take(Name::MAX_LEN).collect(),
            known,
        }
    }

    /// Returns the names of the registered checks, in the order of registration.
    #[must_use]
    pub fn known(&self) -> &[Name] {
        &self.known
    }
}

impl fmt::Display for UnknownCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no check is named {:?} (", self.name)?;
        match self.known.as_slice() {
            [] => f.write_str("none is registered)"),
            known => write!(f, "registered: {})", list_names(known)),
        }
    }
}

impl Error for UnknownCheck {}

/// Formats up to 16 names, and the number of further ones.
fn list_names(names: &[Name]) -> String {
    const SHOWN: usize = 16;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(Name::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for good in ["a", "0", "a.b_c-d", &"a".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a.", "A", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        for reserved in [
            "health",
            "live",
            "liveness",
            "ready",
            "readiness",
            "started",
            "startup",
        ] {
            let error = Name::new(reserved).unwrap_err().to_string();
            assert!(error.contains("reserved"), "{error}");
        }
    }

    #[test]
    fn an_error_proposes_a_valid_name() {
        let said = |name: &str| Name::new(name).unwrap_err().to_string();
        assert_eq!(
            said("ready"),
            "the name \"ready\" is reserved for a probe: try `ready-check`"
        );
        assert!(said("Orders DB!").ends_with("try `orders-db`"));
        assert!(said("!!").ends_with("choose another"));
    }

    proptest! {
        #[test]
        fn every_proposal_is_a_valid_name(name in "\\PC{0,80}") {
            if let Err(error) = Name::new(&name)
                && let Some(proposal) = error.proposal() {
                    prop_assert!(Name::new(proposal).is_ok());
                }
        }
    }
}
