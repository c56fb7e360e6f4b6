//! What a check tells.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Kind;
use crate::error::Error;
use crate::stack::BranchId;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong as far as can be seen, but the stack may not be the
    /// one that was meant.
    Hint,
    /// Has no effect, and can go.
    Leftover,
    /// What is shown is right, but for numbers and link counts.
    Warning,
    /// Something is missing, cannot be opened, or keeps the stack from being
    /// mounted.
    Error,
}

impl Severity {
    /// One word, as it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Hint => "hint",
            Severity::Leftover => "leftover",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Where a finding was made; its path starts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// On a branch.
    Branch(BranchId),
    /// In the work directory.
    Work,
}

/// What can be done about a finding: a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A repair does this.
    Repair(&'static str),
    /// A repair is made with this consent alone; without it, what to do instead.
    Consent(Consent, &'static str),
    /// It cannot be repaired, for this reason.
    None(&'static str),
}

/// What a check takes for granted only if it is told so, for a repair may then
/// destroy something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// [`Settings::accept_volatile`](super::Settings::accept_volatile)
    Volatile,
    /// [`Settings::accept_lower`](super::Settings::accept_lower)
    Lower,
}

/// What was done about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it is still there.
    Left,
    /// It was repaired.
    Repaired,
    /// The repair failed.
    Failed(Error),
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where the path starts.
    pub spot: Spot,
    /// The object, from the root of the branch; empty for the root itself.
    pub path: Vec<u8>,
    /// What is particular about this one, e.g. a value; may be empty.
    pub detail: String,
    /// What can be done.
    pub remedy: Remedy,
    /// What was done.
    pub outcome: Outcome,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }

    /// The path as a path of the host.
    pub fn path(&self) -> PathBuf {
        Path::new(OsStr::from_bytes(&self.path)).to_owned()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}", self.path.escape_ascii(), self.kind.meaning())?;
        match &*self.detail {
            "" => Ok(()),
            detail => write!(f, " ({detail})"),
        }
    }
}

/// What a running check tells.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Something was found.
    Found(&'a Finding),
    /// It is under way, and has seen so many objects.
    Progress(u64),
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Objects seen, on all branches and in the work directory.
    pub objects: u64,
    /// Errors, those that were repaired among them.
    pub errors: u64,
    /// Warnings, likewise.
    pub warnings: u64,
    /// Leftovers, likewise.
    pub leftovers: u64,
    /// Hints.
    pub hints: u64,
    /// What was repaired.
    pub repaired: u64,
    /// Errors and warnings that are still there.
    pub left: u64,
    /// What could be repaired and was not: not asked for, or failed.
    pub repairable: u64,
    /// What could not be read; counted among the errors, too.
    pub unreadable: u64,
}

impl Summary {
    pub(super) fn count(&mut self, finding: &Finding) {
        let severity = finding.severity();
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Leftover => self.leftovers += 1,
            Severity::Hint => self.hints += 1,
        }
        if finding.kind == Kind::Unreadable {
            self.unreadable += 1;
        }
        if finding.outcome == Outcome::Repaired {
            self.repaired += 1;
            return;
        }
        if severity >= Severity::Warning {
            self.left += 1;
        }
        if matches!(finding.remedy, Remedy::Repair(_)) {
            self.repairable += 1;
        }
    }
}
