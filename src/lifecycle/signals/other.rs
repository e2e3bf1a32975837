//! Where there are no Unix signals.

use std::{io, sync::Arc};

use crate::engine::Board;

/// Nothing is installed, so nothing keeps the process from ending.
pub(super) fn handle(_: &Arc<Board>) -> io::Result<()> {
    Ok(())
}
