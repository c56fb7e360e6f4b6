//! Putting a stack together, and making its writable branches ready.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::Union;
use super::copies::Copies;
use super::inode::{Body, Directory, Inode};
use super::moves::Moves;
use super::numbers::Numbers;
use super::opened::Opens;
use super::options::{Durability, Index, Options, Plinks, Recover};
use super::origin::{Filesystems, Impure};
use super::part::{Latest, Object, Part, Parts};
use super::protection::Protected;
use super::sync::Lost;
use super::table::{ObjectId, ROOT, Table};
use super::target::Target;
use crate::dialect::Opacity;
use crate::error::{Error, Result};
use crate::policy::Chooser;
use crate::stack::{BranchId, Stack, Store};

/// The root of a stack, before an inode is made of it.
struct Roots {
    parts: Vec<Part>,
    data: Vec<Arc<dyn crate::layer::Node>>,
    file_whiteout_branches: Vec<BranchId>,
}

impl Union {
    /// Puts `stack` together, and clears what a crash left in the work area.
    ///
    /// Where a branch other than the top one can be written, policies choose
    /// among them ([`Options::create`], [`Options::copy_up`]), and redirects,
    /// metacopies and an index are out of the question.
    ///
    /// Errors: `EINVAL` for a stack without branches, `EOPNOTSUPP` for what is
    /// asked of a writable branch that has no marks for it.
    ///
    /// ```
    /// use overlay_core::{Caller, MemStorage, Name, Owner, Stack, Union};
    /// use overlay_core::layer::NewKind;
    ///
    /// let union = Union::new(Stack::new().upper(MemStorage::new()).lower(MemStorage::new()))?;
    /// let me = Caller { owner: Owner { uid: 0, gid: 0 }, umask: 0o022 };
    /// let name = Name::new(b"hello")?;
    /// union.create(&union.root(), name, NewKind::Directory, 0o777, &me)?;
    /// let entry = union.lookup(&union.root(), name)?.expect("made above");
    /// assert_eq!(entry.attr.mode, 0o755);
    /// # Ok::<(), overlay_core::Error>(())
    /// ```
    pub fn new(stack: Stack) -> Result<Arc<Union>> {
        let options = Options::of(&stack);
        Union::with_options(stack, options)
    }

    /// As [`Union::new`], behaving as `options` say.
    ///
    /// Errors: also [`Error::Index`] for a stack that cannot have one.
    pub fn with_options(stack: Stack, options: Options) -> Result<Arc<Union>> {
        let table = Table::new(Numbers::of(&stack, options.xino)?, &options);
        let union = Union::assemble(stack, options, table, None)?;
        match options.recover {
            Recover::AtOnce => union.recover()?,
            // What can be refused is, while nothing has changed.
            Recover::WhenAsked => union.verify()?,
        }
        Ok(union)
    }

    /// Puts a stack together, with what is known of its branches from the
    /// union `before`.
    pub(super) fn assemble(
        stack: Stack,
        asked: Options,
        table: Table,
        before: Option<&Union>,
    ) -> Result<Arc<Union>> {
        let targets = Target::of(&stack, before.map_or(&[], |before| &before.targets));
        let chooser = match is_overlay(&stack) {
            true => None,
            false => Some(Chooser::new(asked.create, asked.copy_up, asked.seed)),
        };
        let options = match chooser {
            None => asked,
            Some(_) => asked.without_redirects()?,
        };
        for target in &targets {
            options.check_written()?;
            options.check(target.whiteouts)?;
        }
        let table = Arc::new(table);
        let roots = Roots::of(&stack, &targets)?;
        let body = Body::Directory(Box::new(Directory {
            parts: Latest::new(Parts::new(roots.parts)),
            redirect: Mutex::new(None),
            impure: Impure::default(),
            state: RwLock::default(),
        }));
        let root = Inode::new(ROOT, ROOT, body, Protected::default(), None, &table);
        let attr = root.node().attr()?;
        // The kernel reads no mark there (`ovl_get_root` in `super.c`).
        root.protected.settle(attr.protection);
        let root = table.enter(root);
        // Copies of the root's own object show the root's number.
        table.give(ObjectId::from(&attr), ROOT);
        let may_move = targets.len() > 1;
        Ok(Arc::new(Union {
            filesystems: Filesystems::of(&stack, &options)?,
            copies: OnceLock::new(),
            asked,
            options,
            stack,
            targets,
            lends: chooser.is_none() && before.is_none_or(|before| before.lends),
            chooser,
            file_whiteout_branches: roots.file_whiteout_branches,
            table,
            root,
            hidden_in_root: OnceLock::new(),
            data_roots: roots.data,
            topology: Mutex::new(()),
            opens: before.map_or_else(Arc::<Opens>::default, |before| Arc::clone(&before.opens)),
            moves: Moves::new(may_move),
            recovered: Mutex::new(false),
            lost: before.map_or_else(Arc::<Lost>::default, |before| Arc::clone(&before.lost)),
        }))
    }

