//! A writable branch of AuFS, on branches of AuFS and of others.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use overlay_core::dialect::aufs::{Aufs, Diropq, WhiteoutFiles};
use overlay_core::fs::UnionFs;
use overlay_core::layer::{Node, Storage, WritableStorage};
use overlay_core::union::Options;
use overlay_core::{Dialect, Errno, MemStorage, Name, Stack, Union};
use overlay_tests::{materialize, scenario};

mod changes;
mod directories;
mod histories;
mod marks;
mod names;
mod plinks;

/// AuFS with everything unlike its defaults.
const OTHERWISE: Dialect = Dialect::Aufs(Aufs {
    opaque: Diropq::Always,
    whiteouts: WhiteoutFiles::Separate,
});

fn name(text: &str) -> &Name {
    Name::new(text.as_bytes()).unwrap()
}

fn errno<T: std::fmt::Debug>(outcome: overlay_core::Result<T>) -> Errno {
    outcome.unwrap_err().errno()
}

/// A layer as [`scenario`] writes them, in memory.
fn stored(layer: &str) -> Arc<MemStorage> {
    let storage = MemStorage::new();
    let layer = scenario::layer(layer, 0);
    materialize::in_storage(&*WritableStorage::root(&*storage), &layer);
    storage
}

/// The first layer is written, and the others lie below it.
fn written(upper: Dialect, lower: Dialect, layers: &[&str]) -> (Arc<MemStorage>, UnionFs) {
    let mut layers = layers.iter().map(|layer| stored(layer));
    let top = layers.next().unwrap();
    let stack = layers.fold(Stack::new().upper_as(top.clone(), upper), |stack, layer| {
        stack.lower_as(layer, lower)
    });
    let union = Union::with_options(stack, Options::default()).unwrap();
    (top, UnionFs::from_union(union))
}

/// What is seen, as one line: directories, and files with their content.
fn seen(union: &UnionFs) -> String {
    let mut all: Vec<String> = Vec::new();
    for walked in union.walk("/").unwrap() {
        let path = walked.path.display().to_string();
        let path = path.trim_start_matches('/');
        if walked.attr.kind.is_dir() {
            all.extend((!path.is_empty()).then(|| format!("{path}/")));
        } else {
            let content = union.read(&walked.path).unwrap();
            all.push(format!("{path}={}", content.escape_ascii()));
        }
    }
    all.sort();
    all.join(" ")
}

/// The directory at `path` of a branch, `""` for the root.
fn dir_at(storage: &MemStorage, path: &str) -> Arc<dyn Node> {
    let names = path.split('/').filter(|part| !part.is_empty());
    names.fold(Storage::root(storage), |dir, part| {
        dir.lookup(name(part)).unwrap().unwrap().node
    })
}

/// What a branch stores there, but for what AuFS keeps in each root.
fn entries(storage: &MemStorage, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut each = |entry: overlay_core::layer::RawEntry<'_>| {
        names.push(entry.name.as_bytes().escape_ascii().to_string());
        ControlFlow::Continue(())
    };
    dir_at(storage, path).entries(&mut each).unwrap();
    names.retain(|name| !OWN.contains(&&**name));
    names.sort();
    names
}

const OWN: [&str; 3] = [".wh..wh.aufs", ".wh..wh.orph", ".wh..wh.plnk"];
