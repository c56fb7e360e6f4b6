//! A line on the terminal that says how far something long is.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What takes no longer says nothing.
const SOON: Duration = Duration::from_secs(2);

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(250);

/// Shown on the standard error, if that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    /// What was done with the objects.
    done: &'static str,
    /// `None` where nobody would see it.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub(super) fn new(done: &'static str, seen: bool) -> Progress {
        Progress {
            done,
            next: seen.then(|| Instant::now() + SOON),
            shown: false,
        }
    }

    pub(super) fn at(&mut self, objects: u64) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now >= next) {
            self.next = Some(now + EVERY);
            self.shown = true;
            let done = self.done;
            self.write(format_args!("\r{objects} objects {done}"));
        }
    }

    /// Before another line is written.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write(format_args!("\r\x1b[K"));
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        let mut err = io::stderr();
        let written = err.write_fmt(text).and_then(|()| err.flush());
        if written.is_err() {
            self.next = None;
        }
    }
}
