//! What a model knows of a stack when it is mounted.

use super::*;

/// What is known of a stack while it becomes a model.
struct Known {
    /// The objects of leaves with several names.
    leaves: BTreeMap<Id, Key>,
    /// Where the lower directories lie in what the lower layers show.
    origins: BTreeMap<Id, Path>,
}

impl Model {
    /// Mounts `layers`, top first; the top one is written if `writable`.
    pub fn new(layers: &[Dir<Stored>], writable: bool, rules: Rules, config: Config) -> Model {
        let mut model = Model {
            objects: Vec::new(),
            held: BTreeMap::new(),
            writable,
            rules,
            config,
            numbers: 0,
        };
        let lowers = layers.iter().skip(usize::from(writable)).cloned();
        let mut known = Known {
            leaves: BTreeMap::new(),
            origins: redirect::places(&view_over(&lowers.collect::<Vec<_>>(), config.data_only)),
        };
        model.add_dir(&view_over(layers, config.data_only), &mut known);
        model
    }

    /// Adds a directory of the view, with all that is in it.
    fn add_dir(&mut self, dir: &Dir<Visible>, known: &mut Known) -> Key {
        let uppers = dir.parts.iter().filter(|id| self.is_upper(**id)).count();
        let topmost_lower = dir.parts.get(uppers);
        self.numbers += 1;
        let key = self.objects.len();
        self.objects.push(Node {
            body: Body::Dir(BTreeMap::new()),
            mtime: Time::At(dir.meta.mtime),
            meta: dir.meta.clone(),
            ino: self.numbers,
            borrowed: uppers > 0 && topmost_lower.is_some(),
            upper: uppers > 0,
            lowers: dir.parts.len() - uppers,
            origin: topmost_lower.and_then(|id| known.origins.get(id).cloned()),
            links: 0,
            indexed: None,
            dataless: None,
        });
        let mut entries = BTreeMap::new();
        for (name, entry) in &dir.entries {
            let child = match entry {
                Visible::Dir(dir) => self.add_dir(dir, known),
                Visible::Leaf(leaf) => self.add_leaf(leaf, (key, name.clone()), known),
            };
            entries.insert(name.clone(), child);
        }
        self.objects[key].body = Body::Dir(entries);
        key
    }

    /// Names of one upper object are one object. Names of one lower object
    /// are one with an index, and without they only share its number.
    fn add_leaf(&mut self, leaf: &Leaf, spot: Spot, known: &mut Known) -> Key {
        let upper = self.is_upper(leaf.id);
        let is_indexed = !upper && self.is_indexed(leaf.data.kind(), leaf.links);
        let same = known.leaves.get(&leaf.id).copied();
        if let (Some(key), true) = (same, upper || is_indexed) {
            self.add_alias(key, spot);
            return key;
        }
        let ino = match same {
            Some(key) => self.objects[key].ino,
            None => {
                self.numbers += 1;
                self.numbers
            }
        };
        let key = self.objects.len();
        self.objects.push(Node {
            body: Body::Leaf(leaf.data.clone()),
            mtime: Time::At(leaf.meta.mtime),
            meta: leaf.meta.clone(),
            ino,
            borrowed: false,
            upper,
            lowers: 0,
            origin: None,
            links: leaf.links,
            indexed: is_indexed.then(Box::default),
            dataless: None,
        });
        self.add_alias(key, spot);
        known.leaves.insert(leaf.id, key);
        key
    }

    fn is_upper(&self, id: Id) -> bool {
        self.writable && id.layer == 0
    }
}
