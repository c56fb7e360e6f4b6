//! Operations on what is held open. A handle is on the object, not on the
//! name: it outlives the name, follows the object to other branches, and sees
//! what others write.

use super::*;
use crate::spec::op::Rename;

/// What is held open.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Where it is stored now.
    pub id: Id,
    /// The name under which it was opened, wherever that is moved.
    pub path: Path,
    pub access: Access,
}

impl Pool {
    pub(super) fn open(&mut self, slot: Slot, path: &Path, access: Access) -> Result<Outcome> {
        self.held.remove(&slot);
        let id = self.open_file(path, access)?;
        let path = path.clone();
        self.held.insert(slot, Held { id, path, access });
        Ok(Outcome::Done)
    }

    pub(super) fn read_held(&self, slot: Slot) -> Result<Outcome> {
        Ok(Outcome::Bytes(self.bytes(self.held(slot)?.id)))
    }

    pub(super) fn write_held(&mut self, slot: Slot, offset: u64, data: &[u8]) -> Result<Outcome> {
        let held = self.held(slot)?;
        match held.access {
            Access::Read => Err(Errno::BADF),
            Access::Write => {
                self.put_bytes(held.id, offset, data);
                Ok(Outcome::Done)
            }
        }
    }

    pub(super) fn stat_held(&self, slot: Slot) -> Result<Outcome> {
        let held = self.held(slot)?;
        let leaf = self.leaf(held.id).ok_or(Errno::STALE)?;
        Ok(self.stat_of(&Visible::Leaf(leaf.clone())))
    }

    pub(super) fn truncate_held(&mut self, slot: Slot, len: u64) -> Result<Outcome> {
        let held = self.held(slot)?;
        match held.access {
            Access::Read => Err(Errno::INVAL),
            Access::Write => {
                self.set_len(held.id, len);
                Ok(Outcome::Done)
            }
        }
    }

    pub(super) fn chmod_held(&mut self, slot: Slot, mode: u32) -> Result<Outcome> {
        let held = self.held(slot)?;
        self.need_writable()?;
        let id = self.bring_held(held)?;
        self.change_meta(id, |meta| meta.mode = mode & 0o7777);
        Ok(Outcome::Done)
    }

    pub(super) fn close(&mut self, slot: Slot) -> Result<Outcome> {
        self.held.remove(&slot).ok_or(Errno::BADF)?;
        Ok(Outcome::Done)
    }

    fn held(&self, slot: Slot) -> Result<Held> {
        self.held.get(&slot).cloned().ok_or(Errno::BADF)
    }

    fn bring_held(&mut self, held: Held) -> Result<Id> {
        match self.walk(&held.path) {
            Ok(Visible::Leaf(leaf)) if leaf.id == held.id => self.bring_up(&held.path),
            Ok(Visible::Leaf(_) | Visible::Dir(_)) | Err(_) => self.bring_nameless(held),
        }
    }

    /// As [`Pool::copy_up_at`], of what is held open.
    pub fn copy_up_held(&mut self, slot: Slot) {
        let mut copied = self.clone();
        if let Ok(held) = self.held(slot)
            && copied.bring_held(held).is_ok()
        {
            *self = copied;
        }
    }

    /// Brings an object that nobody can reach by this handle's name to where it
    /// can be changed. The copy has no name at all.
    fn bring_nameless(&mut self, held: Held) -> Result<Id> {
        if self.is_writable(held.id) {
            return Ok(held.id);
        }
        let branch = self.place_copy(None, held.id)?;
        let original = self.leaf(held.id).cloned().ok_or(Errno::STALE)?;
        let id = self.succeed(branch, &original, &held.path);
        self.nameless.push(Leaf {
            id,
            links: 0,
            ..original
        });
        Ok(id)
    }

    /// Names have moved, and those of handles with them.
    pub(super) fn follow(&mut self, from: &Path, to: &Path, how: Rename) {
        let moved = |path: &Path, from: &Path, to: &Path| {
            let rest = path.0.strip_prefix(&from.0[..])?;
            Some(Path([&to.0[..], rest].concat()))
        };
        for held in self.held.values_mut() {
            let there = moved(&held.path, from, to);
            let back = match how {
                Rename::Exchange => moved(&held.path, to, from),
                Rename::Replace | Rename::NoReplace => None,
            };
            if let Some(path) = there.or(back) {
                held.path = path;
            }
        }
    }
}
