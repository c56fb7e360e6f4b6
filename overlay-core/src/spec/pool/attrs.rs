//! Attributes: `stat`, `chmod`, `chown`, `utimensat`.

use super::edit::kind;
use super::*;
use crate::attr::Timestamp;
use crate::spec::posix;

impl Pool {
    pub(super) fn stat(&self, path: &Path) -> Result<Outcome> {
        Ok(self.stat_of(&self.walk(path)?))
    }

    pub(super) fn stat_of(&self, entry: &Visible) -> Outcome {
        Outcome::Sight(Box::new(Sight {
            content: None,
            xattrs: None,
            ..self.sight(entry)
        }))
    }

    pub(super) fn chmod(&mut self, path: &Path, mode: u32) -> Result<Outcome> {
        let entry = self.walk(path)?;
        self.need_writable()?;
        posix::need_mode(kind(&entry))?;
        let id = self.bring_up(path)?;
        self.change_meta(id, |meta| meta.mode = mode & 0o7777);
        Ok(Outcome::Done)
    }

    pub(super) fn chown(
        &mut self,
        path: &Path,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Outcome> {
        let kind = kind(&self.walk(path)?);
        self.need_writable()?;
        let id = self.bring_up(path)?;
        self.change_meta(id, |meta| posix::change_owner(meta, kind, uid, gid));
        Ok(Outcome::Done)
    }

    pub(super) fn set_mtime(&mut self, path: &Path, mtime: Timestamp) -> Result<Outcome> {
        self.walk(path)?;
        self.need_writable()?;
        let id = self.bring_up(path)?;
        self.times.insert(id, Time::At(mtime));
        Ok(Outcome::Done)
    }
}
