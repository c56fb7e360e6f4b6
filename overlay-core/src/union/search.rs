//! The search for one name: the branches probed from the top, until a
//! whiteout, an opaque directory or a non-directory ends it.
//!
//! A directory that was renamed says where its lower part lies (a redirect):
//! from there on down the search is for another name, or for a path from the
//! roots. Source: `ovl_lookup`, `ovl_lookup_layer` and `ovl_lookup_single` in
//! `fs/overlayfs/namei.c`. Takes no lock; the caller holds the directory's.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Union;
use super::inode::{Directory, Inode, LowerDir};
use super::options::RedirectDir;
use crate::attr::Attr;
use crate::dialect::{Dialect, Opacity, Redirect};
use crate::error::{Error, Result};
use crate::layer::{Found, Node, WritableNode};
use crate::name::{Name, NameBuf};

/// A name as a union directory shows it, before an inode is made of it.
pub(super) struct View {
    /// Of the topmost object.
    pub attr: Attr,
    pub writable: Option<Arc<dyn WritableNode>>,
    /// Where a copied directory says that its lower part lies.
    pub redirect: Option<Redirect>,
    /// A non-directory on a read-only branch.
    pub lower: Option<Arc<dyn Node>>,
    /// All parts of a directory on read-only branches, top first.
    pub lowers: Vec<LowerDir>,
    /// Attributes of the topmost part on a read-only branch.
    pub lower_attr: Option<Attr>,
}

/// What the search is for on the branches that are left.
struct Goal<'a> {
    /// The directories to look in, one a branch, top first.
    parts: &'a [LowerDir],
    /// The way from there: one name, or a path from the roots.
    way: VecDeque<NameBuf>,
}

/// What one branch says.
struct Probe {
    found: Option<Found<dyn Node>>,
    /// Whether what was found is a directory that may hold file whiteouts.
    file_whiteouts: bool,
    /// Whether the branches below have no say any more.
    ends: bool,
    /// Whether the way goes from the roots of the branches below from now on.
    from_roots: bool,
}

impl View {
    fn new(attr: Attr) -> View {
        View {
            attr,
            writable: None,
            redirect: None,
            lower: None,
            lowers: Vec::new(),
            lower_attr: None,
        }
    }
}

