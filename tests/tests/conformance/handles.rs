//! Handles, and the index that is named by them.

use std::sync::Arc;

use overlay_core::layer::dir::{Descriptors, DirStorage};
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{
    New, NewKind, Node, Removal, RenameMode, Staged, Storage, WritableStorage,
};
use overlay_core::{FileHandle, Owner};
use overlay_tests::conformance::*;
use overlay_tests::contract;

fn plain() -> New<'static> {
    New {
        kind: NewKind::Regular,
        mode: 0o644,
        owner: Owner { uid: 0, gid: 0 },
        xattrs: &[],
    }
}

fn handle(node: &dyn Node) -> FileHandle {
    node.handle().unwrap().unwrap()
}

contract! {
    /// Copies are found by it after a remount.
    fn a_handle_stays_over_renames_and_differs_between_objects(subject) {
        let root = &subject.root;
        let one = root.create(name("one"), &plain()).unwrap().node;
        let other = root.create(name("other"), &plain()).unwrap().node;
        let before = handle(&*one);
        assert_ne!(before, handle(&*other));
        assert_eq!(before.uuid, handle(&**root).uuid);
        root.rename(name("one"), &**root, name("two"), RenameMode::Replace, Some(&*one), None)
            .unwrap();
        assert_eq!(handle(&*one), before);
        let again = root.lookup(name("two")).unwrap().unwrap().node;
        assert_eq!(handle(&*again), before);
        root.link(name("three"), &*one, RenameMode::NoReplace).unwrap();
        let linked = root.lookup(name("three")).unwrap().unwrap().node;
        assert_eq!(handle(&*linked), before);
    }

    /// A symlink has its own, not its target's.
    fn every_kind_of_object_has_a_handle(subject) {
        let mut seen = std::collections::HashSet::new();
        for (index, kind) in [
            NewKind::Regular,
            NewKind::Directory,
            NewKind::Symlink(b"0"),
            NewKind::Fifo,
            NewKind::Socket,
        ].into_iter().enumerate() {
            let new = New { kind, ..plain() };
            let called = index.to_string();
            let made = subject.root.create(name(&called), &new).unwrap().node;
            assert!(seen.insert(handle(&*made)));
        }
    }

    /// It outlives what is cleared at each mount, and one directory serves all.
    fn the_index_keeps_what_is_put_there(subject) {
        let storage = &subject.storage;
        let index = storage.index().unwrap();
        let staged = Staged::new(storage, &plain()).unwrap();
        let copy = staged.publish(&*index, name("00"), RenameMode::NoReplace, None).unwrap();
        subject.root.link(name("file"), &*copy, RenameMode::NoReplace).unwrap();
        assert_eq!(copy.attr().unwrap().nlink, 2);
        storage.clear_work().unwrap();
        let again = storage.index().unwrap();
        let found = again.lookup_writable(name("00")).unwrap().unwrap();
        assert_eq!(found.attr.nlink, 2);
        assert_eq!(subject.root.entries_of().len(), 1);
        again.remove(name("00"), Removal::NonDirectory, Some(&*found.node)).unwrap();
        assert_eq!(found.node.attr().unwrap().nlink, 1);
    }

    /// For those who look after it.
    fn the_work_directory_holds_the_index(subject) {
        let storage = &subject.storage;
        let index = storage.index().unwrap();
        let workdir = storage.workdir().unwrap().unwrap();
        let found = workdir.lookup_writable(name("index")).unwrap().unwrap();
        assert_eq!(handle(&*found.node), handle(&*index));
        found.node.create(name("00"), &plain()).unwrap();
        assert!(index.lookup(name("00")).unwrap().is_some());
        let moved = found.node.rename(
            name("00"), &*workdir, name("moved"), RenameMode::NoReplace, None, None,
        );
        moved.unwrap();
        assert!(index.lookup(name("00")).unwrap().is_none());
        workdir.remove(name("moved"), Removal::NonDirectory, None).unwrap();
        let made = subject.root.create(name("made"), &plain()).unwrap();
        let led = storage.attr_of_handle(&handle(&*made.node));
        if !overlay_tests::runner::skip(overlay_tests::runner::root()) {
            assert_eq!(led.unwrap().unwrap().ino, made.attr.ino);
        }
    }
}

trait Entries {
    fn entries_of(&self) -> Vec<Vec<u8>>;
}

impl Entries for Arc<dyn overlay_core::layer::WritableNode> {
    fn entries_of(&self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        self.entries(&mut |entry| {
            names.push(entry.name.as_bytes().to_vec());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        names
    }
}

/// `made` is a file of `storage`; `gone` one that is not there any more.
fn resolves(storage: &dyn Storage, made: &FileHandle, gone: &FileHandle, ino: u64) {
    let found = storage.attr_of_handle(made).unwrap().unwrap();
    assert_eq!(found.ino, ino);
    assert!(storage.attr_of_handle(gone).unwrap().is_none());
    let foreign = FileHandle {
        uuid: [1; 16],
        ..made.clone()
    };
    assert!(storage.attr_of_handle(&foreign).unwrap().is_none());
    let nonsense = FileHandle {
        bytes: vec![0xff; 7],
        ..made.clone()
    };
    assert!(storage.attr_of_handle(&nonsense).unwrap().is_none());
}

#[test]
fn a_handle_leads_to_its_object_and_to_no_other_in_directories() {
    if overlay_tests::runner::skip(overlay_tests::runner::root()) {
        return;
    }
    let dirs = Dirs::new();
    let outside = dirs.outside();
    std::fs::write(outside.join("made"), b"").unwrap();
    std::fs::write(outside.join("gone"), b"").unwrap();
    let lower = DirStorage::open(&outside, &Descriptors::new(16)).unwrap();
    let node = |called| lower.root().lookup(name(called)).unwrap().unwrap();
    let (made, gone) = (node("made"), handle(&*node("gone").node));
    std::fs::remove_file(outside.join("gone")).unwrap();
    std::fs::rename(outside.join("made"), outside.join("moved")).unwrap();
    let moved = handle(&*node("moved").node);
    resolves(&*lower, &moved, &gone, made.attr.ino);
}

#[test]
fn a_handle_leads_to_its_object_and_to_no_other_in_memory() {
    let storage = MemStorage::new();
    storage.write("made", b"").unwrap();
    storage.write("gone", b"").unwrap();
    let root = WritableStorage::root(&*storage);
    let node = |called| root.lookup(name(called)).unwrap().unwrap();
    let (made, gone) = (node("made"), handle(&*node("gone").node));
    root.remove(name("gone"), Removal::NonDirectory, None)
        .unwrap();
    resolves(&*storage, &handle(&*made.node), &gone, made.attr.ino);
}
