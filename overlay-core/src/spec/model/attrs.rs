//! Attributes: `stat`, `chmod`, `chown`, `utimensat`.

use crate::attr::Timestamp;

use super::*;

impl Model {
    pub(super) fn stat(&self, path: &Path) -> Result<Outcome> {
        Ok(self.stat_of(self.walk(path)?))
    }

    pub(super) fn stat_of(&self, key: Key) -> Outcome {
        Outcome::Sight(Box::new(Sight {
            content: None,
            xattrs: None,
            ..self.sight(key)
        }))
    }

    pub(super) fn chmod(&mut self, path: &Path, mode: u32) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_writable()?;
        posix::need_mode(self.kind(key))?;
        self.copy_up_path(path, key);
        self.objects[key].meta.mode = mode & 0o7777;
        Ok(Outcome::Done)
    }

    pub(super) fn chown(
        &mut self,
        path: &Path,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_writable()?;
        self.copy_up_path(path, key);
        let kind = self.kind(key);
        posix::change_owner(&mut self.objects[key].meta, kind, uid, gid);
        Ok(Outcome::Done)
    }

    pub(super) fn set_mtime(&mut self, path: &Path, mtime: Timestamp) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_writable()?;
        self.copy_up_path(path, key);
        self.objects[key].mtime = Time::At(mtime);
        Ok(Outcome::Done)
    }
}
