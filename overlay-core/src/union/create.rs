//! Making new objects, whole from their first visible moment.
//!
//! Takes the parent's lock for writing.

use std::sync::Arc;

use super::acl;
use super::inode::Inode;
use super::locks::DirWrite;
use super::lookup::Written;
use super::open::{Handle, Writes};
use super::opened::Use;
use super::place::Tries;
use super::target::Target;
use super::{Caller, DefaultAcls, Entry, Union};
use crate::attr::{FileKind, Owner, Protection, SetAttr};
use crate::dialect::{Dialect, OpaqueForm, Says, WhiteoutForm};
use crate::error::{Error, Result};
use crate::layer::{
    Access, New, NewKind, Node, OpenFile, Removal, RenameMode, Staged, WritableNode,
};
use crate::name::Name;
use crate::stack::BranchId;

/// What an unprivileged process needs to open its own file for writing.
const OWNER_RW: u32 = 0o600;
/// The same for its own directory.
const OWNER_RWX: u32 = 0o700;
const SETGID: u32 = 0o2000;

/// What is asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    kind: NewKind<'a>,
    /// Permission bits before the umask.
    mode: u32,
    caller: &'a Caller,
    then: Then,
}

/// An open file, and the branch that it lies on.
type OpenAt = (Arc<dyn OpenFile>, BranchId);

/// A new object, and its file if it was opened.
type Made = (Entry, Option<OpenAt>);

/// What happens to a new object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Leave,
    /// It is opened for reading and writing, whatever its mode.
    Open,
}

/// Owner, mode and attributes of a new object, all inheritance done.
struct Heritage {
    owner: Owner,
    mode: u32,
    xattrs: Vec<(&'static [u8], Vec<u8>)>,
}

impl Union {
    /// Makes a new object `name` in `parent` with the permission bits `mode`
    /// (masked by the caller's umask, or by the directory's default ACL).
    ///
    /// Errors: `EEXIST`, `EROFS`, `ENOENT` in a removed directory, `EPERM`
    /// for the device that would be a whiteout, and in an immutable
    /// directory. Source: `mknod(2)`,
    /// `mkdir(2)`, `symlink(2)`; `ovl_create_object` in `fs/overlayfs/dir.c`.
    pub fn create(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        kind: NewKind<'_>,
        mode: u32,
        caller: &Caller,
    ) -> Result<Entry> {
        let asked = Asked {
            kind,
            mode,
            caller,
            then: Then::Leave,
        };
        self.make(parent, name, &asked).map(|(entry, _)| entry)
    }

    /// Makes an empty regular file and opens it for reading and writing,
    /// whatever its mode. Errors as [`Union::create`].
    pub fn create_file(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        mode: u32,
        caller: &Caller,
    ) -> Result<(Entry, Handle)> {
        let asked = Asked {
            kind: NewKind::Regular,
            mode,
            caller,
            then: Then::Open,
        };
        let (entry, made) = self.make(parent, name, &asked)?;
        let handle = self.open_made(&entry.inode, made)?;
        Ok((entry, handle))
    }

    /// The handle of a new file. Nothing keeps that from moving to another
    /// branch meanwhile, so the one is told where it was made.
    fn open_made(&self, inode: &Arc<Inode>, made: Option<OpenAt>) -> Result<Handle> {
        let (file, home) = match made {
            Some(made) => made,
            None => {
                let _staying = self.moves.stay(inode);
                (inode.node().open(Access::Write)?, inode.home())
            }
        };
        let opened = self.opens.enter(inode, Use::Writing);
        Ok(Handle::new(opened, file, Some(home), Writes::Everything))
    }

    fn make(&self, parent: &Arc<Inode>, name: &Name, asked: &Asked<'_>) -> Result<Made> {
        self.with_room(|tries| {
            loop {
                if let Some(made) = self.try_make(parent, name, asked, tries)? {
                    return Ok(made);
                }
            }
        })
    }

