//! Reads an index back from where it lies, in the kernel's form.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use overlay_core::attr::Attr;
use overlay_core::dialect::origin::index_name;
use overlay_core::layer::Node;
use overlay_core::name::NameBuf;
use overlay_core::spec::{Copied, Dir, Id, Index, Namespace, Stored};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::load::Layer;
use crate::{load, snapshot, sys};

/// Bytes before the file handle proper: version, magic number, length, flags,
/// type of the handle, identity of the filesystem (`struct ovl_fb` in
/// `fs/overlayfs/overlayfs.h`).
const HEADER: usize = 5 + 16;
const TYPE: usize = 4;

/// The index in this directory, if there is one, over `layers` which lie on
/// the same filesystem.
pub fn load(dir: &Path, layers: &[Dir<Stored>], namespace: Namespace) -> Index {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = match rustix::fs::open(dir, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Index::new(),
        opened => opened.unwrap(),
    };
    let mut lowers = BTreeMap::new();
    for layer in layers.iter().skip(1) {
        each_leaf(layer, &mut |id, links| {
            lowers.insert(id.number, (id, links));
        });
    }
    let mut index = Index::new();
    for (name, stored) in load::leaves(dir, namespace) {
        // A whiteout stands for what was removed (`nfs_export`), or is the one
        // that the kernel keeps, to be linked where it is needed.
        let links = match &stored {
            Stored::Leaf(leaf) => leaf.links,
            Stored::Metacopy(copy) => copy.links,
            Stored::Dir(_) | Stored::Whiteout => continue,
        };
        let (kind, handle) = decode(&name);
        let lower = sys::open_by_handle(mount.as_fd(), kind, &handle).unwrap();
        let lower = rustix::fs::fstat(&lower).unwrap().st_ino;
        let Some(lower) = lowers.get(&lower) else {
            panic!("{name} is in the index, and no object {lower} is in a lower layer");
        };
        let path = dir.join(name.as_os_str());
        let path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        let mark = [namespace.prefix(), b"nlink"].concat();
        let xattrs = snapshot::xattrs_of(&path).unwrap();
        let links = union_links(xattrs.get(&mark), links, lower.1);
        index.insert(lower.0, Copied { stored, links });
    }
    index
}

/// The type and the bytes of the file handle for which an entry stands.
fn decode(name: &NameBuf) -> (i32, Vec<u8>) {
    let text = std::str::from_utf8(name.as_bytes()).unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
    (i32::from(bytes[TYPE]), bytes[HEADER..].to_vec())
}

/// How many names the union has for a copy: stored as a difference from the
/// links of the copy (`U`) or of the original (`L`).
fn union_links(value: Option<&Vec<u8>>, copy: u64, original: u64) -> u64 {
    let (of, difference) = value.expect("a link count in the index").split_at(1);
    let difference: i64 = std::str::from_utf8(difference).unwrap().parse().unwrap();
    let base = match of {
        b"U" => copy,
        b"L" => original,
        _ => panic!("a strange link count in the index: {value:?}"),
    };
    base.checked_add_signed(difference).unwrap()
}

/// The index in this directory of a storage, over the layers with these roots.
pub fn from_storage(dir: &dyn Node, lowers: &[Arc<dyn Node>], namespace: Namespace) -> Index {
    let mut index = Index::new();
    for (position, root) in lowers.iter().enumerate() {
        // Above them is the one with the index.
        let layer = position + 1;
        each_object(&**root, &mut |object, attr| {
            let Some(handle) = object.handle().unwrap() else {
                return;
            };
            let name = index_name(&handle).unwrap();
            let Some(found) = dir.lookup(&name).unwrap() else {
                return;
            };
            let top = Layer {
                index: 0,
                namespace,
            };
            let stored = load::copy_from(&*found.node, &found.attr, top);
            let mark = [namespace.prefix(), b"nlink"].concat();
            let value = found.node.xattr(&mark).unwrap();
            let links = union_links(value.as_ref(), found.attr.nlink, attr.nlink);
            let number = attr.ino;
            index.insert(Id { layer, number }, Copied { stored, links });
        });
    }
    index
}

/// Everything below `dir` that is no directory.
fn each_object(dir: &dyn Node, each: &mut dyn FnMut(&dyn Node, &Attr)) {
    let mut names = Vec::new();
    dir.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    for name in names {
        let found = dir.lookup(&name).unwrap().unwrap();
        match found.attr.kind.is_dir() {
            true => each_object(&*found.node, each),
            false => each(&*found.node, &found.attr),
        }
    }
}

fn each_leaf(dir: &Dir<Stored>, each: &mut dyn FnMut(Id, u64)) {
    for entry in dir.entries.values() {
        match entry {
            Stored::Dir(dir) => each_leaf(dir, each),
            Stored::Leaf(leaf) => each(leaf.id, leaf.links),
            Stored::Metacopy(copy) => each(copy.id, copy.links),
            Stored::Whiteout => {}
        }
    }
}
