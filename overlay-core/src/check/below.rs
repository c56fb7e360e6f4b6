//! What lies below: a name or a path, searched for on the branches under one.
//!
//! The rules are those of a lookup through the union (`ovl_lookup` in
//! `fs/overlayfs/namei.c`), written a second time on purpose: the search of
//! the engine makes inodes and answers with an errno; here the question is
//! what is there, and why not.

use std::collections::VecDeque;
use std::sync::Arc;

use super::layers::Layers;
use crate::attr::{Attr, FileKind};
use crate::dialect::{Opacity, Redirect, Says};
use crate::error::{Error, Result};
use crate::layer::{Found, Node};
use crate::name::NameBuf;

/// A directory on one of the branches below.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The branch, counted from the top.
    pub depth: usize,
    pub node: Arc<dyn Node>,
    pub attr: Attr,
    /// Whether whiteouts in it may be files.
    marked: bool,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever shows.
    Anything,
    /// Directories that merge.
    Directories,
    /// A regular file with data.
    Data,
}

/// Where to look.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The directories to start from, one a branch, top first.
    pub parts: Vec<Part>,
    /// One name, or a path from the roots.
    pub names: VecDeque<NameBuf>,
    /// Whether an absolute redirect gave the names.
    pub absolute: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// The directories that merge, if directories were wanted.
    pub parts: Vec<Part>,
    /// The first object that shows, if anything was wanted; the file that has
    /// the data, if that was.
    pub found: Option<Attr>,
    /// What happened on the way to data: whether any file was met that lacks
    /// it as well, and where an absolute redirect leads from there.
    met: bool,
    absolute: Option<VecDeque<NameBuf>>,
    /// A redirect on the way means nothing, so nobody can say what is there.
    /// It is a finding of its own.
    pub unclear: bool,
}

/// What one branch says.
struct Probe {
    found: Option<(Arc<dyn Node>, Attr)>,
    marked: bool,
    lacks_data: bool,
    ends: bool,
    from_roots: bool,
}

impl Layers {
    /// The roots of the branches below the one at `depth`.
    pub(super) fn roots_below(&self, depth: usize) -> Result<Vec<Part>> {
        match self.hides_below(depth) {
            true => Ok(Vec::new()),
            false => self.roots_from(depth + 1),
        }
    }

