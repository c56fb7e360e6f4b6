//! The search for one name: the branches probed from the top, until a
//! whiteout, an opaque directory or a non-directory ends it.
//!
//! A directory that was renamed says where its lower part lies (a redirect):
//! from there on down the search is for another name, or for a path from the
//! roots. So does a file whose data lies below (a metacopy): for it the search
//! goes on to the first file that has its data. Source: `ovl_lookup`, `ovl_lookup_layer` and `ovl_lookup_single` in
//! `fs/overlayfs/namei.c`. Takes no lock; the caller holds the directory's.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Union;
use super::inode::{DataBelow, Directory, Inode, LowerDir};
use super::options::{Metacopy, RedirectDir};
use crate::attr::{Attr, FileKind};
use crate::dialect::{Dialect, DirectoryMarks, Opacity, Redirect, Says};
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
    /// What shows has attributes alone (`metacopy`).
    pub lacks_data: bool,
    /// Where its data lies, if not on `lower`.
    pub data: Option<DataBelow>,
    /// All parts of a directory on read-only branches, top first.
    pub lowers: Vec<LowerDir>,
    /// Attributes of the topmost part on a read-only branch.
    pub lower_attr: Option<Attr>,
}

/// What the search is for on the branches that are left.
struct Goal<'a> {
    wanted: Wanted,
    /// The directories to look in, one a branch, top first.
    parts: &'a [LowerDir],
    /// The way from there: one name, or a path from the roots.
    way: VecDeque<NameBuf>,
    /// Whether a file whose data lies below gave the way.
    redirected: bool,
    /// Whether the last object that was met gave the way by an absolute
    /// redirect: then it may lead to a data-only branch.
    absolute: bool,
}

/// What counts on the branches that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Whatever is there.
    Anything,
    /// Directories that merge with what was found.
    Directories,
    /// The data of the regular file that was found.
    Data,
}

/// What an object says about the branches below.
enum Below {
    /// They have no say.
    Hidden,
    /// They go on with it, by this redirect if there is one.
    Continue(Wanted, Option<Redirect>),
}

/// What one branch says.
struct Probe {
    found: Option<Found<dyn Node>>,
    /// Whether what was found is a directory that may hold file whiteouts.
    file_whiteouts: bool,
    /// Whether what was found is a file that lacks its data.
    lacks_data: bool,
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
            lacks_data: false,
            data: None,
            lowers: Vec::new(),
            lower_attr: None,
        }
    }
}

