//! The words of the command line as a plan. Nothing is dropped in silence:
//! a word has an effect, is said to be the default, or is refused by name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use overlay_core::Directories;
use overlay_core::stack::directories::Marks;
use overlay_core::stack::mounts::unescape_option as unescape;

use super::Args;
use super::escape::split;
use overlay_core::union::RedirectDir;

use crate::mount::{MountFlag, MountOptions, Users};

/// What to mount, where and how.
#[derive(Debug)]
pub struct Plan {
    /// The layers; `mount_point` is set.
    pub directories: Directories,
    /// Where.
    pub point: PathBuf,
    /// How.
    pub options: MountOptions,
    /// `redirect_dir`, if it was given.
    pub redirect_dir: Option<RedirectDir>,
    /// Whether to stay in the foreground.
    pub foreground: bool,
    /// Whether to tell every request.
    pub debug: bool,
    /// Where to tell it.
    pub log: Option<PathBuf>,
}

/// What is wrong with the words: one sentence each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A value of `redirect_dir` that there is not.
    #[error("redirect_dir={} is unknown: write on, follow, nofollow or off", .0.display())]
    RedirectDir(OsString),
    /// No mount point, or no layer.
    #[error("layers and a mount point are needed: ufsmount LOWER[:LOWER...] [UPPER] MOUNTPOINT")]
    TooFew,
    /// More words than meanings.
    #[error("{0:?} is one path too many: see ufsmount --help")]
    TooMany(OsString),
    /// `a::b`
    #[error(
        "the list of lower layers {0:?} has an empty entry: separate layers by one ':' (data-only layers, '::', are not supported)"
    )]
    EmptyLayer(OsString),
    /// `upperdir=`
    #[error("the option {0} has no value: write {0}=DIR, or leave it out")]
    NoValue(&'static str),
    /// `nodev=1`
    #[error("the option {0:?} takes no value: write it without '='")]
    Value(OsString),
    /// An option or path given twice.
    #[error("{0} is given twice: give it once")]
    Twice(&'static str),
    /// `workdir=` alone.
    #[error("workdir is given without an upper layer: add upperdir=DIR, or leave workdir out")]
    WorkAlone,
    /// An option that others give a meaning we do not.
    #[error("option {0:?} is not supported: {1}")]
    Unsupported(OsString, &'static str),
    /// An option that nobody knows.
    #[error("option {0:?} is not known: leave it out (ufsmount --help lists the options)")]
    Unknown(OsString),
}

/// The layers as the words give them.
#[derive(Debug, Default)]
struct Named {
    lowers: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    source: Option<OsString>,
    marks: Marks,
    debug: bool,
    redirect_dir: Option<RedirectDir>,
}

impl Args {
    /// Gives every word its meaning, or refuses it.
    pub fn plan(self) -> Result<Plan, UsageError> {
        let mut named = Named::default();
        let mut options = usual_options();
        for list in &self.options {
            for word in split(list, b',') {
                options = named.word(&word, options)?;
            }
        }
        let point = named.paths(self.paths)?;
        if let Some(source) = named.source.take() {
            options = options.source(source);
        }
        if named.upper.is_none() && named.work.is_some() {
            return Err(UsageError::WorkAlone);
        }
        if options.has(MountFlag::ReadOnly)
            && let Some(upper) = named.upper.take()
        {
            // It has the same marks as a lower layer, and is on top.
            named.lowers.insert(0, upper);
            named.work = None;
        }
        let debug = self.debug || named.debug;
        Ok(Plan {
            directories: Directories {
                lowers: named.lowers,
                upper: named.upper,
                work: named.work,
                marks: named.marks,
                mount_point: Some(point.clone()),
            },
            point,
            options,
            redirect_dir: named.redirect_dir,
            foreground: self.foreground || debug,
            debug,
            log: self.log,
        })
    }
}

impl Named {
    /// The paths beside the options; returns the mount point.
    fn paths(&mut self, mut paths: Vec<OsString>) -> Result<PathBuf, UsageError> {
        let point = paths.pop().ok_or(UsageError::TooFew)?;
        let mut paths = paths.into_iter();
        if !self.lowers.is_empty() {
            // As mount(8) calls it: SOURCE MOUNTPOINT -o lowerdir=...
            if let Some(source) = paths.next() {
                self.source.get_or_insert(source);
            }
        } else {
            self.lowers = layers(&paths.next().ok_or(UsageError::TooFew)?)?;
            if let Some(upper) = paths.next() {
                once("the upper layer", &mut self.upper, upper.into())?;
            }
        }
        match paths.next() {
            Some(path) => Err(UsageError::TooMany(path)),
            None => Ok(point.into()),
        }
    }

    /// One option.
    fn word(&mut self, word: &OsStr, options: MountOptions) -> Result<MountOptions, UsageError> {
        let bytes = word.as_bytes();
        let (name, value) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => {
                let (name, value) = bytes.split_at(at);
                (
                    name,
                    Some(OsStr::from_bytes(value.get(1..).unwrap_or_default())),
                )
            }
            None => (bytes, None),
        };
        match value {
            Some(value) => self.valued(word, name, value, options),
            None => self.plain(word, name, options),
        }
    }

    fn valued(
        &mut self,
        word: &OsStr,
        name: &[u8],
        value: &OsStr,
        options: MountOptions,
    ) -> Result<MountOptions, UsageError> {
        let needed = |name| match value.is_empty() {
            true => Err(UsageError::NoValue(name)),
            false => Ok(unescape(value)),
        };
        match name {
            b"lowerdir" if !self.lowers.is_empty() => return Err(UsageError::Twice("lowerdir")),
            b"lowerdir" => {
                needed("lowerdir")?;
                self.lowers = layers(value)?;
            }
            b"lowerdir+" => self.lowers.push(needed("lowerdir+")?.into()),
            b"upperdir" => once("upperdir", &mut self.upper, needed("upperdir")?.into())?,
            b"workdir" => once("workdir", &mut self.work, needed("workdir")?.into())?,
            b"redirect_dir" => {
                let (_, mode) = REDIRECT_DIR
                    .iter()
                    .find(|(word, _)| *word == value)
                    .ok_or_else(|| UsageError::RedirectDir(value.to_owned()))?;
                self.redirect_dir = Some(*mode);
            }
            b"fsname" => once("fsname", &mut self.source, needed("fsname")?)?,
            b"subtype" => return Ok(options.subtype(needed("subtype")?)),
            name if ALWAYS_OFF.iter().any(|word| word.as_bytes() == name) => {
                if value != "off" {
                    return Err(UsageError::Unsupported(word.to_owned(), "only \"off\" is"));
                }
            }
            b"comment" => {}
            name if is_for_mount8(name) => {}
            name if FLAGS.iter().any(|(word, ..)| word.as_bytes() == name) => {
                return Err(UsageError::Value(word.to_owned()));
            }
            name if NOT_YET.iter().any(|word| word.as_bytes() == name) => {
                return Err(UsageError::Unsupported(word.to_owned(), "leave it out"));
            }
            _ => return Err(UsageError::Unknown(word.to_owned())),
        }
        Ok(options)
    }

    fn plain(
        &mut self,
        word: &OsStr,
        name: &[u8],
        options: MountOptions,
    ) -> Result<MountOptions, UsageError> {
        if let Some((_, flag, state)) = FLAGS.iter().find(|(word, ..)| word.as_bytes() == name) {
            return Ok(match state {
                State::Set => options.set(*flag),
                State::Clear => options.clear(*flag),
            });
        }
        match name {
            b"allow_other" => return Ok(options.users(Users::Everyone)),
            b"userxattr" => self.marks = Marks::User,
            b"debug" => self.debug = true,
            // Between two commas, or at the end of a list.
            b"" => {}
            b"default_permissions" | b"relatime" => {}
            b"lowerdir" => return Err(UsageError::NoValue("lowerdir")),
            b"upperdir" => return Err(UsageError::NoValue("upperdir")),
            b"workdir" => return Err(UsageError::NoValue("workdir")),
            b"fsname" => return Err(UsageError::NoValue("fsname")),
            b"subtype" => return Err(UsageError::NoValue("subtype")),
            name if is_for_mount8(name) => {}
            name if NOT_YET.iter().any(|word| word.as_bytes() == name) => {
                return Err(UsageError::Unsupported(word.to_owned(), "leave it out"));
            }
            _ => return Err(UsageError::Unknown(word.to_owned())),
        }
        Ok(options)
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Set,
    Clear,
}

const FLAGS: [(&str, MountFlag, State); 15] = [
    ("ro", MountFlag::ReadOnly, State::Set),
    ("rw", MountFlag::ReadOnly, State::Clear),
    ("nodev", MountFlag::NoDev, State::Set),
    ("dev", MountFlag::NoDev, State::Clear),
    ("nosuid", MountFlag::NoSuid, State::Set),
    ("suid", MountFlag::NoSuid, State::Clear),
    ("noexec", MountFlag::NoExec, State::Set),
    ("exec", MountFlag::NoExec, State::Clear),
    ("noatime", MountFlag::NoAtime, State::Set),
    ("atime", MountFlag::NoAtime, State::Clear),
    ("nodiratime", MountFlag::NoDirAtime, State::Set),
    ("diratime", MountFlag::NoDirAtime, State::Clear),
    ("sync", MountFlag::Synchronous, State::Set),
    ("async", MountFlag::Synchronous, State::Clear),
    ("dirsync", MountFlag::DirSync, State::Set),
];

/// The values of `redirect_dir`. `off` is what kernels make of it that are
/// built to follow always, as most are.
const REDIRECT_DIR: [(&str, RedirectDir); 4] = [
    ("on", RedirectDir::On),
    ("follow", RedirectDir::Follow),
    ("nofollow", RedirectDir::NoFollow),
    ("off", RedirectDir::Follow),
];

/// Options of the kernel's overlayfs of which we have one state only.
const ALWAYS_OFF: [&str; 4] = ["index", "metacopy", "nfs_export", "verity"];

/// Options of the kernel's overlayfs, of libfuse and of fuse-overlayfs that
/// have a meaning we do not give them.
const NOT_YET: [&str; 18] = [
    "volatile",
    "fsync",
    "xino",
    "uuid",
    "datadir+",
    "allow_root",
    "auto_unmount",
    "timeout",
    "context",
    "uidmapping",
    "gidmapping",
    "squash_to_root",
    "squash_to_uid",
    "squash_to_gid",
    "xattr_permissions",
    "static_nlink",
    "noacl",
    "noxattrs",
];

/// Words in `/etc/fstab` that are for `mount(8)` itself; see there.
fn is_for_mount8(name: &[u8]) -> bool {
    let words: [&[u8]; 8] = [
        b"defaults",
        b"auto",
        b"noauto",
        b"user",
        b"nouser",
        b"users",
        b"nofail",
        b"_netdev",
    ];
    words.contains(&name) || name.starts_with(b"x-")
}

fn layers(list: &OsStr) -> Result<Vec<PathBuf>, UsageError> {
    let parts = split(list, b':');
    if parts.iter().any(|part| part.is_empty()) {
        return Err(UsageError::EmptyLayer(list.to_owned()));
    }
    Ok(parts.iter().map(|part| unescape(part).into()).collect())
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), UsageError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UsageError::Twice(name)),
    }
}

/// As `mount(8)` mounts: what root mounts has working setuid programs and
/// devices, as a root filesystem needs; what others mount has neither.
fn usual_options() -> MountOptions {
    let options = MountOptions::new();
    match rustix::process::geteuid().is_root() {
        true => options.clear(MountFlag::NoSuid).clear(MountFlag::NoDev),
        false => options,
    }
}

#[cfg(test)]
mod tests;
