//! All words of a mount together.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use overlay_core::policy::{CopyUpPolicy, CreatePolicy};

use super::super::UsageError;
use super::branch::{BranchWord, Change, written};
use super::permission::{Access, Permission};
use super::{Opaque, Setting, Sum, Switch, Udba, Word};

/// What an aufs mount is asked to be. What no word says is as in aufs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AufsMount {
    /// The branches, top first.
    pub branches: Vec<Branch>,
    /// `create=`
    pub create: CreatePolicy,
    /// `cpup=`
    pub copy_up: CopyUpPolicy,
    /// `xino=`, `noxino`
    pub xino: Xino,
    /// `plink`
    pub pseudo_links: Switch,
    /// `udba=`
    pub udba: Udba,
    /// `diropq=`
    pub opaque: Opaque,
    /// `dirwh=`
    pub dir_wh: u32,
    /// `shwh`
    pub show_whiteouts: Switch,
    /// `sum`
    pub sum: Sum,
    /// `acl`
    pub acl: Switch,
    /// `rdcache=`, in seconds.
    pub rd_cache: u32,
    /// `warn_perm`
    pub warn_perm: Switch,
    /// `verbose`
    pub verbose: Switch,
}

/// A branch whose access is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The directory.
    pub path: PathBuf,
    /// What it may be used for.
    pub permission: Permission,
}

/// Where inode numbers are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Xino {
    /// Nothing is said.
    #[default]
    Default,
    /// In this file.
    File(PathBuf),
    /// They are not.
    Off,
}

/// Whether the mount itself is read-only (`ro`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountAccess {
    /// It is not.
    ReadWrite,
    /// It is: then the first branch is too, if nothing is said of it.
    ReadOnly,
}

/// `AUFS_DIRWH_DEF`, in whiteouts.
const DIR_WH: u32 = 3;

/// `AUFS_RDCACHE_DEF`, in seconds.
const RD_CACHE: u32 = 10;

impl Default for AufsMount {
    fn default() -> AufsMount {
        AufsMount {
            branches: Vec::new(),
            create: CreatePolicy::default(),
            copy_up: CopyUpPolicy::default(),
            xino: Xino::Default,
            pseudo_links: Switch::On,
            udba: Udba::default(),
            opaque: Opaque::default(),
            dir_wh: DIR_WH,
            show_whiteouts: Switch::Off,
            sum: Sum::default(),
            acl: Switch::On,
            rd_cache: RD_CACHE,
            warn_perm: Switch::On,
            verbose: Switch::Off,
        }
    }
}

impl AufsMount {
    /// All `words`, left to right, the later one before the earlier.
    ///
    /// (At the mount aufs takes the branches after all else, which makes no
    /// difference for what they say.) Fails for a change of a branch that is
    /// not there, for a directory that is there twice, and without branches.
    /// Branches that lie within each other are found when they are opened.
    pub fn new(words: Vec<Word>, access: MountAccess) -> Result<AufsMount, UsageError> {
        let mut mount = AufsMount::default();
        for word in words {
            mount.apply(word, access)?;
        }
        match mount.branches.is_empty() {
            true => Err(wrong(
                "br",
                Path::new(""),
                "a mount needs a branch: write br:DIR",
            )),
            false => Ok(mount),
        }
    }

    /// One word more: also how a mounted stack is changed (`remount`).
    ///
    /// After an error nothing has changed.
    pub fn apply(&mut self, word: Word, access: MountAccess) -> Result<(), UsageError> {
        match word {
            Word::Branches(branches) => {
                let before = self.branches.len();
                for branch in branches {
                    let here = self.branches.len();
                    if let Err(error) = self.insert("br", here, here == 0, branch, access) {
                        self.branches.truncate(before);
                        return Err(error);
                    }
                }
                Ok(())
            }
            Word::Change(change) => self.change(change, access),
            Word::Setting(setting) => {
                self.set(setting);
                Ok(())
            }
            Word::Anyway(_) => Ok(()),
        }
    }

