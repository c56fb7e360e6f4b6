//! Why a branch is not converted, or not yet.

use super::{Conversion, Form, Summary};
use crate::error::Error;
use crate::stack::directories::SetupError;

/// Why a conversion ended early. The text is a sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing to convert.
    #[error("a branch of form {0} has that form already: name two different ones")]
    SameForm(Form),
    /// The form of containers is a mixture that is only read.
    #[error("no branch is converted to form containers: name aufs or overlay")]
    IntoContainers,
    /// The directory cannot be worked on.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What the new form cannot say; nothing was changed.
    #[error(
        "the branch holds {} that the new form cannot express, and nothing was changed: see to them first",
        counted(.0.refused)
    )]
    Refused(Summary),
    /// An unfinished conversion is another one.
    #[error("this branch is half-way through ufs convert {0}: finish that first")]
    Begun(Conversion),
    /// A copy that was not finished.
    #[error("this directory is an unfinished copy: remove it, and copy again")]
    UnfinishedCopy,
    /// The attribute that said what is under way is not there.
    #[error(
        "a conversion of this branch was begun, but which one is lost: take it from a backup, or a copy that keeps attributes"
    )]
    LostRecord,
    /// An object could not be looked at or changed. What was begun stays
    /// begun.
    #[error("/{}: {source}", .path.escape_ascii())]
    At {
        /// From the root of the branch; empty for that itself.
        path: Vec<u8>,
        /// What the system said.
        source: Error,
    },
    /// Whoever was told about the progress had enough.
    #[error("the conversion was stopped: run it again to finish it")]
    Stopped,
}

fn counted(count: u64) -> String {
    match count {
        1 => "1 thing".to_owned(),
        count => format!("{count} things"),
    }
}

/// The result of all that knows where in the branch it is.
pub(super) type Done<T> = std::result::Result<T, Failure>;
