//! Who is compared: a name, a program, and the words to start it with.
//!
//! Everybody gets the options that make the mount possible and is otherwise as
//! they come.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What kind of union a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The kernel's overlayfs.
    Kernel,
    /// Ours.
    Ufsmount,
    /// Of the version 1 (in C) or 2 (in Rust).
    FuseOverlayfs,
    /// `unionfs-fuse`, with copy on write.
    Unionfs,
    /// It has no copy-up: what changes lower files fails.
    Mergerfs,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::Kernel,
        Kind::Ufsmount,
        Kind::FuseOverlayfs,
        Kind::Unionfs,
        Kind::Mergerfs,
    ];

    /// What the names of its peers begin with.
    fn prefix(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Ufsmount => "ufsmount",
            Kind::FuseOverlayfs => "fuse-overlayfs",
            Kind::Unionfs => "unionfs",
            Kind::Mergerfs => "mergerfs",
        }
    }

    fn of(name: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| name.starts_with(kind.prefix()))
    }
}

/// The program of a peer.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// None: a mount of the kernel's own.
    None,
    /// This one, under the name of ours.
    Itself,
    At(PathBuf),
}

/// One of those who are compared.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) program: Program,
    /// Mount options beside those for the layers.
    pub(crate) options: Vec<String>,
}

/// The name of the kernel's overlayfs, which all others are compared with.
pub(crate) const KERNEL: &str = "kernel";

/// The name of ours as it is mounted by default.
pub(crate) const OURS: &str = "ufsmount";

/// Ours, and nothing of it durable: it is compared with those who never sync.
pub(crate) const VOLATILE: &str = "ufsmount-volatile";

/// The peer that the second column of ratios is to.
pub(crate) const FUSE_OVERLAYFS: &str = "fuse-overlayfs-2";

impl Peer {
    pub(crate) fn new(name: &str, program: Program) -> Result<Peer, String> {
        let kind = Kind::of(name).ok_or_else(|| {
            let prefixes = Kind::ALL.map(Kind::prefix).join(", ");
            format!("{name:?} is no peer: its name has to begin with one of {prefixes}")
        })?;
        Ok(Peer {
            name: name.to_owned(),
            kind,
            program,
            options: Vec::new(),
        })
    }

    fn with(mut self, option: &str) -> Peer {
        self.options.push(option.to_owned());
        self
    }

    /// Whether its requests pass through `/dev/fuse`.
    pub(crate) fn is_fuse(&self) -> bool {
        self.kind != Kind::Kernel
    }

    /// Whether it keeps the promise of the kernel's overlayfs, that a copy is
    /// on the disk before it is seen.
    pub(crate) fn is_volatile(&self) -> bool {
        self.options.iter().any(|option| option == "volatile")
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Those who are found on this machine; those who are not are said to be
/// missing.
pub(crate) fn installed(missing: &mut dyn FnMut(&str)) -> Result<Vec<Peer>, String> {
    let mut peers = vec![
        Peer::new(KERNEL, Program::None)?,
        Peer::new(OURS, Program::Itself)?,
        Peer::new(VOLATILE, Program::Itself)?.with("volatile"),
    ];
    let overlays = fuse_overlays();
    for (version, advice) in [
        ("2", "cargo install fuse-overlayfs"),
        ("1", "the package fuse-overlayfs"),
    ] {
        let name = format!("fuse-overlayfs-{version}");
        match overlays.iter().find(|(found, _)| found == version) {
            Some((_, path)) => peers.push(Peer::new(&name, Program::At(path.clone()))?),
            None => missing(&format!("{name} is not installed ({advice}): left out")),
        }
    }
    for name in ["unionfs-fuse", "mergerfs"] {
        match found(name).next() {
            Some(path) => peers.push(Peer::new(name, Program::At(path))?),
            None => missing(&format!(
                "{name} is not installed (the package {name}): left out"
            )),
        }
    }
    Ok(peers)
}

/// All programs called `name` where programs lie, and where cargo puts them.
fn found(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = env::split_paths(&path).collect();
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    places.extend(cargo.map(|cargo| cargo.join("bin")));
    let name = name.to_owned();
    places
        .into_iter()
        .map(move |place| place.join(&name))
        .filter(|path| path.is_file())
}

/// The programs of this name with the first number of their versions: there
/// are two families, which differ in everything but the name.
fn fuse_overlays() -> Vec<(String, PathBuf)> {
    let version = |path: PathBuf| {
        let said = Command::new(&path).arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let (_, version) = said.split_once("fuse-overlayfs: version ")?;
        Some((version.split('.').next()?.to_owned(), path))
    };
    found("fuse-overlayfs").filter_map(version).collect()
}

/// The places of one mount.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    /// Top first.
    pub(crate) lowers: &'a [PathBuf],
    pub(crate) upper: &'a Path,
    pub(crate) work: &'a Path,
    pub(crate) point: &'a Path,
}

impl Peer {
    /// The arguments that mount at `places` and stay in the foreground.
    pub(crate) fn words(&self, places: &Places<'_>) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["-f".into(), "-o".into()];
        let mut options = OsString::new();
        let mut option = |name: &str, value: &OsStr| {
            if !options.is_empty() {
                options.push(",");
            }
            options.push(name);
            options.push(value);
        };
        let mut branches = None;
        match self.kind {
            Kind::Kernel => {}
            Kind::Ufsmount | Kind::FuseOverlayfs => {
                option("lowerdir=", &joined(places.lowers, ""));
                option("upperdir=", places.upper.as_os_str());
                option("workdir=", places.work.as_os_str());
            }
            Kind::Unionfs | Kind::Mergerfs => {
                if self.kind == Kind::Unionfs {
                    option("cow", OsStr::new(""));
                }
                option("use_ino", OsStr::new(""));
                let mut list = places.upper.as_os_str().to_owned();
                list.push("=RW:");
                list.push(joined(places.lowers, "=RO"));
                branches = Some(list);
            }
        }
        for extra in &self.options {
            option(extra, OsStr::new(""));
        }
        words.push(options);
        words.extend(branches);
        words.push(places.point.into());
        words
    }
}

fn joined(paths: &[PathBuf], mode: &str) -> OsString {
    let mut out = OsString::new();
    for path in paths {
        if !out.is_empty() {
            out.push(":");
        }
        out.push(path);
        out.push(mode);
    }
    out
}
