//! Making whiteouts and opaque directories on the writable branch.
//!
//! Where its filesystem takes no device 0:0, a whiteout is an empty file with
//! a mark, and counts only in a directory that says that it may hold such, on
//! a branch whose root says the same. Both are said before the whiteout is
//! made: each alone changes nothing that is seen. An opaque directory cannot
//! say so (one attribute says both), and needs no whiteouts. Source:
//! `ovl_path_check_xwhiteout_xattr` in `fs/overlayfs/util.c`. The caller holds
//! the directory's lock.

use std::sync::atomic::Ordering;

use super::Union;
use super::remove::stored_names;
use super::target::Target;
use crate::attr::SetAttr;
use crate::dialect::{Dialect, Opacity, OpaqueForm, WhiteoutForm};
use crate::error::{Errno, Error, Result};
use crate::layer::{Node, Removal, SetXattr, Staged, WritableNode};
use crate::name::Name;

/// Whether whiteouts in a directory count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteouts {
    Count,
    /// It is opaque: what is no device would be seen.
    AreSeen,
}

impl Union {
    /// Makes the whiteout of `name` in `dir`; `EEXIST` if the name is taken.
    pub(super) fn make_whiteout(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
    ) -> Result<()> {
        match target.whiteouts {
            WhiteoutForm::Device | WhiteoutForm::MarkedFile => {
                self.expect_whiteouts(target, dir)?;
                dir.create(name, &target.whiteout()).map(drop)
            }
            WhiteoutForm::Entry => {
                self.hide(target, dir, name)?.keep();
                Ok(())
            }
        }
    }

    /// Makes a whiteout that will be published in `dir`.
    pub(super) fn stage_whiteout(&self, target: &Target, dir: &dyn WritableNode) -> Result<Staged> {
        self.expect_whiteouts(target, dir)?;
        Staged::new(&target.storage, &target.whiteout())
    }

    /// As [`Union::allow_whiteouts`], for a directory that hides something:
    /// it merges, so it is not opaque.
    pub(super) fn expect_whiteouts(&self, target: &Target, dir: &dyn WritableNode) -> Result<()> {
        match self.allow_whiteouts(target, dir)? {
            Whiteouts::Count => Ok(()),
            Whiteouts::AreSeen => Err(Error::Damaged("an opaque directory that merges")),
        }
    }

    /// Sees to it that whiteouts in `dir` count, if that can be.
    pub(super) fn allow_whiteouts(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
    ) -> Result<Whiteouts> {
        match target.whiteouts {
            WhiteoutForm::Device | WhiteoutForm::Entry => return Ok(Whiteouts::Count),
            WhiteoutForm::MarkedFile => {}
        }
        let root = target.storage.root();
        match target.dialect.opacity(dir)? {
            Opacity::Opaque if !is_transparent_root(target, &*root, dir)? => {
                return Ok(Whiteouts::AreSeen);
            }
            Opacity::HoldsFileWhiteouts if target.may_hold_marked_files() => {
                return Ok(Whiteouts::Count);
            }
            Opacity::Opaque | Opacity::HoldsFileWhiteouts | Opacity::Transparent => {}
        }
        let (name, value) = target.dialect.file_whiteouts_mark();
        if !target.may_hold_marked_files() {
            root.set_xattr(name, value, SetXattr::Any)?;
            target.file_whiteouts.store(true, Ordering::Release);
        }
        dir.set_xattr(name, value, SetXattr::Any)?;
        Ok(Whiteouts::Count)
    }

    /// Makes a directory opaque below which there is nothing, so that there is
    /// nothing where it goes either.
    ///
    /// The caller has it locked: what hid nothing before, and would be seen from
    /// now on, is removed first.
    pub(super) fn make_opaque(&self, target: &Target, directory: &dyn WritableNode) -> Result<()> {
        let dialect = target.dialect;
        match dialect.opacity(directory)? {
            Opacity::Transparent => {}
            Opacity::Opaque => return Ok(()),
            Opacity::HoldsFileWhiteouts if !target.may_hold_marked_files() => {}
            Opacity::HoldsFileWhiteouts => {
                for name in stored_names(directory)? {
                    if is_marked_file(dialect, directory, &name)? {
                        directory.remove(&name, Removal::NonDirectory, None)?;
                    }
                }
            }
        }
        match dialect.opaque_form() {
            OpaqueForm::Attribute(name, value) => directory.set_xattr(name, value, SetXattr::Any),
            OpaqueForm::Entry(name) => {
                let before = directory.attr()?;
                match self.make_mark(target, directory, name) {
                    Ok(()) => {}
                    Err(error) if error.is(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                // Nobody sees what changed.
                directory.set_attr(&SetAttr::times_of(&before))
            }
        }
    }
}

fn is_marked_file(dialect: Dialect, directory: &dyn Node, name: &Name) -> Result<bool> {
    match directory.attr_of(name)? {
        Some(attr) => dialect.entry_hides(directory, name, &attr, true),
        None => Ok(false),
    }
}

/// Whether `dir` is a root that says that it hides something, of a branch
/// whose root does not.
fn is_transparent_root(target: &Target, root: &dyn Node, dir: &dyn Node) -> Result<bool> {
    let (root_attr, attr) = (root.attr()?, dir.attr()?);
    Ok((root_attr.dev, root_attr.ino) == (attr.dev, attr.ino)
        && target.dialect.root_opacity(root)? != Opacity::Opaque)
}
