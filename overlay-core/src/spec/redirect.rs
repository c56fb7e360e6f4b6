//! Redirects: where the lower part of a renamed directory lies.
//!
//! Renaming a directory whose content lies in lower layers copies nothing: the
//! directory is renamed in the writable layer, and says where its lower part
//! has stayed. A redirect belongs to one layer and speaks of the layers below
//! it, as all of them together show it. So nothing has to be said about
//! redirects in several layers: each is followed in a view in which those
//! further down have been followed already.
//!
//! The kernel goes down layer by layer instead (`ovl_lookup_layer` in
//! `fs/overlayfs/namei.c`): it walks an absolute path in each, and rewrites
//! what is left of the path wherever it meets a redirect on the way. That
//! these are the same is what the model tests check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::name::NameBuf;

use super::{Dir, Id, Path, Stored, Visible, view};

/// Where the search for the lower part of a directory goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// Under this name in the same directory.
    Name(NameBuf),
    /// At this path from the root of the union.
    Path(Path),
}

impl Redirect {
    /// What lies there, if the directory that holds the redirect merges with
    /// `below` and the layers further down show `root`.
    pub(super) fn follow<'a>(
        &self,
        below: &'a Dir<Visible>,
        root: &'a Dir<Visible>,
    ) -> Option<&'a Visible> {
        match self {
            Redirect::Name(name) => below.entries.get(name),
            Redirect::Path(path) => {
                let (last, parents) = path.0.split_last()?;
                let mut dir = root;
                for name in parents {
                    match dir.entries.get(name)? {
                        Visible::Dir(child) => dir = child,
                        Visible::Leaf(_) => return None,
                    }
                }
                dir.entries.get(last)
            }
        }
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Redirect::Name(name) => fmt::Display::fmt(&Path(vec![name.clone()]), f),
            Redirect::Path(path) => fmt::Display::fmt(path, f),
        }
    }
}

/// The directories of a view that cannot be looked up (`EPERM`) in a union
/// that does not follow redirects, topmost ones only.
///
/// Their names are listed all the same. A redirect that leads nowhere hides
/// nothing from anyone, and is not refused. Nor is one that leads out of the
/// lowest layer of the directory it is in: there the kernel does not look for
/// it (`ovl_lookup_data.last`), and shows what is in that layer alone.
pub fn refused(layers: &[Dir<Stored>]) -> BTreeSet<Path> {
    let mut redirected = BTreeSet::new();
    layers
        .iter()
        .for_each(|root| collect(root, &mut redirected));
    let mut refused = BTreeSet::new();
    let mut todo = vec![(Path::default(), layers.len(), view(layers))];
    while let Some((path, lowest, dir)) = todo.pop() {
        let followed = dir.parts.split_last().map_or(&[][..], |(_, upper)| upper);
        if let Some(part) = followed.iter().find(|part| redirected.contains(part)) {
            if part.layer != lowest {
                refused.insert(path);
            }
            continue;
        }
        let lowest = dir.parts.last().map_or(lowest, |part| part.layer);
        for (name, entry) in dir.entries {
            match entry {
                Visible::Dir(dir) => todo.push((path.join(&name), lowest, dir)),
                Visible::Leaf(_) => {}
            }
        }
    }
    refused
}

/// The directories of a layer that have redirects. The root's would mean
/// nothing.
fn collect(dir: &Dir<Stored>, redirected: &mut BTreeSet<Id>) {
    for entry in dir.entries.values() {
        match entry {
            Stored::Dir(dir) => {
                if dir.redirect.is_some() {
                    redirected.extend(&dir.parts);
                }
                collect(dir, redirected);
            }
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}

/// Where each directory of a view lies, by the topmost part of it.
pub(super) fn places(view: &Dir<Visible>) -> BTreeMap<Id, Path> {
    let mut places = BTreeMap::new();
    let mut todo = vec![(Path::default(), view)];
    while let Some((path, dir)) = todo.pop() {
        for (name, entry) in &dir.entries {
            match entry {
                Visible::Dir(dir) => todo.push((path.join(name), dir)),
                Visible::Leaf(_) => {}
            }
        }
        places.extend(dir.parts.first().map(|part| (*part, path)));
    }
    places
}
