//! The search for one name: the branches probed from the top, until a
//! whiteout, an opaque directory or a non-directory ends it.
//!
//! A directory that was renamed says where its lower part lies (a redirect):
//! from there on down the search is for another name, or for a path from the
//! roots. So does a file whose data lies below (a metacopy): for it the search
//! goes on to the first file that has its data. Source: `ovl_lookup`,
//! `ovl_lookup_layer` and `ovl_lookup_single` in `fs/overlayfs/namei.c`. Takes no
//! lock; the caller holds the directory's.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Union;
use super::inode::{DataBelow, Inode, Lower};
use super::options::{Metacopy, RedirectDir};
use super::part::{Object, Part};
use super::table::ObjectId;
use crate::attr::{Attr, FileKind};
use crate::dialect::{Dialect, DirectoryMarks, Opacity, Redirect, Says};
use crate::error::{Error, Result};
use crate::layer::{Node, WritableNode};
use crate::name::{Name, NameBuf};
use crate::stack::BranchId;

/// A name as a union directory shows it, before an inode is made of it.
pub(super) struct View {
    /// Of the topmost object.
    pub attr: Attr,
    /// The branch of the topmost object.
    pub branch: BranchId,
    /// A non-directory on a writable branch.
    pub copy: Option<Arc<dyn WritableNode>>,
    /// Where a copied directory says that its lower part lies.
    pub redirect: Option<Redirect>,
    /// A non-directory on a read-only branch.
    pub lower: Option<Lower>,
    /// What shows has attributes alone (`metacopy`).
    pub lacks_data: bool,
    /// Where its data lies, if not on `lower`.
    pub data: Option<DataBelow>,
    /// All parts of a directory, top first.
    pub parts: Vec<Part>,
    /// Attributes of the topmost part on a read-only branch.
    pub lower_attr: Option<Attr>,
}

/// What the search is for on the branches that are left.
struct Goal<'a> {
    wanted: Wanted,
    /// The directories to look in, one a branch, top first.
    parts: &'a [Part],
    /// The way from there: one name, or a path from the roots.
    way: Way<'a>,
    /// Whether a file whose data lies below gave the way.
    redirected: bool,
    /// Whether the last object that was met gave the way by an absolute
    /// redirect: then it may lead to a data-only branch.
    absolute: bool,
}

/// The names on the way from a directory to what is looked for.
enum Way<'a> {
    /// The name that was asked for, as long as nothing leads elsewhere.
    Name(&'a Name),
    Path(VecDeque<NameBuf>),
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

/// What one branch says.
struct Probe {
    found: Option<(Object, Attr)>,
    /// Whether what was found is a directory that may hold file whiteouts.
    file_whiteouts: bool,
    /// Whether what was found is a file that lacks its data.
    lacks_data: bool,
    /// Where what was found says that it goes on, if it is a directory.
    redirect: Option<Redirect>,
    /// Whether the branches below have no say any more.
    ends: bool,
    /// Whether the way goes from the roots of the branches below from now on.
    from_roots: bool,
}

impl Way<'_> {
    fn get(&self, at: usize) -> Option<&Name> {
        match self {
            Way::Name(name) => (at == 0).then_some(name),
            Way::Path(path) => path.get(at).map(|name| &**name),
        }
    }

    fn len(&self) -> usize {
        match self {
            Way::Name(_) => 1,
            Way::Path(path) => path.len(),
        }
    }

    fn into_path(self) -> VecDeque<NameBuf> {
        match self {
            Way::Name(name) => VecDeque::from([name.to_owned()]),
            Way::Path(path) => path,
        }
    }

    /// The directory at `at` was renamed: for the branches below, another way
    /// leads to it. Returns where the way goes on from it.
    fn replace_walked(&mut self, at: usize, redirect: Redirect) -> usize {
        let mut way = std::mem::replace(self, Way::Path(VecDeque::new())).into_path();
        let rest = way.split_off(at + 1);
        match redirect {
            Redirect::Sibling(name) => {
                way.truncate(at);
                way.push_back(name);
            }
            Redirect::Path(path) => way = path,
        }
        let next = way.len();
        way.extend(rest);
        *self = Way::Path(way);
        next
    }
}

