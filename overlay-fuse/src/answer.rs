//! From what the union says to what the kernel is told.
//!
//! Every request runs inside [`answer`]: its work is done first, and only then
//! is the reply touched. So a request is answered exactly once, whatever
//! happens in the engine.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fuser::{Errno, INodeNo};
use overlay_core::{Error, Result};

/// Names a request in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    request: &'static str,
    ino: u64,
}

/// The request `request` about the inode `ino`.
pub(crate) fn asked(request: &'static str, ino: INodeNo) -> Asked {
    Asked {
        request,
        ino: ino.0,
    }
}

/// Does the work of one request. A panic becomes `EIO` and the mount lives on.
pub(crate) fn answer<T>(
    asked: Asked,
    work: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, Errno> {
    let Asked { request, ino } = asked;
    // Unwind safe enough: the engine's locks do not poison, and what a panic
    // leaves half done it would have left half done for other threads anyway.
    // To end the process would take everybody's files away instead.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => {
            tracing::debug!(request, ino, "done");
            Ok(value)
        }
        Ok(Err(error)) => Err(refuse(asked, &error)),
        Err(panic) => {
            tracing::error!(request, ino, panic = message(&*panic), "answered EIO");
            Err(Errno::EIO)
        }
    }
}

fn refuse(Asked { request, ino }: Asked, error: &Error) -> Errno {
    let errno = Errno::from_i32(error.errno().raw_os_error());
    if errno == Errno::EIO {
        // Somebody should look at that branch.
        tracing::warn!(request, ino, %error, "failed");
    } else {
        tracing::debug!(request, ino, %error, "failed");
    }
    errno
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without words"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_a_request_answers_eio() {
        let asked = asked("test", INodeNo::ROOT);
        let result: std::result::Result<(), Errno> = answer(asked, || panic!("on purpose"));
        assert_eq!(result, Err(Errno::EIO));
    }

    #[test]
    fn an_error_answers_its_errno() {
        let asked = asked("test", INodeNo::ROOT);
        let result: std::result::Result<(), Errno> = answer(asked, || Err(Error::NotEmpty));
        assert_eq!(result, Err(Errno::ENOTEMPTY));
    }
}
