//! Listing a directory: the entries of all its parts, each name once, hidden
//! names left out.
//!
//! An open directory is a snapshot taken at position 0, so positions are
//! stable while it is open, and rewinding sees the present. Takes the
//! directory's lock for reading while the snapshot is taken.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Union;
use super::inode::Inode;
use super::locks::{DirHeld, DirRead};
use super::opened::{Opened, Use};
use super::options::ShowWhiteouts;
use super::part::Part;
use super::table::{ObjectId, ROOT};
use super::trail;
use crate::attr::FileKind;
use crate::dialect::{Heed, Meaning, Reading};
use crate::error::{Error, Result};
use crate::layer::Node;
use crate::name::{Name, NameBuf};
use crate::stack::BranchId;

/// An open directory: a snapshot of its names, taken at position 0.
#[derive(Debug)]
pub struct DirHandle {
    opened: Arc<Opened>,
    /// Leaf lock; held only to take or replace the reference.
    snapshot: Mutex<Option<Arc<[Listed]>>>,
}

impl DirHandle {
    /// The directory it was opened on.
    pub fn inode(&self) -> Arc<Inode> {
        self.opened.inode()
    }
}

/// One entry of a merged directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a Name,
    /// What it is.
    pub kind: FileKind,
    /// The same as `Attr::ino` of the entry.
    pub ino: u64,
    /// Where to go on after this entry.
    pub next: u64,
}

/// Whether [`Union::read_dir`] goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next entry.
    Continue,
    /// No: this entry was not taken, and comes first next time.
    Stop,
}

#[derive(Debug)]
struct Listed {
    name: NameBuf,
    kind: FileKind,
    ino: u64,
}

/// A name met on one branch.
struct Met {
    name: NameBuf,
    kind: FileKind,
    id: ObjectId,
    branch: BranchId,
    /// `true` for a whiteout: it only hides.
    hides: bool,
    /// A directory over a directory, the upper of which says nothing about the
    /// number if they merge.
    over_directory: bool,
    written: bool,
}

/// A part of a directory, with what is needed to read its marks.
struct Listing<'a> {
    branch: BranchId,
    node: &'a dyn Node,
    reading: Reading,
    file_whiteouts: bool,
    written: bool,
}

impl Union {
    /// Opens a directory; `ENOTDIR` for anything else.
    pub fn open_dir(&self, inode: &Arc<Inode>) -> Result<DirHandle> {
        inode.directory().ok_or(Error::NotDirectory)?;
        Ok(DirHandle {
            opened: self.opens.enter(inode, Use::Listing),
            snapshot: Mutex::new(None),
        })
    }

    /// Lists from position `from` on. 0 is the beginning and takes a fresh
    /// look; 1 is the beginning too, of what was seen before. `.` and `..` are
    /// not among the entries.
    pub fn read_dir(
        &self,
        dir: &DirHandle,
        from: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> Flow,
    ) -> Result<()> {
        let known = dir.snapshot.lock().clone();
        let snapshot = match known {
            Some(snapshot) if from > 0 => snapshot,
            Some(_) | None => {
                let fresh = self.list(&dir.inode())?;
                *dir.snapshot.lock() = Some(Arc::clone(&fresh));
                fresh
            }
        };
        let start = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        for (at, listed) in snapshot.iter().enumerate().skip(start) {
            let entry = DirEntry {
                name: &listed.name,
                kind: listed.kind,
                ino: listed.ino,
                next: at as u64 + 2,
            };
            match each(entry) {
                Flow::Continue => {}
                Flow::Stop => break,
            }
        }
        Ok(())
    }

    /// The number of a directory's parent, for `..`; the root's is its own.
    pub fn parent_number(&self, inode: &Arc<Inode>) -> u64 {
        inode.link().map_or(ROOT, |link| link.parent.number())
    }

    /// The directory that an inode is in, by its number, and its name there;
    /// `None` for the root and what was removed.
    pub fn name_of(&self, inode: &Arc<Inode>) -> Option<(u64, NameBuf)> {
        let link = inode.link()?;
        Some((link.parent.number(), link.name))
    }

