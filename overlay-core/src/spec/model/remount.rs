//! Mounting again: the same stack, or with what was written on top of the
//! lower layers.

use super::*;

/// What the layers store under a name, which the index may hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stored {
    /// What is shown.
    Shown(Key),
    /// What this was before it was copied up.
    Original(Key),
}

impl Model {
    /// Mounts again. Inode numbers stay, for a copy carries a mark that says
    /// what it is a copy of; where it cannot, it gets a number of its own.
    pub(super) fn remount(&mut self) {
        self.held.clear();
        for key in 0..self.objects.len() {
            let is_marked = self.config.namespace.can_mark(self.kind(key));
            if self.objects[key].borrowed && !is_marked {
                self.objects[key].borrowed = false;
                self.renumber(key);
            }
        }
        self.count_links_of_the_index();
    }

    /// The index is a hard link, too. The kernel counts it after a remount, if
    /// the lower object had one name: only `nfs_export` keeps such.
    fn count_links_of_the_index(&mut self) {
        let more = u64::from(self.rules == Rules::Kernel);
        for (key, names) in self.names() {
            let node = &mut self.objects[key];
            let original = node.indexed.as_ref().and_then(|i| i.original());
            if original.is_some_and(|original| original.links == 1) {
                node.links = names + more;
            }
        }
    }

    /// How many names each object has that is no directory.
    fn names(&self) -> BTreeMap<Key, u64> {
        let mut names = BTreeMap::new();
        let mut todo = vec![ROOT];
        while let Some(key) = todo.pop() {
            match &self.objects[key].body {
                Body::Dir(entries) => todo.extend(entries.values()),
                Body::Leaf(_) => *names.entry(key).or_insert(0) += 1,
            }
        }
        names
    }

    /// Mounts again with an empty writable layer on top of all others; it has
    /// the attributes of the one before. Everything is lower now, directories
    /// lie where they are seen, and copies show numbers of their own.
    ///
    /// The index is gone: names that showed a copy only because of it show
    /// what lies below again. Nothing else that can be seen changes.
    ///
    /// A read-only stack is only mounted again.
    pub(super) fn rotate(&mut self) {
        self.remount();
        if !self.writable {
            return;
        }
        let mut names = BTreeMap::new();
        let mut todo = vec![(Path::default(), ROOT)];
        while let Some((path, dir)) = todo.pop() {
            if let Body::Dir(entries) = &self.objects[dir].body {
                for (name, key) in entries {
                    if self.kind(*key).is_dir() {
                        todo.push((path.join(name), *key));
                        continue;
                    }
                    let spot = (dir, name.clone());
                    let stored = self.without_index(*key, &spot);
                    names.entry(stored).or_insert(Vec::new()).push(spot);
                }
            }
            self.rotate_dir(dir, path);
        }
        for (stored, names) in names {
            self.rotate_leaf(stored, names);
        }
    }

    fn rotate_dir(&mut self, dir: Key, path: Path) {
        let node = &mut self.objects[dir];
        let is_copy = node.borrowed;
        node.lowers += usize::from(node.upper);
        node.origin = Some(path);
        node.upper = dir == ROOT;
        node.borrowed = dir == ROOT;
        if is_copy {
            self.renumber(dir);
        }
    }

    /// What is stored under a name.
    fn without_index(&self, key: Key, spot: &Spot) -> Stored {
        match &self.objects[key].indexed {
            Some(indexed) if indexed.original().is_some() && indexed.is_below(spot) => {
                Stored::Original(key)
            }
            Some(_) | None => Stored::Shown(key),
        }
    }

    /// Makes what is stored under these names a lower object.
    fn rotate_leaf(&mut self, stored: Stored, names: Vec<Spot>) {
        let mut node = match stored {
            Stored::Original(key) => self.objects[key].original(),
            Stored::Shown(key) => self.objects[key].clone(),
        };
        if node.upper {
            node.links = names.len() as u64;
        }
        if node.borrowed {
            self.numbers += 1;
            node.ino = self.numbers;
        }
        let kind = match &node.body {
            Body::Leaf(data) => data.kind(),
            Body::Dir(_) => return,
        };
        let is_indexed = self.is_indexed(kind, node.links);
        let lower = Node {
            upper: false,
            borrowed: false,
            indexed: is_indexed.then(Box::default),
            dataless: None,
            ..node
        };
        let mut key = None;
        for spot in names {
            // Without an index names are copied up one by one.
            let key = match (key, is_indexed) {
                (Some(key), true) => key,
                (Some(_) | None, _) => {
                    self.objects.push(lower.clone());
                    *key.insert(self.objects.len() - 1)
                }
            };
            self.add_alias(key, spot.clone());
            if let Body::Dir(entries) = &mut self.objects[spot.0].body {
                entries.insert(spot.1, key);
            }
        }
    }

    fn renumber(&mut self, key: Key) {
        self.numbers += 1;
        self.objects[key].ino = self.numbers;
    }
}
