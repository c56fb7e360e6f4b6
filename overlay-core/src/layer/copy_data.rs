//! Copying the data of a regular file: shared where the filesystem can
//! (`FICLONE`), else copied in the kernel, else through a buffer. Holes stay
//! holes. Takes no lock.

use crate::error::{Errno, Error, Result};
use crate::layer::{OpenFile, SeekTo};

/// Makes `to`, which is empty, hold the first `size` bytes of `from`.
pub(crate) fn copy_data(from: &dyn OpenFile, to: &dyn OpenFile, size: u64) -> Result<()> {
    if to.reflink(from)? {
        return Ok(());
    }
    // The size first: a hole at the end needs it, and a full disk shows early.
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let start = match from.seek(at, SeekTo::Data) {
            Ok(start) => start.min(size),
            Err(error) if error.is(Errno::NXIO) => break,
            // No holes here that could be known.
            Err(error) if error.is(Errno::INVAL) || error.is(Errno::OPNOTSUPP) => {
                return copy_segment(from, to, at, size);
            }
            Err(error) => return Err(error),
        };
        let end = match from.seek(start, SeekTo::Hole) {
            Ok(end) => end.min(size),
            Err(error) if error.is(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        copy_segment(from, to, start, end)?;
        at = end;
    }
    Ok(())
}

fn copy_segment(from: &dyn OpenFile, to: &dyn OpenFile, start: u64, end: u64) -> Result<()> {
    let mut at = start;
    while at < end {
        let copied = to.copy_range(at, from, at, end - at)?;
        if copied == 0 {
            return Err(Error::Damaged(
                "a lower file became shorter while it was copied",
            ));
        }
        at += copied;
    }
    Ok(())
}