    fn list(&self, inode: &Arc<Inode>) -> Result<Arc<[Listed]>> {
        let held = DirRead::lock(inode)?;
        if held.is_removed() {
            return Ok(Arc::default());
        }
        let mut listed = Vec::new();
        for met in self.meet(inode, &held)? {
            if met.hides {
                continue;
            }
            let number = self.number_to_list(inode, &met, &held);
            listed.push(Listed {
                // What cannot be looked up is listed all the same: only a name
                // that is damaged, or refused, fails, and not its neighbours.
                ino: number.unwrap_or_else(|error| {
                    tracing::debug!(%error, name = %met.name, "listed without looking it up");
                    self.table.listed_number(met.id)
                }),
                name: met.name,
                kind: met.kind,
            });
        }
        Ok(listed.into())
    }

    /// The number that `stat(2)` will show for an entry.
    fn number_to_list(&self, inode: &Arc<Inode>, met: &Met, held: &impl DirHeld) -> Result<u64> {
        let is_dir = met.kind.is_dir();
        if is_dir && (met.over_directory || met.written && self.is_redirected(inode, met)?) {
            // What it merges with is the lookup's to say.
            let entry = self.resolve(inode, &met.name, held)?;
            return entry.map(|entry| entry.attr.ino).ok_or(Error::NotFound);
        }
        if met.written
            && !met.kind.is_dir()
            && self.table.given(met.id).is_none()
            && self.may_hold_origins(inode)?
            && let Some(node) = inode.copy()
            && let Some(found) = node.lookup(&met.name)?
        {
            self.number_of_written(inode, &met.name, &*found.node, &found.attr)?;
        }
        if !met.written && !is_dir && self.table.is_in_doubt(met.id) || self.is_stray(inode, met) {
            let entry = self.resolve(inode, &met.name, held)?;
            return entry.map(|entry| entry.attr.ino).ok_or(Error::NotFound);
        }
        Ok(self.table.listed_number(met.id))
    }

    /// Whether something else may have had the number of an entry before the
    /// branches changed, as far as can be told without looking it up.
    fn is_stray(&self, inode: &Inode, met: &Met) -> bool {
        if !self.table.is_handed_over() {
            return false;
        }
        let here = trail::Met {
            parent: inode,
            name: &met.name,
            kind: met.kind,
            has_more_names: false,
            branches: &[met.branch],
        };
        let number = self.table.number_of_shown(met.id);
        self.table.is_of_another(number, &here)
    }

    /// Whether a directory of the writable branch was renamed, and shows the
    /// number of something that lies elsewhere below.
    fn is_redirected(&self, inode: &Inode, met: &Met) -> Result<bool> {
        let (Some(upper), Some(node)) = (self.upper(), inode.copy()) else {
            return Ok(false);
        };
        if !self.has_lowers() || self.table.is_given(met.id) {
            return Ok(false);
        }
        match node.lookup(&met.name)? {
            Some(found) => Ok(upper.dialect.redirect(&*found.node)?.is_some()),
            None => Ok(false),
        }
    }

    /// Whether a directory shows no entry.
    pub(super) fn looks_empty(&self, inode: &Arc<Inode>) -> Result<bool> {
        let held = DirRead::lock(inode)?;
        self.shows_nothing(inode, &held)
    }

    /// The same, under a lock that is held already.
    pub(super) fn shows_nothing(&self, inode: &Arc<Inode>, held: &impl DirHeld) -> Result<bool> {
        Ok(self.meet(inode, held)?.iter().all(|met| met.hides))
    }

