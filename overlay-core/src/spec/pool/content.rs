//! Content: reading and writing files, listing directories, link targets.

use super::edit::kind;
use super::*;
use crate::spec::{Data, posix};

impl Pool {
    pub(super) fn write(&mut self, path: &Path, offset: u64, data: &[u8]) -> Result<Outcome> {
        let id = self.open_file(path, Access::Write)?;
        self.put_bytes(id, offset, data);
        Ok(Outcome::Done)
    }

    pub(super) fn append(&mut self, path: &Path, data: &[u8]) -> Result<Outcome> {
        let id = self.open_file(path, Access::Write)?;
        let end = self.bytes(id).len() as u64;
        self.put_bytes(id, end, data);
        Ok(Outcome::Done)
    }

    pub(super) fn empty(&mut self, path: &Path) -> Result<Outcome> {
        let id = self.open_file(path, Access::Write)?;
        self.change_bytes(id, Vec::clear);
        self.times.insert(id, Time::Recent);
        Ok(Outcome::Done)
    }

    pub(super) fn truncate(&mut self, path: &Path, len: u64) -> Result<Outcome> {
        posix::need_length(kind(&self.walk(path)?))?;
        self.need_writable()?;
        let id = self.bring_up(path)?;
        self.set_len(id, len);
        Ok(Outcome::Done)
    }

    pub(super) fn allocate(&mut self, path: &Path, offset: u64, len: u64) -> Result<Outcome> {
        let id = self.open_file(path, Access::Write)?;
        let end = (offset + len).max(self.bytes(id).len() as u64);
        self.set_len(id, end);
        // Whether a change of allocation alone counts as one of content
        // differs between filesystems.
        self.times.insert(id, Time::Unknown);
        Ok(Outcome::Done)
    }

    pub(super) fn punch(&mut self, path: &Path, offset: u64, len: u64) -> Result<Outcome> {
        let id = self.open_file(path, Access::Write)?;
        self.change_bytes(id, |bytes| posix::punch(bytes, offset, len));
        self.times.insert(id, Time::Unknown);
        Ok(Outcome::Done)
    }

    pub(super) fn read(&self, path: &Path) -> Result<Outcome> {
        let entry = self.walk(path)?;
        posix::need_file(kind(&entry))?;
        Ok(Outcome::Bytes(self.bytes(id(&entry))))
    }

    pub(super) fn read_dir(&self, path: &Path) -> Result<Outcome> {
        let entries = self.dir(path)?.entries.into_iter();
        let listing = entries.map(|(name, entry)| (name, kind(&entry)));
        Ok(Outcome::Entries(listing.collect()))
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<Outcome> {
        match self.walk(path)? {
            Visible::Leaf(leaf) => match leaf.data {
                Data::Symlink(target) => Ok(Outcome::Bytes(target)),
                Data::File(_) | Data::Special { .. } => Err(Errno::INVAL),
            },
            Visible::Dir(_) => Err(Errno::INVAL),
        }
    }

    /// Opens a regular file; opening for writing copies up, written or not.
    pub(super) fn open_file(&mut self, path: &Path, access: Access) -> Result<Id> {
        let entry = self.walk(path)?;
        posix::need_file(kind(&entry))?;
        match access {
            Access::Read => Ok(id(&entry)),
            Access::Write => {
                self.need_writable()?;
                self.bring_up(path)
            }
        }
    }

    pub(super) fn put_bytes(&mut self, id: Id, offset: u64, data: &[u8]) {
        self.change_bytes(id, |bytes| posix::write(bytes, offset, data));
        self.times.insert(id, Time::Recent);
    }

    /// Setting the size that a file has may count as a change or not.
    pub(super) fn set_len(&mut self, id: Id, len: u64) {
        let same = self.bytes(id).len() as u64 == len;
        self.change_bytes(id, |bytes| bytes.resize(len as usize, 0));
        let time = if same { Time::Unknown } else { Time::Recent };
        self.times.insert(id, time);
    }

    /// Of a regular file, seen or not.
    pub(super) fn bytes(&self, id: Id) -> Vec<u8> {
        match self.leaf(id).map(|leaf| &leaf.data) {
            Some(Data::File(bytes)) => bytes.clone(),
            Some(Data::Symlink(_) | Data::Special { .. }) | None => {
                unreachable!("only regular files are opened, and no branch goes that has one open")
            }
        }
    }
}
