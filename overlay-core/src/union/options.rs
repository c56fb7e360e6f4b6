//! What a union does where the kernel's overlayfs has a mount option for it.

use crate::dialect::{Namespace, WhiteoutForm};
use crate::error::{Error, Result};
use crate::policy::{CopyUpPolicy, CreatePolicy};
use crate::stack::{Branch, Stack};

pub use super::sync::Durability;
pub use super::trail::NfsExport;

/// How a union behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Renamed directories with lower content.
    pub redirect_dir: RedirectDir,
    /// Files whose data stays on a branch below.
    pub metacopy: Metacopy,
    /// Lower files with several hard links.
    pub index: Index,
    /// The same on a branch of AuFS.
    pub plinks: Plinks,
    /// How long file handles are good.
    pub nfs_export: NfsExport,
    /// Inode numbers of objects on several filesystems.
    pub xino: Xino,
    /// What copying up makes durable.
    pub durability: Durability,
    /// When the work area is cleared of what a crash left there.
    pub recover: Recover,
    /// Default ACLs of directories.
    pub default_acls: DefaultAcls,
    /// Which branch takes new objects, where several can be written.
    pub create: CreatePolicy,
    /// Which branch takes copies, where several can be written.
    pub copy_up: CopyUpPolicy,
    /// What random policies begin with.
    pub seed: u64,
    /// Whether others may write to the branches.
    pub others: Others,
    /// Whether whiteouts are seen.
    pub whiteouts: ShowWhiteouts,
    /// Whose size the union has.
    pub size: Size,
}

/// Whether others than the union write to its branches while it is in use: the
/// option `udba` of AuFS (User's Direct Branch Access).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Others {
    /// They do not. If they do, what is known of an object need not be right
    /// any more; nothing is lost.
    #[default]
    KeepAway,
    /// They may: a look-up finds what is there now.
    Write,
}

/// Whether whiteouts, and other marks that are entries, are seen: the option
/// `shwh` of AuFS. They hide what they hide in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShowWhiteouts {
    /// They are not.
    #[default]
    Never,
    /// They are, by the names that they have on their branch; so only where
    /// nothing is written.
    AsTheyAre,
}

/// Whose size `statfs(2)` tells: the options `sum`, `wsum` and `nosum` of AuFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Size {
    /// The branch's that is written, the topmost of several; the top one's of
    /// a read-only stack.
    #[default]
    Written,
    /// The top branch's.
    Top,
    /// The sum of all; of branches on one filesystem it counts once.
    All,
    /// The sum of those that are written.
    AllWritten,
}

/// What the default ACL of a directory is to a new object in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultAcls {
    /// Its own ACL, in place of the umask.
    #[default]
    Inherited,
    /// Nothing: the mount option `noacl`.
    Ignored,
}

impl Options {
    /// What the kernel takes for such a stack by default: where anybody may
    /// have written the marks (`user.overlay.*`), redirects and files whose
    /// data lies below are refused, for they lead past the permissions of
    /// directories.
    ///
    /// ```
    /// use overlay_core::union::{Options, RedirectDir};
    /// use overlay_core::{Dialect, MemStorage, Namespace, Stack};
    ///
    /// let user = Dialect::Overlay(Namespace::User);
    /// let stack = Stack::new().lower_as(MemStorage::new(), user);
    /// assert_eq!(Options::of(&stack).redirect_dir, RedirectDir::NoFollow);
    /// ```
    pub fn of(stack: &Stack) -> Options {
        let trusted = |branch: &Branch| branch.dialect.namespace() != Some(Namespace::User);
        match stack.branches().iter().all(trusted) {
            true => Options::default(),
            false => Options {
                redirect_dir: RedirectDir::NoFollow,
                metacopy: Metacopy::NoFollow,
                ..Options::default()
            },
        }
    }

