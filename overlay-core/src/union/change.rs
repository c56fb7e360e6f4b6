//! Other branches: a union of another stack takes the place of one that is in
//! use. What is known keeps its number, and what is open goes on.
//!
//! Nothing may be done by either meanwhile; [`Live`](super::Live) sees to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::gone::Gone;
use super::inode::{Body, DirState, Directory, Indexed, Inode, Lower, Other};
use super::lend::stays_lent;
use super::opened::{Opened, Use};
use super::origin::Impure;
use super::part::{Copy, Latest, Object, Part, Parts};
use super::table::{ObjectId, Table};
use super::{Options, Union};
use crate::attr::FileKind;
use crate::error::{Error, Result};
use crate::name::NameBuf;
use crate::stack::Stack;

/// A name that was known before the branches changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unasked {
    /// The number of its inode.
    pub number: u64,
    /// What that was.
    pub kind: FileKind,
    /// The number of its directory.
    pub parent: u64,
    /// The name.
    pub name: NameBuf,
    /// Whether it may have another content now, and the same number: where a
    /// copy has gone, the original shows.
    pub content_changed: bool,
}

/// How many names an error tells.
const NAMED: usize = 5;

impl Union {
    /// A union of `stack`, whose branches are this one's as far as they have
    /// the same names, to take its place.
    ///
    /// Errors: [`Error::InUse`] if a file is open on a branch that is gone, or
    /// is open for writing on one that cannot be written any more, or is lent
    /// and could then be copied up or moved; what [`Union::with_options`] says.
    /// Then nothing has changed.
    pub(super) fn replaced_by(&self, stack: Stack, asked: Options) -> Result<Arc<Union>> {
        let open = self.opens.all();
        self.refuse_used(&stack, &open)?;
        let parting = self.ready_to_part(&stack, &asked)?;
        let mut table = Table::after(&self.table, &stack);
        if let Some(plinks) = parting {
            table.lend(plinks.numbers());
        }
        let after = Union::assemble(stack, asked, table, Some(self))?;
        after.recover_after(self)?;
        let mut moves = Vec::new();
        for opened in open {
            let inode = after.inode_after(&opened.inode())?;
            moves.push((opened, inode));
        }
        // Nothing fails from here on.
        if let Some(plinks) = parting {
            plinks.dissolve_all();
        }
        for (opened, inode) in moves {
            opened.move_to(inode);
        }
        Ok(after)
    }

    /// The names that were known before the branches changed and were not asked
    /// for since. Who keeps what the union said of them has to ask again.
    pub fn unasked(&self) -> Vec<Unasked> {
        self.table.trails().left()
    }

    fn refuse_used(&self, stack: &Stack, open: &[Arc<Opened>]) -> Result<()> {
        let mut names = Vec::new();
        for opened in open {
            let inode = opened.inode();
            let writable = stack
                .branch(inode.home())
                .map(|branch| branch.storage.is_writable());
            let in_use = match (opened.how(), writable) {
                (Use::Reading | Use::Writing, None) | (Use::Writing, Some(false)) => true,
                // A directory lists what is left of it.
                (Use::Listing, _) | (Use::Reading | Use::Writing, Some(_)) => false,
            };
            if in_use || opened.is_lent() && !stays_lent(&inode, stack) {
                names.push(path_of(&inode));
            }
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let mut text = names.join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        Err(Error::InUse(text.into_boxed_str()))
    }

    /// The inode here for what is open on one of the union before: that of its
    /// name if it shows the same object, else one without a name.
    fn inode_after(&self, before: &Arc<Inode>) -> Result<Arc<Inode>> {
        match self.recall(before.number())? {
            Some(entry) if entry.inode.kind() == before.kind() => Ok(entry.inode),
            Some(_) | None => Ok(self.table.enter(self.nameless(before))),
        }
    }

    /// `before` without its names, as what was removed while it is open.
    fn nameless(&self, before: &Inode) -> Inode {
        let body = match &before.body {
            Body::Directory(directory) => {
                let parts = directory.parts().iter();
                let left = parts.filter(|part| self.stack.branch(part.branch).is_some());
                let left: Vec<_> = left.cloned().collect();
                let parts = match left.is_empty() {
                    true => vec![gone(before)],
                    false => left,
                };
                Body::Directory(Box::new(Directory {
                    parts: Latest::new(Parts::new(parts)),
                    redirect: Mutex::new(None),
                    impure: Impure::default(),
                    state: RwLock::new(DirState { removed: true }),
                }))
            }
            Body::Other(other) => Body::Other(other.again(&self.stack)),
        };
        let (number, shown) = (before.number(), before.shown_number());
        let protected = before.protected.again();
        Inode::new(number, shown, body, protected, None, &self.table)
    }
}

/// What is left of a directory that went with its branches.
fn gone(before: &Inode) -> Part {
    let attr = before.node().attr().unwrap_or_else(|error| {
        tracing::debug!(%error, "of a directory that goes no attributes are kept");
        Gone::UNKNOWN
    });
    Part {
        branch: before.home(),
        node: Object::ReadOnly(Arc::new(Gone::new(attr))),
        id: ObjectId::new(0, 0),
        file_whiteouts: false,
    }
}

impl Other {
    /// The same for a union of `stack`, without what lies elsewhere: that keeps
    /// nothing but the data that is read.
    fn again(&self, stack: &Stack) -> Other {
        let lacks_data = self.lacks_data.load(Ordering::Acquire);
        let stays = |lower: &&Lower| lacks_data || stack.branch(lower.branch).is_some();
        let copy = self.copy.get().map(|copy| Copy {
            branch: copy.branch,
            node: Arc::clone(&copy.node),
        });
        let indexed = self.indexed.as_deref().map(|indexed| Indexed {
            slot: indexed.slot.clone(),
            lower_links: indexed.lower_links,
            lower_names: AtomicBool::new(indexed.lower_names.load(Ordering::Acquire)),
            counting: Mutex::new(()),
        });
        Other {
            kind: self.kind,
            copy: copy.map_or_else(Latest::none, Latest::new),
            lower: self.lower.as_ref().filter(stays).cloned(),
            data: self.data.clone(),
            lacks_data: AtomicBool::new(lacks_data),
            indexed: indexed.map(Box::new),
        }
    }
}

/// The path of an inode from the root, as it is told to people.
fn path_of(inode: &Arc<Inode>) -> String {
    let mut names = Vec::new();
    let mut at = Arc::clone(inode);
    while let Some(link) = at.link() {
        names.push(link.name.as_bytes().escape_ascii().to_string());
        at = link.parent;
    }
    match names.is_empty() {
        true => String::from("a file without a name"),
        false => {
            names.reverse();
            names.join("/")
        }
    }
}
