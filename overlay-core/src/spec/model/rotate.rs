//! Rotation: what was written becomes the top lower layer.

use std::collections::BTreeSet;

use super::*;

impl Model {
    /// Mounts again with an empty writable layer on top of all others; it has
    /// the attributes of the one before. Nothing that can be seen changes, but
    /// everything is lower now, and directories lie where they are seen.
    ///
    /// A read-only stack is only mounted again.
    pub(super) fn rotate(&mut self) {
        self.held.clear();
        if !self.writable {
            return;
        }
        let mut seen = BTreeSet::new();
        let mut todo = vec![(Path::default(), ROOT)];
        while let Some((path, key)) = todo.pop() {
            for (name, child) in self.take_entries(key) {
                // Names of a lower object are copied up one by one.
                let child = match seen.insert(child) {
                    true => child,
                    false => {
                        self.objects.push(self.objects[child].clone());
                        self.objects.len() - 1
                    }
                };
                todo.push((path.join(&name), child));
                if let Body::Dir(entries) = &mut self.objects[key].body {
                    entries.insert(name, child);
                }
            }
            let node = &mut self.objects[key];
            if let Body::Dir(_) = node.body {
                node.lowers += usize::from(node.upper);
                node.origin = Some(path);
            }
            node.upper = key == ROOT;
        }
    }

    fn take_entries(&mut self, key: Key) -> BTreeMap<NameBuf, Key> {
        match &mut self.objects[key].body {
            Body::Dir(entries) => std::mem::take(entries),
            Body::Leaf(_) => BTreeMap::new(),
        }
    }
}
