//! Small stacks with something wrong in them, in memory or in directories.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use overlay_core::attr::FileKind;
use overlay_core::check::{Check, Event, Finding, Repair, Settings, Summary};
use overlay_core::dialect::Dialect;
use overlay_core::fs::UnionFs;
use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper, WorkAt};
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{
    Access, New, NewKind, Node, RenameMode, SetXattr, Storage, WritableNode, WritableStorage,
};
use overlay_core::name::{Name, NameBuf};
use overlay_core::union::{Flow, Inode, Options};
use overlay_core::{FileHandle, Owner, Stack, Union};
use tempfile::TempDir;

/// Marks of an object: names without prefix, and values.
pub type Marks<'a> = &'a [(&'a str, &'a [u8])];

/// A stack to put things into. Layer 0 is the upper one.
pub struct Bench {
    place: Place,
    layers: usize,
}

enum Place {
    Memory(Vec<Arc<MemStorage>>),
    Directories(TempDir),
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Memory(_) => write!(f, "{} layers in memory", self.layers),
            Place::Directories(dir) => write!(f, "{} layers in {dir:?}", self.layers),
        }
    }
}

/// Names to a directory and the name in it.
fn split(path: &str) -> (Vec<&Name>, &Name) {
    let mut names: Vec<_> = path
        .split('/')
        .map(|name| Name::new(name.as_bytes()).unwrap())
        .collect();
    let last = names.pop().unwrap();
    (names, last)
}

impl Bench {
    /// So many empty layers in memory.
    pub fn in_memory(layers: usize) -> Bench {
        let storages = (0..layers).map(|_| MemStorage::new()).collect();
        Bench {
            place: Place::Memory(storages),
            layers,
        }
    }

    /// So many empty directories.
    pub fn in_directories(layers: usize) -> Bench {
        let mut builder = tempfile::Builder::new();
        builder.prefix("ufs-test-");
        let dir = match std::env::var_os("UFS_TEST_DIR") {
            Some(parent) => builder.tempdir_in(parent).unwrap(),
            None => builder.tempdir().unwrap(),
        };
        for index in 0..layers {
            std::fs::create_dir(dir.path().join(index.to_string())).unwrap();
            std::fs::create_dir(dir.path().join(format!("work{index}"))).unwrap();
        }
        Bench {
            place: Place::Directories(dir),
            layers,
        }
    }

