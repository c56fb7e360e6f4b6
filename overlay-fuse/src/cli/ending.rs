//! How commands end: those that have statuses like those of `fsck(8)`, and all
//! at words that mean nothing.

use std::process::ExitCode;

/// Why a command ends with another status than 0.
#[derive(Debug)]
pub(super) enum Ending {
    /// A sentence.
    Failed(u8, String),
    /// All is said.
    Told(u8),
}

impl Ending {
    /// Says why, as `command`.
    pub fn end(self, command: &str) -> ExitCode {
        match self {
            Ending::Told(code) => ExitCode::from(code),
            Ending::Failed(code, sentence) => {
                super::say(command, &sentence);
                ExitCode::from(code)
            }
        }
    }
}

/// Words that clap does not understand; `code` is the status of those that mean
/// nothing.
pub(super) fn usage_error(command: &str, code: u8, error: &clap::Error) -> ExitCode {
    match super::usage(command, error) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => Ending::Failed(code, sentence).end(command),
    }
}
