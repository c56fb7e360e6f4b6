//! Redirects that lead nowhere, mean nothing, or lead where others lead.

use super::below::{Part, Wanted, Way};
use super::layers::Object;
use super::report::{Attempt, Go, Run};
use super::walk::{Dir, Entry};
use super::{Kind, Redirects};
use crate::dialect::Redirect;
use crate::error::Result;

/// Keeps what shows: without its redirect the directory would merge with what
/// lies below its own name.
const CUT: &str = "removes the redirect, and makes the directory opaque where something else lies below its name: it shows what it stores";

const FILES: &str =
    "it holds whiteouts that are files, so it cannot be made opaque: remove those, or the redirect";

/// A redirect to be taken away.
struct Cut {
    kind: Kind,
    /// Whether the directory would merge with something without it.
    merges: bool,
}

const TWICE: &str = "which of them it belongs to cannot be known: remove one of the two directories, or its redirect";

impl Run<'_> {
    /// What a directory that is not opaque merges with.
    pub(super) fn merges_by_redirect(
        &mut self,
        parent: &Dir,
        entry: &mut Entry<'_>,
    ) -> Go<Result<Vec<Part>>> {
        let redirect = match &entry.marks.redirect {
            None => None,
            Some(value) => match Redirect::parse(value) {
                Ok(redirect) => Some(redirect),
                Err(_) => {
                    let kind = Kind::RedirectMalformed;
                    return self.cut(kind, parent, entry);
                }
            },
        };
        let below = match self.directories_below(parent, entry, redirect.clone()) {
            Ok(below) => below,
            Err(error) => return Go::Continue(Err(error)),
        };
        let (Some(redirect), Some(parts)) = (redirect, &below) else {
            return Go::Continue(Ok(below.unwrap_or_default()));
        };
        let Some(first) = parts.first() else {
            return self.cut(Kind::RedirectDangling, parent, entry);
        };
        self.refused(parent, entry)?;
        self.shared(parent, entry, first)?;
        match self.is_uncovered(parent, entry, &redirect, first) {
            Ok(true) => self.uncovered(parent, entry)?,
            Ok(false) => {}
            Err(error) => return Go::Continue(Err(error)),
        }
        Go::Continue(Ok(below.unwrap_or_default()))
    }

    /// The directories that the entry merges with; `None` if that is unclear.
    fn directories_below(
        &self,
        parent: &Dir,
        entry: &Entry<'_>,
        redirect: Option<Redirect>,
    ) -> Result<Option<Vec<Part>>> {
        let layers = &self.check.layers;
        let (depth, name) = (parent.depth, entry.name.to_owned());
        let way = layers.way(depth, &parent.below, name, redirect)?;
        let below = layers.search(way, Wanted::Directories)?;
        Ok((!below.unclear).then_some(below.parts))
    }

    /// A redirect that is of no use but for what it hides.
    fn cut(&mut self, kind: Kind, parent: &Dir, entry: &mut Entry<'_>) -> Go<Result<Vec<Part>>> {
        let merges = match self.lies_below(parent, entry) {
            Ok(merges) => merges,
            Err(error) => return Go::Continue(Err(error)),
        };
        if merges && entry.marks.opaque.as_deref() == Some(b"x") {
            // One attribute says either: what it holds must go first.
            entry.cut_later = Some(kind);
            return Go::Continue(Ok(Vec::new()));
        }
        let cut = Cut { kind, merges };
        let path = parent.path_of(entry.name);
        self.tell_cut(parent.depth, path, &entry.object, &value_of(entry), &cut)?;
        Go::Continue(Ok(Vec::new()))
    }

    fn tell_cut(
        &mut self,
        depth: usize,
        path: Vec<u8>,
        object: &Object,
        value: &str,
        cut: &Cut,
    ) -> Go {
        let Some(dialect) = self.dialect(depth) else {
            return Go::Continue(());
        };
        let mut repair = || {
            if cut.merges {
                let (opaque, yes) = dialect.opaque_mark();
                object.set(opaque, yes)?;
            }
            object.unset(dialect.redirect_mark())
        };
        let attempt = Attempt::Can(CUT, &mut repair);
        self.found(cut.kind, depth, path, value.to_owned(), attempt)?;
        Go::Continue(())
    }

    /// The same for a directory that held whiteouts that are files; `unmarked`
    /// says whether it does no more.
    pub(super) fn cut_later(&mut self, dir: &Dir, kind: Kind, unmarked: bool) -> Go {
        let value = dir.marks.redirect.as_deref().unwrap_or_default();
        let value = value.escape_ascii().to_string();
        if unmarked {
            let cut = Cut { kind, merges: true };
            return self.tell_cut(dir.depth, dir.path(), &dir.object, &value, &cut);
        }
        let attempt = Attempt::Cannot(FILES);
        self.found(kind, dir.depth, dir.path(), value, attempt)?;
        Go::Continue(())
    }

    /// A union that does not follow redirects refuses the name.
    fn refused(&mut self, parent: &Dir, entry: &Entry<'_>) -> Go {
        match self.check.settings.redirects {
            Redirects::Followed => return Go::Continue(()),
            Redirects::Refused => {}
        }
        let attempt = Attempt::Cannot("mount with redirect_dir=follow if the layers are trusted");
        let (kind, path) = (Kind::RedirectRefused, parent.path_of(entry.name));
        self.found(kind, parent.depth, path, value_of(entry), attempt)?;
        Go::Continue(())
    }

    /// Two redirects of one branch to the same directory.
    fn shared(&mut self, parent: &Dir, entry: &Entry<'_>, first: &Part) -> Go {
        let target = (first.depth, first.attr.dev, first.attr.ino);
        let path = parent.path_of(entry.name);
        let Some(other) = self.redirected.insert(target, path.clone()) else {
            return Go::Continue(());
        };
        let detail = format!("{}, as of /{}", value_of(entry), other.escape_ascii());
        let attempt = Attempt::Cannot(TWICE);
        self.found(Kind::RedirectShared, parent.depth, path, detail, attempt)?;
        Go::Continue(())
    }

    /// Whether where the redirect leads shows under its old name, too.
    fn is_uncovered(
        &self,
        parent: &Dir,
        entry: &Entry<'_>,
        redirect: &Redirect,
        first: &Part,
    ) -> Result<bool> {
        let path = match redirect {
            // Covered by whatever lies there, a whiteout or this one itself.
            Redirect::Sibling(name) => return Ok(parent.object.lookup(name)?.is_none()),
            Redirect::Path(path) => path,
        };
        let layers = &self.check.layers;
        let way = Way {
            parts: layers.roots_from(parent.depth)?,
            names: path.clone(),
            absolute: true,
        };
        let shown = layers.search(way, Wanted::Directories)?;
        let same = |part: &Part, depth: usize, ino: u64, dev: u64| {
            (part.depth, part.attr.ino, part.attr.dev) == (depth, ino, dev)
        };
        let itself = |part: &Part| same(part, parent.depth, entry.attr.ino, entry.attr.dev);
        let target = |part: &Part| same(part, first.depth, first.attr.ino, first.attr.dev);
        Ok(!shown.parts.iter().any(itself) && shown.parts.iter().any(target))
    }

    fn uncovered(&mut self, parent: &Dir, entry: &Entry<'_>) -> Go {
        let (kind, path) = (Kind::RedirectUncovered, parent.path_of(entry.name));
        let attempt = Attempt::Cannot(TWICE);
        self.found(kind, parent.depth, path, value_of(entry), attempt)?;
        Go::Continue(())
    }
}

fn value_of(entry: &Entry<'_>) -> String {
    let value = entry.marks.redirect.as_deref().unwrap_or_default();
    value.escape_ascii().to_string()
}
