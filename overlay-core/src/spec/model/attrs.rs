//! Attributes: `stat`, `chmod`, `chown`, `utimensat`.

use crate::attr::Timestamp;

use super::*;

const SETUID: u32 = 0o4000;
const SETGID_EXECUTABLE: u32 = 0o2010;

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
        if let Body::Leaf(Data::Symlink(_)) = self.objects[key].body {
            return Err(Errno::OPNOTSUPP);
        }
        self.copy_up_path(path, key);
        self.objects[key].meta.mode = mode & 0o7777;
        Ok(Outcome::Done)
    }

    /// A change of owner takes the setuid bit away from everything but
    /// directories, and the setgid bit where it means the same.
    pub(super) fn chown(
        &mut self,
        path: &Path,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Outcome> {
        let key = self.walk(path)?;
        self.need_writable()?;
        self.copy_up_path(path, key);
        let is_dir = self.kind(key).is_dir();
        let meta = &mut self.objects[key].meta;
        meta.uid = uid.unwrap_or(meta.uid);
        meta.gid = gid.unwrap_or(meta.gid);
        if !is_dir {
            meta.mode &= !SETUID;
            if meta.mode & SETGID_EXECUTABLE == SETGID_EXECUTABLE {
                meta.mode &= !(SETGID_EXECUTABLE & 0o7000);
            }
        }
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
