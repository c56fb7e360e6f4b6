//! Making objects: `mkdir`, `mknod`, `symlink`, `open(O_CREAT | O_EXCL)`.

use super::*;
use crate::spec::op::{Object, Umask};
use crate::spec::{Data, posix};

impl Pool {
    pub(super) fn make(
        &mut self,
        at: &Place,
        object: &Object,
        mode: u32,
        umask: Umask,
    ) -> Result<Outcome> {
        self.need_free(at)?;
        // This device is what a whiteout of overlayfs is made of.
        let takes_devices = |branch: &Branch| branch.marks != Marks::Overlay;
        let is_whiteout = *object == Object::Special(FileKind::CharDevice, 0);
        if is_whiteout && !self.branches.iter().all(takes_devices) {
            return Err(Errno::PERM);
        }
        self.put_new(at, object.data(), mode, umask)?;
        Ok(Outcome::Done)
    }

    pub(super) fn create(
        &mut self,
        slot: Slot,
        at: &Place,
        mode: u32,
        umask: Umask,
    ) -> Result<Outcome> {
        self.held.remove(&slot);
        self.need_free(at)?;
        let id = self.put_new(at, Some(Data::File(Vec::new())), mode, umask)?;
        let (path, access) = (at.path(), Access::Write);
        self.held.insert(slot, Held { id, path, access });
        Ok(Outcome::Done)
    }

    /// A name that is taken counts more than a read-only stack.
    pub(super) fn need_free(&self, at: &Place) -> Result<()> {
        match self.child(at)? {
            Some(_) => Err(Errno::EXIST),
            None => self.need_writable(),
        }
    }

    /// Whether a directory that comes to a branch, into this directory, is
    /// opaque there: where it `hides` what lies below.
    ///
    /// Where only the top branch can be written overlayfs does as the kernel:
    /// all are, where anything could lie below. With other branches to write,
    /// what is made in it later could not go there.
    pub(super) fn comes_opaque(&self, branch: usize, parent: &Path, hides: bool) -> Result<bool> {
        let merges = self.dir(parent)?.parts.len() > 1;
        Ok(match self.branches[branch].marks {
            Marks::Overlay if self.is_overlay() => merges,
            Marks::Overlay | Marks::Aufs => hides,
            Marks::AufsAlwaysOpaque => true,
        })
    }

    /// Whether no branch but the top one can be written.
    fn is_overlay(&self) -> bool {
        !self.branches.iter().skip(1).any(Branch::is_writable)
    }

    /// Makes a non-directory, or without `data` a directory.
    fn put_new(&mut self, at: &Place, data: Option<Data>, mode: u32, umask: Umask) -> Result<Id> {
        let kind = data.as_ref().map_or(FileKind::Directory, Data::kind);
        let branch = self.place_new(at, kind)?;
        let meta = posix::born(&self.dir(&at.parent)?.meta, kind, mode, umask);
        self.make_parts(branch, &at.parent)?;
        let id = self.fresh(branch);
        self.times.insert(id, Time::Recent);
        // What the whiteout has hidden, the directory has to.
        let was_hidden = self.take(branch, at) == Some(Stored::Whiteout);
        let opaque = self.comes_opaque(branch, &at.parent, was_hidden)?;
        let new = match data {
            Some(data) => Stored::Leaf(Leaf {
                id,
                links: 1,
                data,
                meta,
            }),
            None => Stored::Dir(Dir {
                parts: vec![id],
                opaque,
                redirect: None,
                entries: BTreeMap::new(),
                meta,
            }),
        };
        self.put(branch, at, new);
        self.touch(branch, &at.parent)?;
        Ok(id)
    }
}