    /// Where a layer or (`work0`) its work directory lies; `None` in memory.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        match &self.place {
            Place::Memory(_) => None,
            Place::Directories(dir) => Some(dir.path().join(name)),
        }
    }

    /// The storage of a layer, to be changed.
    pub fn storage(&self, layer: usize) -> Arc<dyn WritableStorage> {
        match &self.place {
            Place::Memory(storages) => Arc::clone(&storages[layer]) as Arc<dyn WritableStorage>,
            Place::Directories(dir) => {
                let (path, work) = (layer.to_string(), format!("work{layer}"));
                let (path, work) = (dir.path().join(path), dir.path().join(work));
                let work = WorkAt::Apart(&work);
                DirUpper::open_to_repair(&path, work, &Descriptors::new(16)).unwrap()
            }
        }
    }

    /// A layer of a bench in memory, to be read.
    pub fn reading(&self, layer: usize) -> Arc<dyn Storage> {
        match &self.place {
            Place::Memory(storages) => Arc::clone(&storages[layer]) as Arc<dyn Storage>,
            Place::Directories(_) => unreachable!("only asked in memory"),
        }
    }

    /// All that lies in a layer: paths, attributes and marks.
    pub fn stored(&self, layer: usize) -> Vec<String> {
        let storage = self.storage(layer);
        let mut out = Vec::new();
        for (dir, name) in objects(&storage) {
            let node = match &name {
                Some(name) => dir.lookup_writable(name).unwrap().unwrap().node,
                None => dir,
            };
            let mut text = format!("{name:?} {:?}", node.attr().unwrap());
            for name in node.xattr_names().unwrap() {
                let value = node.xattr(&name).unwrap();
                text += &format!(" {}={value:?}", name.escape_ascii());
            }
            out.push(text);
        }
        out
    }

    /// The stack with an upper layer that can be written.
    pub fn stack(&self) -> Stack {
        self.stack_over(self.storage(0))
    }

    /// The same with another storage for the upper layer.
    pub fn stack_over(&self, upper: Arc<dyn WritableStorage>) -> Stack {
        let stack = Stack::new().upper(upper);
        match &self.place {
            Place::Memory(storages) => storages.iter().skip(1).fold(stack, |stack, storage| {
                stack.lower(Arc::clone(storage) as _)
            }),
            Place::Directories(dir) => (1..self.layers).fold(stack, |stack, index| {
                let path = dir.path().join(index.to_string());
                stack.lower(DirStorage::open(&path, &Descriptors::new(16)).unwrap())
            }),
        }
    }

    fn parent(&self, layer: usize, names: &[&Name]) -> Arc<dyn WritableNode> {
        let mut at = self.storage(layer).root();
        for name in names {
            at = match at.lookup_writable(name).unwrap() {
                Some(found) => found.node,
                None => at.create(name, &new(NewKind::Directory, &[])).unwrap().node,
            };
        }
        at
    }

    fn put(
        &self,
        layer: usize,
        path: &str,
        kind: NewKind<'_>,
        marks: Marks<'_>,
    ) -> Arc<dyn WritableNode> {
        let (parents, name) = split(path);
        let parent = self.parent(layer, &parents);
        let names: Vec<_> = marks.iter().map(|(name, _)| mark(name)).collect();
        let xattrs: Vec<_> = names
            .iter()
            .zip(marks)
            .map(|(name, (_, value))| (&name[..], *value))
            .collect();
        parent.create(name, &new(kind, &xattrs)).unwrap().node
    }

    /// A directory.
    pub fn dir(&self, layer: usize, path: &str, marks: Marks<'_>) {
        self.put(layer, path, NewKind::Directory, marks);
    }

    /// A directory in a directory, so many of them, in memory.
    pub fn deep(&self, layer: usize, depth: usize) {
        let storage = self.storage(layer);
        let mut at = storage.root();
        for _ in 0..depth {
            let name = Name::new(b"d").unwrap();
            at = at.create(name, &new(NewKind::Directory, &[])).unwrap().node;
        }
    }

    /// A file of so many bytes.
    pub fn file(&self, layer: usize, path: &str, size: u64, marks: Marks<'_>) {
        let file = self.put(layer, path, NewKind::Regular, marks);
        file.open(Access::Write).unwrap().set_len(size).unwrap();
    }

    /// A whiteout.
    pub fn whiteout(&self, layer: usize, path: &str) {
        self.put(layer, path, NewKind::CharDevice(0), &[]);
    }

    /// Another name of a file.
    pub fn link(&self, layer: usize, from: &str, to: &str) {
        let (parents, name) = split(to);
        // One storage: names of another would be of another.
        let storage = self.storage(layer);
        let node = walk(storage.root(), from);
        let mut at = storage.root();
        for name in parents {
            at = at.lookup_writable(name).unwrap().unwrap().node;
        }
        at.link(name, &*node, RenameMode::NoReplace).unwrap();
    }

    /// Removes an entry.
    pub fn remove(&self, layer: usize, path: &str) {
        let (parents, name) = split(path);
        let parent = self.parent(layer, &parents);
        let kind = parent.attr_of(name).unwrap().unwrap().kind;
        let what = match kind.is_dir() {
            true => overlay_core::layer::Removal::Directory,
            false => overlay_core::layer::Removal::NonDirectory,
        };
        parent.remove(name, what, None).unwrap();
    }

    /// Sets a mark; of the root for an empty path.
    pub fn mark(&self, layer: usize, path: &str, name: &str, value: &[u8]) {
        let node = walk(self.storage(layer).root(), path);
        node.set_xattr(&mark(name), value, SetXattr::Any).unwrap();
    }

    /// The handle of an object.
    pub fn handle(&self, layer: usize, path: &str) -> FileHandle {
        let node = walk(self.storage(layer).root(), path);
        node.handle().unwrap().expect("a filesystem with handles")
    }

    /// Calls `with` with the index and the root of the upper layer.
    pub fn index(&self, with: impl FnOnce(&dyn WritableNode, Arc<dyn WritableNode>)) {
        let storage = self.storage(0);
        with(&*storage.index().unwrap(), storage.root());
    }

    /// Checks, and repairs if `repair` says so.
    pub fn check(&self, repair: Repair, settings: Settings) -> (Vec<Finding>, Summary) {
        check(&self.stack(), repair, settings)
    }

    /// What the union shows.
    pub fn shown(&self) -> Shown {
        shown(self.stack())
    }
}

/// Checks a stack.
pub fn check(stack: &Stack, repair: Repair, settings: Settings) -> (Vec<Finding>, Summary) {
    let check = Check::new(stack, settings).unwrap();
    let mut findings = Vec::new();
    let summary = check.run(repair, &mut |event| {
        if let Event::Found(finding) = event {
            findings.push(finding.clone());
        }
        std::ops::ControlFlow::Continue(())
    });
    (findings, summary.unwrap())
}

/// A node by its path.
pub fn walk(root: Arc<dyn WritableNode>, path: &str) -> Arc<dyn WritableNode> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold(root, |at, name| {
        let name = Name::new(name.as_bytes()).unwrap();
        at.lookup_writable(name)
            .unwrap()
            .expect("a path of the test")
            .node
    })
}

