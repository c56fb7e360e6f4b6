//! Looks a whole stack over while nobody uses it, and repairs what can be
//! repaired: `fsck(8)` for layers.
//!
//! Every branch is walked once. Its marks are judged by what the branches
//! below it show, for that is what they speak of; so a branch is right or
//! wrong whatever is stacked on it. Lower layers are never written: repairs
//! are made on the upper layer and in its work directory, each so that the
//! union shows what it showed, or (where the finding says so) more.
//!
//! One fault a file; [`Kind`] lists them. The walk keeps the way to where it
//! is, and the names of the directories that wait beside it; a tree of any
//! depth takes no more of the stack than a flat one. Takes no locks: whoever
//! opens the layers sees to it that nobody else has them
//! ([`Directories::open_to_check`](crate::stack::directories::Directories::open_to_check)).
//!
//! ```
//! use overlay_core::check::{Check, Event, Kind, Repair, Settings};
//! use overlay_core::layer::{SetXattr, WritableStorage};
//! use overlay_core::{MemStorage, Stack};
//! use std::ops::ControlFlow;
//!
//! let (upper, lower) = (MemStorage::new(), MemStorage::new());
//! upper.mkdir("logs")?;
//! let name = overlay_core::Name::new(b"logs")?;
//! let logs = WritableStorage::root(&*upper).lookup_writable(name)?.expect("just made");
//! logs.node.set_xattr(b"trusted.overlay.redirect", b"old-logs", SetXattr::Any)?;
//!
//! let check = Check::new(&Stack::new().upper(upper).lower(lower), Settings::default())?;
//! let mut kinds = Vec::new();
//! check.run(Repair::Nothing, &mut |event| {
//!     if let Event::Found(finding) = event {
//!         kinds.push(finding.kind);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(kinds, [Kind::RedirectDangling]);
//! # Ok::<(), overlay_core::Error>(())
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Errno, Error, Result};
use crate::layer::{Node, RenameMode, WritableStorage};
use crate::name::{Name, NameBuf};
use crate::stack::{Stack, Store};

mod below;
mod finding;
mod hints;
mod impure;
mod index;
mod kind;
mod layers;
mod metacopy;
mod opaque;
mod origin;
mod redirects;
mod report;
mod root;
mod walk;
mod whiteouts;
mod work;

pub use finding::{Consent, Event, Finding, Outcome, Remedy, Severity, Spot, Summary};
pub use kind::Kind;

use layers::{Layers, Object};
use report::Run;
use work::WORK;

/// What a check may take for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Whether redirects count. Where the union refuses them
    /// (`redirect_dir=nofollow`), names that have one cannot be opened.
    pub redirects: Redirects,
    /// Whether a repair removes the note of a volatile mount: what was written
    /// then may never have reached the disk. (The kernel leaves the note after
    /// every such mount, for it cannot know.)
    pub accept_volatile: bool,
    /// Whether to repair although the upper layer was last used over another
    /// lower one: with the wrong one below, repairs destroy what is right.
    pub accept_lower: bool,
}

/// What a union does with redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// It follows them.
    #[default]
    Followed,
    /// It refuses names that have one.
    Refused,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing is written.
    Nothing,
    /// What can be repaired is.
    All,
}

/// A stack to be looked over.
#[derive(Debug)]
pub struct Check {
    layers: Layers,
    settings: Settings,
    upper: Option<Upper>,
}

/// What belongs to an upper layer beside its tree.
#[derive(Debug)]
struct Upper {
    /// The work directory, with the index.
    workdir: Option<Object>,
    /// `None` if it is only looked at.
    storage: Option<Arc<dyn WritableStorage>>,
}

impl Check {
    /// The stack as a union would show it. A writable branch on top is the
    /// upper layer, and can be repaired.
    ///
    /// Errors: `EOPNOTSUPP` for a writable branch that is not on top.
    pub fn new(stack: &Stack, settings: Settings) -> Result<Check> {
        let layers = Layers::of(stack)?;
        let upper = match stack.branches().first().map(|branch| &branch.storage) {
            Some(Store::Writable(storage)) => Some(Upper {
                workdir: storage.workdir()?.map(Object::writable),
                storage: Some(Arc::clone(storage)),
            }),
            Some(Store::ReadOnly(_)) | None => None,
        };
        Ok(Check {
            layers,
            settings,
            upper,
        })
    }

    /// The top branch is an upper layer, though it was opened for reading
    /// alone; `workdir` is its work directory. Nothing can be repaired.
    pub fn looking(
        stack: &Stack,
        workdir: Option<Arc<dyn Node>>,
        settings: Settings,
    ) -> Result<Check> {
        Ok(Check {
            layers: Layers::of(stack)?,
            settings,
            upper: Some(Upper {
                workdir: workdir.map(Object::read_only),
                storage: None,
            }),
        })
    }

    /// Looks everything over, and tells `each` what is found and how far it
    /// is, until that breaks. What cannot be read is a finding too, and the
    /// check goes on.
    ///
    /// Errors: `EROFS` for repairs where there is no upper layer that can be
    /// written; and if the root of a branch cannot be read.
    pub fn run(
        &self,
        repair: Repair,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary> {
        let storage = self
            .upper
            .as_ref()
            .and_then(|upper| upper.storage.as_deref());
        let storage = match (repair, storage) {
            (Repair::Nothing, _) => None,
            (Repair::All, Some(storage)) => Some(storage),
            (Repair::All, None) => return Err(Error::ReadOnly),
        };
        let mut run = Run::new(self, storage, each);
        match run.whole() {
            ControlFlow::Continue(()) | ControlFlow::Break(None) => Ok(run.into_summary()),
            ControlFlow::Break(Some(error)) => Err(error),
        }
    }

    fn workdir(&self) -> Option<&Object> {
        self.upper.as_ref()?.workdir.as_ref()
    }

    /// Moves `name` in `dir`, in the work directory, to where the next mount
    /// clears everything, and clears that.
    fn throw_away(&self, dir: &Object, name: &Name) -> Result<()> {
        let storage = self.upper.as_ref().and_then(|u| u.storage.as_deref());
        let (Some(workdir), Some(storage)) = (self.workdir(), storage) else {
            return Err(Error::ReadOnly);
        };
        let (work, _) = workdir.lookup(Name::new(WORK)?)?.ok_or(Error::NotFound)?;
        let mut number = 0;
        loop {
            let free = NameBuf::new(format!("#check-{number:x}"))?;
            let (dir, work, mode) = (dir.change()?, work.change()?, RenameMode::NoReplace);
            match dir.rename(name, work, &free, mode, None, None) {
                Ok(()) => return storage.clear_work(),
                Err(error) if error.is(Errno::EXIST) => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
