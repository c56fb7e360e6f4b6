//! Ctrl-c and `SIGTERM` end the comparison, and nothing stays behind.
//!
//! A signal only sets a flag; who does something long asks for it, and
//! everything is then dropped as at any other end. The servers are in process
//! groups of their own, so that a terminal's ctrl-c does not reach them first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over the signals. The second one ends the process at once.
    pub(crate) fn handle() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // First: it looks at what the first signal set.
            let second = Arc::clone(&interrupt.0);
            signal_hook::flag::register_conditional_shutdown(signal, 1, second)?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.is_set() {
            true => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            false => Ok(()),
        }
    }
}