    /// One attempt; `None` if what hides the name changed meanwhile.
    fn try_make(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        asked: &Asked<'_>,
        tries: &mut Tries,
    ) -> Result<Option<Made>> {
        let would_hide = self.would_hide(asked.kind);
        let permitted = self.permit_entry(parent);
        // Nothing is copied up for an object that cannot be.
        let cannot = would_hide || permitted.is_err() || self.chooser.is_some();
        if (cannot || !parent.is_copied_up()) && self.lookup(parent, name)?.is_some() {
            return Err(Error::Exists);
        }
        self.target()?;
        if would_hide {
            return Err(Error::NotPermitted("this device would be a whiteout"));
        }
        permitted?;
        self.refuse_reserved(name)?;
        let target = self.place_new(parent, name, asked.kind.file_kind(), tries)?;
        let dir = self.part_on(target, parent)?;
        let held = DirWrite::lock(&[parent])?;
        if held.is_removed(parent) {
            return Err(Error::NotFound);
        }
        match self.above_says(target, parent, name, &held)? {
            Says::Nothing => {}
            Says::Hides => return Ok(None),
            Says::Shows | Says::ShowsAlone => return Err(Error::Exists),
        }
        let written = self.claim(target, parent, &**dir, name, &held)?;
        if written == Written::Object
            || written == Written::Nothing && self.lower_shows(target, parent, name, &held)?
        {
            return Err(Error::Exists);
        }
        let mut heritage = inherit(parent.node(), asked, self.options.default_acls)?;
        let opaque = (asked.kind == NewKind::Directory
            && self.is_made_opaque(target, parent, written))
        .then(|| target.dialect.opaque_form());
        let mark = match opaque {
            Some(OpaqueForm::Attribute(name, value)) => {
                heritage.xattrs.push((name, value.to_vec()));
                None
            }
            Some(OpaqueForm::Entry(name)) => Some(name),
            None => None,
        };
        let xattrs: Vec<(&[u8], &[u8])> = heritage
            .xattrs
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        let new = New {
            kind: asked.kind,
            mode: heritage.mode,
            owner: heritage.owner,
            xattrs: &xattrs,
        };
        let file = match (asked.then, written) {
            (Then::Leave, Written::Nothing | Written::Object) if mark.is_none() => {
                dir.create(name, &new)?;
                None
            }
            (Then::Open, Written::Nothing | Written::Object) if new.mode & OWNER_RW == OWNER_RW => {
                Some(create_open(&**dir, name, &new)?)
            }
            (then, written) => {
                let new = Staging { new, mark, then };
                self.stage_and_publish(target, &**dir, name, &new, written)?
            }
        };
        // Gone again only if somebody else writes to the branch.
        let made = self.resolve(parent, name, &held)?;
        let entry = made.ok_or(Error::NotFound)?;
        // Just made, without a mark: none need be looked for.
        entry.inode.protected.settle(Protection::NONE);
        self.touch(target, parent);
        Ok(Some((entry, file.map(|file| (file, target.branch)))))
    }

    /// Whether an object of this kind would be a whiteout on a writable branch.
    fn would_hide(&self, kind: NewKind<'_>) -> bool {
        let mut targets = self.targets.iter();
        match self.targets.is_empty() {
            true => Dialect::default().makes_whiteout(kind),
            false => targets.any(|target| target.dialect.makes_whiteout(kind)),
        }
    }
}

/// What a new object gets from its directory and its maker.
fn inherit(dir: &dyn Node, asked: &Asked<'_>, acls: DefaultAcls) -> Result<Heritage> {
    let above = dir.attr()?;
    let is_dir = asked.kind == NewKind::Directory;
    let mut heritage = Heritage {
        owner: asked.caller.owner,
        mode: asked.mode & !asked.caller.umask & 0o7777,
        xattrs: Vec::new(),
    };
    if acls == DefaultAcls::Inherited
        && !matches!(asked.kind, NewKind::Symlink(_))
        && let Some(default) = dir.xattr(acl::DEFAULT)?
    {
        let inherited = acl::inherit(&default, asked.mode & 0o7777)?;
        heritage.mode = inherited.mode;
        if let Some(access) = inherited.access {
            heritage.xattrs.push((acl::ACCESS, access));
        }
        if is_dir {
            heritage.xattrs.push((acl::DEFAULT, default));
        }
    }
    if above.mode & SETGID != 0 {
        heritage.owner.gid = above.gid;
        if is_dir {
            heritage.mode |= SETGID;
        }
    }
    Ok(heritage)
}

/// Makes a file in place and opens it; where that fails, it is gone again.
fn create_open(dir: &dyn WritableNode, name: &Name, new: &New<'_>) -> Result<Arc<dyn OpenFile>> {
    let opened = dir.create(name, new)?.node.open(Access::Write);
    if opened.is_err()
        && let Err(error) = dir.remove(name, Removal::NonDirectory, None)
    {
        tracing::warn!(%error, "a file stays that could not be opened");
    }
    opened
}

/// How a staged object takes a name by which its branch stores `written`.
pub(super) fn publish_mode(target: &Target, written: Written, kind: FileKind) -> RenameMode {
    match (written, target.whiteouts) {
        (Written::Nothing | Written::Object, _) | (_, WhiteoutForm::Entry) => RenameMode::NoReplace,
        // A directory cannot replace a device, but trade places with it.
        (Written::Whiteout, _) if kind.is_dir() => RenameMode::Exchange,
        (Written::Whiteout, _) => RenameMode::Replace,
    }
}

/// An object that is made in the work area.
#[derive(Clone, Copy)]
struct Staging<'a> {
    new: New<'a>,
    /// The entry in it that makes it opaque.
    mark: Option<&'static Name>,
    then: Then,
}

