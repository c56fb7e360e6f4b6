//! What a branch of a pool is stored on.

use std::fmt::Debug;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;

use overlay_core::layer::dir::{Descriptors, DirStorage, DirUpper};
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{Storage, WritableStorage};
use overlay_core::spec::{Dir, Stored};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::materialize::{Form, Hints};
use crate::{load, materialize};

/// Stores one branch, which is read or written by turns.
pub trait Backing: Debug + Send + Sync + Sized + 'static {
    /// Stores `root`, and says that so many bytes are available where it can.
    fn new(root: &Dir<Stored>, free: u64) -> Self;
    /// The branch, to be written.
    fn writable(&self) -> Arc<dyn WritableStorage>;
    /// The branch, to be read.
    fn readable(&self) -> Arc<dyn Storage>;
    /// Lets go of what is open, before the branch is mounted anew.
    fn close(&self) {}
    /// What is stored.
    fn load(&self, index: usize) -> Dir<Stored>;
    /// What lies in the work area and should not.
    fn litter(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A branch in memory.
#[derive(Debug)]
pub struct Memory(Arc<MemStorage>);

impl Backing for Memory {
    fn new(root: &Dir<Stored>, free: u64) -> Memory {
        let storage = MemStorage::new();
        materialize::in_storage(&*WritableStorage::root(&*storage), root);
        storage.say_available(free);
        Memory(storage)
    }

    fn writable(&self) -> Arc<dyn WritableStorage> {
        Arc::clone(&self.0) as _
    }

    fn readable(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.0) as _
    }

    fn load(&self, index: usize) -> Dir<Stored> {
        load::from_storage(&*Storage::root(&*self.0), index)
    }
}

/// A branch in a directory. It says what its filesystem says of the space.
#[derive(Debug)]
pub struct Directory {
    home: TempDir,
    budget: Arc<Descriptors>,
    /// Once it is written, until it is mounted anew.
    writable: Mutex<Option<Arc<dyn WritableStorage>>>,
}

impl Directory {
    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Backing for Directory {
    fn new(root: &Dir<Stored>, _free: u64) -> Directory {
        let mut builder = tempfile::Builder::new();
        builder.prefix("ufs-test-");
        let home = match std::env::var_os("UFS_TEST_DIR") {
            Some(parent) => builder.tempdir_in(parent).unwrap(),
            None => builder.tempdir().unwrap(),
        };
        let form = Form {
            hints: Hints::None,
            ..Form::default()
        };
        materialize::on_disk(&home.path().join("branch"), root, &form);
        std::fs::create_dir(home.path().join("work")).unwrap();
        Directory {
            home,
            budget: Descriptors::new(16),
            writable: Mutex::new(None),
        }
    }

    fn writable(&self) -> Arc<dyn WritableStorage> {
        let open = || -> Arc<dyn WritableStorage> {
            DirUpper::open(&self.at("branch"), &self.at("work"), &self.budget).unwrap()
        };
        Arc::clone(self.writable.lock().get_or_insert_with(open))
    }

    fn readable(&self) -> Arc<dyn Storage> {
        DirStorage::open(&self.at("branch"), &self.budget).unwrap()
    }

    fn close(&self) {
        *self.writable.lock() = None;
    }

    fn load(&self, index: usize) -> Dir<Stored> {
        load::from_disk(&self.at("branch"), index)
    }

    /// One whiteout may be kept, to be linked where it is needed.
    fn litter(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.at("work/work")) else {
            // It was never written.
            return Vec::new();
        };
        let entries = entries.map(Result::unwrap);
        let left = entries.filter(|entry| !entry.file_type().unwrap().is_char_device());
        let names = left.map(|entry| entry.file_name().display().to_string());
        names.collect()
    }
}
