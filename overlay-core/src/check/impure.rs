//! Directories that hold copies, and whether they say so.

use super::Kind;
use super::report::{Attempt, Go, Run};
use super::walk::{Dir, Tally};

impl Run<'_> {
    /// Judges the mark by what was found in the directory.
    pub(super) fn impure(&mut self, dir: &Dir, tally: &Tally) -> Go {
        let (true, Some(dialect)) = (self.is_upper(dir.depth), self.dialect(dir.depth)) else {
            return Go::Continue(());
        };
        let (name, value) = dialect.impure_mark();
        let marked = dir.marks.impure.as_deref() == Some(value);
        if tally.copies && !marked {
            let mut repair = || dir.object.set(name, value);
            let attempt = Attempt::Can("sets the mark", &mut repair);
            let kind = Kind::ImpureMissing;
            self.found(kind, dir.depth, dir.path(), String::new(), attempt)?;
        }
        if !tally.may_be_copies && dir.marks.impure.is_some() {
            let mut repair = || dir.object.unset(name);
            let attempt = Attempt::Can("removes the mark", &mut repair);
            let kind = Kind::ImpureUnneeded;
            self.found(kind, dir.depth, dir.path(), String::new(), attempt)?;
        }
        Go::Continue(())
    }
}
