//! Rename in all its modes; the checks in the kernel's order (`fs/namei.c`,
//! `do_renameat2` and `vfs_rename`).

use super::tree::Tree;
use crate::attr::{Owner, Timestamp};
use crate::error::{Error, Result};
use crate::layer::{New, NewKind, RenameMode};
use crate::name::Name;

impl Tree {
    pub(super) fn rename(
        &mut self,
        from: u64,
        name: &Name,
        to: u64,
        to_name: &Name,
        mode: RenameMode,
    ) -> Result<()> {
        let there = self.child(to, to_name)?;
        let moved = self.child(from, name)?.ok_or(Error::NotFound)?;
        match (mode, there) {
            (RenameMode::NoReplace, Some(_)) => return Err(Error::Exists),
            (RenameMode::Exchange, None) => return Err(Error::NotFound),
            (RenameMode::NoReplace | RenameMode::Replace | RenameMode::Whiteout, _)
            | (RenameMode::Exchange, Some(_)) => {}
        }
        self.check_alive(to)?;
        if self.is_below(to, moved)? {
            return Err(Error::Invalid("a directory cannot move into itself"));
        }
        if let Some(there) = there
            && self.is_below(from, there)?
        {
            return Err(match mode {
                RenameMode::Exchange => Error::Invalid("a directory cannot move into itself"),
                RenameMode::Replace | RenameMode::NoReplace | RenameMode::Whiteout => {
                    Error::NotEmpty
                }
            });
        }
        if there == Some(moved) {
            return Ok(());
        }
        match (mode, there) {
            (RenameMode::Exchange, Some(there)) => {
                self.detach(from, name)?;
                self.detach(to, to_name)?;
                self.attach(from, name, there)?;
                self.attach(to, to_name, moved)?;
                self.get_mut(there)?.ctime = Timestamp::now();
            }
            (_, there) => {
                if let Some(there) = there {
                    self.check_replaceable(moved, there)?;
                    self.detach(to, to_name)?;
                    self.lose_name(there)?;
                }
                self.detach(from, name)?;
                self.attach(to, to_name, moved)?;
                if mode == RenameMode::Whiteout {
                    self.create(from, name, &WHITEOUT)?;
                }
            }
        }
        self.get_mut(moved)?.ctime = Timestamp::now();
        Ok(())
    }

    /// Whether the directory `dir` is `above` or lies in it.
    fn is_below(&self, dir: u64, above: u64) -> Result<bool> {
        let mut here = Some(dir);
        while let Some(ino) = here {
            if ino == above {
                return Ok(true);
            }
            let parent = self.parent(ino)?;
            here = parent.filter(|parent| *parent != ino);
        }
        Ok(false)
    }
}

const WHITEOUT: New<'_> = New {
    kind: NewKind::CharDevice(0),
    mode: 0,
    owner: Owner { uid: 0, gid: 0 },
    xattrs: &[],
};