impl Union {
    /// Makes an object in the work area, opens it if asked, and moves it to
    /// `name`.
    fn stage_and_publish(
        &self,
        target: &Target,
        dir: &dyn WritableNode,
        name: &Name,
        asked: &Staging<'_>,
        written: Written,
    ) -> Result<Option<Arc<dyn OpenFile>>> {
        let Staging { new, mark, then } = asked;
        let needed = match (then, mark) {
            (_, Some(_)) => OWNER_RWX,
            (Then::Open, None) => OWNER_RW,
            (Then::Leave, None) => 0,
        };
        let first = New {
            mode: new.mode | needed,
            ..*new
        };
        let staged = Staged::new(&target.storage, &first)?;
        let mut file = None;
        if *then == Then::Open {
            file = Some(staged.node().open(Access::Write)?);
        }
        if let Some(mark) = mark {
            self.make_mark(target, &**staged.node(), mark)?;
        }
        if new.mode != first.mode {
            staged.node().set_attr(&SetAttr {
                mode: Some(new.mode),
                ..SetAttr::default()
            })?;
        }
        let mode = publish_mode(target, written, new.kind.file_kind());
        let node = staged.publish(dir, name, mode, None)?;
        if (written, target.whiteouts) == (Written::Whiteout, WhiteoutForm::Entry) {
            self.take_the_place(target, dir, name, &node)?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::union::Options;
    use crate::{MemStorage, Stack};

    #[test]
    fn a_new_file_that_has_moved_is_written_where_it_is() {
        let above = MemStorage::new();
        above.write("target", b"old").unwrap();
        let stack = Stack::new().upper(above).upper(MemStorage::new());
        let options = Options {
            create: "rr".parse().unwrap(),
            ..Options::default()
        };
        let union = Union::with_options(stack, options).unwrap();
        let root = union.root();
        let caller = Caller {
            owner: Owner { uid: 0, gid: 0 },
            umask: 0,
        };
        let name = |name: &'static str| Name::new(name.as_bytes()).unwrap();
        let asked = Asked {
            kind: NewKind::Regular,
            mode: 0o644,
            caller: &caller,
            then: Then::Open,
        };
        // In turns: the second one lies below.
        union
            .create_file(&root, name("first"), 0o644, &caller)
            .unwrap();
        let (entry, made) = union.make(&root, name("new"), &asked).unwrap();
        let home = entry.inode.home();
        let (from, to) = ((&root, name("new")), (&root, name("target")));
        union.rename(from, to, RenameMode::Replace).unwrap();
        assert_ne!(entry.inode.home(), home);
        let handle = union.open_made(&entry.inode, made).unwrap();
        union.write(&handle, b"new", 0).unwrap();
        assert_eq!(union.attr(&entry.inode).unwrap().size, 3);
    }
}
