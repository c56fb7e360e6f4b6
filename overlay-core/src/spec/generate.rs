//! Random layers and operations, for `proptest`.
//!
//! The alphabet of names is tiny, so that layers overlap and operations meet
//! what is there; values get simpler as they shrink: the first name, an empty
//! directory, no attributes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::attr::{FileKind, Timestamp};
use crate::name::NameBuf;

use super::{Data, Dir, Id, Leaf, Meta, Path, Place, Stored};

mod cases;
mod links;
mod metacopies;
mod ops;
mod pools;
mod redirects;
mod renames;

pub use cases::{Case, cases, cases_configured, cases_of_travels, cases_with_redirects};
pub use metacopies::cases_of_metacopies;
pub use ops::{ops, ops_with_redirects};
pub use pools::{FREE, PoolCase, Step, policies, pools, pools_that_change};
pub use redirects::cases_of_redirects;
pub use renames::cases_of_renames;

/// Whole stored stacks, top first.
pub fn stacks(
    layers: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Vec<Dir<Stored>>> {
    vec(roots(), layers).prop_map(|mut layers| {
        for (layer, root) in layers.iter_mut().enumerate() {
            Numbering::new(layer).settle(root);
        }
        layers
    })
}

const EASY: &[&[u8]] = &[b"a", b"b", b"c"];
const HARD: &[&[u8]] = &[b".wh.a", b"\xff\xfe", b"#1", &[b'n'; 255]];
const TARGETS: &[&[u8]] = &[b"a", b"../b", b"/nowhere", b"\xff"];

/// Names of entries: mostly three, now and then a difficult one.
pub fn names() -> impl Strategy<Value = NameBuf> {
    let easy = select(EASY);
    let hard = select(HARD);
    prop_oneof![12 => easy, 1 => hard]
        .prop_map(|bytes| NameBuf::new(bytes).expect("all of these are valid names"))
}

/// Paths of up to three names.
pub fn paths() -> impl Strategy<Value = Path> {
    prop_oneof![
        6 => vec(names(), 1),
        6 => vec(names(), 2),
        3 => vec(names(), 3),
        1 => vec(names(), 0),
    ]
    .prop_map(Path)
}

/// Paths of one to three names, as directory and name.
pub fn places() -> impl Strategy<Value = Place> {
    let parents = prop_oneof![5 => vec(names(), 0), 5 => vec(names(), 1), 2 => vec(names(), 2)];
    (parents.prop_map(Path), names()).prop_map(|(parent, name)| Place { parent, name })
}

fn roots() -> impl Strategy<Value = Dir<Stored>> {
    let leaf = prop_oneof![
        5 => leaves(contents().prop_map(Data::File)),
        2 => Just(Stored::Whiteout),
        1 => leaves(targets().prop_map(Data::Symlink)),
        1 => leaves(specials().prop_map(|(kind, rdev)| Data::Special { kind, rdev })),
    ];
    let entry = leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            4 => dirs(inner.clone(), 0..=4).prop_map(Stored::Dir),
            1 => inner,
        ]
    });
    dirs(entry, 0..=4).prop_map(|root| Dir {
        opaque: false,
        ..root
    })
}

fn dirs(
    entry: impl Strategy<Value = Stored>,
    entries: RangeInclusive<usize>,
) -> impl Strategy<Value = Dir<Stored>> {
    let opaque = prop_oneof![5 => Just(false), 1 => Just(true)];
    let modes = prop_oneof![4 => Just(0o755), 1 => select(&[0o700, 0o2775, 0o1777, 0][..])];
    (btree_map(names(), entry, entries), opaque, metas(modes)).prop_map(
        |(entries, opaque, meta)| Dir {
            parts: Vec::new(),
            opaque,
            redirect: None,
            entries,
            meta,
        },
    )
}

/// The number of the id is a wish: leaves with the same number above zero
/// become hard links of each other.
fn leaves(data: impl Strategy<Value = Data>) -> impl Strategy<Value = Stored> {
    let modes = prop_oneof![
        4 => Just(0o644),
        2 => select(&[0o600, 0o4755, 0o2755, 0o2644, 0o6711, 0o1644, 0][..])
    ];
    let groups = prop_oneof![2 => Just(0), 1 => 1..=2_u64];
    (data, metas(modes), groups).prop_map(|(data, meta, number)| {
        Stored::Leaf(Leaf {
            id: Id { layer: 0, number },
            links: 1,
            data,
            meta,
        })
    })
}

