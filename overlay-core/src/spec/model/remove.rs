//! Removing objects: `unlink`, `rmdir`.

use super::*;

impl Model {
    pub(super) fn unlink(&mut self, at: &Place) -> Result<Outcome> {
        let (parent, key) = self.victim(at)?;
        if self.kind(key).is_dir() {
            return Err(Errno::ISDIR);
        }
        self.copy_up(parent);
        self.forget_name(key, &(parent, at.name.clone()));
        self.change_entries(parent, |entries| {
            entries.remove(&*at.name);
        });
        Ok(Outcome::Done)
    }

    pub(super) fn rmdir(&mut self, at: &Place) -> Result<Outcome> {
        let (parent, key) = self.victim(at)?;
        if !self.entries(key)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.copy_up(parent);
        self.change_entries(parent, |entries| {
            entries.remove(&*at.name);
        });
        Ok(Outcome::Done)
    }

    /// A read-only stack counts more than a missing name.
    fn victim(&self, at: &Place) -> Result<(Key, Key)> {
        let parent = self.walk_to_parent(at)?;
        self.need_writable()?;
        let key = self.child(parent, &at.name)?.ok_or(Errno::NOENT)?;
        Ok((parent, key))
    }

    /// A lower object keeps its links: it is not removed, only hidden. What
    /// the index keeps is copied up to have its links counted.
    pub(super) fn forget_name(&mut self, key: Key, spot: &Spot) {
        if self.objects[key].indexed.is_some() {
            self.copy_up_spot(key, spot);
        }
        let node = &mut self.objects[key];
        if node.upper {
            node.links = node.links.saturating_sub(1);
        }
    }
}
