//! Pseudo-links: what the index is on a branch of AuFS. Copies of lower files
//! with several hard links lie in `.wh..wh.plnk` of the branch, and all names
//! of the original, copied up or not, stay names of one object.
//!
//! The branch has no attributes of ours. Which original a copy belongs to, and
//! how many names the union has for it, is told by links of the copy beside
//! its entry ([`crate::dialect::plinks`]): as many as there are names that only
//! lower branches have. Such a name is copied up by renaming one of these links
//! to it, so the link count of the copy, less [`OWN_LINKS`], is that of the
//! union before and after each step.
//!
//! The directory is listed once, when the union is put together, and known from
//! then on: nobody else changes it. Owns a lock, `Plinks::known`, a leaf; the
//! links of one copy change under its counting lock, and come to be under its
//! copy-up lock. Source: `fs/aufs/plink.c`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Union;
use super::index::Entry;
use super::inode::{Indexed, Lower, Slot};
use super::search::View;
use super::table::ObjectId;
use super::target::Target;
use crate::attr::Attr;
use crate::dialect::aufs::PLINKS;
use crate::dialect::plinks::{Beside, Called, MOST_LINKS, OWN_LINKS, Plink, parse, proof_of};
use crate::error::{Error, Result};
use crate::layer::{Found, Node, Removal, RenameMode, Staged, WritableNode};
use crate::name::{Name, NameBuf};

mod flush;
mod list;

pub use flush::{Flushed, Left, flush};
pub use list::{Listed, Standing, list};

/// The pseudo-links of the writable branch.
#[derive(Debug)]
pub(super) struct Plinks {
    /// `.wh..wh.plnk`.
    dir: Arc<dyn WritableNode>,
    /// The filesystem of the branch.
    dev: u64,
    /// Leaf lock.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the number of the original.
    copies: HashMap<u64, Kept>,
    /// The number of the original, by that of the copy.
    originals: HashMap<u64, u64>,
}

/// One copy.
#[derive(Debug, Clone)]
struct Kept {
    copy: u64,
    proof: u64,
    /// The names that only lower branches have, as links beside the entry.
    spares: Vec<u64>,
}

/// What the directory says about one pseudo-link.
#[derive(Debug, Default)]
struct Group {
    /// Whether the entry is there, and is the copy that it names.
    entry: Option<Attr>,
    besides: Vec<Beside>,
    /// Something by one of the names is another object.
    damaged: bool,
}

impl Plinks {
    /// What is in `.wh..wh.plnk` of a branch. What a crash has left there goes;
    /// what is none of ours is told and left alone.
    pub fn open(target: &Target) -> Result<Plinks> {
        let root = target.storage.root();
        let found = root.lookup_writable(Name::new(PLINKS)?)?;
        let Found { node: dir, attr } = found.ok_or(Error::Damaged("a branch without its plnk"))?;
        let plinks = Plinks {
            dir,
            dev: attr.dev,
            known: Mutex::default(),
        };
        let (groups, strange) = groups_in(&*plinks.dir)?;
        for name in strange {
            tracing::warn!(%name, "a strange entry among the pseudo-links is left alone");
        }
        for (plink, group) in groups {
            plinks.take_in(plink, group)?;
        }
        Ok(plinks)
    }

    /// Warns of names that do not show their copies without pseudo-links.
    pub fn tell_unheeded(target: &Target) -> Result<()> {
        let Some(dir) = target.storage.root().lookup(Name::new(PLINKS)?)? else {
            return Ok(());
        };
        let mut any = false;
        dir.node.entries(&mut |_| {
            any = true;
            ControlFlow::Break(())
        })?;
        if any {
            tracing::warn!(
                "there are pseudo-links, and they do not count: names that only lower branches \
                 have show the lower files (ufs plink flush links them, unmounted)"
            );
        }
        Ok(())
    }

    fn take_in(&self, plink: Plink, group: Group) -> Result<()> {
        let name = plink.name();
        let proofs = |place| {
            group
                .besides
                .iter()
                .filter(move |b| (b.place == 0) == place)
        };
        let proof = proofs(true).next();
        match (&group.entry, proof) {
            _ if group.damaged => {
                tracing::warn!(%name, "a pseudo-link of another object is left alone");
            }
            // It was being made, or taken away.
            (None, _) => self.remove_besides(plink, &group.besides)?,
            (Some(_), None) => {
                tracing::warn!(%name, "a pseudo-link that AuFS made is left alone: flush it there");
            }
            (Some(attr), Some(_)) if attr.nlink <= OWN_LINKS => {
                tracing::info!(%name, "a pseudo-link has lost its names");
                self.dir.remove(&name, Removal::NonDirectory, None)?;
                self.remove_besides(plink, &group.besides)?;
            }
            (Some(_), Some(Beside { proof, .. })) => {
                let spares = proofs(false).map(|beside| beside.place).collect();
                let kept = Kept {
                    copy: plink.copy,
                    proof: *proof,
                    spares,
                };
                if !self.enter(plink.number, kept) {
                    tracing::warn!(%name, "a second pseudo-link of one number is left alone");
                }
            }
        }
        Ok(())
    }