impl Union {
    /// What `name` shows in `parent`; `None` if nothing.
    pub(super) fn search(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<View>> {
        let directory = parent.directory().ok_or(Error::NotDirectory)?;
        self.refuse_long(name)?;
        if self.is_reserved(name) {
            return Ok(None);
        }
        if let (Some(target), Some(parent_node)) = (&self.target, parent.writable.get()) {
            let found = parent_node.lookup_writable(name)?;
            // File whiteouts are for writers that cannot make devices: where
            // one was left by such a writer, it counts.
            let marked = found
                .as_ref()
                .is_some_and(|found| target.dialect.may_be_file_whiteout(&found.attr))
                && self.may_hold_marked_files(target.dialect, &**parent_node)?;
            let seen = found
                .as_ref()
                .map(|found| (&*found.node as &dyn Node, &found.attr));
            let says = target.dialect.says(&**parent_node, name, seen, marked)?;
            if says == Says::Hides {
                return Ok(None);
            }
            if let Some(Found { node, attr }) = found {
                let found = View {
                    writable: Some(node),
                    ..View::new(attr)
                };
                let below = match says {
                    Says::ShowsAlone => Below::Hidden,
                    Says::Nothing | Says::Hides | Says::Shows => {
                        self.below(target.dialect, &found, directory)?
                    }
                };
                return match below {
                    Below::Hidden => Ok(Some(found)),
                    Below::Continue(wanted, redirect) => {
                        let goal = self.goal(directory, name, wanted, redirect.clone());
                        let redirect = redirect.filter(|_| wanted == Wanted::Directories);
                        let lacks_data = wanted == Wanted::Data;
                        let found = View {
                            redirect,
                            lacks_data,
                            ..found
                        };
                        self.search_lowers(goal, Some(found))
                    }
                };
            }
        }
        let goal = self.goal(directory, name, Wanted::Anything, None);
        self.search_lowers(goal, None)
    }

    /// What an object on the writable branch says about the branches below.
    fn below(&self, dialect: Dialect, found: &View, directory: &Directory) -> Result<Below> {
        let Some(node) = &found.writable else {
            return Ok(Below::Hidden);
        };
        if !found.attr.kind.is_dir() {
            return match dialect.lacks_data(&**node, &found.attr)? {
                false => Ok(Below::Hidden),
                true => {
                    let redirect = dialect.redirect(&**node)?;
                    Ok(Below::Continue(Wanted::Data, redirect))
                }
            };
        }
        if !self.has_lowers() {
            return Ok(Below::Hidden);
        }
        let merges = !directory.lowers.is_empty();
        let marks = dialect.directory_marks(&**node)?;
        match marks.redirect {
            _ if marks.opacity == Opacity::Opaque => Ok(Below::Hidden),
            Some(Redirect::Sibling(_)) | None if !merges => Ok(Below::Hidden),
            None => Ok(Below::Continue(Wanted::Directories, None)),
            Some(redirect) => {
                let redirect = Some(self.follow(redirect)?);
                Ok(Below::Continue(Wanted::Directories, redirect))
            }
        }
    }

    /// Where a search goes on from the writable branch.
    fn goal<'a>(
        &'a self,
        directory: &'a Directory,
        name: &Name,
        wanted: Wanted,
        redirect: Option<Redirect>,
    ) -> Goal<'a> {
        let redirected = wanted == Wanted::Data && redirect.is_some();
        let absolute = matches!(redirect, Some(Redirect::Path(_)));
        let (parts, way) = match redirect {
            None => (&*directory.lowers, VecDeque::from([name.to_owned()])),
            Some(Redirect::Sibling(name)) => (&*directory.lowers, VecDeque::from([name])),
            Some(Redirect::Path(path)) => (self.lower_roots(), path),
        };
        Goal {
            wanted,
            parts,
            way,
            redirected,
            absolute,
        }
    }

    /// Continues a search on the read-only branches.
    fn search_lowers<'a>(
        &'a self,
        mut goal: Goal<'a>,
        mut view: Option<View>,
    ) -> Result<Option<View>> {
        while let [part, rest @ ..] = goal.parts {
            if goal.wanted == Wanted::Data && !self.may_follow_to_data(&goal)? {
                // On to the data-only branches, past all that show something.
                break;
            }
            goal.parts = rest;
            let probe = self.probe(part, &mut goal)?;
            if let Some(Found { node, attr }) = probe.found {
                match (goal.wanted, attr.kind) {
                    (Wanted::Anything | Wanted::Directories, FileKind::Directory) => {
                        let view = view.get_or_insert_with(|| View::new(attr));
                        view.lower_attr.get_or_insert(attr);
                        view.lowers.push(LowerDir {
                            branch: part.branch,
                            node,
                            file_whiteouts: probe.file_whiteouts,
                        });
                        goal.wanted = Wanted::Directories;
                    }
                    // Under a directory it stays hidden, and ends the search.
                    (Wanted::Directories, _) => return Ok(view),
                    (Wanted::Anything, _) => {
                        let view = view.get_or_insert_with(|| View::new(attr));
                        view.lower = Some(node);
                        view.lower_attr = Some(attr);
                        view.lacks_data = probe.lacks_data;
                        goal.wanted = Wanted::Data;
                    }
                    (Wanted::Data, FileKind::Regular) => {
                        if let Some(view) = &mut view {
                            view.lower.get_or_insert_with(|| Arc::clone(&node));
                            view.lower_attr.get_or_insert(attr);
                            view.data = (!probe.lacks_data).then_some(DataBelow::Node(node));
                        }
                    }
                    // What has no data ends the search for it.
                    (Wanted::Data, _) => break,
                }
                if goal.wanted == Wanted::Data && !probe.lacks_data {
                    return Ok(view);
                }
            }
            if probe.ends {
                break;
            }
            if probe.from_roots {
                goal.parts = self.roots_below(part);
            }
        }
        match (goal.wanted, &mut view) {
            (Wanted::Data, Some(found)) => {
                self.may_follow_to_data(&goal)?;
                // As the kernel: only for a file that a lower branch shows.
                if !goal.absolute || found.lower.is_none() || self.data_roots.is_empty() {
                    return Err(Error::Damaged("the data of a metacopy file is missing"));
                }
                found.data = Some(DataBelow::Path(goal.way));
            }
            (Wanted::Data | Wanted::Directories | Wanted::Anything, _) => {}
        }
        Ok(view)
    }

    /// The roots of the branches below that of `part`.
    fn roots_below(&self, part: &LowerDir) -> &[LowerDir] {
        let roots = self.lower_roots();
        let at = roots.iter().position(|root| root.branch == part.branch);
        at.and_then(|at| roots.get(at + 1..)).unwrap_or_default()
    }

    /// Walks the goal's way on one branch, from the directory `part`. A
    /// redirect on the way changes the part of it that was walked, for the
    /// branches below.
    fn probe(&self, part: &LowerDir, goal: &mut Goal<'_>) -> Result<Probe> {
        let dialect = self.dialect_of(part);
        let bottom = self.is_bottom(part.branch);
        let mut probe = Probe {
            found: None,
            file_whiteouts: part.file_whiteouts,
            lacks_data: false,
            ends: false,
            from_roots: false,
        };
        let mut here = Arc::clone(&part.node);
        let mut at = 0;
        while let Some(name) = goal.way.get(at) {
            let last = at + 1 == goal.way.len();
            if dialect.reserves(name) {
                return Ok(probe);
            }
            let found = here.lookup(name)?;
            let seen = found.as_ref().map(|found| (&*found.node, &found.attr));
            let says = dialect.says(&*here, name, seen, probe.file_whiteouts)?;
            probe.ends |= matches!(says, Says::Hides | Says::ShowsAlone);
            let (Some(Found { node, attr }), false) = (found, says == Says::Hides) else {
                return Ok(probe);
            };
            if !attr.kind.is_dir() {
                probe.ends = true;
                if last && goal.wanted != Wanted::Directories {
                    self.probe_file(dialect, &*node, &attr, goal, &mut probe)?;
                }
                if last {
                    probe.found = Some(Found { node, attr });
                }
                return Ok(probe);
            }
            let marks = match (bottom, self.may_hold_file_whiteouts(part)) {
                (true, false) => DirectoryMarks::default(),
                (true, true) => DirectoryMarks::from(dialect.opacity(&*node)?),
                (false, _) => dialect.directory_marks(&*node)?,
            };
            probe.file_whiteouts = marks.opacity == Opacity::HoldsFileWhiteouts;
            probe.ends |= marks.opacity == Opacity::Opaque;
            let redirect = marks.redirect.filter(|_| says != Says::ShowsAlone);
            let redirect = redirect.map(|redirect| self.follow(redirect)).transpose()?;
            if matches!(redirect, Some(Redirect::Path(_))) {
                probe.from_roots = true;
                // Out of an opaque directory on the way too.
                probe.ends = false;
            }
            at = match redirect {
                None => at + 1,
                Some(redirect) => replace_walked(&mut goal.way, at, redirect),
            };
            if last {
                probe.found = Some(Found { node, attr });
                return Ok(probe);
            }
            here = node;
        }
        Ok(probe)
    }

    /// A file at the end of the way: where its data lies.
    fn probe_file(
        &self,
        dialect: Dialect,
        node: &dyn Node,
        attr: &Attr,
        goal: &mut Goal<'_>,
        probe: &mut Probe,
    ) -> Result<()> {
        if !dialect.lacks_data(node, attr)? {
            return Ok(());
        }
        probe.lacks_data = true;
        let redirect = dialect.redirect(node)?;
        goal.redirected |= redirect.is_some();
        goal.absolute = matches!(redirect, Some(Redirect::Path(_)));
        probe.from_roots |= goal.absolute;
        // As the kernel: also past an opaque directory on the way.
        probe.ends = false;
        if let Some(redirect) = redirect {
            let last = goal.way.len().saturating_sub(1);
            replace_walked(&mut goal.way, last, redirect);
        }
        Ok(())
    }

    /// Whether a directory of the writable branch may hold file whiteouts.
    pub(super) fn may_hold_marked_files(
        &self,
        dialect: Dialect,
        directory: &dyn Node,
    ) -> Result<bool> {
        Ok(self.may_write_marked_files()
            && dialect.opacity(directory)? == Opacity::HoldsFileWhiteouts)
    }

    /// Whether the data of a file may be looked for on a branch that shows
    /// something. If not, it may be on a data-only branch, which is there to
    /// be led to: else `EPERM`.
    fn may_follow_to_data(&self, goal: &Goal<'_>) -> Result<bool> {
        let refusal = match (self.options.metacopy, self.options.redirect_dir) {
            (Metacopy::NoFollow, _) => {
                "files whose data lies below are not followed (metacopy=nofollow)"
            }
            (Metacopy::On | Metacopy::Follow, RedirectDir::NoFollow) if goal.redirected => {
                "redirects are not followed (redirect_dir=nofollow)"
            }
            (Metacopy::On | Metacopy::Follow, _) => return Ok(true),
        };
        match goal.absolute && !self.data_roots.is_empty() {
            true => Ok(false),
            false => Err(Error::NotPermitted(refusal)),
        }
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
