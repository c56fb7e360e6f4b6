//! `renameat2(2)`.

use rustix::fs::RenameFlags;

use super::At;
use crate::error::{Error, Result};
use crate::how::RenameMode;

/// Renames relative to two directory handles; see `renameat2(2)`.
///
/// Fails with `EINVAL` where the filesystem lacks the flag: callers ask
/// `Capabilities` once, at mount, never per call.
pub fn rename(from: At<'_>, to: At<'_>, mode: RenameMode) -> Result<()> {
    let flags = match mode {
        RenameMode::Replace => RenameFlags::empty(),
        RenameMode::NoReplace => RenameFlags::NOREPLACE,
        RenameMode::Exchange => RenameFlags::EXCHANGE,
        RenameMode::Whiteout => RenameFlags::WHITEOUT,
    };
    let (old, new) = (from.name.as_bytes(), to.name.as_bytes());
    rustix::fs::renameat_with(from.dir, old, to.dir, new, flags)
        .map_err(|e| Error::system("renameat2", format_args!("{from} -> {to}"), e))
}
