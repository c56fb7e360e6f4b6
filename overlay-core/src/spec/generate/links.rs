//! More hard links than layers have by chance.

use crate::spec::{Data, Dir, Leaf, Stored};

/// Makes regular files of a layer names of one object where `wishes` say so.
pub(super) fn link(root: &mut Dir<Stored>, wishes: &[bool]) {
    let mut one = None;
    let mut wishes = wishes.iter();
    each_single(root, &mut |leaf| {
        if wishes.next() == Some(&true) {
            *leaf = one.get_or_insert_with(|| leaf.clone()).clone();
        }
    });
    let Some(Leaf { id, .. }) = one else {
        return;
    };
    let mut links = 0;
    each_single(root, &mut |leaf| links += u64::from(leaf.id == id));
    each_single(root, &mut |leaf| {
        if leaf.id == id {
            leaf.links = links;
        }
    });
}

/// Regular files with one name in what they say; while they are being linked
/// they say so still.
fn each_single(dir: &mut Dir<Stored>, each: &mut dyn FnMut(&mut Leaf)) {
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Dir(dir) => each_single(dir, each),
            Stored::Leaf(leaf) if leaf.links == 1 => match leaf.data {
                Data::File(_) => each(leaf),
                Data::Symlink(_) | Data::Special { .. } => {}
            },
            Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout => {}
        }
    }
}
