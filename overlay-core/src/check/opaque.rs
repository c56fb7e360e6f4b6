//! Opaque marks that hide nothing, or say nothing.

use std::collections::VecDeque;

use super::Kind;
use super::below::{Part, Wanted, Way};
use super::report::{Attempt, Go, Run};
use super::walk::{Dir, Entry};
use crate::dialect::Dialect;
use crate::error::Result;

impl Run<'_> {
    /// A directory that hides what lies below: it merges with nothing.
    pub(super) fn opaque(&mut self, parent: &Dir, entry: &mut Entry<'_>) -> Go<Result<Vec<Part>>> {
        let Some(dialect) = self.dialect(parent.depth) else {
            return Go::Continue(Ok(Vec::new()));
        };
        let path = || parent.path_of(entry.name);
        // First: it would have an effect without the mark.
        if let Some(value) = &entry.marks.redirect {
            let (kind, detail) = (Kind::RedirectUnused, value.escape_ascii().to_string());
            let mut remove = || entry.object.unset(dialect.redirect_mark());
            let attempt = Attempt::Can("removes the redirect", &mut remove);
            let gone = self.found(kind, parent.depth, path(), detail, attempt)?;
            if !gone && self.storage.is_some() {
                return Go::Continue(Ok(Vec::new()));
            }
        }
        match self.lies_below(parent, entry) {
            Ok(true) => return Go::Continue(Ok(Vec::new())),
            Ok(false) => {}
            Err(error) => return Go::Continue(Err(error)),
        }
        let mut remove = || entry.object.unset(dialect.opaque_mark().0);
        let attempt = Attempt::Can("removes the mark", &mut remove);
        let kind = Kind::OpaqueOverNothing;
        self.found(kind, parent.depth, path(), String::new(), attempt)?;
        Go::Continue(Ok(Vec::new()))
    }

    /// Whether a directory would merge with something below its own name.
    pub(super) fn lies_below(&self, parent: &Dir, entry: &Entry<'_>) -> Result<bool> {
        let way = Way {
            parts: parent.below.clone(),
            names: VecDeque::from([entry.name.to_owned()]),
            absolute: false,
        };
        let below = self.check.layers.search(way, Wanted::Directories)?;
        Ok(below.unclear || !below.parts.is_empty())
    }

    /// A mark with a value that means nothing.
    pub(super) fn opaque_unknown(&mut self, parent: &Dir, entry: &Entry<'_>) -> Go {
        let (Some(dialect), Some(value)) = (self.dialect(parent.depth), &entry.marks.opaque) else {
            return Go::Continue(());
        };
        let mut remove = || entry.object.unset(dialect.opaque_mark().0);
        let attempt = Attempt::Can("removes the mark", &mut remove);
        let (kind, path) = (Kind::OpaqueUnknown, parent.path_of(entry.name));
        let detail = value.escape_ascii().to_string();
        self.found(kind, parent.depth, path, detail, attempt)?;
        Go::Continue(())
    }

    /// Roots merge whatever they say.
    pub(super) fn root_opaque(&mut self, root: &Dir) -> Go {
        let kind = match root.marks.opaque.as_deref() {
            None | Some(b"x") => return Go::Continue(()),
            Some(b"y") => Kind::OpaqueOverNothing,
            Some(_) => Kind::OpaqueUnknown,
        };
        let Some(dialect) = self.dialect(root.depth) else {
            return Go::Continue(());
        };
        let mut remove = || root.object.unset(dialect.opaque_mark().0);
        let attempt = Attempt::Can("removes the mark", &mut remove);
        let (depth, path) = (root.depth, root.path());
        self.found(
            kind,
            depth,
            path,
            "a root always merges".to_owned(),
            attempt,
        )?;
        Go::Continue(())
    }

    /// Whiteouts that are files, on a branch whose root does not say so.
    pub(super) fn root_unmarked(&mut self, depth: usize) -> Go {
        let attempt = Attempt::Cannot(
            "whether the names were meant to be hidden cannot be known: mark the root (opaque=x), or remove the files",
        );
        let kind = Kind::FileWhiteoutRoot;
        self.found(kind, depth, Vec::new(), String::new(), attempt)?;
        Go::Continue(())
    }

    pub(super) fn dialect(&self, depth: usize) -> Option<Dialect> {
        self.layer(depth).map(|layer| layer.dialect)
    }
}