impl Union {
    /// What `name` shows in `parent`; `None` if nothing.
    pub(super) fn search(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<View>> {
        let directory = parent.directory().ok_or(Error::NotDirectory)?;
        let mut view = None;
        if let (Some(target), Some(parent_node)) = (&self.target, parent.writable.get())
            && let Some(Found { node, attr }) = parent_node.lookup_writable(name)?
        {
            // File whiteouts are for writers that cannot make devices: where
            // one was left by such a writer, it counts.
            let marked = self.may_hold_marked_files(target.dialect, &**parent_node)?;
            if target.dialect.hides(&*node, &attr, marked)? {
                return Ok(None);
            }
            let (redirect, ends) = self.marks(target.dialect, &*node, &attr, directory)?;
            let found = View {
                writable: Some(node),
                redirect,
                ..View::new(attr)
            };
            if ends {
                return Ok(Some(found));
            }
            view = Some(found);
        }
        self.search_lowers(directory, name, view)
    }

    /// What an object on the writable branch says about the branches below:
    /// its redirect, and whether they have no say.
    fn marks(
        &self,
        dialect: Dialect,
        node: &dyn Node,
        attr: &Attr,
        directory: &Directory,
    ) -> Result<(Option<Redirect>, bool)> {
        if !attr.kind.is_dir() {
            refuse_metacopy(dialect, node, attr)?;
            return Ok((None, true));
        }
        if !self.has_lowers() {
            return Ok((None, true));
        }
        let merges = !directory.lowers.is_empty();
        if merges && dialect.opacity(node)? == Opacity::Opaque {
            return Ok((None, true));
        }
        match dialect.redirect(node)? {
            Some(Redirect::Sibling(_)) if !merges => Ok((None, true)),
            // What an opaque directory points to is hidden by it.
            Some(Redirect::Path(_)) if !merges && dialect.opacity(node)? == Opacity::Opaque => {
                Ok((None, true))
            }
            None => Ok((None, !merges)),
            Some(redirect) => Ok((Some(self.follow(redirect)?), false)),
        }
    }

    /// Continues a search on the read-only branches.
    fn search_lowers(
        &self,
        directory: &Directory,
        name: &Name,
        mut view: Option<View>,
    ) -> Result<Option<View>> {
        let mut goal = Goal {
            parts: &directory.lowers,
            way: VecDeque::from([name.to_owned()]),
        };
        match view.as_ref().and_then(|view| view.redirect.clone()) {
            None => {}
            Some(Redirect::Sibling(name)) => goal.way = VecDeque::from([name]),
            Some(Redirect::Path(path)) => {
                goal.way = path;
                goal.parts = self.lower_roots();
            }
        }
        while let [part, rest @ ..] = goal.parts {
            goal.parts = rest;
            let probe = self.probe(part, &mut goal.way, view.is_some())?;
            if let Some(Found { node, attr }) = probe.found {
                if !attr.kind.is_dir() {
                    // Under a directory it stays hidden, and ends the search.
                    return Ok(view.or(Some(View {
                        lower: Some(node),
                        lower_attr: Some(attr),
                        ..View::new(attr)
                    })));
                }
                let view = view.get_or_insert_with(|| View::new(attr));
                view.lower_attr.get_or_insert(attr);
                view.lowers.push(LowerDir {
                    branch: part.branch,
                    node,
                    file_whiteouts: probe.file_whiteouts,
                });
            }
            if probe.ends {
                break;
            }
            if probe.from_roots {
                goal.parts = self.roots_below(part);
            }
        }
        Ok(view)
    }

    /// The roots of the branches below that of `part`.
    fn roots_below(&self, part: &LowerDir) -> &[LowerDir] {
        let roots = self.lower_roots();
        let at = roots.iter().position(|root| root.branch == part.branch);
        at.and_then(|at| roots.get(at + 1..)).unwrap_or_default()
    }

    /// Walks `way` on one branch, from the directory `part`. A redirect on
    /// the way changes the part of it that was walked, for the branches below.
    fn probe(&self, part: &LowerDir, way: &mut VecDeque<NameBuf>, hidden: bool) -> Result<Probe> {
        let dialect = self.dialect_of(part);
        let bottom = self.is_bottom(part.branch);
        let mut probe = Probe {
            found: None,
            file_whiteouts: part.file_whiteouts,
            ends: false,
            from_roots: false,
        };
        let mut here = Arc::clone(&part.node);
        let mut at = 0;
        while let Some(name) = way.get(at) {
            let last = at + 1 == way.len();
            let Some(Found { node, attr }) = here.lookup(name)? else {
                return Ok(probe);
            };
            if dialect.hides(&*node, &attr, probe.file_whiteouts)? {
                probe.ends = true;
                return Ok(probe);
            }
            if !attr.kind.is_dir() {
                probe.ends = true;
                if last {
                    if !hidden {
                        refuse_metacopy(dialect, &*node, &attr)?;
                    }
                    probe.found = Some(Found { node, attr });
                }
                return Ok(probe);
            }
            let opacity = match bottom && !self.may_hold_file_whiteouts(part) {
                true => Opacity::Transparent,
                false => dialect.opacity(&*node)?,
            };
            probe.file_whiteouts = opacity == Opacity::HoldsFileWhiteouts;
            probe.ends |= opacity == Opacity::Opaque;
            let redirect = match bottom || opacity == Opacity::Opaque {
                true => None,
                false => dialect
                    .redirect(&*node)?
                    .map(|redirect| self.follow(redirect))
                    .transpose()?,
            };
            if matches!(redirect, Some(Redirect::Path(_))) {
                probe.from_roots = true;
                // Out of an opaque directory on the way too.
                probe.ends = false;
            }
            at = match redirect {
                None => at + 1,
                Some(redirect) => replace_walked(way, at, redirect),
            };
            if last {
                probe.found = Some(Found { node, attr });
                return Ok(probe);
            }
            here = node;
        }
        Ok(probe)
    }

    /// Whether a directory of the writable branch may hold file whiteouts.
    pub(super) fn may_hold_marked_files(
        &self,
        dialect: Dialect,
        directory: &dyn Node,
    ) -> Result<bool> {
        Ok(self.writable_file_whiteouts
            && dialect.opacity(directory)? == Opacity::HoldsFileWhiteouts)
    }

    /// A redirect that counts; `EPERM` if none is to be followed.
    fn follow(&self, redirect: Redirect) -> Result<Redirect> {
        match self.options.redirect_dir {
            RedirectDir::On | RedirectDir::Follow => Ok(redirect),
            RedirectDir::NoFollow => Err(Error::NotPermitted(
                "redirects are not followed (redirect_dir=nofollow)",
            )),
        }
    }
}

/// The directory at `at` on the `way` was renamed: for the branches below,
/// another way leads to it. Returns where the way goes on from it.
fn replace_walked(way: &mut VecDeque<NameBuf>, at: usize, redirect: Redirect) -> usize {
    let rest = way.split_off(at + 1);
    match redirect {
        Redirect::Sibling(name) => {
            way.truncate(at);
            way.push_back(name);
        }
        Redirect::Path(path) => *way = path,
    }
    let next = way.len();
    way.extend(rest);
    next
}

/// `EPERM` for a file whose data lies on a branch below (as the kernel
/// without `metacopy`): better than zeros in their place.
fn refuse_metacopy(dialect: Dialect, node: &dyn Node, attr: &Attr) -> Result<()> {
    match dialect.lacks_data(node, attr)? {
        true => Err(Error::NotPermitted("metacopy files are not followed yet")),
        false => Ok(()),
    }
}
