//! Content: reading and writing files, listing directories, link targets.

use super::*;
use crate::spec::seen::Listing;

impl Model {
    pub(super) fn write(&mut self, path: &Path, offset: u64, data: &[u8]) -> Result<Outcome> {
        let key = self.open_file(path, Access::Write)?;
        self.put(key, offset, data);
        Ok(Outcome::Done)
    }

    pub(super) fn append(&mut self, path: &Path, data: &[u8]) -> Result<Outcome> {
        let key = self.open_file(path, Access::Write)?;
        let end = self.bytes(key).len() as u64;
        self.put(key, end, data);
        Ok(Outcome::Done)
    }

    pub(super) fn empty(&mut self, path: &Path) -> Result<Outcome> {
        let key = self.open_file(path, Access::Write)?;
        self.bytes_mut(key).clear();
        self.objects[key].mtime = Time::Recent;
        Ok(Outcome::Done)
    }

    pub(super) fn truncate(&mut self, path: &Path, len: u64) -> Result<Outcome> {
        let key = self.walk(path)?;
        posix::need_length(self.kind(key))?;
        self.need_writable()?;
        self.copy_up_with_data(path, key);
        self.set_len(key, len);
        Ok(Outcome::Done)
    }

    pub(super) fn allocate(&mut self, path: &Path, offset: u64, len: u64) -> Result<Outcome> {
        let key = self.open_file(path, Access::Write)?;
        let end = (offset + len).max(self.bytes(key).len() as u64);
        self.set_len(key, end);
        // Whether a change of allocation alone counts as one of content
        // differs between filesystems.
        self.objects[key].mtime = Time::Unknown;
        Ok(Outcome::Done)
    }

    pub(super) fn punch(&mut self, path: &Path, offset: u64, len: u64) -> Result<Outcome> {
        let key = self.open_file(path, Access::Write)?;
        posix::punch(self.bytes_mut(key), offset, len);
        self.objects[key].mtime = Time::Unknown;
        Ok(Outcome::Done)
    }

    pub(super) fn read(&self, path: &Path) -> Result<Outcome> {
        let key = self.regular(path)?;
        Ok(Outcome::Bytes(self.bytes(key).to_vec()))
    }

    pub(super) fn read_dir(&self, path: &Path) -> Result<Outcome> {
        let key = self.walk(path)?;
        let listing: Listing = self
            .entries(key)?
            .iter()
            .map(|(name, key)| (name.clone(), self.kind(*key)))
            .collect();
        Ok(Outcome::Entries(listing))
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<Outcome> {
        match &self.objects[self.walk(path)?].body {
            Body::Leaf(Data::Symlink(target)) => Ok(Outcome::Bytes(target.clone())),
            Body::Leaf(Data::File(_) | Data::Special { .. }) | Body::Dir(_) => Err(Errno::INVAL),
        }
    }

    /// Opens a regular file; opening for writing copies up, written or not.
    pub(super) fn open_file(&mut self, path: &Path, access: Access) -> Result<Key> {
        let key = self.regular(path)?;
        match access {
            Access::Read => {}
            Access::Write => {
                self.need_writable()?;
                self.copy_up_with_data(path, key);
            }
        }
        Ok(key)
    }

    fn regular(&self, path: &Path) -> Result<Key> {
        let key = self.walk(path)?;
        posix::need_file(self.kind(key)).map(|()| key)
    }

    pub(super) fn put(&mut self, key: Key, offset: u64, data: &[u8]) {
        posix::write(self.bytes_mut(key), offset, data);
        self.objects[key].mtime = Time::Recent;
    }

    /// Setting the size that a file has may count as a change or not.
    pub(super) fn set_len(&mut self, key: Key, len: u64) {
        let bytes = self.bytes_mut(key);
        let same = bytes.len() as u64 == len;
        bytes.resize(len as usize, 0);
        self.objects[key].mtime = if same { Time::Unknown } else { Time::Recent };
    }

    pub(super) fn bytes(&self, key: Key) -> &[u8] {
        match &self.objects[key].body {
            Body::Leaf(Data::File(bytes)) => bytes,
            Body::Leaf(Data::Symlink(_) | Data::Special { .. }) | Body::Dir(_) => {
                unreachable!("only regular files are opened, and kinds never change")
            }
        }
    }

    fn bytes_mut(&mut self, key: Key) -> &mut Vec<u8> {
        match &mut self.objects[key].body {
            Body::Leaf(Data::File(bytes)) => bytes,
            Body::Leaf(Data::Symlink(_) | Data::Special { .. }) | Body::Dir(_) => {
                unreachable!("only regular files are opened, and kinds never change")
            }
        }
    }
}
