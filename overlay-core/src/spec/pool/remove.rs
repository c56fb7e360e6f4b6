//! Removing objects: `unlink`, `rmdir`.

use super::edit::kind;
use super::*;

impl Pool {
    pub(super) fn unlink(&mut self, at: &Place) -> Result<Outcome> {
        let victim = self.victim(at)?;
        if kind(&victim).is_dir() {
            return Err(Errno::ISDIR);
        }
        self.remove(at, &victim)
    }

    pub(super) fn rmdir(&mut self, at: &Place) -> Result<Outcome> {
        let victim = self.victim(at)?;
        match &victim {
            Visible::Leaf(_) => Err(Errno::NOTDIR),
            Visible::Dir(dir) if !dir.entries.is_empty() => Err(Errno::NOTEMPTY),
            Visible::Dir(_) => self.remove(at, &victim),
        }
    }

    /// A read-only stack counts more than a missing name.
    fn victim(&self, at: &Place) -> Result<Visible> {
        let victim = self.child(at)?;
        self.need_writable()?;
        victim.ok_or(Errno::NOENT)
    }

    /// Removed where it could be changed, and hidden there if anything is left
    /// of it below.
    fn remove(&mut self, at: &Place, victim: &Visible) -> Result<Outcome> {
        let branch = self.place_change(&at.path(), id(victim))?;
        self.make_parts(branch, &at.parent)?;
        self.clear(branch, at);
        self.hide(branch, at)?;
        self.touch(branch, &at.parent)?;
        Ok(Outcome::Done)
    }
}
