//! Pseudo-links made hard links: every name that only lower branches have
//! becomes one of the copy on the writable branch, and then nothing has to keep
//! them together any more. What `auplink(8)` does.
//!
//! Each name is given in one step, and a pseudo-link goes when all its names
//! are there, so what was interrupted is gone on with by the next call, and
//! what is seen never changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Kept, Plinks, groups_in};
use crate::attr::FileKind;
use crate::dialect::plinks::{Plink, proof_of};
use crate::error::{Error, Result};
use crate::layer::Removal;
use crate::name::{Name, NameBuf};
use crate::stack::Stack;
use crate::union::copies::Copies;
use crate::union::copy_up::DataNeeded;
use crate::union::inode::{Inode, Slot};
use crate::union::locks::{DirHeld, DirWrite};
use crate::union::table::ObjectId;
use crate::union::target::Target;
use crate::union::{Flow, Options, Plinks as Asked, Union};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flushed {
    /// Names that were given.
    pub names: u64,
    /// Pseudo-links that were removed.
    pub plinks: u64,
    /// Those that stay, since no branch below has their original: with others
    /// below, names of theirs may come to light.
    pub kept: Vec<Plink>,
    /// Other entries that stay: of AuFS itself, or damaged.
    pub others: u64,
}

/// What becomes of a pseudo-link whose original is on none of the branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It stays.
    Keep,
    /// It is removed: its names below, if any, are other files from then on.
    Remove,
}

/// Flushes the pseudo-links of the writable branch of `stack`, which is not in
/// use. `each` is told how many names were looked at so far.
///
/// Errors: what the branches answer, and `EOPNOTSUPP` for a stack without a
/// branch of AuFS that alone can be written, on top.
pub fn flush(stack: Stack, left: Left, each: &mut dyn FnMut(u64)) -> Result<Flushed> {
    let options = Options {
        plinks: Asked::Keep,
        ..Options::of(&stack)
    };
    let union = Union::with_options(stack, options)?;
    let (Some(Copies::Plinks(plinks)), Some(target)) = (union.copies.get(), union.upper()) else {
        return Err(Error::Unsupported(
            "pseudo-links are on a branch of AuFS that is the only writable one",
        ));
    };
    let Given { met, names } = union.give_names(plinks, target, each)?;
    let mut flushed = Flushed {
        names,
        ..Flushed::default()
    };
    for (number, kept) in plinks.all() {
        let plink = Plink {
            number,
            copy: kept.copy,
        };
        if kept.spares.is_empty() || met.contains(&number) || left == Left::Remove {
            plinks.dissolve(plink, &kept)?;
            flushed.plinks += 1;
        } else {
            flushed.kept.push(plink);
        }
    }
    flushed.others = plinks.others()?;
    Ok(flushed)
}

/// What came of a walk over all names.
#[derive(Debug, Default)]
struct Given {
    /// The numbers of originals that are on the branches.
    met: BTreeSet<u64>,
    /// Names that copies got.
    names: u64,
}

impl Union {
    /// Gives all names that only lower branches have to the copies.
    fn give_names(
        &self,
        plinks: &Plinks,
        target: &Target,
        each: &mut dyn FnMut(u64),
    ) -> Result<Given> {
        let mut walk = Walk {
            union: self,
            plinks,
            target,
            given: Given::default(),
            seen: 0,
        };
        walk.all(each)?;
        Ok(walk.given)
    }

    /// Before a union of `stack` takes the place of this one: if that does not
    /// go on with the pseudo-links, copies get all their names. What is to be
    /// dissolved once nothing can fail any more, in that case.
    pub(in crate::union) fn ready_to_part(
        &self,
        stack: &Stack,
        asked: &Options,
    ) -> Result<Option<&Plinks>> {
        let (Some(Copies::Plinks(plinks)), Some(target)) = (self.copies.get(), self.upper()) else {
            return Ok(None);
        };
        let stays = stack.only_upper() == Some(target.branch);
        if stays && asked.plinks == Asked::Keep {
            return Ok(None);
        }
        let only_below = |(_, kept): &(u64, Kept)| !kept.spares.is_empty();
        if plinks.all().iter().any(only_below) {
            self.give_names(plinks, target, &mut |_| {})?;
        }
        Ok(Some(plinks))
    }
}

/// A walk over all names of a union.
struct Walk<'a> {
    union: &'a Union,
    plinks: &'a Plinks,
    target: &'a Target,
    given: Given,
    seen: u64,
}