    /// The roots of the branch at `depth` and of those below it.
    pub(super) fn roots_from(&self, depth: usize) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for depth in depth..self.shown.len() {
            parts.push(self.root_part(depth)?);
            if self.hides_below(depth) {
                break;
            }
        }
        Ok(parts)
    }

    fn root_part(&self, depth: usize) -> Result<Part> {
        let layer = self.shown.get(depth).ok_or(Error::Stale)?;
        Ok(Part {
            depth,
            attr: layer.root.node.attr()?,
            node: Arc::clone(&layer.root.node),
            marked: layer.marked,
        })
    }

    /// Where to look for the lower part of `name` in a directory that merges
    /// with `parts`, on the branch at `depth`.
    pub(super) fn way(
        &self,
        depth: usize,
        parts: &[Part],
        name: NameBuf,
        redirect: Option<Redirect>,
    ) -> Result<Way> {
        let absolute = matches!(redirect, Some(Redirect::Path(_)));
        let (parts, names) = match redirect {
            None => (parts.to_vec(), VecDeque::from([name])),
            Some(Redirect::Sibling(name)) => (parts.to_vec(), VecDeque::from([name])),
            Some(Redirect::Path(path)) => (self.roots_below(depth)?, path),
        };
        Ok(Way {
            parts,
            names,
            absolute,
        })
    }

    /// Goes the way, branch by branch.
    pub(super) fn search(&self, mut way: Way, wanted: Wanted) -> Result<Below> {
        let mut below = Below::default();
        let mut rest = std::mem::take(&mut way.parts).into_iter();
        while let Some(part) = rest.next() {
            let probe = match self.probe(&part, &mut way, wanted) {
                Ok(probe) => probe,
                Err(Error::Invalid(_)) => {
                    below.unclear = true;
                    return Ok(below);
                }
                Err(error) => return Err(error),
            };
            if let Some((node, attr)) = probe.found {
                match (wanted, attr.kind) {
                    (Wanted::Anything, _) => {
                        below.found = Some(attr);
                        return Ok(below);
                    }
                    (Wanted::Directories, FileKind::Directory) => below.parts.push(Part {
                        depth: part.depth,
                        node,
                        attr,
                        marked: probe.marked,
                    }),
                    (Wanted::Data, FileKind::Regular) => {
                        below.met = true;
                        if !probe.lacks_data {
                            below.found = Some(attr);
                            return Ok(below);
                        }
                    }
                    (Wanted::Directories | Wanted::Data, _) => return Ok(below),
                }
            }
            if probe.ends {
                break;
            }
            if probe.from_roots {
                rest = self.roots_below(part.depth)?.into_iter();
            }
        }
        below.absolute = way.absolute.then_some(way.names);
        Ok(below)
    }

    /// The file with the data of a metacopy that says `way`; `lower` tells
    /// whether the metacopy itself lies on a read-only branch.
    pub(super) fn search_data(&self, way: Way, lower: bool) -> Result<Below> {
        let mut below = self.search(way, Wanted::Data)?;
        // As the kernel: data-only branches serve what a lower one shows.
        if below.found.is_none()
            && (below.met || lower)
            && let Some(path) = &below.absolute
        {
            below.found = self.in_data_layers(path)?;
        }
        Ok(below)
    }

    fn in_data_layers(&self, path: &VecDeque<NameBuf>) -> Result<Option<Attr>> {
        'layers: for layer in &self.data {
            let mut here = Arc::clone(&layer.root.node);
            let mut at = here.attr()?;
            for name in path {
                if !at.kind.is_dir() {
                    continue 'layers;
                }
                match here.lookup(name)? {
                    Some(Found { node, attr }) => (here, at) = (node, attr),
                    None => continue 'layers,
                }
            }
            if at.kind == FileKind::Regular {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Walks the way on one branch. A redirect on it changes the part that was
    /// walked, for the branches below.
    fn probe(&self, part: &Part, way: &mut Way, wanted: Wanted) -> Result<Probe> {
        let layer = self.shown.get(part.depth).ok_or(Error::Stale)?;
        let (dialect, lowest) = (layer.dialect, self.is_lowest(part.depth));
        let mut probe = Probe {
            found: None,
            marked: part.marked,
            lacks_data: false,
            ends: false,
            from_roots: false,
        };
        let mut here = Arc::clone(&part.node);
        let mut at = 0;
        while let Some(name) = way.names.get(at) {
            let last = at + 1 == way.names.len();
            if dialect.reserves(name) {
                return Ok(probe);
            }
            let found = here.lookup(name)?;
            let seen = found.as_ref().map(|found| (&*found.node, &found.attr));
            let says = dialect.says(&*here, name, seen, probe.marked)?;
            probe.ends |= matches!(says, Says::Hides | Says::ShowsAlone);
            let (Some(Found { node, attr }), false) = (found, says == Says::Hides) else {
                return Ok(probe);
            };
            if !attr.kind.is_dir() {
                probe.ends = true;
                if last && wanted == Wanted::Data && dialect.lacks_data(&*node, &attr)? {
                    probe.lacks_data = true;
                    // Also past an opaque directory on the way.
                    probe.ends = false;
                    let redirect = dialect.redirect(&*node)?;
                    way.absolute = matches!(redirect, Some(Redirect::Path(_)));
                    probe.from_roots |= way.absolute;
                    if let Some(redirect) = redirect {
                        replace_walked(&mut way.names, at, redirect);
                    }
                }
                if last {
                    probe.found = Some((node, attr));
                }
                return Ok(probe);
            }
            let opacity = match lowest && !layer.marked {
                true => Opacity::Transparent,
                false => dialect.opacity(&*node)?,
            };
            probe.marked = opacity == Opacity::HoldsFileWhiteouts;
            probe.ends |= opacity == Opacity::Opaque;
            let alone = says == Says::ShowsAlone || opacity == Opacity::Opaque;
            let redirect = match lowest || alone {
                true => None,
                false => dialect.redirect(&*node)?,
            };
            if matches!(redirect, Some(Redirect::Path(_))) {
                probe.from_roots = true;
                // Out of an opaque directory on the way too.
                probe.ends = false;
            }
            at = match redirect {
                None => at + 1,
                Some(redirect) => replace_walked(&mut way.names, at, redirect),
            };
            if last {
                probe.found = Some((node, attr));
                return Ok(probe);
            }
            here = node;
        }
        Ok(probe)
    }
}

/// What was at `at` goes by another name below; returns where the rest of the
/// way begins.
fn replace_walked(names: &mut VecDeque<NameBuf>, at: usize, redirect: Redirect) -> usize {
    match redirect {
        Redirect::Sibling(name) => {
            if let Some(place) = names.get_mut(at) {
                *place = name;
            }
            at + 1
        }
        Redirect::Path(mut path) => {
            let walked = path.len();
            path.extend(names.drain(..).skip(at + 1));
            *names = path;
            walked
        }
    }
}
