//! MongoDB.

use std::time::Duration;

use mongodb::{
    Collection,
    bson::{Document, doc},
    error::{Error, ErrorKind},
    options::{FindOneOptions, ReadPreference, SelectionCriteria},
};
use tower_health::{Check, Failure, Reason};

/// The time limit of a read on the server. With the client's `server_selection_timeout`, it must be
/// shorter than the timeout of the check.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns a check for a service that only reads. It queries a member that the read preference of
/// the collection selects.
pub fn reads(collection: Collection<Document>) -> Check {
    let read = |collection| read(collection, FindOneOptions::default());
    Check::with("mongodb", collection, read)
        .timeout(Duration::from_secs(3))
        .shared()
}

/// Returns a check for a service that also writes. It queries the primary.
pub fn writes(collection: Collection<Document>) -> Check {
    let read = |collection| {
        let mut options = FindOneOptions::default();
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        options.selection_criteria = Some(primary);
        read(collection, options)
    };
    Check::with("mongodb", collection, read)
        .timeout(Duration::from_secs(3))
        .shared()
}

/// Looks up the `_id` of a document that does not exist.
async fn read(
    collection: Collection<Document>,
    mut options: FindOneOptions,
) -> Result<(), Failure> {
    options.max_time = Some(PATIENCE);
    let nobody = doc! { "_id": "tower-health" };
    let found = collection.find_one(nobody).with_options(options).await;
    found
        .map(drop)
        .map_err(|error| Failure::new(reason(&error)).with_cause(error))
}

fn reason(error: &Error) -> Reason {
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => Reason::AuthenticationFailed,
        // There is no primary, or no member at all.
        ErrorKind::ServerSelection { .. } => Reason::Unreachable,
        ErrorKind::ConnectionPoolCleared { .. } => Reason::ConnectionLost,
        ErrorKind::Io(error) => Reason::of(error.as_ref()),
        ErrorKind::Command(error) => match error.code_name.as_str() {
            "Unauthorized" => Reason::PermissionDenied,
            "MaxTimeMSExpired" => Reason::TimedOut,
            "NotWritablePrimary" | "NotPrimaryNoSecondaryOk" => Reason::ReadOnly,
            _ => Reason::UnexpectedAnswer,
        },
        _ => Reason::of(error),
    }
}
