//! Signs that a layer is not what it was taken for.

use super::Kind;
use super::report::{Attempt, Go, Run};
use super::walk::Dir;
use crate::dialect::Marks;
use crate::name::Name;

/// What was noticed on one branch.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// There are whiteouts that are files.
    pub file_whiteouts: bool,
    own_marks: bool,
    other_marks: Seen,
    aufs_names: Seen,
}

/// How often something was seen, and where first.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    first: Vec<u8>,
}

impl Seen {
    fn note(&mut self, dir: &Dir, name: &Name) {
        if self.count == 0 {
            self.first = dir.path_of(name);
        }
        self.count += 1;
    }
}

impl Hints {
    pub(super) fn name(&mut self, dir: &Dir, name: &Name) {
        if name.as_bytes().starts_with(b".wh.") {
            self.aufs_names.note(dir, name);
        }
    }

    pub(super) fn marks(&mut self, dir: &Dir, name: &Name, marks: &Marks) {
        self.own_marks |= marks.any();
        if marks.others {
            self.other_marks.note(dir, name);
        }
    }
}

impl Run<'_> {
    /// One finding for each, whatever the count.
    pub(super) fn tell_hints(&mut self, depth: usize, hints: &Hints) -> Go {
        // A union on top of ours may well store marks of the other choice.
        if !hints.own_marks && hints.other_marks.count > 0 {
            let why = "mount with the other choice of userxattr";
            self.hint(depth, Kind::NamespaceOther, &hints.other_marks, why)?;
        }
        if hints.aufs_names.count > 0 {
            let why = "say so if the layer is of the format of aufs (layer_format)";
            self.hint(depth, Kind::AufsNames, &hints.aufs_names, why)?;
        }
        Go::Continue(())
    }

    fn hint(&mut self, depth: usize, kind: Kind, seen: &Seen, why: &'static str) -> Go {
        let detail = match seen.count {
            1 => String::new(),
            count => format!("the first of {count}"),
        };
        self.found(
            kind,
            depth,
            seen.first.clone(),
            detail,
            Attempt::Cannot(why),
        )?;
        Go::Continue(())
    }
}
