//! Random operations.

use proptest::prelude::*;
use proptest::sample::select;

use super::{attribute_names, attribute_values, contents, paths, places, specials, targets, times};
use crate::attr::FileKind;
use crate::spec::{Access, Object, Op, Presence, Rename, Slot, Umask};

/// One operation, on paths that often exist.
pub fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => making(),
        14 => moving(),
        10 => writing(),
        6 => reading(),
        10 => attributes(),
        12 => holding(),
        1 => Just(Op::Remount),
    ]
}

/// The same for a union that can rename lower directories: more of that, and
/// rotations.
pub fn ops_with_redirects() -> impl Strategy<Value = Op> {
    prop_oneof![
        14 => ops(),
        5 => moving(),
        2 => Just(Op::Rotate),
    ]
}

fn making() -> impl Strategy<Value = Op> {
    let objects = prop_oneof![
        4 => Just(Object::Dir),
        2 => Just(Object::File),
        1 => targets().prop_map(Object::Symlink),
        1 => specials().prop_map(|(kind, rdev)| Object::Special(kind, rdev)),
    ];
    let whiteout = Object::Special(FileKind::CharDevice, 0);
    let objects = prop_oneof![20 => objects, 1 => Just(whiteout)];
    prop_oneof![
        5 => (places(), objects, modes(), umasks())
            .prop_map(|(at, object, mode, umask)| Op::Make { at, object, mode, umask }),
        1 => (slots(), places(), modes(), umasks())
            .prop_map(|(slot, at, mode, umask)| Op::Create { slot, at, mode, umask }),
        2 => (paths(), places()).prop_map(|(from, to)| Op::Link { from, to }),
    ]
}

fn moving() -> impl Strategy<Value = Op> {
    let how = prop_oneof![
        4 => Just(Rename::Replace),
        1 => Just(Rename::NoReplace),
        2 => Just(Rename::Exchange),
    ];
    prop_oneof![
        3 => places().prop_map(|at| Op::Unlink { at }),
        3 => places().prop_map(|at| Op::Rmdir { at }),
        6 => (places(), places(), how).prop_map(|(from, to, how)| Op::Rename { from, to, how }),
    ]
}

fn writing() -> impl Strategy<Value = Op> {
    prop_oneof![
        (paths(), offsets(), written()).prop_map(|(path, offset, data)| Op::Write {
            path,
            offset,
            data
        }),
        (paths(), written()).prop_map(|(path, data)| Op::Append { path, data }),
        paths().prop_map(|path| Op::Empty { path }),
        (paths(), offsets()).prop_map(|(path, len)| Op::Truncate { path, len }),
        (paths(), offsets(), 1..9000_u64).prop_map(|(path, offset, len)| Op::Allocate {
            path,
            offset,
            len
        }),
        (paths(), offsets(), 1..9000_u64).prop_map(|(path, offset, len)| Op::Punch {
            path,
            offset,
            len
        }),
    ]
}

fn reading() -> impl Strategy<Value = Op> {
    prop_oneof![
        paths().prop_map(|path| Op::Stat { path }),
        paths().prop_map(|path| Op::Read { path }),
        paths().prop_map(|path| Op::ReadDir { path }),
        paths().prop_map(|path| Op::ReadLink { path }),
        paths().prop_map(|path| Op::ListXattrs { path }),
        (paths(), attribute_names()).prop_map(|(path, name)| Op::GetXattr { path, name }),
    ]
}

fn attributes() -> impl Strategy<Value = Op> {
    let id = || prop_oneof![1 => Just(None), 2 => select(&[Some(0), Some(1000), Some(7)][..])];
    let how = select(&[Presence::Either, Presence::Create, Presence::Replace][..]);
    prop_oneof![
        2 => (paths(), modes()).prop_map(|(path, mode)| Op::Chmod { path, mode }),
        2 => (paths(), id(), id()).prop_map(|(path, uid, gid)| Op::Chown { path, uid, gid }),
        2 => (paths(), times()).prop_map(|(path, mtime)| Op::SetMtime { path, mtime }),
        3 => (paths(), attribute_names(), attribute_values(), how)
            .prop_map(|(path, name, value, how)| Op::SetXattr { path, name, value, how }),
        2 => (paths(), attribute_names()).prop_map(|(path, name)| Op::RemoveXattr { path, name }),
    ]
}

fn holding() -> impl Strategy<Value = Op> {
    let access = select(&[Access::Read, Access::Write][..]);
    prop_oneof![
        9 => (slots(), paths(), access)
            .prop_map(|(slot, path, access)| Op::Open { slot, path, access }),
        2 => slots().prop_map(|slot| Op::ReadHeld { slot }),
        2 => (slots(), offsets(), written())
            .prop_map(|(slot, offset, data)| Op::WriteHeld { slot, offset, data }),
        2 => slots().prop_map(|slot| Op::StatHeld { slot }),
        2 => (slots(), offsets()).prop_map(|(slot, len)| Op::TruncateHeld { slot, len }),
        2 => (slots(), modes()).prop_map(|(slot, mode)| Op::ChmodHeld { slot, mode }),
        1 => slots().prop_map(|slot| Op::Close { slot }),
    ]
}

fn slots() -> impl Strategy<Value = Slot> {
    0..2_usize
}

fn offsets() -> impl Strategy<Value = u64> {
    select(&[0, 1, 3, 4096, 4100][..])
}

/// Writing nothing is not an operation.
fn written() -> impl Strategy<Value = Vec<u8>> {
    contents().prop_map(|content| {
        if content.is_empty() {
            b"w".to_vec()
        } else {
            content
        }
    })
}

fn modes() -> impl Strategy<Value = u32> {
    let usual = select(&[0o755, 0o644, 0o777][..]);
    let odd = select(&[0, 0o4755, 0o2755, 0o2711, 0o2644, 0o1777, 0o7777][..]);
    prop_oneof![3 => usual, 2 => odd]
}

fn umasks() -> impl Strategy<Value = Umask> {
    select(&[Umask(0), Umask(0o022), Umask(0o077), Umask(0o777)][..])
}
