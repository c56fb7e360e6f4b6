//! Which files are being executed.
//!
//! Nobody may write to a running program (`ETXTBSY`, see `open(2)`), and the
//! kernel sees to that, but for one case: of `open(O_RDONLY | O_TRUNC)` it
//! tells the server first (`ATOMIC_O_TRUNC`) and asks whether the file runs
//! afterwards (`do_open` in `fs/namei.c`). So the server has to know.
//!
//! One lock, a leaf; taken only when a program is started or ends, and for
//! such an open.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use overlay_core::union::Handle;
use parking_lot::Mutex;

use crate::ways::Taken;

/// How often each inode is open for being executed.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashMap<u64, usize>>);

impl Running {
    /// The inode runs until the result is dropped.
    pub(crate) fn start(self: &Arc<Running>, ino: u64) -> Run {
        *self.0.lock().entry(ino).or_default() += 1;
        Run {
            running: Arc::clone(self),
            ino,
        }
    }

    /// Whether the inode runs, as far as the kernel has told: the end of a
    /// program is told a moment after it.
    pub(crate) fn has(&self, ino: u64) -> bool {
        self.0.lock().contains_key(&ino)
    }
}

/// One program that runs.
#[derive(Debug)]
pub(crate) struct Run {
    running: Arc<Running>,
    ino: u64,
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut counts = self.running.0.lock();
        if let Some(count) = counts.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ino);
            }
        }
    }
}

/// An open file, the way that the kernel has it open, and that it runs if it was
/// opened for that.
///
/// The handle goes last: it keeps the inode's number from being another file's,
/// and a file must not come upon the way of another.
#[derive(Debug)]
pub(crate) struct OpenFile {
    _taken: Taken,
    _run: Option<Run>,
    handle: Handle,
}

impl OpenFile {
    pub(crate) fn new(handle: Handle, taken: Taken, run: Option<Run>) -> OpenFile {
        OpenFile {
            _taken: taken,
            _run: run,
            handle,
        }
    }
}

impl Deref for OpenFile {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_runs_until_its_last_program_ends() {
        let running = Arc::new(Running::default());
        let (first, second) = (running.start(7), running.start(7));
        drop(first);
        assert!(running.has(7) && !running.has(8));
        drop(second);
        assert!(!running.has(7));
    }
}