impl Walk<'_> {
    fn all(&mut self, each: &mut dyn FnMut(u64)) -> Result<()> {
        let mut left = match self.plinks.all().is_empty() {
            true => Vec::new(),
            false => vec![self.union.root()],
        };
        while let Some(dir) = left.pop() {
            for (name, kind) in self.names(&dir)? {
                self.seen += 1;
                each(self.seen);
                let entry = match self.union.lookup(&dir, &name) {
                    Ok(Some(entry)) => entry,
                    Ok(None) => continue,
                    // It is listed, and nobody has ever used it (S84).
                    Err(error @ (Error::NameTooLong | Error::Damaged(_))) => {
                        tracing::debug!(%error, %name, "no pseudo-link has such a name");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                match kind.is_dir() {
                    true => left.push(entry.inode),
                    false => self.file(&dir, &name, &entry.inode)?,
                }
            }
        }
        Ok(())
    }

    fn names(&self, dir: &Arc<Inode>) -> Result<Vec<(NameBuf, FileKind)>> {
        let open = self.union.open_dir(dir)?;
        let mut names = Vec::new();
        self.union.read_dir(&open, 0, &mut |entry| {
            names.push((entry.name.to_owned(), entry.kind));
            Flow::Continue
        })?;
        Ok(names)
    }

    fn file(&mut self, dir: &Arc<Inode>, name: &Name, inode: &Arc<Inode>) -> Result<()> {
        let Some(&Slot::Plink { number, proof }) = inode.indexed().map(|indexed| &indexed.slot)
        else {
            return Ok(());
        };
        if !inode.is_copied_up() {
            return Ok(());
        }
        self.union.writable(dir, DataNeeded::All)?;
        let held = DirWrite::lock(&[dir])?;
        if self.is_below(dir, name, number, proof, &held)? {
            self.given.met.insert(number);
        }
        let before = self.plinks.spares(number);
        self.union.link_up(self.target, inode, dir, name, &held)?;
        self.given.names += before.saturating_sub(self.plinks.spares(number)) as u64;
        Ok(())
    }

    /// Whether a branch below has the original by this name.
    fn is_below(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
        number: u64,
        proof: u64,
        held: &impl DirHeld,
    ) -> Result<bool> {
        debug_assert!(held.holds(dir));
        for part in dir.parts() {
            if part.node.writable().is_some() {
                continue;
            }
            let Some(found) = part.node.lookup(name)? else {
                continue;
            };
            let own = self.union.table.lasting_number(ObjectId::from(&found.attr));
            if own == Some(number) && proof_of(&found.attr, found.node.handle()?.as_ref()) == proof
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Plinks {
    /// Takes all pseudo-links away, as far as that can be done.
    pub(in crate::union) fn dissolve_all(&self) {
        for (number, kept) in self.all() {
            let plink = Plink {
                number,
                copy: kept.copy,
            };
            if let Err(error) = self.dissolve(plink, &kept) {
                tracing::warn!(%error, name = %plink.name(), "a pseudo-link stays");
            }
        }
    }

    fn all(&self) -> Vec<(u64, Kept)> {
        let known = self.known.lock();
        let all = known.copies.iter();
        let mut all: Vec<_> = all.map(|(number, kept)| (*number, kept.clone())).collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }

    /// Entries that are no links of the copies that are known.
    fn others(&self) -> Result<u64> {
        let (groups, strange) = groups_in(&*self.dir)?;
        let known = self.known.lock();
        let is_known = |plink: &Plink| {
            let kept = known.copies.get(&plink.number);
            kept.is_some_and(|kept| kept.copy == plink.copy)
        };
        let others = groups.keys().filter(|plink| !is_known(plink)).count();
        Ok((others + strange.len()) as u64)
    }

    fn spares(&self, number: u64) -> usize {
        self.kept(number).map_or(0, |kept| kept.spares.len())
    }

    /// Takes a pseudo-link away; its copy is a file like others from then on.
    /// The entry goes before the proof: what is left of it in between is known
    /// for what it is.
    fn dissolve(&self, plink: Plink, kept: &Kept) -> Result<()> {
        for place in &kept.spares {
            let spare = plink.beside(kept.proof, *place);
            self.dir.remove(&spare, Removal::NonDirectory, None)?;
        }
        self.remove(plink.number, None)
    }
}
