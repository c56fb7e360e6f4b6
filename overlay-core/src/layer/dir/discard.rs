//! Taking things out of the work area, trees included.
//!
//! A tree is taken apart without recursion and with one directory open at a
//! time: a directory found inside another is moved up into the work area, under
//! a fresh name, and waits there for its turn. A crash in between leaves
//! nothing that the next mount does not clear.

use std::ops::ControlFlow;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::node::{Place, Places};
use super::shift::not_empty;
use super::upper::Writer;
use super::volatile::refuse_incompatible;
use super::{DirNode, DirUpper};
use crate::attr::FileKind;
use crate::error::{Error, Result};
use crate::layer::{Discard, Node, RenameMode};
use crate::name::{Name, NameBuf};
use crate::sys::{self, At};

/// Names that are read before they are removed: bounds the memory that a huge
/// directory takes.
const BATCH: usize = 4096;

impl DirUpper {
    /// Removes the staged `node`, which is `name` in the work area.
    pub(super) fn discard_entry(&self, node: &DirNode, name: &Name, keep: Discard) -> Result<()> {
        let writer = node.branch().writer()?;
        let mut places = Places::lock(Some(node), None);
        let held = match keep {
            Discard::Keep => Some(node.hold(At::new(writer.work(), name))?),
            Discard::Forget => None,
        };
        writer.remove_tree(name, node.kind())?;
        if let (Some(place), Some(held)) = (places.first.as_deref_mut(), held) {
            *place = Place::Held(Some(held));
        }
        Ok(())
    }

    /// Removes everything in the work area.
    pub(super) fn clear(&self, work: &DirNode) -> Result<()> {
        let writer = work.branch().writer()?;
        refuse_incompatible(writer.work())?;
        loop {
            let batch = batch(|each| work.entries(each))?;
            if batch.is_empty() {
                return Ok(());
            }
            for (name, kind) in batch {
                writer.remove_tree(&name, kind)?;
            }
        }
    }
}

impl Writer {
    /// Removes `name` in the work area with all that is in it.
    fn remove_tree(&self, name: &Name, kind: FileKind) -> Result<()> {
        let at = At::new(self.work(), name);
        if !kind.is_dir() {
            match sys::make::unlink(at) {
                Ok(()) | Err(Error::NotFound) => return Ok(()),
                // A listing without kinds: it is a directory after all.
                Err(error) if error.is(Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.last() {
            let at = At::new(self.work(), name);
            match sys::make::remove_directory(at).map_err(not_empty) {
                Ok(()) | Err(Error::NotFound) => {
                    waiting.pop();
                }
                Err(Error::NotEmpty) => {
                    let inner = self.empty_one(at)?;
                    waiting.extend(inner);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes up to a batch of what is in the directory `at`, and returns the
    /// names in the work area of the directories that were in it.
    fn empty_one(&self, at: At<'_>) -> Result<Vec<NameBuf>> {
        self.open_up(at)?;
        let dir = sys::open::entry(at, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut moved = Vec::new();
        for (name, kind) in batch(|each| sys::dir::entries(dir.as_fd(), each))? {
            let inner = At::new(dir.as_fd(), &name);
            if !kind.is_dir() {
                match sys::make::unlink(inner) {
                    Ok(()) | Err(Error::NotFound) => continue,
                    // A listing without kinds: it is a directory after all.
                    Err(error) if error.is(Errno::ISDIR) => {}
                    Err(error) => return Err(error),
                }
            }
            match sys::make::remove_directory(inner).map_err(not_empty) {
                Ok(()) | Err(Error::NotFound) => {}
                Err(Error::NotEmpty) => {
                    self.open_up(inner)?;
                    moved.push(self.move_up(inner)?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    /// Moves a directory into the work area under a fresh name.
    fn move_up(&self, inner: At<'_>) -> Result<NameBuf> {
        loop {
            let name = self.fresh_name()?;
            let to = At::new(self.work(), &name);
            match self.rename(inner, to, RenameMode::NoReplace) {
                Ok(()) => return Ok(name),
                Err(error) if error.is(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets an unprivileged process into a directory of its own, whatever its
    /// mode was.
    fn open_up(&self, at: At<'_>) -> Result<()> {
        match self.owner.uid {
            0 => Ok(()),
            _ => self.set_mode(sys::Object::Entry(at), 0o700),
        }
    }
}

type Each<'a> = &'a mut dyn FnMut(crate::layer::RawEntry<'_>) -> ControlFlow<()>;

/// Up to [`BATCH`] entries; what the listing does not tell a kind of counts as
/// a file first.
fn batch(list: impl FnOnce(Each<'_>) -> Result<()>) -> Result<Vec<(NameBuf, FileKind)>> {
    let mut batch = Vec::new();
    list(&mut |entry| {
        batch.push((
            entry.name.to_owned(),
            entry.kind.unwrap_or(FileKind::Regular),
        ));
        match batch.len() < BATCH {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    })?;
    Ok(batch)
}