    fn change(&mut self, change: Change, access: MountAccess) -> Result<(), UsageError> {
        let length = self.branches.len();
        match change {
            Change::Add(at, branch) if at <= length => {
                self.insert("add", at, at == 0, branch, access)
            }
            Change::Add(_, branch) => {
                let why = format!("there are {length} branches: write an index from 0 to {length}");
                Err(wrong("add", &branch.path, why))
            }
            Change::Prepend(branch) => self.insert("prepend", 0, true, branch, access),
            // Read-only even as the first (`au_opts_parse`).
            Change::Append(branch) => self.insert("append", length, false, branch, access),
            Change::Delete(path) => {
                let at = self.find("del", &path)?;
                if length == 1 {
                    return Err(wrong(
                        "del",
                        &path,
                        "it is the last branch: unmount instead",
                    ));
                }
                self.branches.remove(at);
                Ok(())
            }
            Change::Modify(path, permission) => {
                let at = self.find("mod", &path)?;
                if let Some(branch) = self.branches.get_mut(at) {
                    branch.permission = permission;
                }
                Ok(())
            }
        }
    }

    /// A branch of which nothing is said is `rw` if it is put on top, unless
    /// the mount is read-only, and `ro` elsewhere. (In aufs `rr` on some
    /// filesystems: who opens it knows which.)
    fn insert(
        &mut self,
        option: &'static str,
        at: usize,
        on_top: bool,
        branch: BranchWord,
        access: MountAccess,
    ) -> Result<(), UsageError> {
        if self.branches.iter().any(|known| known.path == branch.path) {
            let why = "it is a branch already: name each directory once";
            return Err(wrong(option, &branch.path, why));
        }
        let usual = match (on_top, access) {
            (true, MountAccess::ReadWrite) => Access::ReadWrite,
            (true, MountAccess::ReadOnly) | (false, _) => Access::ReadOnly,
        };
        let branch = Branch {
            path: branch.path,
            permission: branch.permission.unwrap_or_else(|| usual.into()),
        };
        self.branches.insert(at, branch);
        Ok(())
    }

    fn find(&self, option: &'static str, path: &Path) -> Result<usize, UsageError> {
        let at = self.branches.iter().position(|branch| branch.path == path);
        at.ok_or_else(|| {
            let paths = self.branches.iter().map(|b| b.path.display().to_string());
            let paths: Vec<String> = paths.collect();
            let why = format!("it is no branch: the branches are {}", paths.join(", "));
            wrong(option, path, why)
        })
    }

    fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Create(policy) => self.create = policy,
            Setting::CopyUp(policy) => self.copy_up = policy,
            Setting::Xino(Some(path)) => self.xino = Xino::File(path),
            Setting::Xino(None) => self.xino = Xino::Off,
            Setting::PseudoLinks(switch) => self.pseudo_links = switch,
            Setting::Udba(udba) => self.udba = udba,
            Setting::Opaque(opaque) => self.opaque = opaque,
            Setting::DirWh(count) => self.dir_wh = count,
            Setting::ShowWhiteouts(switch) => self.show_whiteouts = switch,
            Setting::Sum(sum) => self.sum = sum,
            Setting::Acl(switch) => self.acl = switch,
            Setting::RdCache(seconds) => self.rd_cache = seconds,
            Setting::WarnPerm(switch) => self.warn_perm = switch,
            Setting::Verbose(switch) => self.verbose = switch,
        }
    }
}

impl Branch {
    /// `DIR=PERMISSION`, with escapes.
    pub fn written(&self) -> OsString {
        written(&self.path, &self.permission)
    }
}

fn wrong(name: &'static str, path: &Path, why: impl Into<String>) -> UsageError {
    UsageError::Wrong {
        name,
        value: path.into(),
        why: why.into(),
    }
}