    /// Every name that any part of the directory stores, once, in the order
    /// of the branches, with what its topmost part says.
    fn meet(&self, inode: &Arc<Inode>, held: &impl DirHeld) -> Result<Vec<Met>> {
        debug_assert!(held.holds(inode));
        inode.directory().ok_or(Error::NotDirectory)?;
        // Whether a directory may show the number of any of its parts.
        let by_any = self.chooser.is_some() || self.table.is_handed_over();
        let parts = self.listings(inode)?;
        let mut met: Vec<Met> = Vec::new();
        let mut seen: HashMap<NameBuf, usize> = HashMap::new();
        let several = parts.len() > 1;
        for part in &parts {
            for new in read_part(part, self.options.whiteouts)? {
                if self.is_reserved(&new.name) {
                    continue;
                }
                if !several {
                    met.push(new);
                    continue;
                }
                match seen.entry(new.name.clone()) {
                    Slot::Vacant(slot) => {
                        slot.insert(met.len());
                        met.push(new);
                    }
                    Slot::Occupied(slot) => {
                        // An index from `seen` is below the length of `met`.
                        let above = &mut met[*slot.get()];
                        above.over_directory |= (above.written || by_any) && new.kind.is_dir();
                    }
                }
            }
        }
        Ok(met)
    }

    fn listings<'a>(&self, inode: &'a Inode) -> Result<Vec<Listing<'a>>> {
        let parts = inode.parts().iter();
        let listing = |part: &'a Part| {
            Ok(Listing {
                branch: part.branch,
                node: &*part.node,
                reading: self.reading_of(part),
                file_whiteouts: self.part_holds_marked_files(part)?,
                written: part.node.writable().is_some(),
            })
        };
        parts.map(listing).collect()
    }

    /// How the branch of a part of a directory is read.
    pub(super) fn reading_of(&self, part: &Part) -> Reading {
        self.stack.reading(part.branch)
    }
}

/// The entries of one part. Only what may be a whiteout, or whose kind the
/// filesystem does not tell, costs a `stat(2)`.
fn read_part(part: &Listing<'_>, whiteouts: ShowWhiteouts) -> Result<Vec<Met>> {
    let shown = whiteouts == ShowWhiteouts::AsTheyAre;
    let dev = part.node.attr()?.dev;
    let mut raw: Vec<(NameBuf, Option<FileKind>, u64)> = Vec::new();
    part.node.entries(&mut |entry| {
        raw.push((entry.name.to_owned(), entry.kind, entry.ino));
        ControlFlow::Continue(())
    })?;
    let mut met = Vec::with_capacity(raw.len());
    let mut hidden = Vec::new();
    for (name, kind, ino) in raw {
        let id = ObjectId::new(dev, ino);
        match part.reading.meaning(&name) {
            Meaning::Entry => {}
            Meaning::Hides(hides) => {
                hidden.push((hides.to_owned(), id));
                if !shown {
                    continue;
                }
            }
            Meaning::Private if shown => {}
            Meaning::Private => continue,
        }
        let (kind, hides) = match kind {
            Some(kind) if !needs_attr(part, kind) => (kind, false),
            Some(_) | None => match part.node.attr_of(&name)? {
                Some(attr) => {
                    let marked = part.file_whiteouts;
                    let dialect = part.reading.dialect;
                    let hides = dialect.entry_hides(part.node, &name, &attr, marked)?;
                    if hides && part.reading.heed == Heed::Nothing {
                        continue;
                    }
                    (attr.kind, hides)
                }
                // Gone since it was listed: only a writer beside us does that.
                None => continue,
            },
        };
        met.push(Met {
            name,
            kind,
            id,
            branch: part.branch,
            hides: hides && !shown,
            over_directory: false,
            written: part.written,
        });
    }
    // Last: they say nothing about what this part itself has by the name.
    let hiders = hidden.into_iter().map(|(name, id)| Met {
        name,
        kind: FileKind::Regular,
        id,
        branch: part.branch,
        hides: true,
        over_directory: false,
        written: part.written,
    });
    met.extend(hiders);
    Ok(met)
}

fn needs_attr(part: &Listing<'_>, kind: FileKind) -> bool {
    match kind {
        FileKind::CharDevice => true,
        FileKind::Regular => part.file_whiteouts,
        FileKind::Directory
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::BlockDevice => false,
    }
}
