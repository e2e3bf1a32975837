use std::{any::Any, fmt, sync::OnceLock};

/// Responses rendered from a state or a verdict, kept as long as it says the same.
///
/// The engine stores this and never looks into it. The value is made by the first reader that needs
/// it, because most checks are never read one by one.
#[derive(Default)]
pub(crate) struct Memo(OnceLock<Box<dyn Any + Send + Sync>>);

impl Memo {
    /// The kept value. Calls `make` if there is none yet.
    ///
    /// Returns `None` if a value of another type is kept. All readers are to keep one type.
    pub(crate) fn get_or_init<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}