    /// Whether [`Union::recover`] would refuse the stack; nothing changes.
    fn verify(&self) -> Result<()> {
        match (self.upper(), self.options.index) {
            (Some(upper), Index::On) => self.verify_index(upper),
            (Some(_), Index::Off) | (None, _) => Ok(()),
        }
    }

    /// Clears the work areas of what a crash left there, and marks them where
    /// the union is volatile; once, however often it is called.
    pub fn recover(&self) -> Result<()> {
        let mut recovered = self.recovered.lock();
        if *recovered {
            return Ok(());
        }
        for target in &self.targets {
            self.prepare(target)?;
        }
        if let (Some(upper), None) = (self.upper(), self.copies.get())
            && let Some(copies) = self.open_copies(upper)?
        {
            self.copies.get_or_init(|| copies);
        }
        *recovered = true;
        Ok(())
    }

    /// Makes a branch ready to be written.
    fn prepare(&self, target: &Target) -> Result<()> {
        target.storage.clear_work()?;
        target.prepare_base()?;
        match self.options.durability {
            Durability::Volatile => target.storage.mark_volatile(),
            Durability::Auto | Durability::Strict | Durability::Unmarked => Ok(()),
        }
    }

    /// Makes ready what was not in the union `before`, which was ready.
    pub(super) fn recover_after(&self, before: &Union) -> Result<()> {
        let was_there = |target: &Target| {
            let mut targets = before.targets.iter();
            targets.any(|other| other.branch == target.branch)
        };
        let mut recovered = self.recovered.lock();
        for target in self.targets.iter().filter(|target| !was_there(target)) {
            self.prepare(target)?;
        }
        let copies = match (self.upper(), before.copies.get()) {
            (None, _) => None,
            (Some(upper), Some(Copies::Index(index))) if was_there(upper) => {
                Some(Copies::Index(Arc::clone(index)))
            }
            (Some(upper), Some(Copies::Plinks(plinks)))
                if was_there(upper) && self.options.plinks == Plinks::Keep =>
            {
                self.note_plinks(plinks);
                Some(Copies::Plinks(Arc::clone(plinks)))
            }
            // Names that were objects of their own stay so: who holds one has
            // its number.
            (Some(_), None) if self.options.index == Index::Off => None,
            (Some(upper), _) => self.open_copies(upper)?,
        };
        if let Some(copies) = copies {
            self.copies.get_or_init(|| copies);
        }
        *recovered = true;
        Ok(())
    }
}

/// Whether nothing but the top branch of a stack can be written.
fn is_overlay(stack: &Stack) -> bool {
    let mut below = stack.branches().iter().skip(1);
    below.all(|branch| !branch.storage.is_writable())
}

impl Roots {
    fn of(stack: &Stack, targets: &[Arc<Target>]) -> Result<Roots> {
        let mut parts = Vec::new();
        let mut file_whiteout_branches = Vec::new();
        let mut data = Vec::new();
        let mut hidden = false;
        for branch in stack.branches() {
            let node = match &branch.storage {
                Store::Writable(storage) => Object::Writable(storage.root()),
                Store::ReadOnly(storage) if branch.data_only => {
                    data.push(storage.root());
                    continue;
                }
                Store::ReadOnly(storage) => Object::ReadOnly(storage.root()),
            };
            let opacity = stack.reading(branch.id).root_opacity(&*node)?;
            let marked = opacity == Opacity::HoldsFileWhiteouts;
            if marked {
                match targets.iter().find(|target| target.branch == branch.id) {
                    Some(target) => target.file_whiteouts.store(true, Ordering::Release),
                    None => file_whiteout_branches.push(branch.id),
                }
            }
            if !hidden {
                parts.push(Part {
                    branch: branch.id,
                    id: ObjectId::from(&node.attr()?),
                    node,
                    file_whiteouts: marked,
                });
            }
            hidden |= opacity == Opacity::Opaque;
        }
        if parts.is_empty() {
            return Err(Error::Invalid("a union needs a branch"));
        }
        Ok(Roots {
            parts,
            data,
            file_whiteout_branches,
        })
    }
}
