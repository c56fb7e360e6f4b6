//! Our own FUSE mount: all but mounting is [`super::posix::Posix`], as for
//! [`super::kernel::Kernel`].

use overlay_core::spec::{Config, Dir, Index, Op, Outcome, Seen, Stored};
use overlay_fuse::{Mount, MountHandle, Unmounted};

use super::core::storages::{OnDirectories, Storages};
use super::core::union_of;
use super::posix::Posix;
use super::{Numbers, Subject};
use crate::runner;
use crate::snapshot::EntryNumbers;
use crate::sys;

/// A union of directories, mounted through FUSE by this process.
#[derive(Debug)]
pub struct Mounted {
    /// `None` only while it is not mounted; what is used goes before the mount.
    mounted: Option<(Posix, MountHandle)>,
    storages: OnDirectories,
    config: Config,
}

impl Mounted {
    /// Whether FUSE can be had here; a sentence if not.
    pub fn available() -> Result<(), String> {
        runner::root()?;
        sys::own_namespace().map_err(|errno| format!("no namespace for mounts: {errno}"))?;
        overlay_fuse::check_fuse().map_err(|error| error.to_string())
    }

    /// Mounts `layers`, top first; the top one is written if `writable`.
    pub fn new(layers: &[Dir<Stored>], writable: bool, config: Config) -> Mounted {
        sys::own_namespace().unwrap();
        let mut mounted = Mounted {
            mounted: None,
            storages: OnDirectories::with(layers, writable, config),
            config,
        };
        mounted.mount();
        mounted
    }

    fn mount(&mut self) {
        let union = union_of(self.storages.stack(), self.config);
        let point = self.storages.scratch().mount_point();
        let handle = Mount::builder(union).mount(&point).unwrap();
        // The threads that serve the mount share this one's umask; operations
        // change it, and must not change theirs.
        sys::own_umask().unwrap();
        self.mounted = Some((Posix::new(&point), handle));
    }

    fn posix(&mut self) -> &mut Posix {
        &mut self.mounted.as_mut().unwrap().0
    }
}

impl Subject for Mounted {
    fn apply(&mut self, op: &Op) -> Outcome {
        if !matches!(op, Op::Remount | Op::Rotate) {
            return self.posix().apply(op);
        }
        let (posix, handle) = self.mounted.take().unwrap();
        drop(posix);
        // What is still open would be a fault of ours.
        assert_eq!(handle.unmount().unwrap(), Unmounted::Now);
        if *op == Op::Rotate {
            self.storages.rotate();
        }
        self.mount();
        Outcome::Done
    }

    fn look(&mut self) -> Result<Seen, String> {
        self.posix().look(EntryNumbers::Exact)
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.storages.stored()
    }

    fn litter(&self) -> Vec<String> {
        self.storages.litter()
    }

    fn index(&self) -> Index {
        self.storages.index()
    }

    fn copies_all_names(&self) -> bool {
        true
    }

    fn numbers(&self, _: &Op) -> Numbers {
        Numbers::Stay
    }
}
