//! `renameat2`.

use super::*;

/// Bytes of the longest absolute redirect: `ovl_redirect_max` in
/// `fs/overlayfs/dir.c`.
pub(super) const REDIRECT_MAX: usize = 256;

impl Model {
    pub(super) fn rename(&mut self, from: &Place, to: &Place, how: Rename) -> Result<Outcome> {
        let from_dir = self.walk_to_parent(from)?;
        let to_dir = self.walk_to_parent(to)?;
        self.need_writable()?;
        let moved = self.child(from_dir, &from.name)?.ok_or(Errno::NOENT)?;
        let target = self.child(to_dir, &to.name)?;
        match (how, target) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EXIST),
            (Rename::Exchange, None) => return Err(Errno::NOENT),
            (Rename::Replace | Rename::NoReplace | Rename::Exchange, _) => {}
        }
        if from_dir != to_dir && self.is_in(to_dir, moved) {
            return Err(Errno::INVAL);
        }
        if from_dir != to_dir && target.is_some_and(|target| self.is_in(from_dir, target)) {
            return Err(match how {
                Rename::Exchange => Errno::INVAL,
                Rename::Replace | Rename::NoReplace => Errno::NOTEMPTY,
            });
        }
        // Two names of one object: nothing happens.
        if target == Some(moved) {
            return Ok(Outcome::Done);
        }
        let from_spot = (from_dir, from.name.clone());
        let to_spot = (to_dir, to.name.clone());
        match (how, target) {
            (Rename::Exchange, Some(target)) => {
                self.need_movable(moved)?;
                self.need_movable(target)?;
                self.copy_up_in_vain([(moved, &from_spot), (target, &to_spot)]);
                self.need_short_redirect(moved, from_dir, to_dir)?;
                self.redirect_file(moved, &from_spot, from_dir == to_dir)?;
                self.need_short_redirect(target, from_dir, to_dir)?;
                self.redirect_file(target, &to_spot, from_dir == to_dir)?;
                self.copy_up_spot(moved, &from_spot);
                self.copy_up_spot(target, &to_spot);
                self.set_entry(from_dir, &from.name, target);
            }
            (Rename::Replace | Rename::NoReplace | Rename::Exchange, _) => {
                posix::need_same_sort(self.kind(moved), target.map(|key| self.kind(key)))?;
                self.need_movable(moved)?;
                let is_full = |key: &Key| self.entries(*key).is_ok_and(|all| !all.is_empty());
                if target.as_ref().is_some_and(is_full) {
                    self.touch_in_vain([from_dir, to_dir]);
                    return Err(Errno::NOTEMPTY);
                }
                self.copy_up_in_vain([(moved, &from_spot), (to_dir, &to_spot)]);
                self.need_short_redirect(moved, from_dir, to_dir)?;
                self.redirect_file(moved, &from_spot, from_dir == to_dir)?;
                self.copy_up_spot(moved, &from_spot);
                self.copy_up(to_dir);
                if let Some(target) = target {
                    self.forget_name(target, &to_spot);
                }
                self.change_entries(from_dir, |entries| {
                    entries.remove(&*from.name);
                });
            }
        }
        self.set_entry(to_dir, &to.name, moved);
        Ok(Outcome::Done)
    }

    fn set_entry(&mut self, dir: Key, name: &Name, key: Key) {
        self.change_entries(dir, |entries| {
            entries.insert(name.to_owned(), key);
        });
    }

    /// Whether `dir` is `top` or lies in it.
    fn is_in(&self, dir: Key, top: Key) -> bool {
        let mut at = Some(dir);
        while let Some(key) = at {
            if key == top {
                return true;
            }
            at = self.parent_of(key);
        }
        false
    }

    /// ext4 fails a rename that would leave a whiteout only after it has
    /// touched the directories; overlayfs does not look first.
    fn touch_in_vain(&mut self, dirs: [Key; 2]) {
        if self.rules == Rules::Kernel {
            for dir in dirs {
                self.objects[dir].mtime = Time::Unknown;
            }
        }
    }

    /// Whether the kernel fails this rename onto a directory only when all is
    /// prepared: it leaves it to the filesystem below to say that a directory
    /// which never held whiteouts is not empty, and has cleared an empty one
    /// by the time that the redirect turns out to be too long.
    pub(super) fn fails_late(&self, op: &Op) -> bool {
        let Op::Rename { from, to, how } = op else {
            return false;
        };
        if *how == Rename::Exchange {
            return false;
        }
        let (Ok(moved), Ok(target)) = (self.walk(&from.path()), self.walk(&to.path())) else {
            return false;
        };
        let too_long = from.parent != to.parent && self.redirect_length(moved) > REDIRECT_MAX;
        let is_full = self.entries(target).is_ok_and(|all| !all.is_empty());
        self.kind(target).is_dir()
            && self.objects[moved].lowers > 0
            && (too_long || is_full && self.objects[target].lowers == 0)
    }

    /// The kernel copies up before it makes the redirect that may be too long.
    fn copy_up_in_vain(&mut self, objects: [(Key, &Spot); 2]) {
        if self.rules == Rules::Kernel {
            let objects = objects.into_iter();
            objects.for_each(|(key, spot)| self.copy_up_spot(key, spot));
        }
    }

    /// Lower directories stay where they are: without a redirect there is no
    /// way to say that they moved.
    fn need_movable(&self, key: Key) -> Result<()> {
        match (self.config.redirect_dir, self.objects[key].lowers) {
            (RedirectDir::Follow | RedirectDir::NoFollow, 1..) => Err(Errno::XDEV),
            (RedirectDir::Follow | RedirectDir::NoFollow, 0) | (RedirectDir::On, _) => Ok(()),
        }
    }

    /// In its own directory a directory is found by its old name. Elsewhere it
    /// needs the whole path, and there is a limit to that.
    ///
    /// It does not matter how often the directory was moved before: the path
    /// is always that of its lower part.
    fn need_short_redirect(&self, moved: Key, from_dir: Key, to_dir: Key) -> Result<()> {
        if from_dir != to_dir && self.redirect_length(moved) > REDIRECT_MAX {
            return Err(Errno::XDEV);
        }
        Ok(())
    }

    /// Bytes of the absolute redirect that a directory needs; 0 if it has no
    /// lower part.
    fn redirect_length(&self, moved: Key) -> usize {
        self.objects[moved].origin.as_ref().map_or(0, Path::len)
    }
}
