//! Rewrites one branch from one dialect to another: AuFS' `.wh.` names to
//! OverlayFS' devices and attributes, and back.
//!
//! The branch is nobody's while that goes on
//! ([`LoneBranch`](crate::stack::directories::LoneBranch)). A look at all of
//! it comes first ([`Conversion::survey`]): what the new form cannot express
//! refuses the whole conversion, and then nothing has changed. After that a
//! crash at any moment is harmless: each directory shows what it showed to
//! whoever reads it as [`Dialect::Containers`](crate::Dialect), no union mounts
//! the branch, and the same conversion again does the rest. See
//! `docs/decisions/0018-convert.md` for the order of steps.
//!
//! What the way to OverlayFS has no place for, but for what it says it drops,
//! is remembered in attributes: the way back makes the same branch again, to
//! the times of directories.
//!
//! ```
//! use overlay_core::convert::{Conversion, Form};
//! use overlay_core::layer::{New, NewKind, WritableStorage};
//! use overlay_core::{FileKind, MemStorage, Name, Namespace, Owner};
//! use std::ops::ControlFlow;
//! use std::sync::Arc;
//!
//! let branch: Arc<dyn WritableStorage> = MemStorage::new();
//! let empty = New {
//!     kind: NewKind::Regular,
//!     mode: 0o444,
//!     owner: Owner { uid: 0, gid: 0 },
//!     xattrs: &[],
//! };
//! branch.root().create(Name::new(b".wh.gone")?, &empty)?;
//!
//! let to_overlay = Conversion::new(Form::Aufs, Form::Overlay, Namespace::Trusted)?;
//! to_overlay.on_storage(&branch, &mut |_| ControlFlow::Continue(()))?;
//! let whiteout = branch.root().attr_of(Name::new(b"gone")?)?.expect("just made");
//! assert_eq!((whiteout.kind, whiteout.rdev), (FileKind::CharDevice, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::layer::{Node, SetXattr, WritableStorage};
use crate::stack::directories::LoneBranch;

mod copy;
mod failure;
mod form;
mod memory;
mod note;
mod record;
mod survey;
mod to_aufs;
mod to_overlay;
mod walk;
mod work;

pub use failure::Failure;
pub use form::{Conversion, Form};
pub use note::{Effect, Event, Kind, Note, Summary};

use copy::Copy;
use record::Begun;
use work::work;

impl Conversion {
    /// The conversion that was begun on the branch with this root, and not
    /// finished.
    ///
    /// Errors: [`Failure::UnfinishedCopy`] and [`Failure::LostRecord`].
    pub fn begun(root: &dyn Node) -> Result<Option<Conversion>, Failure> {
        match record::begun(root)? {
            Begun::Nothing => Ok(None),
            Begun::This(conversion) => Ok(Some(conversion)),
            Begun::Copy => Err(Failure::UnfinishedCopy),
        }
    }

    /// Looks the branch over and tells `each` what it holds that matters, and
    /// how far it is, until that breaks. Changes nothing.
    ///
    /// Errors: [`Failure::Begun`] where another conversion is not finished.
    pub fn survey(
        self,
        root: &Arc<dyn Node>,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Failure> {
        match self.is_begun(&**root)? {
            // It was looked over then, and now it has marks of both forms.
            true => Ok(Summary {
                resumed: true,
                ..Summary::default()
            }),
            false => survey::survey(self, root, each),
        }
    }

    /// Converts a directory in its place.
    pub fn in_place(
        self,
        branch: LoneBranch,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Failure> {
        let summary = self.unrefused(&branch.root(), each)?;
        let record = record::root_value(self, &*branch.root()).map_err(at_root)?;
        let note = (self.namespace.conversion_record(), &record[..]);
        let upper = branch.into_writable(note)?;
        let storage: Arc<dyn WritableStorage> = Arc::clone(&upper) as _;
        let worked = work(self, &storage, &|| upper.sync_filesystem(), each)?;
        Ok(merged(summary, worked))
    }

    /// Converts a copy, which is made in `to`: an empty directory, or one that
    /// does not exist. Nothing of it is left if that fails.
    pub fn to_copy(
        self,
        branch: &LoneBranch,
        to: &Path,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Failure> {
        let root = branch.root();
        if self.is_begun(&*root)? {
            return Err(Failure::Begun(self));
        }
        let summary = self.unrefused(&root, each)?;
        let name = self.namespace.conversion_record();
        let target = branch.copy_to(to, (name, record::COPYING))?;
        let upper = target.storage()?;
        let storage: Arc<dyn WritableStorage> = Arc::clone(upper) as _;
        Copy::all(&root, &storage.root(), each)?;
        let record = record::root_value(self, &*root).map_err(at_root)?;
        let begun = storage.root().set_xattr(name, &record, SetXattr::Any);
        begun.map_err(at_root)?;
        work(self, &storage, &|| upper.sync_filesystem(), each)?;
        drop(storage);
        target.keep();
        Ok(summary)
    }

    /// The same as [`Conversion::in_place`] on any storage that nobody else
    /// uses.
    pub fn on_storage(
        self,
        storage: &Arc<dyn WritableStorage>,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Failure> {
        let root: Arc<dyn Node> = storage.root();
        let summary = self.unrefused(&root, each)?;
        let worked = work(self, storage, &|| Ok(()), each)?;
        Ok(merged(summary, worked))
    }

    fn unrefused(
        self,
        root: &Arc<dyn Node>,
        each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Failure> {
        let summary = self.survey(root, each)?;
        match summary.refused {
            0 => Ok(summary),
            _ => Err(Failure::Refused(summary)),
        }
    }

    fn is_begun(self, root: &dyn Node) -> Result<bool, Failure> {
        match Conversion::begun(root)? {
            None => Ok(false),
            Some(begun) if begun == self => Ok(true),
            Some(begun) => Err(Failure::Begun(begun)),
        }
    }
}

fn at_root(source: crate::Error) -> Failure {
    Failure::At {
        path: Vec::new(),
        source,
    }
}

/// A finished run has not seen what it finished.
fn merged(surveyed: Summary, worked: Summary) -> Summary {
    match surveyed.resumed {
        true => Summary {
            resumed: true,
            ..worked
        },
        false => surveyed,
    }
}
