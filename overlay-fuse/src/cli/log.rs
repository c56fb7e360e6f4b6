//! The log: to a file if one is named, else to the standard error.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;

/// A log that has begun. If its file was made for it, and it is dropped before
/// [`Log::keep`], the file goes away again: a mount that is refused leaves
/// nothing behind.
#[derive(Debug)]
pub(super) struct Log {
    made: Option<PathBuf>,
}

impl Log {
    /// Begins to log for the rest of this process.
    pub(super) fn start(file: Option<&Path>, debug: bool) -> Result<Log, String> {
        let level = match debug {
            true => LevelFilter::DEBUG,
            false => LevelFilter::WARN,
        };
        let begun = tracing_subscriber::fmt().with_max_level(level);
        let mut log = Log { made: None };
        let started = match file {
            Some(path) => {
                let file = log.open(path).map_err(|error| {
                    format!("the log {path:?} cannot be opened ({error}): name another file")
                })?;
                let begun = begun.with_ansi(false).with_writer(Mutex::new(file));
                tracing::subscriber::set_global_default(begun.finish())
            }
            None => {
                let begun = begun.with_ansi(super::colours()).with_writer(io::stderr);
                tracing::subscriber::set_global_default(begun.finish())
            }
        };
        started.map_err(|error| format!("the log cannot be started ({error}): try again"))?;
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panic")));
        Ok(log)
    }

    /// Appends to the file at `path`, which is made if it is missing.
    fn open(&mut self, path: &Path) -> io::Result<File> {
        match File::options().append(true).create_new(true).open(path) {
            Ok(file) => {
                // The directory may be another one by the time it is removed.
                self.made = Some(std::path::absolute(path)?);
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                File::options().append(true).open(path)
            }
            Err(error) => Err(error),
        }
    }

    /// The mount is live: the log stays.
    pub(super) fn keep(mut self) {
        self.made = None;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some(path) = &self.made else {
            return;
        };
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "the log of a refused mount stays");
        }
    }
}
