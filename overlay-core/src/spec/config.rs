//! The mount options that change what a union does or what it writes.

use std::fmt;

use crate::attr::FileKind;

/// The options of a mount, by the kernel's names for them.
///
/// Not all combinations are accepted: [`Config::is_accepted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Config {
    /// `redirect_dir`
    pub redirect_dir: RedirectDir,
    /// `metacopy`: whether a change of attributes alone leaves the data where
    /// it is. Nothing in the tree shows it; the layers do.
    pub metacopy: Switch,
    /// `index`: whether a lower object with several names stays one object
    /// when it is copied up.
    pub index: Switch,
    /// `nfs_export`: whether everything that is copied up gets into the index.
    pub nfs_export: Switch,
    /// `xino`: how inode numbers of several filesystems are told apart. The
    /// model does not look at it: it knows one filesystem.
    pub xino: Xino,
    /// `userxattr`: under which names the layers keep their marks.
    pub namespace: Namespace,
    /// How many of the layers, the lowest, are data-only (`lowerdir=a::d`).
    pub data_only: usize,
}

/// An option that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Switch {
    /// `off`
    #[default]
    Off,
    /// `on`
    On,
}

/// Whether directories with a lower part can be renamed, and what becomes of
/// redirects that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RedirectDir {
    /// They cannot: `EXDEV`. Redirects are followed.
    #[default]
    Follow,
    /// They can: a redirect says where the lower part lies.
    On,
    /// They cannot, and redirects are refused: see [`refused`](super::refused).
    NoFollow,
}

/// `xino`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Xino {
    /// Where the numbers leave room for it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Where the marks of layers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Namespace {
    /// `trusted.overlay.*`
    #[default]
    Trusted,
    /// `user.overlay.*`: the option `userxattr`. Only files and directories
    /// can carry such attributes.
    User,
}

impl Namespace {
    /// What the names of all marks begin with.
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Namespace::Trusted => b"trusted.overlay.",
            Namespace::User => b"user.overlay.",
        }
    }

    /// Whether an object of this kind can carry marks: attributes in `user.*`
    /// exist on files and directories only.
    pub fn can_mark(self, kind: FileKind) -> bool {
        match self {
            Namespace::Trusted => true,
            Namespace::User => matches!(kind, FileKind::Regular | FileKind::Directory),
        }
    }
}

impl Switch {
    const ALL: [Switch; 2] = [Switch::Off, Switch::On];

    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

impl Config {
    /// Every combination, accepted or not, without data-only layers.
    pub fn all() -> Vec<Config> {
        let mut all = Vec::new();
        for redirect_dir in [RedirectDir::Follow, RedirectDir::On, RedirectDir::NoFollow] {
            for metacopy in Switch::ALL {
                for index in Switch::ALL {
                    for nfs_export in Switch::ALL {
                        for xino in [Xino::Auto, Xino::On, Xino::Off] {
                            for namespace in [Namespace::Trusted, Namespace::User] {
                                all.push(Config {
                                    redirect_dir,
                                    metacopy,
                                    index,
                                    nfs_export,
                                    xino,
                                    namespace,
                                    data_only: 0,
                                });
                            }
                        }
                    }
                }
            }
        }
        all
    }

    /// Whether a kernel mounts with these options, all of them given
    /// (`ovl_fs_params_verify` in `fs/overlayfs/params.c`):
    ///
    /// - `metacopy` needs `redirect_dir=on`, for a file that is renamed needs
    ///   a redirect to its data;
    /// - `nfs_export` needs `index`, and goes without `metacopy`;
    /// - `userxattr` goes with neither redirects nor `metacopy`: anybody could
    ///   write them, to reach what they may not read.
    pub fn is_accepted(&self) -> bool {
        let metacopy_is_fine = self.redirect_dir == RedirectDir::On && !self.nfs_export.is_on();
        (metacopy_is_fine || !self.metacopy.is_on())
            && (self.index.is_on() || !self.nfs_export.is_on())
            && match self.namespace {
                Namespace::Trusted => true,
                Namespace::User => {
                    self.redirect_dir == RedirectDir::NoFollow && !self.metacopy.is_on()
                }
            }
    }

    /// Every combination that is accepted.
    pub fn accepted() -> Vec<Config> {
        let mut all = Config::all();
        all.retain(Config::is_accepted);
        all
    }
}

impl fmt::Display for Config {
    /// As `mount(8)` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            redirect_dir,
            metacopy,
            index,
            nfs_export,
            xino,
            namespace,
            data_only: _,
        } = self;
        let redirect_dir = match redirect_dir {
            RedirectDir::Follow => "follow",
            RedirectDir::On => "on",
            RedirectDir::NoFollow => "nofollow",
        };
        let xino = match xino {
            Xino::Auto => "auto",
            Xino::On => "on",
            Xino::Off => "off",
        };
        write!(f, "redirect_dir={redirect_dir},metacopy={metacopy},")?;
        write!(f, "index={index},nfs_export={nfs_export},xino={xino}")?;
        match namespace {
            Namespace::Trusted => Ok(()),
            Namespace::User => f.write_str(",userxattr"),
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Switch::Off => "off",
            Switch::On => "on",
        })
    }
}
