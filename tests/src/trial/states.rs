//! The states between before and after that a crash or a failure may show.

use overlay_core::spec::{
    Data, Dir, Leaf, Model, Object, Op, Path, Place, Pool, Presence, Sight, Slot, Stored, Umask,
};

/// A model that can copy something up and do nothing else to it.
pub(crate) trait CopiesUp: Clone {
    /// What has this path.
    fn copy_up_at(&mut self, path: &Path);
    /// What is held open.
    fn copy_up_held(&mut self, slot: Slot);
}

impl CopiesUp for Model {
    fn copy_up_at(&mut self, path: &Path) {
        Model::copy_up_at(self, path);
    }

    fn copy_up_held(&mut self, slot: Slot) {
        Model::copy_up_held(self, slot);
    }
}

impl CopiesUp for Pool {
    fn copy_up_at(&mut self, path: &Path) {
        Pool::copy_up_at(self, path);
    }

    fn copy_up_held(&mut self, slot: Slot) {
        Pool::copy_up_held(self, slot);
    }
}

/// The layers with empty files for metacopies without a size: a crash may
/// keep the mark of a file that was cut.
pub(super) fn with_empty_metacopies_cut(layers: &[Dir<Stored>]) -> Vec<Dir<Stored>> {
    fn cut(dir: &mut Dir<Stored>) {
        for entry in dir.entries.values_mut() {
            match entry {
                Stored::Dir(dir) => cut(dir),
                Stored::Metacopy(copy) if copy.size == 0 => {
                    *entry = Stored::Leaf(Leaf {
                        id: copy.id,
                        links: copy.links,
                        data: Data::File(Vec::new()),
                        meta: copy.meta.clone(),
                    });
                }
                Stored::Metacopy(_) | Stored::Leaf(_) | Stored::Whiteout => {}
            }
        }
    }
    let mut layers = layers.to_vec();
    layers.iter_mut().for_each(cut);
    layers
}

/// `model`, and what it becomes when some of what `op` changes was copied up.
pub(crate) fn with_copies<M: CopiesUp>(model: &M, op: &Op) -> Vec<M> {
    let full = |place: &Place| place.parent.join(&place.name);
    let copied = |paths: &[Path]| {
        let mut model = model.clone();
        paths.iter().for_each(|path| model.copy_up_at(path));
        model
    };
    let mut models = vec![model.clone()];
    match op {
        Op::Link { from, .. } => models.push(copied(std::slice::from_ref(from))),
        Op::Rename { from, to, .. } => {
            let (from, to) = (full(from), full(to));
            models.push(copied(std::slice::from_ref(&from)));
            models.push(copied(std::slice::from_ref(&to)));
            models.push(copied(&[from, to]));
        }
        Op::Write { path, .. }
        | Op::Append { path, .. }
        | Op::Empty { path }
        | Op::Truncate { path, .. }
        | Op::Allocate { path, .. }
        | Op::Punch { path, .. }
        | Op::Chmod { path, .. }
        | Op::Chown { path, .. }
        | Op::SetMtime { path, .. }
        | Op::SetXattr { path, .. }
        | Op::RemoveXattr { path, .. }
        | Op::Open { path, .. } => models.push(copied(std::slice::from_ref(path))),
        Op::WriteHeld { slot, .. } | Op::TruncateHeld { slot, .. } | Op::ChmodHeld { slot, .. } => {
            let mut model = model.clone();
            model.copy_up_held(*slot);
            models.push(model);
        }
        Op::Make { .. }
        | Op::Create { .. }
        | Op::Unlink { .. }
        | Op::Rmdir { .. }
        | Op::Read { .. }
        | Op::ReadDir { .. }
        | Op::ReadLink { .. }
        | Op::Stat { .. }
        | Op::GetXattr { .. }
        | Op::ListXattrs { .. }
        | Op::ReadHeld { .. }
        | Op::StatHeld { .. }
        | Op::Close { .. }
        | Op::Remount
        | Op::Rotate => {}
    }
    models
}

pub(super) fn made(at: &Place, object: Object, mode: u32) -> Op {
    Op::Make {
        at: at.clone(),
        object,
        mode,
        umask: Umask(0),
    }
}

/// Makes an empty directory with the attributes of another.
pub(super) fn made_like(at: &Place, like: &Sight) -> Vec<Op> {
    let path = at.parent.join(&at.name);
    let mut ops = vec![
        made(at, Object::Dir, 0o700),
        Op::Chown {
            path: path.clone(),
            uid: Some(like.uid),
            gid: Some(like.gid),
        },
        Op::Chmod {
            path: path.clone(),
            mode: like.mode,
        },
    ];
    for (name, value) in like.xattrs.iter().flatten() {
        ops.push(Op::SetXattr {
            path: path.clone(),
            name: name.clone(),
            value: value.clone(),
            how: Presence::Either,
        });
    }
    ops
}
