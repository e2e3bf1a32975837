//! Platforms without Unix signals.

use std::{io, sync::Arc};

use crate::engine::Board;

/// Installs nothing, so that nothing prevents the process from ending.
pub(super) fn handle(_: &Arc<Board>) -> io::Result<()> {
    Ok(())
}