fn metas(modes: impl Strategy<Value = u32>) -> impl Strategy<Value = Meta> {
    let attributes = btree_map(attribute_names(), attribute_values(), 1..=2);
    let xattrs = prop_oneof![5 => Just(BTreeMap::new()), 1 => attributes];
    let uid = prop_oneof![3 => Just(0), 1 => Just(1000_u32)];
    let gid = prop_oneof![3 => Just(0), 1 => Just(1001_u32)];
    (modes, uid, gid, times(), xattrs).prop_map(|(mode, uid, gid, mtime, xattrs)| Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    })
}

/// Before 2002, so that they differ from the time of the test.
fn times() -> impl Strategy<Value = Timestamp> {
    (0..1000_i64, select(&[0, 1, 999_999_999][..])).prop_map(|(sec, nsec)| Timestamp {
        sec: 1_000_000_000 + sec,
        nsec,
    })
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => vec(select(&b"xyz"[..]), 0..6),
        1 => (1..3_usize, select(&b"XY\0"[..])).prop_map(|(blocks, byte)| vec![byte; blocks * 4096 + 7]),
    ]
}

fn targets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => select(TARGETS).prop_map(<[u8]>::to_vec),
        1 => Just(vec![b't'; 4095]),
    ]
}

fn specials() -> impl Strategy<Value = (FileKind, u64)> {
    select(
        &[
            (FileKind::Fifo, 0),
            (FileKind::Socket, 0),
            (FileKind::CharDevice, 0x0103),
            (FileKind::BlockDevice, 0x0700),
        ][..],
    )
}

fn attribute_names() -> impl Strategy<Value = Vec<u8>> {
    let names: [&[u8]; 4] = [
        b"user.a",
        b"user.b",
        b"trusted.t",
        // What a union stored in this one's layers would use.
        b"trusted.overlay.opaque",
    ];
    select(names.map(<[u8]>::to_vec).to_vec())
}

fn attribute_values() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&b"y1"[..]), 0..3)
}

/// Gives every object its number, and makes hard links of those that wish it.
struct Numbering {
    layer: usize,
    next: u64,
    wishes: BTreeMap<u64, Leaf>,
}

impl Numbering {
    fn new(layer: usize) -> Numbering {
        Numbering {
            layer,
            next: 1,
            wishes: BTreeMap::new(),
        }
    }

    fn settle(&mut self, root: &mut Dir<Stored>) {
        self.number(root);
        let mut links = BTreeMap::new();
        each_leaf(root, &mut |leaf| *links.entry(leaf.id).or_insert(0) += 1);
        each_leaf(root, &mut |leaf| leaf.links = links[&leaf.id]);
    }

    fn fresh(&mut self) -> Id {
        self.next += 1;
        Id {
            layer: self.layer,
            number: self.next,
        }
    }

    fn number(&mut self, dir: &mut Dir<Stored>) {
        dir.parts = vec![self.fresh()];
        for entry in dir.entries.values_mut() {
            match entry {
                // Files become metacopies when they have their numbers.
                Stored::Whiteout | Stored::Metacopy(_) => {}
                Stored::Dir(dir) => self.number(dir),
                Stored::Leaf(leaf) => self.number_leaf(leaf),
            }
        }
    }

    fn number_leaf(&mut self, leaf: &mut Leaf) {
        let wish = leaf.id.number;
        if let (1.., Some(same)) = (wish, self.wishes.get(&wish)) {
            *leaf = same.clone();
            return;
        }
        leaf.id = self.fresh();
        match &leaf.data {
            Data::File(_) => {}
            Data::Symlink(_) | Data::Special { .. } => {
                leaf.meta
                    .xattrs
                    .retain(|name, _| !name.starts_with(b"user."));
            }
        }
        if let Data::Symlink(_) = leaf.data {
            leaf.meta.mode = 0o777;
        }
        self.wishes.insert(wish, leaf.clone());
    }
}

fn each_leaf(dir: &mut Dir<Stored>, each: &mut dyn FnMut(&mut Leaf)) {
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Whiteout | Stored::Metacopy(_) => {}
            Stored::Dir(dir) => each_leaf(dir, each),
            Stored::Leaf(leaf) => each(leaf),
        }
    }
}