/// The stored name of a mark.
pub fn mark(name: &str) -> Vec<u8> {
    let prefix = Dialect::default().opaque_mark().0;
    let prefix = prefix.strip_suffix(b"opaque").unwrap();
    [prefix, name.as_bytes()].concat()
}

/// A new object of root's.
pub fn new<'a>(kind: NewKind<'a>, xattrs: &'a [(&'a [u8], &'a [u8])]) -> New<'a> {
    New {
        kind,
        mode: 0o755,
        owner: Owner { uid: 0, gid: 0 },
        xattrs,
    }
}

/// What is seen at each path: all but what only the layers know, or why not.
pub type Shown = BTreeMap<Vec<u8>, Result<String, String>>;

/// What a union shows that follows all marks.
pub fn shown(stack: Stack) -> Shown {
    let options = Options {
        recover: overlay_core::union::Recover::WhenAsked,
        ..Options::default()
    };
    let fs = UnionFs::from_union(Union::with_options(stack, options).unwrap());
    let union = fs.union();
    let mut out = Shown::new();
    let mut waiting = vec![(Vec::new(), union.root())];
    while let Some((path, inode)) = waiting.pop() {
        let (sight, children) = sight(union, &inode);
        out.insert(path.clone(), sight);
        for (name, child) in children {
            let path = [&path[..], b"/", name.as_bytes()].concat();
            match child {
                Ok(inode) => waiting.push((path, inode)),
                Err(error) => {
                    out.insert(path, Err(error));
                }
            }
        }
    }
    out
}

type Children = Vec<(NameBuf, Result<Arc<Inode>, String>)>;

fn sight(union: &Arc<Union>, inode: &Arc<Inode>) -> (Result<String, String>, Children) {
    let mut children = Children::new();
    let mut look = || -> overlay_core::Result<String> {
        let attr = union.attr(inode)?;
        let mut text = format!(
            "{:?} {:o} {} {} {} {:?} {}",
            attr.kind, attr.mode, attr.uid, attr.gid, attr.rdev, attr.mtime, attr.nlink
        );
        let mut names = union.xattr_names(inode)?;
        names.sort();
        for name in names {
            let value = union.xattr(inode, &name)?;
            text += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
        }
        match attr.kind {
            FileKind::Regular => {
                let handle = union.open(inode, overlay_core::union::OpenOptions::default())?;
                let mut buf = vec![0; attr.size as usize];
                let read = union.read(&handle, &mut buf, 0)?;
                text += &format!(" {} {}", attr.size, buf[..read].escape_ascii());
            }
            FileKind::Symlink => text += &format!(" {:?}", union.read_link(inode)?),
            FileKind::Directory => {
                let dir = union.open_dir(inode)?;
                let mut names = Vec::new();
                union.read_dir(&dir, 0, &mut |entry| {
                    names.push(entry.name.to_owned());
                    Flow::Continue
                })?;
                for name in names {
                    let child = match union.lookup(inode, &name) {
                        Ok(Some(entry)) => Ok(entry.inode),
                        Ok(None) => Err("listed, but not there".to_owned()),
                        Err(error) => Err(error.to_string()),
                    };
                    children.push((name, child));
                }
            }
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {}
        }
        Ok(text)
    };
    let sight = look().map_err(|error| error.to_string());
    (sight, children)
}

/// What was seen before and is not seen in the same way after. What could
/// not be seen before may be seen now.
pub fn worse(before: &Shown, after: &Shown) -> Vec<String> {
    let mut out = Vec::new();
    for (path, was) in before {
        let is = after.get(path);
        if was.is_ok() && is != Some(was) {
            out.push(format!("{}: was {was:?}, is {is:?}", path.escape_ascii()));
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        let above = |known: &&Vec<u8>| path.starts_with(known) && before[*known].is_err();
        if !before.keys().any(|known| above(&known)) {
            out.push(format!("{}: is new", path.escape_ascii()));
        }
    }
    out
}

/// Every object of a layer that has a name, the root first.
pub fn objects(
    storage: &Arc<dyn WritableStorage>,
) -> Vec<(Arc<dyn WritableNode>, Option<NameBuf>)> {
    let mut out = vec![(storage.root(), None)];
    let mut dirs = vec![storage.root()];
    while let Some(dir) = dirs.pop() {
        let mut names = Vec::new();
        dir.entries(&mut |entry| {
            names.push(entry.name.to_owned());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        names.sort();
        for name in names {
            let found = dir.lookup_writable(&name).unwrap().unwrap();
            if found.attr.kind.is_dir() {
                dirs.push(Arc::clone(&found.node));
            }
            out.push((Arc::clone(&dir), Some(name)));
        }
    }
    out
}

/// The handle's node, for tests that compare.
pub fn handle_of(node: &dyn Node) -> FileHandle {
    node.handle().unwrap().expect("a filesystem with handles")
}
