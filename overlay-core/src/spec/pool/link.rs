//! `link`.

use super::edit::kind;
use super::*;

impl Pool {
    /// A new name lies on the branch of its object. If it would be hidden
    /// there, the object has to come up to where it would not.
    pub(super) fn link(&mut self, from: &Path, to: &Place) -> Result<Outcome> {
        let linked = self.walk(from)?;
        self.need_free(to)?;
        if kind(&linked).is_dir() {
            return Err(Errno::PERM);
        }
        let own = self.place_change(from, id(&linked))?;
        let branch = self.constrain(own, to)?;
        self.need_single_name(branch, &linked)?;
        let id = self.bring_to(branch, from)?;
        self.make_parts(branch, &to.parent)?;
        self.change_leaf(id, |leaf| leaf.links += 1);
        let leaf = self.leaf(id).cloned().ok_or(Errno::NOENT)?;
        self.put(branch, to, Stored::Leaf(leaf));
        self.touch(branch, &to.parent)?;
        Ok(Outcome::Done)
    }
}