    fn enter(&self, number: u64, kept: Kept) -> bool {
        let mut known = self.known.lock();
        if known.copies.contains_key(&number) {
            return false;
        }
        known.originals.insert(kept.copy, number);
        known.copies.insert(number, kept);
        true
    }

    fn forget(&self, number: u64) {
        let mut known = self.known.lock();
        if let Some(kept) = known.copies.remove(&number) {
            known.originals.remove(&kept.copy);
        }
    }

    fn kept(&self, number: u64) -> Option<Kept> {
        self.known.lock().copies.get(&number).cloned()
    }

    /// The number of the original that an object of the branch is a copy of.
    fn original_of(&self, copy: &Attr) -> Option<u64> {
        if copy.nlink <= OWN_LINKS || copy.dev != self.dev {
            return None;
        }
        self.known.lock().originals.get(&copy.ino).copied()
    }

    /// The directory, and the name of a copy in it, if there is one.
    pub fn entry(&self, number: u64) -> Option<(&Arc<dyn WritableNode>, NameBuf)> {
        let copy = self.kept(number)?.copy;
        Some((&self.dir, Plink { number, copy }.name()))
    }

    /// The copies, and the numbers of their originals.
    pub fn numbers(&self) -> Vec<(ObjectId, u64)> {
        let known = self.known.lock();
        let originals = known.originals.iter();
        let id = |copy: u64| ObjectId::new(self.dev, copy);
        originals
            .map(|(copy, number)| (id(*copy), *number))
            .collect()
    }

    /// Where they lie.
    pub fn directory(&self) -> &dyn WritableNode {
        &*self.dir
    }

    /// The copy of the original with this number, if there is one.
    pub fn copy(&self, number: u64) -> Result<Option<Found<dyn WritableNode>>> {
        let Some((dir, name)) = self.entry(number) else {
            return Ok(None);
        };
        dir.lookup_writable(&name)
    }

    /// Puts a staged copy among the pseudo-links, with a link for each name
    /// of its original. It counts from the last step on, which makes its
    /// entry.
    pub fn publish(
        &self,
        number: u64,
        proof: u64,
        lower_links: u64,
        staged: Staged,
    ) -> Result<Arc<dyn WritableNode>> {
        let copy = staged.node().attr()?.ino;
        let plink = Plink { number, copy };
        let mode = RenameMode::NoReplace;
        let node = staged.publish(&*self.dir, &plink.beside(proof, 0), mode, None)?;
        let made = (1..=lower_links)
            .map(|place| plink.beside(proof, place))
            .chain([plink.name()])
            .try_for_each(|name| self.dir.link(&name, &*node, mode));
        if let Err(error) = made {
            let places = 0..=lower_links;
            let besides: Vec<_> = places.map(|place| Beside { proof, place }).collect();
            if let Err(error) = self.remove_besides(plink, &besides) {
                tracing::warn!(%error, "what was to be a pseudo-link stays until the next mount");
            }
            return Err(error);
        }
        self.enter(
            number,
            Kept {
                copy,
                proof,
                spares: (1..=lower_links).collect(),
            },
        );
        Ok(node)
    }

