//! What is left out when the kernel is the subject; see the list of
//! differences in `docs/semantics.md`.

use super::*;
use crate::spec::Namespace;

impl Model {
    /// Whether what `op` does is settled by these rules. With the kernel's, an
    /// operation is left out if the kernel fails it
    ///
    /// - since it cannot copy up a file that has been unlinked (`EEXIST`: it
    ///   finds its own whiteout in the way);
    /// - too late to leave no trace: some renames of directories;
    /// - since it cannot put into the index what carries no marks;
    ///
    /// or splits an object: a copy without marks, and its new name.
    pub fn settled(&self, op: &Op) -> bool {
        match self.rules {
            Rules::Union => true,
            Rules::Kernel => {
                !self.copies_up_what_is_unlinked(op)
                    && !self.fails_late(op)
                    && !self.cannot_be_indexed(op)
                    && !self.splits(op)
            }
        }
    }

    fn copies_up_what_is_unlinked(&self, op: &Op) -> bool {
        let Op::ChmodHeld { slot, .. } = op else {
            return false;
        };
        let held = self.held.get(slot);
        held.is_some_and(|held| !self.objects[held.key].upper && self.parent_of(held.key).is_none())
    }

    /// Whether `op` is about a lower symlink, device, pipe or socket that a
    /// kernel with `userxattr` would put into the index. It fails with `EPERM`
    /// when it marks the copy.
    fn cannot_be_indexed(&self, op: &Op) -> bool {
        let config = self.config;
        if !config.index.is_on() || config.namespace == Namespace::Trusted {
            return false;
        }
        op.paths().iter().any(|path| {
            let Ok(key) = self.walk(path) else {
                return false;
            };
            let node = &self.objects[key];
            let is_kept = node.links > 1 || config.nfs_export.is_on();
            is_kept && !node.upper && !config.namespace.can_mark(self.kind(key))
        })
    }

    /// Whether `op` links a copy that carries no marks. The kernel looks the
    /// new name up afresh, finds no original, and takes it for another object.
    fn splits(&self, op: &Op) -> bool {
        let Op::Link { from, .. } = op else {
            return false;
        };
        self.walk(from).is_ok_and(|key| {
            let node = &self.objects[key];
            let is_copy = node.borrowed || !node.upper;
            is_copy && !self.config.namespace.can_mark(self.kind(key))
        })
    }
}
