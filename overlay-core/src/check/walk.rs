//! The walk through one branch after the other, directory by directory.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Kind;
use super::below::Part;
use super::hints::Hints;
use super::layers::Object;
use super::report::{Go, Run};
use crate::attr::{Attr, FileKind};
use crate::dialect::{Marks, Meaning, Opacity, Says};
use crate::error::{Error, Result};
use crate::name::{Name, NameBuf};

/// A directory of a branch, with what it merges with.
pub(super) struct Dir {
    parent: Option<Arc<Dir>>,
    /// `None` for the root.
    name: Option<NameBuf>,
    /// The branch, counted from the top.
    pub depth: usize,
    pub object: Object,
    pub attr: Attr,
    pub marks: Marks,
    pub below: Vec<Part>,
    /// Its redirect is of no use, and to be judged after what it holds.
    cut_later: Option<Kind>,
}

/// An entry that is looked at.
pub(super) struct Entry<'a> {
    pub name: &'a Name,
    pub object: Object,
    pub attr: Attr,
    pub marks: Marks,
    /// See [`Dir::cut_later`].
    pub cut_later: Option<Kind>,
}

/// A directory that waits for its turn.
struct Waiting {
    parent: Arc<Dir>,
    name: NameBuf,
}

/// What the entries of a directory come to.
#[derive(Default)]
pub(super) struct Tally {
    /// Some are copies whose original is known.
    pub copies: bool,
    /// Some may be, though they do not say so.
    pub may_be_copies: bool,
    /// Some are whiteouts and files.
    pub file_whiteouts: bool,
    /// Whiteouts without use: removed after the listing.
    pub whiteouts: Vec<(Kind, NameBuf)>,
}

impl Dir {
    /// The way from the root of the branch.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = Some(self);
        while let Some(dir) = at {
            names.extend(&dir.name);
            at = dir.parent.as_deref();
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
        }
        path
    }

    pub(super) fn path_of(&self, name: &Name) -> Vec<u8> {
        let mut path = self.path();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }

    /// Whether it says that whiteouts in it may be files.
    pub(super) fn is_marked(&self) -> bool {
        self.marks.opaque.as_deref() == Some(b"x")
    }
}

impl Drop for Dir {
    /// Lets go of the parents one by one: a deep tree would overflow the stack.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut dir) = parent.and_then(Arc::into_inner) {
            parent = dir.parent.take();
        }
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.path().escape_ascii())
    }
}

