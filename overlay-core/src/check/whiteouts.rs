//! Whiteouts that hide nothing, and files that would be whiteouts elsewhere.

use std::collections::VecDeque;

use super::Kind;
use super::below::{Wanted, Way};
use super::hints::Hints;
use super::report::{Attempt, Go, Run};
use super::walk::{Dir, Entry, Tally};
use crate::attr::SetAttr;
use crate::error::Result;
use crate::layer::Removal;
use crate::name::{Name, NameBuf};

const CANNOT_KNOW: &str = "whether the name was meant to be hidden cannot be known: mark the directory (opaque=x), or remove the file";

impl Run<'_> {
    /// Whether the whiteout `name` is of no use, and why.
    pub(super) fn judge_whiteout(&self, dir: &Dir, name: &Name) -> Result<Option<(Kind, NameBuf)>> {
        let layers = &self.check.layers;
        if layers.is_lowest(dir.depth) && !self.is_upper(dir.depth) {
            return Ok(Some((Kind::WhiteoutLowest, name.to_owned())));
        }
        let kind = self.judge_whiteout_of(dir, name)?;
        Ok(kind.map(|kind| (kind, name.to_owned())))
    }

    /// The same for the name that is hidden.
    pub(super) fn judge_whiteout_of(&self, dir: &Dir, name: &Name) -> Result<Option<Kind>> {
        if dir.below.is_empty() {
            return Ok(Some(Kind::WhiteoutUnmerged));
        }
        let way = Way {
            parts: dir.below.clone(),
            names: VecDeque::from([name.to_owned()]),
            absolute: false,
        };
        let below = self.check.layers.search(way, Wanted::Anything)?;
        let hides = below.unclear || below.found.is_some();
        Ok((!hides).then_some(Kind::WhiteoutOverNothing))
    }

    /// An empty file with the mark of a whiteout.
    pub(super) fn judge_file_whiteout(
        &mut self,
        dir: &Dir,
        entry: &Entry<'_>,
        tally: &mut Tally,
        hints: &mut Hints,
    ) -> Result<Go> {
        if !dir.is_marked() {
            let kind = Kind::FileWhiteoutUnmarked;
            let path = dir.path_of(entry.name);
            let attempt = Attempt::Cannot(CANNOT_KNOW);
            let told = self.found(kind, dir.depth, path, String::new(), attempt);
            return Ok(told.map_continue(drop));
        }
        let counts = self.layer(dir.depth).is_some_and(|layer| layer.marked);
        let without_use = match counts {
            true => self.judge_whiteout(dir, entry.name)?,
            false => None,
        };
        let used = without_use.is_none();
        tally.file_whiteouts |= used;
        hints.file_whiteouts |= used;
        tally.whiteouts.extend(without_use);
        Ok(Go::Continue(()))
    }

    /// Takes what was judged to be of no use away; says whether all is gone
    /// that was to go. The times of the directory stay: they are seen.
    pub(super) fn whiteouts_without_use(
        &mut self,
        dir: &Dir,
        whiteouts: Vec<(Kind, NameBuf)>,
    ) -> Go<bool> {
        let mut all = true;
        for (kind, name) in whiteouts {
            let mut remove = || {
                let node = dir.object.change()?;
                node.remove(&name, Removal::NonDirectory, None)?;
                node.set_attr(&SetAttr::times_of(&dir.attr))
            };
            let attempt = match kind == Kind::WhiteoutLowest {
                true => Attempt::Cannot("it may be meant so"),
                false => Attempt::Can("removes the whiteout", &mut remove),
            };
            let path = dir.path_of(&name);
            all &= self.found(kind, dir.depth, path, String::new(), attempt)?;
        }
        Go::Continue(all)
    }

    /// A directory that says that whiteouts in it may be files, and needs
    /// none; says whether the mark is gone. (The root says it for the whole
    /// branch.)
    pub(super) fn marked_without_use(&mut self, dir: &Dir) -> Go<bool> {
        let Some(dialect) = self.dialect(dir.depth) else {
            return Go::Continue(false);
        };
        let mut remove = || dir.object.unset(dialect.opaque_mark().0);
        let attempt = Attempt::Can("removes the mark", &mut remove);
        let kind = Kind::FileWhiteoutsNone;
        self.found(kind, dir.depth, dir.path(), String::new(), attempt)
    }
}
