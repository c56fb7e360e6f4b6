//! Directories that move: lower, merged and new ones, full or empty, into and
//! over each other, while what was written becomes a lower layer.

use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Case, Numbering, dirs, leaves, ops};
use crate::name::NameBuf;
use crate::spec::{Config, Data, Dir, Object, Op, Path, Place, Rename, Stored, Umask};

/// Stacks of a writable layer and up to `middle` others, and histories of
/// renames and rotations with these options.
pub fn cases_of_renames(
    middle: usize,
    length: usize,
    config: Config,
) -> impl Strategy<Value = Case> {
    let ops = vec(steps(), 0..=length);
    (trees(2..=middle + 1), ops).prop_map(move |(layers, ops)| Case {
        layers,
        writable: true,
        config,
        ops,
    })
}

/// Stacks of such layers, top first.
pub(super) fn trees(layers: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Dir<Stored>>> {
    vec(roots(), layers).prop_map(|mut layers| {
        for (index, root) in layers.iter_mut().enumerate() {
            Numbering::new(index).settle(root);
        }
        layers
    })
}

/// Trees of directories with a file here and there.
fn roots() -> impl Strategy<Value = Dir<Stored>> {
    let file = || leaves(select(&b"xyz"[..]).prop_map(|byte| Data::File(vec![byte])));
    let leaf = prop_oneof![
        6 => dirs(Just(Stored::Whiteout), 0..=0).prop_map(Stored::Dir),
        3 => file(),
        2 => Just(Stored::Whiteout),
    ];
    let entry = leaf.prop_recursive(3, 16, 3, |inner| dirs(inner, 0..=3).prop_map(Stored::Dir));
    dirs(entry, 1..=3).prop_map(|root| Dir {
        opaque: false,
        ..root
    })
}

pub(super) fn steps() -> impl Strategy<Value = Op> {
    let how = prop_oneof![
        6 => Just(Rename::Replace),
        1 => Just(Rename::NoReplace),
        3 => Just(Rename::Exchange),
    ];
    let made = prop_oneof![3 => Just(Object::Dir), 1 => Just(Object::File)];
    prop_oneof![
        24 => (places(), places(), how).prop_map(|(from, to, how)| Op::Rename { from, to, how }),
        6 => Just(Op::Rotate),
        5 => (places(), made).prop_map(|(at, object)| Op::Make {
            at,
            object,
            mode: 0o755,
            umask: Umask(0o022),
        }),
        2 => places().prop_map(|at| Op::Rmdir { at }),
        2 => places().prop_map(|at| Op::Unlink { at }),
        1 => Just(Op::Remount),
        2 => ops(),
    ]
}

/// Up to four names of an alphabet of three.
fn places() -> impl Strategy<Value = Place> {
    let name = || select(&["a", "b", "c"][..]);
    let parents = prop_oneof![
        4 => vec(name(), 0),
        4 => vec(name(), 1),
        3 => vec(name(), 2),
        1 => vec(name(), 3),
    ];
    let named = |name: &str| NameBuf::new(name).expect("these three are valid names");
    (parents, name()).prop_map(move |(parents, name)| Place {
        parent: Path(parents.into_iter().map(named).collect()),
        name: named(name),
    })
}
