//! Making objects: `mkdir`, `mknod`, `symlink`, `open(O_CREAT | O_EXCL)`, `link`.

use std::collections::BTreeMap;

use crate::attr::FileKind;

use super::*;
use crate::spec::op::{Object, Umask};

impl Model {
    pub(super) fn make(
        &mut self,
        at: &Place,
        object: &Object,
        mode: u32,
        umask: Umask,
    ) -> Result<Outcome> {
        let parent = self.free_place(at)?;
        // This device is what a whiteout is made of.
        if *object == Object::Special(FileKind::CharDevice, 0) {
            return Err(Errno::PERM);
        }
        let body = match object.data() {
            None => Body::Dir(BTreeMap::new()),
            Some(data) => Body::Leaf(data),
        };
        self.put_new(parent, at, body, mode, umask);
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
        let parent = self.free_place(at)?;
        let body = Body::Leaf(Data::File(Vec::new()));
        let key = self.put_new(parent, at, body, mode, umask);
        let access = Access::Write;
        let spot = (parent, at.name.clone());
        self.held.insert(slot, Held { key, access, spot });
        Ok(Outcome::Done)
    }

    pub(super) fn link(&mut self, from: &Path, to: &Place) -> Result<Outcome> {
        let key = self.walk(from)?;
        let parent = self.free_place(to)?;
        if self.kind(key).is_dir() {
            return Err(Errno::PERM);
        }
        self.copy_up_path(from, key);
        self.copy_up(parent);
        if let Some(spot) = self.spot(from) {
            self.redirect_file(key, &spot, false)?;
        }
        self.objects[key].links += 1;
        self.change_entries(parent, |entries| {
            entries.insert(to.name.clone(), key);
        });
        Ok(Outcome::Done)
    }

    /// The directory where a new name can be made. A taken name counts more
    /// than a read-only stack.
    fn free_place(&self, at: &Place) -> Result<Key> {
        let parent = self.walk_to_parent(at)?;
        match self.child(parent, &at.name)? {
            Some(_) => Err(Errno::EXIST),
            None => self.need_writable().map(|()| parent),
        }
    }

    fn put_new(&mut self, parent: Key, at: &Place, body: Body, mode: u32, umask: Umask) -> Key {
        self.copy_up(parent);
        let meta = posix::born(&self.objects[parent].meta, body.kind(), mode, umask);
        let key = self.add_upper(body, meta);
        self.change_entries(parent, |entries| {
            entries.insert(at.name.clone(), key);
        });
        key
    }
}
