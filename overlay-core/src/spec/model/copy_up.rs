//! Copying up: what is lower comes into the writable layer.

use std::collections::BTreeSet;

use super::*;

/// A lower object that the index keeps in one piece when it is copied up.
///
/// Its copy lies in the index, and gets there the names that are used to
/// change something, one by one. All other names show the copy because the
/// index says so. Nothing in the tree tells the two sorts of names apart, until
/// the index is gone ([`Op::Rotate`]).
#[derive(Debug, Clone, Default)]
pub(super) struct Indexed {
    /// Names that the copy does not have in the writable layer.
    below: BTreeSet<Spot>,
    /// What lies below, once there is a copy.
    original: Option<Node>,
}

impl Indexed {
    /// Whether this name shows the object only because of the index.
    pub(super) fn is_below(&self, spot: &Spot) -> bool {
        self.below.contains(spot)
    }

    /// What lies below a copy.
    pub(super) fn original(&self) -> Option<&Node> {
        self.original.as_ref()
    }
}

impl Node {
    /// What lies below: of a copy in the index another object.
    pub(super) fn original(&self) -> Node {
        let original = self.indexed.as_ref().and_then(|i| i.original());
        original.unwrap_or(self).clone()
    }
}

impl Model {
    /// Whether the index keeps lower objects of this kind with so many links.
    /// For `nfs_export` it keeps all, for it is there that they are found by
    /// handle; but in no case those that cannot carry its marks.
    pub(super) fn is_indexed(&self, kind: FileKind, links: u64) -> bool {
        let config = self.config;
        let is_wanted = config.index.is_on() && (links > 1 || config.nfs_export.is_on());
        self.writable && is_wanted && config.namespace.can_mark(kind)
    }

    /// The names that show a copy only because of the index.
    pub fn shown_by_the_index(&self) -> Vec<Path> {
        let mut shown = Vec::new();
        let mut todo = vec![(Path::default(), ROOT)];
        while let Some((path, dir)) = todo.pop() {
            let Body::Dir(entries) = &self.objects[dir].body else {
                continue;
            };
            for (name, key) in entries {
                let path = path.join(name);
                let indexed = self.objects[*key].indexed.as_ref();
                let indexed = indexed.filter(|indexed| indexed.original().is_some());
                if indexed.is_some_and(|indexed| indexed.is_below(&(dir, name.clone()))) {
                    shown.push(path.clone());
                }
                todo.push((path, *key));
            }
        }
        shown
    }

    /// Notes that the object has this name in the layers below.
    pub(super) fn add_alias(&mut self, key: Key, spot: Spot) {
        if let Some(indexed) = &mut self.objects[key].indexed {
            indexed.below.insert(spot);
        }
    }

    /// Copies up the object at `path` and does nothing else to it: what an
    /// operation leaves that fails, or is cut short, after its copy-up.
    pub fn copy_up_at(&mut self, path: &Path) {
        if let (true, Ok(key)) = (self.writable, self.walk(path)) {
            self.copy_up_path(path, key);
        }
    }

    /// The same for what is held open in `slot`.
    pub fn copy_up_held(&mut self, slot: Slot) {
        if let (true, Some(held)) = (self.writable, self.held.get(&slot).cloned()) {
            self.copy_up_spot(held.key, &held.spot);
        }
    }

    /// Copies up the object with this path.
    pub(super) fn copy_up_path(&mut self, path: &Path, key: Key) {
        match self.spot(path) {
            Some(spot) => self.copy_up_spot(key, &spot),
            None => self.copy_up(key),
        }
    }

    /// Copies up the object with this name. What the index keeps is copied
    /// once, and then has the name in the writable layer, too.
    pub(super) fn copy_up_spot(&mut self, key: Key, spot: &Spot) {
        let dataless = self.left_below(key, spot);
        match &mut self.objects[key].indexed {
            None => self.copy_up(key),
            Some(indexed) => {
                if indexed.below.remove(spot) {
                    self.copy_up(spot.0);
                    self.copy_into_index(key);
                }
            }
        }
        if dataless.is_some() {
            self.objects[key].dataless = dataless;
        }
    }

    /// Its number and its link count stay: hidden names count, and so do
    /// those that it does not have in the writable layer yet.
    fn copy_into_index(&mut self, key: Key) {
        let node = &mut self.objects[key];
        if node.upper {
            return;
        }
        let original = node.clone();
        node.upper = true;
        node.borrowed = true;
        if let Some(indexed) = &mut node.indexed {
            indexed.original = Some(Node {
                indexed: None,
                ..original
            });
        }
    }

    /// Puts the object and its parents into the writable layer. Nothing that
    /// can be seen changes, but a lower hard link breaks and a directory
    /// becomes a merged one.
    pub(super) fn copy_up(&mut self, key: Key) {
        if self.objects[key].upper {
            return;
        }
        let parent = self.parent_of(key);
        if let Some(parent) = parent {
            self.copy_up(parent);
        }
        let fresh = self.numbers + 1;
        let node = &mut self.objects[key];
        node.upper = true;
        node.borrowed = true;
        if node.lowers == 0 {
            if node.links > 1 {
                node.ino = fresh;
                node.borrowed = false;
                self.numbers = fresh;
            }
            node.links = u64::from(parent.is_some());
        }
    }
}