    /// The proof last: without it nobody would know what the others are.
    fn remove_besides(&self, plink: Plink, besides: &[Beside]) -> Result<()> {
        let mut besides = besides.to_vec();
        besides.sort_by_key(|beside| std::cmp::Reverse(beside.place));
        for Beside { proof, place } in besides {
            let name = plink.beside(proof, place);
            match self.dir.remove(&name, Removal::NonDirectory, None) {
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives `copy` a name that only lower branches have: in one step, which
    /// does not change its link count.
    pub fn give_name(
        &self,
        number: u64,
        copy: &dyn WritableNode,
        dir: &dyn WritableNode,
        name: &Name,
    ) -> Result<()> {
        let mode = RenameMode::NoReplace;
        while let Some((place, spare)) = self.spare(number) {
            let given = self.dir.rename(&spare, dir, name, mode, None, None);
            match given {
                Ok(()) => self.use_up(number, place),
                Err(Error::NotFound) if self.dir.attr_of(&spare)?.is_none() => {
                    self.use_up(number, place);
                    continue;
                }
                Err(_) => {}
            }
            return given;
        }
        // More names than the original had links: somebody wrote below.
        dir.link(name, copy, mode)
    }

    fn spare(&self, number: u64) -> Option<(u64, NameBuf)> {
        let known = self.known.lock();
        let kept = known.copies.get(&number)?;
        let (copy, place) = (kept.copy, *kept.spares.last()?);
        Some((place, Plink { number, copy }.beside(kept.proof, place)))
    }

    fn use_up(&self, number: u64, place: u64) {
        if let Some(kept) = self.known.lock().copies.get_mut(&number) {
            kept.spares.retain(|other| *other != place);
        }
    }

    /// Takes a copy away that has no names any more; `node` keeps it for who
    /// has it open.
    pub fn remove(&self, number: u64, node: Option<&dyn WritableNode>) -> Result<()> {
        let Some(kept) = self.kept(number) else {
            return Ok(());
        };
        let plink = Plink {
            number,
            copy: kept.copy,
        };
        match self.dir.remove(&plink.name(), Removal::NonDirectory, node) {
            Ok(()) | Err(Error::NotFound) => {}
            Err(error) => return Err(error),
        }
        // Without its entry it means nothing.
        self.forget(number);
        let proof = plink.beside(kept.proof, 0);
        self.dir.remove(&proof, Removal::NonDirectory, node)
    }
}

impl Union {
    /// Sees to it that copies show the numbers of their originals.
    pub(super) fn note_plinks(&self, plinks: &Plinks) {
        let numbers = plinks.numbers();
        for (copy, number) in &numbers {
            if self.table.given(*copy).is_none() {
                self.table.give(*copy, *number);
            }
        }
        let numbers = numbers.into_iter().map(|(_, number)| number);
        self.table.reserve(numbers.collect());
    }

    /// What the pseudo-links say about an object that shows by its lower
    /// object alone; `None` if it is to part when it is copied up.
    pub(super) fn plink_of_lower(
        &self,
        plinks: &Plinks,
        view: &View,
        lower: &Lower,
    ) -> Result<Option<Entry>> {
        let id = ObjectId::from(&view.attr);
        // One that changes with each mount would lead nowhere after the next.
        let Some(own) = self.table.lasting_number(id) else {
            return Ok(None);
        };
        if view.attr.nlink > MOST_LINKS {
            return Ok(None);
        }
        let proof = proof_of(&view.attr, lower.node.handle()?.as_ref());
        let (copy, number) = match plinks.kept(own) {
            Some(kept) if kept.proof != proof => return Ok(None),
            Some(_) => {
                let number = self.table.given(id).unwrap_or(own);
                self.table.give(id, number);
                (plinks.copy(own)?, number)
            }
            None => (None, self.table.number_of_shown(id)),
        };
        let slot = Slot::Plink { number: own, proof };
        Ok(Some(Entry {
            indexed: Box::new(Indexed::new(slot, view.attr.nlink)),
            number,
            copy,
        }))
    }

    /// The same for an object that the writable branch stores.
    pub(super) fn plink_of_written(
        &self,
        plinks: &Plinks,
        written: &Attr,
    ) -> Result<Option<Entry>> {
        let Some(own) = plinks.original_of(written) else {
            return Ok(None);
        };
        let Some(Kept { proof, .. }) = plinks.kept(own) else {
            return Ok(None);
        };
        let copy = plinks.copy(own)?;
        let copy = copy.filter(|copy| ObjectId::from(&copy.attr) == ObjectId::from(written));
        let slot = Slot::Plink { number: own, proof };
        Ok(copy.map(|copy| Entry {
            indexed: Box::new(Indexed::new(slot, 0)),
            number: self.table.given(ObjectId::from(written)).unwrap_or(own),
            copy: Some(copy),
        }))
    }
}

/// The pseudo-links that a directory holds, and what it holds besides.
fn groups_in(dir: &dyn Node) -> Result<(HashMap<Plink, Group>, Vec<NameBuf>)> {
    let mut names = Vec::new();
    dir.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    let (mut groups, mut strange) = (HashMap::<Plink, Group>::new(), Vec::new());
    for name in names {
        let Some(called) = parse(&name) else {
            strange.push(name);
            continue;
        };
        let Some(attr) = dir.attr_of(&name)? else {
            continue;
        };
        let (Called::Plink(plink) | Called::Beside(plink, _)) = called;
        let group = groups.entry(plink).or_default();
        group.damaged |= attr.ino != plink.copy || attr.kind.is_dir();
        match called {
            Called::Plink(_) => group.entry = Some(attr),
            Called::Beside(_, beside) => group.besides.push(beside),
        }
    }
    Ok((groups, strange))
}
