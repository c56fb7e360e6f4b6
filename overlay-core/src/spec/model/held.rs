//! Operations on what is held open. A handle is on the object, not on the
//! name: it outlives the name, and sees what others write.

use super::*;

impl Model {
    pub(super) fn open(&mut self, slot: Slot, path: &Path, access: Access) -> Result<Outcome> {
        self.held.remove(&slot);
        let key = self.open_file(path, access)?;
        // The root is no file.
        let spot = self.spot(path).ok_or(Errno::ISDIR)?;
        self.held.insert(slot, Held { key, access, spot });
        Ok(Outcome::Done)
    }

    pub(super) fn read_held(&self, slot: Slot) -> Result<Outcome> {
        let held = self.held(slot)?;
        Ok(Outcome::Bytes(self.bytes(held.key).to_vec()))
    }

    pub(super) fn write_held(&mut self, slot: Slot, offset: u64, data: &[u8]) -> Result<Outcome> {
        let held = self.held(slot)?;
        match held.access {
            Access::Read => Err(Errno::BADF),
            Access::Write => {
                self.put(held.key, offset, data);
                Ok(Outcome::Done)
            }
        }
    }

    pub(super) fn stat_held(&self, slot: Slot) -> Result<Outcome> {
        Ok(self.stat_of(self.held(slot)?.key))
    }

    pub(super) fn truncate_held(&mut self, slot: Slot, len: u64) -> Result<Outcome> {
        let held = self.held(slot)?;
        match held.access {
            Access::Read => Err(Errno::INVAL),
            Access::Write => {
                self.set_len(held.key, len);
                Ok(Outcome::Done)
            }
        }
    }

    pub(super) fn chmod_held(&mut self, slot: Slot, mode: u32) -> Result<Outcome> {
        let Held { key, spot, .. } = self.held(slot)?;
        self.need_writable()?;
        self.copy_up_spot(key, &spot);
        self.objects[key].meta.mode = mode & 0o7777;
        Ok(Outcome::Done)
    }

    pub(super) fn close(&mut self, slot: Slot) -> Result<Outcome> {
        self.held.remove(&slot).ok_or(Errno::BADF)?;
        Ok(Outcome::Done)
    }

    fn held(&self, slot: Slot) -> Result<Held> {
        self.held.get(&slot).cloned().ok_or(Errno::BADF)
    }
}