impl View {
    fn new(attr: Attr, branch: BranchId) -> View {
        View {
            attr,
            branch,
            copy: None,
            redirect: None,
            lower: None,
            lacks_data: false,
            data: None,
            parts: Vec::new(),
            lower_attr: None,
        }
    }

    /// The branches that it lies on.
    pub fn branches(&self) -> Vec<BranchId> {
        let lower = self.lower.iter().map(|lower| lower.branch);
        let parts = self.parts.iter().map(|part| part.branch);
        [self.branch]
            .into_iter()
            .chain(lower)
            .chain(parts)
            .collect()
    }

    /// Adds a part of the directory that this is.
    fn merge(&mut self, part: Part, attr: Attr) {
        if part.node.writable().is_none() {
            self.lower_attr.get_or_insert(attr);
        }
        self.parts.push(part);
    }

    /// It is a non-directory.
    fn show(&mut self, node: Object, branch: BranchId, attr: Attr) {
        match node {
            Object::Writable(node) => self.copy = Some(node),
            Object::ReadOnly(node) => {
                self.lower = Some(Lower { branch, node });
                self.lower_attr = Some(attr);
            }
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
        let mut goal = Goal {
            wanted: Wanted::Anything,
            parts: directory.parts(),
            way: Way::Name(name),
            redirected: false,
            absolute: false,
        };
        let mut view: Option<View> = None;
        while let [part, rest @ ..] = goal.parts {
            if goal.wanted == Wanted::Data && !self.may_follow_to_data(&goal)? {
                // On to the data-only branches, past all that show something.
                break;
            }
            goal.parts = rest;
            let probe = self.probe(part, &mut goal)?;
            if let Some((node, attr)) = probe.found {
                let branch = part.branch;
                match (goal.wanted, attr.kind) {
                    (Wanted::Anything | Wanted::Directories, FileKind::Directory) => {
                        let view = view.get_or_insert_with(|| View::new(attr, branch));
                        let goes_on = match &probe.redirect {
                            Some(Redirect::Path(_)) => true,
                            Some(Redirect::Sibling(_)) => !rest.is_empty(),
                            None => false,
                        };
                        if goes_on && node.writable().is_some() {
                            view.redirect = probe.redirect;
                        }
                        let part = Part {
                            branch,
                            node,
                            id: ObjectId::from(&attr),
                            file_whiteouts: probe.file_whiteouts,
                        };
                        view.merge(part, attr);
                        goal.wanted = Wanted::Directories;
                    }
                    // Under a directory it stays hidden, and ends the search.
                    (Wanted::Directories, _) => return Ok(view),
                    (Wanted::Anything, _) => {
                        let view = view.get_or_insert_with(|| View::new(attr, branch));
                        view.show(node, branch, attr);
                        view.lacks_data = probe.lacks_data;
                        goal.wanted = Wanted::Data;
                    }
                    (Wanted::Data, FileKind::Regular) => {
                        if let (Some(view), Object::ReadOnly(node)) = (&mut view, node) {
                            view.lower.get_or_insert_with(|| Lower {
                                branch,
                                node: Arc::clone(&node),
                            });
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
                found.data = Some(DataBelow::Path(goal.way.into_path()));
            }
            (Wanted::Data | Wanted::Directories | Wanted::Anything, _) => {}
        }
        Ok(view)
    }

    /// The roots of the branches below that of `part`.
    fn roots_below(&self, part: &Part) -> &[Part] {
        let roots = self.root.parts();
        let at = roots.iter().position(|root| root.branch == part.branch);
        at.and_then(|at| roots.get(at + 1..)).unwrap_or_default()
    }

    /// Walks the goal's way on one branch, from the directory `part`. A
    /// redirect on the way changes the part of it that was walked, for the
    /// branches below.
    fn probe(&self, part: &Part, goal: &mut Goal<'_>) -> Result<Probe> {
        let reading = self.reading_of(part);
        let dialect = reading.dialect;
        let bottom = self.is_bottom(part.branch);
        let mut probe = Probe {
            found: None,
            file_whiteouts: part.file_whiteouts,
            lacks_data: false,
            redirect: None,
            ends: false,
            from_roots: false,
        };
        let mut here = part.node.clone();
        let mut at = 0;
        while let Some(name) = goal.way.get(at) {
            let last = at + 1 == goal.way.len();
            let is_mark = dialect.reserves(name);
            if is_mark && !self.shows_whiteouts() {
                return Ok(probe);
            }
            let found = here.entry(name)?;
            if here.writable().is_some() {
                // File whiteouts are for writers that cannot make devices:
                // where one was left by such a writer, it counts.
                let may_be = |(_, attr): &(Object, Attr)| dialect.may_be_file_whiteout(attr);
                probe.file_whiteouts = found.as_ref().is_some_and(may_be)
                    && self.may_hold_marked_files(part.branch, &*here)?;
            }
            let seen = found.as_ref().map(|(node, attr)| (&**node, attr));
            let says = match (is_mark, &found) {
                (true, Some(_)) => Says::Shows,
                (true, None) => Says::Nothing,
                (false, _) => reading.says(&*here, name, seen, probe.file_whiteouts)?,
            };
            probe.ends |= matches!(says, Says::Hides | Says::ShowsAlone);
            // Of a mark that does not count, it says nothing though it is there.
            let shows = matches!(says, Says::Shows | Says::ShowsAlone)
                || says == Says::Hides && self.shows_whiteouts();
            let (Some((node, attr)), true) = (found, shows) else {
                return Ok(probe);
            };
            if !attr.kind.is_dir() {
                probe.ends = true;
                if last && goal.wanted != Wanted::Directories {
                    self.probe_file(dialect, &*node, &attr, goal, &mut probe)?;
                }
                if last {
                    probe.found = Some((node, attr));
                }
                return Ok(probe);
            }
            let marks = match (bottom, self.may_hold_file_whiteouts(part)) {
                (true, false) => DirectoryMarks::default(),
                (true, true) => DirectoryMarks::from(reading.opacity(&*node)?),
                (false, _) => reading.directory_marks(&*node)?,
            };
            probe.file_whiteouts = marks.opacity == Opacity::HoldsFileWhiteouts;
            probe.ends |= marks.opacity == Opacity::Opaque;
            let redirect = marks.redirect.filter(|_| says != Says::ShowsAlone);
            // One that leads nowhere is none to be refused.
            let leads = |redirect: &Redirect| match redirect {
                Redirect::Path(_) => true,
                Redirect::Sibling(_) => node.writable().is_none() || !goal.parts.is_empty(),
            };
            let redirect = redirect.filter(leads);
            let redirect = redirect.map(|redirect| self.follow(redirect)).transpose()?;
            if matches!(redirect, Some(Redirect::Path(_))) {
                probe.from_roots = true;
                // Out of an opaque directory on the way too.
                probe.ends = false;
            }
            at = match redirect.clone() {
                None => at + 1,
                Some(redirect) => goal.way.replace_walked(at, redirect),
            };
            if last {
                probe.redirect = redirect;
                probe.found = Some((node, attr));
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
            goal.way.replace_walked(last, redirect);
        }
        Ok(())
    }

    /// Whether a part of a directory may hold file whiteouts now.
    pub(super) fn part_holds_marked_files(&self, part: &Part) -> Result<bool> {
        match part.node.writable() {
            Some(node) => self.may_hold_marked_files(part.branch, &**node),
            None => Ok(part.file_whiteouts),
        }
    }

    /// Whether a directory of a writable branch may hold file whiteouts.
    pub(super) fn may_hold_marked_files(
        &self,
        branch: BranchId,
        directory: &dyn Node,
    ) -> Result<bool> {
        let target = self.target_on(branch)?;
        Ok(target.may_hold_marked_files()
            && target.dialect.opacity(directory)? == Opacity::HoldsFileWhiteouts)
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