impl Run<'_> {
    /// All branches that show something.
    pub(super) fn trees(&mut self) -> Go {
        for depth in 0..self.check.layers.shown.len() {
            self.tree(depth)?;
        }
        Go::Continue(())
    }

    fn tree(&mut self, depth: usize) -> Go {
        self.redirected.clear();
        let mut hints = Hints::default();
        let mut waiting = Vec::new();
        let root = match self.root(depth) {
            Ok(root) => root,
            Err(error) => return Go::Break(Some(error)),
        };
        self.root_opaque(&root)?;
        self.scan(&root, &mut waiting, &mut hints)?;
        while let Some(Waiting { parent, name }) = waiting.pop() {
            match self.enter(&parent, &name)? {
                Ok(Some(dir)) => self.scan(&dir, &mut waiting, &mut hints)?,
                Ok(None) => {}
                Err(error) => self.unreadable(depth, parent.path_of(&name), &error)?,
            }
        }
        match (root.is_marked(), hints.file_whiteouts) {
            (true, false) => {
                self.marked_without_use(&root)?;
            }
            (false, true) => self.root_unmarked(depth)?,
            (true, true) | (false, false) => {}
        }
        self.tell_hints(depth, &hints)
    }

    fn root(&mut self, depth: usize) -> Result<Arc<Dir>> {
        let layer = self.layer(depth).ok_or(Error::Stale)?;
        Ok(Arc::new(Dir {
            parent: None,
            name: None,
            depth,
            object: layer.root.clone(),
            attr: layer.root.node.attr()?,
            marks: layer.dialect.marks_of(&*layer.root.node)?,
            below: self.check.layers.roots_below(depth)?,
            cut_later: None,
        }))
    }

    /// Judges what a directory says of itself, and finds what it merges with.
    fn enter(&mut self, parent: &Arc<Dir>, name: &Name) -> Go<Result<Option<Arc<Dir>>>> {
        let found = match parent.object.lookup(name) {
            Ok(Some((object, attr))) if attr.kind.is_dir() => (object, attr),
            Ok(Some(_) | None) => return Go::Continue(Ok(None)),
            Err(error) => return Go::Continue(Err(error)),
        };
        let (object, attr) = found;
        let Some(layer) = self.layer(parent.depth) else {
            return Go::Continue(Ok(None));
        };
        let marks = match layer.dialect.marks_of(&*object.node) {
            Ok(marks) => marks,
            Err(error) => return Go::Continue(Err(error)),
        };
        let mut entry = Entry {
            name,
            object,
            attr,
            marks,
            cut_later: None,
        };
        let below = match self.merges(parent, &mut entry)? {
            Ok(below) => below,
            Err(error) => return Go::Continue(Err(error)),
        };
        Go::Continue(Ok(Some(Arc::new(Dir {
            parent: Some(Arc::clone(parent)),
            name: Some(name.to_owned()),
            depth: parent.depth,
            object: entry.object,
            attr: entry.attr,
            marks: entry.marks,
            below,
            cut_later: entry.cut_later,
        }))))
    }

    /// Whether a directory hides what lies below, by whatever mark.
    fn stands_alone(&self, parent: &Dir, entry: &Entry<'_>) -> Result<bool> {
        let Some(dialect) = self.dialect(parent.depth) else {
            return Ok(false);
        };
        let seen = Some((&*entry.object.node, &entry.attr));
        let says = dialect.says(&*parent.object.node, entry.name, seen, false)?;
        Ok(says == Says::ShowsAlone || dialect.opacity(&*entry.object.node)? == Opacity::Opaque)
    }

    /// What the directory merges with; its redirect and its opaque mark are
    /// judged on the way.
    fn merges(&mut self, parent: &Dir, entry: &mut Entry<'_>) -> Go<Result<Vec<Part>>> {
        match self.stands_alone(parent, entry) {
            Ok(true) if entry.marks.opaque.as_deref() != Some(b"y") => {
                return Go::Continue(Ok(Vec::new()));
            }
            Ok(true | false) => {}
            Err(error) => return Go::Continue(Err(error)),
        }
        match entry.marks.opaque.as_deref() {
            Some(b"y") => self.opaque(parent, entry),
            Some(b"x") | None => self.merges_by_redirect(parent, entry),
            Some(_) => {
                self.opaque_unknown(parent, entry)?;
                self.merges_by_redirect(parent, entry)
            }
        }
    }

    /// Judges the entries of a directory, and then the directory by them.
    fn scan(&mut self, dir: &Arc<Dir>, waiting: &mut Vec<Waiting>, hints: &mut Hints) -> Go {
        let mut tally = Tally::default();
        let mut go = Go::Continue(());
        let listed = dir.object.node.entries(&mut |raw| {
            go = self.entry(dir, raw.name, &mut tally, waiting, hints);
            match go {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(_) => ControlFlow::Break(()),
            }
        });
        go?;
        if let Err(error) = listed {
            // What was not seen may be what a mark is there for.
            if let Some(kind) = dir.cut_later {
                self.cut_later(dir, kind, false)?;
            }
            return self.unreadable(dir.depth, dir.path(), &error);
        }
        let gone = self.whiteouts_without_use(dir, std::mem::take(&mut tally.whiteouts))?;
        let may_unmark = gone || self.storage.is_none();
        let mut unmarked = false;
        if dir.is_marked() && dir.name.is_some() && !tally.file_whiteouts && may_unmark {
            unmarked = self.marked_without_use(dir)? || self.storage.is_none();
        }
        if let Some(kind) = dir.cut_later {
            self.cut_later(dir, kind, unmarked)?;
        }
        self.impure(dir, &tally)
    }

    fn entry(
        &mut self,
        dir: &Arc<Dir>,
        name: &Name,
        tally: &mut Tally,
        waiting: &mut Vec<Waiting>,
        hints: &mut Hints,
    ) -> Go {
        self.seen()?;
        match self.judge(dir, name, tally, hints) {
            Ok(go) => {
                if go? == Some(FileKind::Directory) {
                    waiting.push(Waiting {
                        parent: Arc::clone(dir),
                        name: name.to_owned(),
                    });
                }
                Go::Continue(())
            }
            Err(error) => self.unreadable(dir.depth, dir.path_of(name), &error),
        }
    }

    /// Judges one entry; returns what it is, unless that is a whiteout.
    fn judge(
        &mut self,
        dir: &Dir,
        name: &Name,
        tally: &mut Tally,
        hints: &mut Hints,
    ) -> Result<Go<Option<FileKind>>> {
        let Some((object, attr)) = dir.object.lookup(name)? else {
            return Ok(Go::Continue(None));
        };
        let Some(layer) = self.layer(dir.depth) else {
            return Ok(Go::Continue(None));
        };
        match layer.dialect.meaning(name) {
            Meaning::Entry => hints.name(dir, name),
            Meaning::Hides(hidden) => {
                let without_use = self.judge_whiteout_of(dir, hidden)?;
                let kind = without_use.map(|kind| (kind, name.to_owned()));
                tally.whiteouts.extend(kind.filter(|_| !attr.kind.is_dir()));
                return Ok(Go::Continue(None));
            }
            Meaning::Private => return Ok(Go::Continue(None)),
        }
        // Without a look at marks: a whiteout by itself.
        if layer.dialect.hides(&*object.node, &attr, false)? {
            tally.whiteouts.extend(self.judge_whiteout(dir, name)?);
            return Ok(Go::Continue(None));
        }
        let marks = layer.dialect.marks_of(&*object.node)?;
        hints.marks(dir, name, &marks);
        let entry = Entry {
            name,
            object,
            attr,
            marks,
            cut_later: None,
        };
        if attr.kind == FileKind::Regular && attr.size == 0 && entry.marks.whiteout.is_some() {
            let use_of = self.judge_file_whiteout(dir, &entry, tally, hints)?;
            return Ok(use_of.map_continue(|()| None));
        }
        let go = self.judge_data(dir, &entry)?;
        if go.is_break() {
            return Ok(go.map_continue(|()| None));
        }
        let go = self.judge_origin(dir, &entry, tally)?;
        Ok(go.map_continue(|()| Some(attr.kind)))
    }
}
