//! Metacopies: files of which a layer has the attributes only.
//!
//! With `metacopy=on` a change of attributes copies no data. The copy says so;
//! its content is that of the file that lies below, under the same name or
//! where a redirect leads. That may be a metacopy again. A layer above counts
//! for the attributes, the first file that is whole for the content.
//!
//! **Data-only layers** show nothing by themselves. Only an absolute redirect
//! of a metacopy leads into them, when the layers above have nothing there.

use std::collections::BTreeSet;

use super::{Data, Dir, Id, Leaf, Meta, Path, Reach, Redirect, Stored, Visible, merge, view_over};

/// A regular file as a layer stores it when the content lies below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metacopy {
    /// Which object this is.
    pub id: Id,
    /// How many names the object has in its layer.
    pub links: u64,
    /// Bytes of content, as `stat(2)` says; those that lie below are as many.
    pub size: u64,
    /// Where the content lies, if not under the file's own name.
    pub redirect: Option<Redirect>,
    /// Attributes.
    pub meta: Meta,
}

impl Metacopy {
    /// What is seen of it: `below` is what lies where its content should be.
    /// Nothing, if there is no content: then the name is listed, and looking
    /// it up fails; see [`broken`].
    pub(super) fn over(&self, below: Option<&Visible>, reach: Reach<'_>) -> Option<Leaf> {
        let content = match below {
            Some(Visible::Leaf(Leaf {
                data: Data::File(content),
                ..
            })) => content,
            Some(Visible::Leaf(_) | Visible::Dir(_)) | None => match &self.redirect {
                Some(Redirect::Path(path)) => data_at(path, reach.data)?,
                Some(Redirect::Name(_)) | None => return None,
            },
        };
        Some(Leaf {
            id: self.id,
            links: self.links,
            data: Data::File(content.clone()),
            meta: self.meta.clone(),
        })
    }
}

/// The content of the first file at this path in data-only layers.
fn data_at<'a>(path: &Path, layers: &'a [Dir<Stored>]) -> Option<&'a Vec<u8>> {
    let (name, parents) = path.0.split_last()?;
    layers.iter().find_map(|root| {
        let mut dir = root;
        for name in parents {
            match dir.entries.get(name)? {
                Stored::Dir(child) => dir = child,
                Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => return None,
            }
        }
        match dir.entries.get(name)? {
            Stored::Leaf(Leaf {
                data: Data::File(content),
                ..
            }) => Some(content),
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Dir(_) | Stored::Whiteout => None,
        }
    })
}

/// The names in a view that are listed and cannot be looked up (`EIO`),
/// because nothing lies where their content should be. `data` of the layers,
/// the lowest, are data-only.
pub fn broken(layers: &[Dir<Stored>], data: usize) -> BTreeSet<Path> {
    let (whole, broken) = made_whole(layers, data);
    paths_of(&view_over(&whole, data), &broken)
}

/// The names in a view that stand for metacopies, broken ones included: those
/// that a union which does not follow them (`metacopy=off`) refuses.
pub fn metacopies(layers: &[Dir<Stored>], data: usize) -> BTreeSet<Path> {
    let mut all = BTreeSet::new();
    each_metacopy(layers, data, &mut |stored, _, _| all.extend(stored.id()));
    let (whole, _) = made_whole(layers, data);
    paths_of(&view_over(&whole, data), &all)
}

/// The same layers as a union leaves them: what has no content is a whole
/// file, an empty one, and everything else has the size of its content.
pub fn repaired(layers: &[Dir<Stored>], data: usize) -> Vec<Dir<Stored>> {
    let (whole, _) = made_whole(layers, data);
    sized(&whole, data)
}

/// The same layers where metacopies have the size of their content.
pub fn sized(layers: &[Dir<Stored>], data: usize) -> Vec<Dir<Stored>> {
    each_metacopy(layers, data, &mut |stored, seen, _| {
        if let (Stored::Metacopy(copy), Some(leaf)) = (stored, seen) {
            copy.size = leaf.data.size();
        }
    })
}

/// Which object of the layers below each metacopy rests on.
pub fn rests_on(layers: &[Dir<Stored>], data: usize) -> Vec<(Id, Id)> {
    let mut pairs = Vec::new();
    each_metacopy(layers, data, &mut |stored, _, below| {
        if let (Some(id), Some(Visible::Leaf(below))) = (stored.id(), below) {
            pairs.push((id, below.id));
        }
    });
    pairs
}

/// The layers with empty files for all metacopies that have no content, and
/// which these are.
fn made_whole(layers: &[Dir<Stored>], data: usize) -> (Vec<Dir<Stored>>, BTreeSet<Id>) {
    let mut broken = BTreeSet::new();
    let whole = each_metacopy(layers, data, &mut |stored, seen, _| {
        if let (Stored::Metacopy(copy), None) = (&*stored, seen) {
            broken.insert(copy.id);
            *stored = Stored::Leaf(Leaf {
                id: copy.id,
                links: copy.links,
                data: Data::File(Vec::new()),
                meta: copy.meta.clone(),
            });
        }
    });
    (whole, broken)
}

/// What is done to a metacopy: to it, what is seen of it, and what lies below.
type Each<'a> = &'a mut dyn FnMut(&mut Stored, Option<&Leaf>, Option<&Visible>);

/// Changes metacopies, each being told what is seen of it in `layers`.
fn each_metacopy(layers: &[Dir<Stored>], data: usize, each: Each<'_>) -> Vec<Dir<Stored>> {
    let (shown, data) = layers.split_at(layers.len() - data);
    let mut changed = data.to_vec();
    let mut below = Dir::nothing();
    for layer in shown.iter().rev() {
        let reach = Reach { root: &below, data };
        let seen = merge(layer, &below, reach);
        let mut layer = layer.clone();
        each_in_dir(&mut layer, &below, reach, each);
        changed.insert(0, layer);
        below = seen;
    }
    changed
}

fn each_in_dir(dir: &mut Dir<Stored>, below: &Dir<Visible>, reach: Reach<'_>, each: Each<'_>) {
    for (name, stored) in &mut dir.entries {
        let below = stored.search(name, below, reach);
        match stored {
            Stored::Leaf(_) | Stored::Whiteout => {}
            Stored::Metacopy(copy) => {
                let seen = copy.over(below, reach);
                each(stored, seen.as_ref(), below);
            }
            Stored::Dir(dir) => match below {
                Some(Visible::Dir(below)) if !dir.opaque => each_in_dir(dir, below, reach, each),
                Some(_) | None => each_in_dir(dir, &Dir::nothing(), reach, each),
            },
        }
    }
}

fn paths_of(view: &Dir<Visible>, wanted: &BTreeSet<Id>) -> BTreeSet<Path> {
    let mut paths = BTreeSet::new();
    let mut todo = vec![(Path::default(), view)];
    while let Some((path, dir)) = todo.pop() {
        for (name, entry) in &dir.entries {
            match entry {
                Visible::Dir(dir) => todo.push((path.join(name), dir)),
                Visible::Leaf(leaf) if wanted.contains(&leaf.id) => {
                    paths.insert(path.join(name));
                }
                Visible::Leaf(_) => {}
            }
        }
    }
    paths
}
