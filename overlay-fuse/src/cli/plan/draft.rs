//! A plan while the words are read: what each of them has said so far.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use overlay_core::stack::directories::{LayerFormat, Marks};
use overlay_core::stack::mounts::unescape_option as unescape;
use overlay_core::union::{Durability, Index, Metacopy, NfsExport, RedirectDir, Xino};

use super::super::escape::{options_in, split};
use super::UsageError;
use super::aufs::{self, Udba};
use super::options::{self, Given, Meaning, Owners, Switch};
use crate::io::Io;
use crate::mount::{MountFlag, MountOptions, Propagation};

/// What the words have said so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) lowers: Vec<PathBuf>,
    pub(super) data_lowers: Vec<PathBuf>,
    pub(super) upper: Option<PathBuf>,
    pub(super) work: Option<PathBuf>,
    pub(super) source: Option<OsString>,
    pub(super) marks: Marks,
    pub(super) format: LayerFormat,
    pub(super) mount: MountOptions,
    pub(super) redirect_dir: Option<RedirectDir>,
    pub(super) metacopy: Option<Metacopy>,
    pub(super) index: Option<Index>,
    pub(super) nfs_export: NfsExport,
    pub(super) xino: Xino,
    pub(super) durability: Durability,
    pub(super) io: Io,
    pub(super) owners: Owners,
    pub(super) debug: bool,
    pub(super) udba: Udba,
    /// The words of aufs, where branches are named by them.
    pub(super) aufs: Option<Vec<aufs::Word>>,
}

/// Whether a flag of the mount is set or taken away.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    Set,
    Clear,
}

impl Draft {
    pub(super) fn new() -> Draft {
        Draft {
            lowers: Vec::new(),
            data_lowers: Vec::new(),
            upper: None,
            work: None,
            source: None,
            marks: Marks::default(),
            format: LayerFormat::default(),
            mount: usual_options(),
            redirect_dir: None,
            metacopy: None,
            index: None,
            nfs_export: NfsExport::default(),
            xino: Xino::default(),
            durability: Durability::default(),
            io: Io::default(),
            owners: Owners::default(),
            debug: false,
            udba: Udba::None,
            aufs: None,
        }
    }

    /// The value of one `-o`.
    pub(super) fn options(&mut self, list: &OsStr) -> Result<(), UsageError> {
        options_in(list)
            .iter()
            .try_for_each(|word| self.option(word))
    }

    fn option(&mut self, word: &OsStr) -> Result<(), UsageError> {
        let bytes = word.as_bytes();
        // Between two commas, or at the end of a list.
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(words) = &mut self.aufs
            && let Some(own) = aufs::read_own(word)
        {
            words.push(own?);
            return Ok(());
        }
        let (name, value) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let option = options::find(name).ok_or_else(|| UsageError::Unknown(word.to_owned()))?;
        if self.aufs.is_some() && options::is_of_overlays(option) {
            return Err(UsageError::Conflict("br", option.name));
        }
        match (option.meaning, value) {
            (Meaning::Word(set), None) => set(self),
            (Meaning::Word(_), Some(_)) => Err(UsageError::Value(word.to_owned())),
            (Meaning::Switch(set), None) => set(self, Switch::On),
            (Meaning::Switch(set), Some(value)) => {
                let state = Given::new(option.name, word, value).switch()?;
                set(self, state)
            }
            (Meaning::Value(set), Some(value)) if !value.is_empty() => {
                set(self, &Given::new(option.name, word, value))
            }
            (Meaning::Value(_), _) => Err(UsageError::NoValue(option.name, option.value)),
            (Meaning::Elsewhere, _) => Ok(()),
            (Meaning::Refused(why), _) => Err(UsageError::Unsupported(word.to_owned(), why)),
        }
    }

    /// The paths beside the options; returns the mount point.
    pub(super) fn paths(&mut self, mut paths: Vec<OsString>) -> Result<PathBuf, UsageError> {
        let point = paths.pop().ok_or(UsageError::TooFew)?;
        let mut paths = paths.into_iter();
        if !self.lowers.is_empty() || self.aufs.is_some() {
            // As mount(8) calls it: SOURCE MOUNTPOINT -o lowerdir=...
            if let Some(source) = paths.next() {
                self.source.get_or_insert(source);
            }
        } else {
            self.lower_list(&paths.next().ok_or(UsageError::TooFew)?)?;
            if let Some(upper) = paths.next() {
                once("the upper layer", &mut self.upper, upper.into())?;
            }
        }
        match paths.next() {
            Some(path) => Err(UsageError::TooMany(path)),
            // Not a path: the layers could not be checked against the mount,
            // nor could it be unmounted.
            None if point.as_bytes().starts_with(b"/dev/fd/") => Err(UsageError::Device(point)),
            None => Ok(point.into()),
        }
    }

    /// `a:b::c::d`: layers, top first, and after `::` data-only ones.
    pub(super) fn lower_list(&mut self, list: &OsStr) -> Result<(), UsageError> {
        let mut data_only = false;
        let mut empty = true;
        for part in split(list, b':') {
            match (part.is_empty(), empty) {
                (true, true) => return Err(UsageError::EmptyLayer(list.to_owned())),
                (true, false) => data_only = true,
                (false, _) if !data_only => self.lowers.push(unescape(&part).into()),
                (false, true) => self.data_lowers.push(unescape(&part).into()),
                (false, false) => return Err(UsageError::AfterDataOnly(list.to_owned())),
            }
            empty = part.is_empty();
        }
        match empty {
            true => Err(UsageError::EmptyLayer(list.to_owned())),
            false => Ok(()),
        }
    }

    /// Changes how to mount.
    pub(super) fn mount(&mut self, change: impl FnOnce(MountOptions) -> MountOptions) {
        self.mount = change(mem::take(&mut self.mount));
    }

    /// A flag of the mount.
    pub(super) fn flag(&mut self, flag: MountFlag, state: State) -> Result<(), UsageError> {
        self.mount(|options| match state {
            State::Set => options.set(flag),
            State::Clear => options.clear(flag),
        });
        Ok(())
    }

    /// How the mount propagates. Nothing lies below a new one, so that with
    /// all below it is the same.
    pub(super) fn propagation(&mut self, propagation: Propagation) -> Result<(), UsageError> {
        self.mount(|options| options.propagation(propagation));
        Ok(())
    }
}

/// Fills `place`, which must be empty.
pub(super) fn once<T>(
    name: &'static str,
    place: &mut Option<T>,
    value: T,
) -> Result<(), UsageError> {
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
