//! What an inode is made of: its objects on the branches, with the access
//! that the branches have. Owns no lock; no merging here, see `search.rs`.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::table::ObjectId;
use crate::attr::Attr;
use crate::error::Result;
use crate::layer::{Found, Node, WritableNode};
use crate::name::Name;
use crate::stack::BranchId;

/// One object of a branch.
#[derive(Debug, Clone)]
pub(super) enum Object {
    ReadOnly(Arc<dyn Node>),
    Writable(Arc<dyn WritableNode>),
}

impl Object {
    /// The same for writing, where the branch can be written.
    pub fn writable(&self) -> Option<&Arc<dyn WritableNode>> {
        match self {
            Object::ReadOnly(_) => None,
            Object::Writable(node) => Some(node),
        }
    }

    /// The entry `name` of this directory, with the same access.
    pub fn entry(&self, name: &Name) -> Result<Option<(Object, Attr)>> {
        Ok(match self {
            Object::ReadOnly(node) => node
                .lookup(name)?
                .map(|Found { node, attr }| (Object::ReadOnly(node), attr)),
            Object::Writable(node) => node
                .lookup_writable(name)?
                .map(|Found { node, attr }| (Object::Writable(node), attr)),
        })
    }
}

impl Deref for Object {
    type Target = dyn Node;

    fn deref(&self) -> &dyn Node {
        match self {
            Object::ReadOnly(node) => &**node,
            Object::Writable(node) => &**node,
        }
    }
}

/// A directory of one branch.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub branch: BranchId,
    pub node: Object,
    pub id: ObjectId,
    /// Whether it may hold whiteouts that are regular files. Of a writable
    /// one that changes, and is asked each time.
    pub file_whiteouts: bool,
}

/// The directories that merge into one, top first, at most one of a branch.
#[derive(Debug, Default)]
pub(super) struct Parts(Box<[Part]>);

impl Parts {
    pub fn new(top_first: Vec<Part>) -> Parts {
        Parts(top_first.into_boxed_slice())
    }

    /// The topmost part on a read-only branch.
    pub fn lower(&self) -> Option<&Part> {
        self.iter().find(|part| part.node.writable().is_none())
    }

    /// The part on this branch, for writing.
    pub fn on(&self, branch: BranchId) -> Option<&Arc<dyn WritableNode>> {
        let part = self.iter().find(|part| part.branch == branch);
        part.and_then(|part| part.node.writable())
    }

    /// With another part, at `position`.
    pub fn with(&self, position: usize, part: Part) -> Parts {
        let mut parts = self.0.to_vec();
        parts.insert(position.min(parts.len()), part);
        Parts::new(parts)
    }
}

impl Deref for Parts {
    type Target = [Part];

    fn deref(&self) -> &[Part] {
        &self.0
    }
}

/// A copy of a non-directory on a writable branch, or what was made there.
#[derive(Debug)]
pub(super) struct Copy {
    pub branch: BranchId,
    pub node: Arc<dyn WritableNode>,
}

/// A value that is replaced a few times at most, and read without a lock.
/// What was replaced stays until all goes, so a reference to it stays good.
#[derive(Debug)]
pub(super) struct Latest<T> {
    value: OnceLock<T>,
    next: OnceLock<Box<Latest<T>>>,
}

impl<T> Latest<T> {
    /// A cell without a value.
    pub const fn none() -> Latest<T> {
        Latest {
            value: OnceLock::new(),
            next: OnceLock::new(),
        }
    }

    pub fn new(value: T) -> Latest<T> {
        Latest {
            value: OnceLock::from(value),
            next: OnceLock::new(),
        }
    }

    /// The value that was set last.
    pub fn get(&self) -> Option<&T> {
        self.last().value.get()
    }

    /// From now on this is the value. Of values that are set at the same time
    /// each counts for a moment; who must not lose one holds a lock.
    pub fn set(&self, value: T) {
        let mut value = value;
        let mut at = self;
        loop {
            at = at.last();
            match at.value.set(value) {
                Ok(()) => return,
                Err(back) => value = back,
            }
            at = at.next.get_or_init(|| Box::new(Latest::none()));
        }
    }

    /// The last cell with a value, or the first.
    fn last(&self) -> &Latest<T> {
        let mut at = self;
        while let Some(next) = at.next.get() {
            if next.value.get().is_none() {
                break;
            }
            at = next;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_value_is_seen_and_those_before_stay() {
        let cell = Latest::none();
        assert_eq!(cell.get(), None);
        cell.set(String::from("one"));
        let one = cell.get();
        cell.set(String::from("two"));
        cell.set(String::from("three"));
        assert_eq!(one.map(String::as_str), Some("one"));
        assert_eq!(cell.get().map(String::as_str), Some("three"));
    }
}
