//! Layers that change hands: at each remount and rotation the kernel's
//! overlayfs, our engine or our mount takes over what another has left.

use std::path::PathBuf;

use overlay_core::Stack;
use overlay_core::spec::{Config, Dir, Index, Op, Outcome, Rules, Seen, Stored, Switch};
use overlay_fuse::{Mount, MountHandle, Unmounted};

use super::core::storages::{Storages, stack_as};
use super::core::{Core, union_of};
use super::posix::Posix;
use super::{Numbers, Subject, kernel};
use crate::scratch::Scratch;
use crate::snapshot::EntryNumbers;
use crate::sys;

/// Who shows the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The kernel's overlayfs.
    Kernel,
    /// Our engine, without a mount.
    Core,
    /// Our mount.
    Mounted,
}

/// What one side has in use.
#[derive(Debug)]
enum Hands {
    Nobody,
    Kernel { mounted: Posix, linked: bool },
    Core(Core),
    Mounted(Posix, MountHandle),
}

/// Layers on disk, and whoever shows them now.
#[derive(Debug)]
pub struct Travelling {
    hands: Hands,
    /// Who comes next; the first comes again after the last.
    route: Vec<Side>,
    turn: usize,
    /// Known failure F1: whether we moved a directory from one to another, and
    /// the latter may lack the mark by which the kernel lists the right `d_ino`.
    moved: bool,
    writable: bool,
    config: Config,
    scratch: Scratch,
}

impl Travelling {
    /// Stores `layers`, given top first; the first of `route` shows them.
    pub fn new(
        layers: &[Dir<Stored>],
        writable: bool,
        config: Config,
        route: &[Side],
    ) -> Travelling {
        sys::own_namespace().unwrap();
        let mut travelling = Travelling {
            hands: Hands::Nobody,
            route: route.to_vec(),
            turn: 0,
            moved: false,
            writable,
            config,
            scratch: Scratch::with(layers, config),
        };
        travelling.take_over();
        travelling
    }

    fn side(&self) -> Side {
        self.route[self.turn % self.route.len()]
    }

    fn take_over(&mut self) {
        self.hands = match self.side() {
            Side::Kernel => Hands::Kernel {
                mounted: kernel::mount_on(&self.scratch, self.writable, self.config).unwrap(),
                linked: false,
            },
            Side::Core => {
                let storages = Box::new(self.borrowed());
                Hands::Core(Core::new(storages, self.writable, self.config))
            }
            Side::Mounted => {
                let point = self.scratch.mount_point();
                let union = union_of(self.borrowed().stack(), self.config);
                let handle = Mount::builder(union).mount(&point).unwrap();
                sys::own_umask().unwrap();
                Hands::Mounted(Posix::new(&point), handle)
            }
        };
    }

    /// Without force: what is still open would be a fault.
    fn let_go(&mut self) {
        match std::mem::replace(&mut self.hands, Hands::Nobody) {
            Hands::Nobody => {}
            Hands::Core(core) => drop(core),
            Hands::Kernel { mounted, .. } => {
                drop(mounted);
                kernel::unmount_from(&self.scratch).unwrap();
            }
            Hands::Mounted(posix, handle) => {
                drop(posix);
                assert_eq!(handle.unmount().unwrap(), Unmounted::Now);
            }
        }
    }

    fn borrowed(&self) -> Borrowed {
        Borrowed {
            home: self.scratch.path().to_owned(),
            layers: self.scratch.layers(),
            writable: self.writable,
            config: self.config,
        }
    }
}

impl Subject for Travelling {
    fn apply(&mut self, op: &Op) -> Outcome {
        if let Op::Remount | Op::Rotate = op {
            self.let_go();
            if *op == Op::Rotate && self.writable {
                self.scratch.rotate();
            }
            self.turn += 1;
            self.take_over();
            return Outcome::Done;
        }
        if let (Op::Rename { from, to, .. }, Side::Core | Side::Mounted) = (op, self.side()) {
            self.moved |= from.parent != to.parent;
        }
        match &mut self.hands {
            Hands::Nobody => unreachable!("somebody has the layers, but between two mounts"),
            Hands::Kernel { mounted, linked } => {
                if let Op::Link { .. } = op {
                    *linked = true;
                }
                mounted.apply(op)
            }
            Hands::Core(core) => core.apply(op),
            Hands::Mounted(posix, _) => posix.apply(op),
        }
    }

    fn look(&mut self) -> Result<Seen, String> {
        let shown = match &mut self.hands {
            Hands::Nobody => unreachable!("somebody has the layers, but between two mounts"),
            // Difference D1.
            Hands::Kernel { mounted, linked } => mounted.look(match (self.moved, linked) {
                (true, _) => EntryNumbers::Any,
                (false, true) => EntryNumbers::DirectoriesOnly,
                (false, false) => EntryNumbers::Exact,
            }),
            Hands::Core(core) => core.look(),
            Hands::Mounted(posix, _) => posix.look(EntryNumbers::Exact),
        };
        shown.map_err(|message| format!("{:?}: {message}", self.side()))
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        self.scratch.load()
    }

    fn index(&self) -> Index {
        match self.config.index {
            Switch::On => self.scratch.index(),
            Switch::Off => Index::new(),
        }
    }

    fn litter(&self) -> Vec<String> {
        match self.writable {
            true => self.scratch.litter(),
            false => Vec::new(),
        }
    }

    fn copies_all_names(&self) -> bool {
        self.route.iter().any(|side| *side != Side::Kernel)
    }

    /// Who takes over shows the numbers that were shown before.
    fn numbers(&self, _: &Op) -> Numbers {
        Numbers::StayBelowTheRoot
    }

    fn rules(&self) -> Option<Rules> {
        Some(match self.side() {
            Side::Kernel => Rules::Kernel,
            Side::Core | Side::Mounted => Rules::Union,
        })
    }
}

impl Drop for Travelling {
    fn drop(&mut self) {
        if let Hands::Kernel { .. } = std::mem::replace(&mut self.hands, Hands::Nobody) {
            kernel::detach_from(&self.scratch);
        }
    }
}

/// The layers of somebody else, who looks after them.
#[derive(Debug)]
struct Borrowed {
    home: PathBuf,
    layers: usize,
    writable: bool,
    config: Config,
}

impl Storages for Borrowed {
    fn stack(&self) -> Stack {
        let lowers = usize::from(self.writable)..self.layers;
        stack_as(&self.home, self.writable, lowers, self.config)
    }

    fn rotate(&mut self) {
        unreachable!("the owner rotates")
    }

    fn stored(&self) -> Vec<Dir<Stored>> {
        unreachable!("the owner is asked")
    }

    fn litter(&self) -> Vec<String> {
        unreachable!("the owner is asked")
    }
}