    /// For a stack in which other branches than the top one can be written:
    /// what lies elsewhere below cannot be told from what may be written there.
    pub(super) fn without_redirects(self) -> Result<Options> {
        let why = if self.redirect_dir == RedirectDir::On {
            "redirects are for stacks with one writable branch, on top (redirect_dir=on)"
        } else if self.metacopy == Metacopy::On {
            "copies without data are for stacks with one writable branch, on top (metacopy=on)"
        } else if self.index == Index::On {
            "an index is for stacks with one writable branch, on top (index=on)"
        } else {
            return Ok(Options {
                redirect_dir: RedirectDir::NoFollow,
                metacopy: Metacopy::NoFollow,
                ..self
            });
        };
        Err(Error::Unsupported(why))
    }

    /// `EOPNOTSUPP` for what only a stack can have that is not written.
    pub(super) fn check_written(&self) -> Result<()> {
        match self.whiteouts {
            ShowWhiteouts::Never => Ok(()),
            ShowWhiteouts::AsTheyAre => Err(Error::Unsupported(
                "whiteouts are shown where nothing is written (shwh)",
            )),
        }
    }

    /// `EOPNOTSUPP` for what needs marks that the writable branch does not
    /// have.
    pub(super) fn check(&self, whiteouts: WhiteoutForm) -> Result<()> {
        match whiteouts {
            WhiteoutForm::Device | WhiteoutForm::MarkedFile => return Ok(()),
            WhiteoutForm::Entry => {}
        }
        let why = if self.redirect_dir == RedirectDir::On {
            "an AuFS branch holds no redirects (redirect_dir=on)"
        } else if self.metacopy == Metacopy::On {
            "an AuFS branch holds no files without their data (metacopy=on)"
        } else if self.index == Index::On {
            "an AuFS branch has no index (index=on)"
        } else {
            return Ok(());
        };
        Err(Error::Unsupported(why))
    }
}

/// When the work area is cleared of what a crash left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recover {
    /// While the stack is put together.
    #[default]
    AtOnce,
    /// By [`Union::recover`](super::Union::recover), before the first change:
    /// for a front end that may still fail, and then must have changed nothing.
    WhenAsked,
}

/// The mount option `redirect_dir`: whether a directory with lower content
/// can be renamed. Its copy then says where the lower part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectDir {
    /// Redirects are made and followed.
    On,
    /// Redirects that others made are followed; renaming a directory with
    /// lower content is `EXDEV`. The kernel's `off` means this where it was
    /// built to follow always, as most are.
    #[default]
    Follow,
    /// A name with a redirect is `EPERM`: following one needs trust in who
    /// wrote the layer, for it leads past the permissions of directories.
    NoFollow,
}

/// The mount option `metacopy`: whether a change of a lower file's attributes
/// leaves its data where it is, until the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metacopy {
    /// Such files are made and read.
    On,
    /// Those that others made are read; copies are whole. The kernel has no
    /// such state: with `off` it refuses them.
    #[default]
    Follow,
    /// A file whose data lies below is `EPERM`, as with the kernel's `off`:
    /// it shows data past the permissions of its directory. Those whose data
    /// lies on a data-only branch are read.
    NoFollow,
}

/// The mount option `xino`: inode numbers where the branches lie on several
/// filesystems. The numbers of the first are shown as they are in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Xino {
    /// As `On`.
    #[default]
    Auto,
    /// An object's number within its filesystem, with the filesystem in the
    /// bits above: the same at every mount of the stack.
    On,
    /// Numbers that last as long as the union.
    Off,
}

/// The mount option `index`: whether a lower file with several hard links
/// stays one object when it is copied up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Index {
    /// It does: its copy lies in an index beside the work area.
    On,
    /// The name that is written to becomes a file of its own.
    #[default]
    Off,
}

/// The option `plink` of AuFS: whether a lower file with several hard links
/// stays one object when it is copied up to a branch of AuFS, if that is the
/// only one that can be written, and on top. Elsewhere it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plinks {
    /// It does: its copy lies among the pseudo-links of the branch.
    Keep,
    /// The name that is written to becomes a file of its own: `noplink`.
    #[default]
    Break,
}
