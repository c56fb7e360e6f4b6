//! What the server of a mount does for `ufs branch`: it tells its branches, and
//! changes them by the words of AuFS' `remount`.
//!
//! Owns what is known of the branches beside the union: their directories and
//! permissions. One lock, outside all those of the union.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use overlay_core::dialect::aufs::Aufs;
use overlay_core::dialect::{Dialect, Heed};
use overlay_core::stack::directories::{
    BranchAccess, BranchForm, LayerFormat, OpenedBranch, Opener,
};
use overlay_core::union::{LentForWriting, Live, Options};
use overlay_core::{Branch as CoreBranch, BranchId, Error, Stack, Store, Union};
use parking_lot::Mutex;

use super::plan::Plan;
use super::plan::aufs::{
    Access, Attribute, AufsMount, Branch, Change, MountAccess, Opaque, Setting, Word, read,
};
use super::{branches, mapped};
use crate::control::{Answer, Control, MOST};
use crate::mount::MountFlag;

/// What a request begins with that is followed by the index of a branch, and
/// answered by a list of it and those below it, as many as an answer holds.
pub(super) const LIST: &[u8] = b"list ";
/// What a request begins with that is followed by words of a remount.
pub(super) const CHANGE: &[u8] = b"change ";

/// How long a file that is open on a branch may keep it before that is an error:
/// the kernel tells of a close only after whoever closed has gone on (`RELEASE`
/// is asynchronous), and on a busy machine some time after.
const SETTLING: Duration = Duration::from_millis(500);

/// How often it is looked whether it was closed.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks after the branches of a mount.
#[derive(Debug)]
pub(super) struct Branches {
    opener: Opener,
    /// The device number of what is mounted, once it is.
    device: OnceLock<u64>,
    /// How a branch looks that is named later.
    form: Form,
    access: MountAccess,
    state: Mutex<State>,
}

/// Who writes the branches.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Branches of AuFS.
    Aufs(Opaque),
    /// Layers of an overlay.
    Overlay(BranchForm),
}

impl Form {
    /// Whose marks a branch gets that is written, as [`branches::given_form`]
    /// has it.
    fn written(self) -> BranchForm {
        BranchForm::As(match self {
            Form::Aufs(_) | Form::Overlay(BranchForm::Detected(_)) => {
                LayerFormat::Aufs(Aufs::default())
            }
            Form::Overlay(BranchForm::As(format)) => match format {
                LayerFormat::Auto | LayerFormat::Overlay => LayerFormat::Overlay,
                LayerFormat::Containers => LayerFormat::Containers,
                LayerFormat::Aufs(_) => LayerFormat::Aufs(Aufs::default()),
            },
        })
    }
}

#[derive(Debug, Clone)]
struct State {
    mount: AufsMount,
    /// Of each branch, in the same order.
    held: Vec<Held>,
}

#[derive(Debug, Clone)]
struct Held {
    id: BranchId,
    /// Where it can be written, if it ever could: it is opened once.
    written: Option<Store>,
}

impl Branches {
    /// For the mount of `plan`, whose stack is this.
    pub(super) fn new(plan: &Plan, stack: &Stack) -> Branches {
        let (mount, form) = match &plan.branches {
            Some(mount) => (mount.clone(), Form::Aufs(mount.opaque)),
            None => {
                let layers = &plan.directories;
                let branch = |path: &PathBuf, access: Access| Branch {
                    path: path.clone(),
                    permission: access.into(),
                };
                let upper = layers.upper.iter();
                let lowers = layers.lowers.iter();
                let mount = AufsMount {
                    branches: upper
                        .map(|path| branch(path, Access::ReadWrite))
                        .chain(lowers.map(|path| branch(path, Access::ReadOnly)))
                        .collect(),
                    ..AufsMount::default()
                };
                (mount, Form::Overlay(BranchForm::As(layers.format)))
            }
        };
        let mut mount = mount;
        for branch in &mut mount.branches {
            // Found before: it is a branch of a stack that is open.
            if let Ok(real) = Opener::find(&branch.path) {
                branch.path = real;
            }
        }
        let showing = stack.branches().iter().filter(|branch| !branch.data_only);
        let held = showing.map(|branch| Held {
            id: branch.id,
            written: written(&branch.storage),
        });
        let held: Vec<Held> = held.collect();
        // As `Mount` has it: the kernel writes to none that begins without.
        let access = match held.iter().any(|held| held.written.is_some())
            && !plan.options.has(MountFlag::ReadOnly)
        {
            true => MountAccess::ReadWrite,
            false => MountAccess::ReadOnly,
        };
        if access == MountAccess::ReadOnly {
            for branch in &mut mount.branches {
                let said = branch.permission.clone();
                branch.permission = match form {
                    Form::Aufs(_) => said.read_only(),
                    // Marks count in any case.
                    Form::Overlay(_) => Access::ReadOnly.into(),
                };
            }
        }
        Branches {
            opener: branches::opener(plan),
            device: OnceLock::new(),
            form,
            access,
            state: Mutex::new(State { mount, held }),
        }
    }

    /// Now it is mounted, as this device.
    pub(super) fn mounted_as(&self, device: u64) {
        self.device.get_or_init(|| device);
    }

    /// One line a branch: permission, free and all bytes, and the directory.
    fn list(&self, from: usize, live: &Live) -> Vec<u8> {
        let state = self.state.lock().clone();
        let stack = live.now().stack().clone();
        let mut out = Vec::new();
        let branches = state.mount.branches.iter().zip(&state.held);
        for (branch, held) in branches.skip(from) {
            let now = stack.branch(held.id);
            let stat = now.and_then(|branch| branch.storage.root().stat_fs().ok());
            let (free, all) = stat.map_or((0, 0), |stat| {
                let unit = u64::from(stat.frsize);
                (stat.bavail * unit, stat.blocks * unit)
            });
            let mut head = String::new();
            // Into a string: that does not fail.
            let permission = &branch.permission;
            if write!(head, "{permission} {free} {all} ").is_err() {
                continue;
            }
            let path = branch.path.as_os_str().as_bytes();
            if out.len() + head.len() + path.len() + 1 > MOST {
                break;
            }
            out.extend(head.into_bytes());
            out.extend(path);
            out.push(0);
        }
        out
    }

    /// Does what the words say, all of them or none.
    fn change(&self, words: &OsStr, live: &Live) -> Result<(), String> {
        let words = read(words).map_err(|error| error.to_string())?;
        let mut state = self.state.lock();
        let mut next = state.clone();
        let mut opened: Vec<OpenedBranch> = Vec::new();
        // Nothing is held of the union while directories are looked at.
        let before = live.now().stack().clone();
        let mut stack = before.clone();
        let mut settings = Vec::new();
        for word in words {
            self.prepare(word, &mut next, &mut stack, &mut opened, &mut settings)?;
        }
        refuse_other_dialects(&before, &stack)?;
        let until = Instant::now() + SETTLING;
        loop {
            let union = Arc::clone(&live.now());
            // Its files are those that may be written past the server.
            let unmapped = match before.only_upper() == stack.only_upper() {
                true => Ok(None),
                false => self.nothing_is_mapped(&union).map(Some),
            };
            let changed = live.change_with(|_, options| {
                // Whoever has opened a file since then may have mapped it.
                match unmapped? {
                    Some(lent) if lent != union.lent_for_writing() => {
                        return Err(Error::InUse("a file that was just opened".into()));
                    }
                    Some(_) | None => {}
                }
                let options = settings.iter().fold(options, set_in);
                Ok((stack.clone(), options))
            });
            match changed {
                Ok(()) => break,
                Err(Error::InUse(_)) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
                Err(error) => return Err(sentence(&error)),
            }
        }
        opened.into_iter().for_each(OpenedBranch::keep);
        *state = next;
        Ok(())
    }

    /// How files are lent for writing now, if none can be written but by who has
    /// it open. While nobody has, and nobody opens one, none can be mapped.
    ///
    /// Errors: [`Error::InUse`] for what is mapped.
    fn nothing_is_mapped(&self, union: &Union) -> overlay_core::Result<LentForWriting> {
        let lent = union.lent_for_writing();
        let (true, Some(device)) = (lent.ever > 0, self.device.get()) else {
            return Ok(lent);
        };
        let names = mapped::for_writing(*device).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Error::Errno(overlay_core::error::Errno::from_raw_os_error(errno))
        })?;
        match names.is_empty() {
            true => Ok(lent),
            false => {
                let names: Vec<String> = names.into_iter().collect();
                Err(Error::InUse(names.join(", ").into()))
            }
        }
    }

    /// One word, in what is to come.
    fn prepare(
        &self,
        word: Word,
        next: &mut State,
        stack: &mut Stack,
        opened: &mut Vec<OpenedBranch>,
        settings: &mut Vec<Setting>,
    ) -> Result<(), String> {
        let before = next.mount.branches.clone();
        let word = found(word)?;
        if let Word::Setting(setting) = &word {
            changeable(setting)?;
            settings.push(setting.clone());
        }
        let applied = next.mount.apply(word.clone(), self.access);
        applied.map_err(|error| error.to_string())?;
        match word {
            Word::Change(Change::Delete(path)) => {
                let at = position(&before, &path)?;
                let gone = next.held.remove(at);
                stack.remove(gone.id).map_err(|error| sentence(&error))
            }
            Word::Change(Change::Modify(path, _)) => {
                let at = position(&before, &path)?;
                if let (Some(old), Some(new)) = (before.get(at), next.mount.branches.get_mut(at)) {
                    self.modifiable(old, new)?;
                    let said = new.permission.clone();
                    new.permission = said.with_marks_of(&old.permission);
                }
                self.modify(at, next, stack, opened)
            }
            Word::Branches(_) | Word::Change(_) => self.add(&before, next, stack, opened),
            Word::Setting(_) | Word::Anyway(_) => Ok(()),
        }
    }

    /// Opens the branches that are new in `next`.
    fn add(
        &self,
        before: &[Branch],
        next: &mut State,
        stack: &mut Stack,
        opened: &mut Vec<OpenedBranch>,
    ) -> Result<(), String> {
        let branches = next.mount.branches.clone();
        self.refuse_what_only_aufs_has(&branches)?;
        for (at, branch) in branches.iter().enumerate() {
            if before.iter().any(|known| known.path == branch.path) {
                continue;
            }
            let new = self.open(branch, &branches)?;
            let id = new.insert(stack, at);
            let written = written(&new.store);
            next.held.insert(at, Held { id, written });
            opened.push(new);
        }
        Ok(())
    }

    /// Gives the branch at `at` the access that it has in `next`.
    fn modify(
        &self,
        at: usize,
        next: &mut State,
        stack: &mut Stack,
        opened: &mut Vec<OpenedBranch>,
    ) -> Result<(), String> {
        let branches = next.mount.branches.clone();
        self.refuse_what_only_aufs_has(&branches)?;
        let (Some(branch), Some(held)) = (branches.get(at), next.held.get_mut(at)) else {
            return Ok(());
        };
        let directory = self.directory(branch);
        if let (BranchAccess::Writable { .. }, Form::Aufs(opaque)) = (&directory.access, self.form)
        {
            let aufs = branches::dialect(&branch.permission, opaque);
            let written = stack.set_dialect(held.id, Dialect::Aufs(aufs));
            written.map_err(|error| sentence(&error))?;
        }
        let (store, heed) = match (&directory.access, &held.written) {
            (BranchAccess::Writable { .. }, Some(written)) => {
                let dialect = stack.branch(held.id).map(|branch| branch.dialect);
                let looked = Opener::look_again(&branch.path, written, dialect.unwrap_or_default());
                looked.map_err(|error| error.to_string())?;
                (written.clone(), Heed::Marks)
            }
            (BranchAccess::Writable { .. }, None) => {
                let new = self.open(branch, &branches)?;
                held.written = Some(new.store.clone());
                let parts = (new.store.clone(), new.heed);
                opened.push(new);
                parts
            }
            (BranchAccess::ReadOnly(heed), _) => {
                let now = stack.branch(held.id).map(|branch| branch.storage.frozen());
                let now = now.ok_or("the branch is gone: look at ufs branch list")?;
                (now, *heed)
            }
        };
        stack
            .set_access(held.id, store, heed)
            .map_err(|error| sentence(&error))
    }

    /// Whether a branch can become `new` while it is in use.
    fn modifiable(&self, old: &Branch, new: &Branch) -> Result<(), String> {
        let path = new.path.display();
        let marks = branches::given_form(&old.permission);
        let said = branches::given_form(&new.permission);
        if said.is_some() && said != marks {
            return Err(format!(
                "whose marks {path} has cannot be changed: remove it, and add it again"
            ));
        }
        if new.permission.access() != Access::ReadWrite {
            return Ok(());
        }
        let word = match marks {
            Some(marks) if marks == self.form.written() => return Ok(()),
            Some(BranchForm::As(LayerFormat::Overlay)) => "overlay",
            Some(_) => "aufs",
            None => return Ok(()),
        };
        Err(format!(
            "{path} has marks of {word}, as was said of it, and this mount writes others: leave it \
             read-only, or remove it, convert it with ufs convert, and add it again"
        ))
    }

    fn refuse_what_only_aufs_has(&self, branches: &[Branch]) -> Result<(), String> {
        let has = |branch: &Branch| branch.permission.has(Attribute::UnlinkedWhiteouts);
        match (self.form, branches.iter().find(|branch| has(branch))) {
            (Form::Overlay(_), Some(branch)) => Err(format!(
                "nolwh on {}: the whiteouts of an overlay are no files: leave it out",
                branch.path.display()
            )),
            (Form::Overlay(_) | Form::Aufs(_), _) => Ok(()),
        }
    }

    /// Opens a branch beside all the others.
    fn open(&self, branch: &Branch, all: &[Branch]) -> Result<OpenedBranch, String> {
        if (branch.permission.access(), self.access) == (Access::ReadWrite, MountAccess::ReadOnly) {
            return Err(format!(
                "{} cannot be rw, for the mount is read-only: unmount, and mount with a branch \
                 that is written",
                branch.path.display()
            ));
        }
        let others = all.iter().filter(|other| other.path != branch.path);
        let others: Vec<PathBuf> = others.map(|other| other.path.clone()).collect();
        let opened = self.opener.open(&self.directory(branch), &others);
        opened.map_err(|error| error.to_string())
    }

    fn directory(&self, branch: &Branch) -> overlay_core::stack::directories::BranchDirectory {
        match self.form {
            Form::Aufs(opaque) => branches::directory(branch, opaque),
            Form::Overlay(form) => branches::layer(branch, form),
        }
    }
}

impl Control for Branches {
    fn answer(&self, request: &[u8], live: &Live) -> Answer {
        let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
        if let Some(from) = request.strip_prefix(LIST).and_then(number) {
            return Answer::Done(self.list(from, live));
        }
        match request.strip_prefix(CHANGE) {
            Some(words) => match self.change(OsStr::from_bytes(words), live) {
                Ok(()) => Answer::Done(Vec::new()),
                Err(why) => Answer::Refused(why),
            },
            None => Answer::Refused(
                "the server does not know what is asked: mount anew with this version".to_owned(),
            ),
        }
    }
}

/// The storage, if it is one to write.
fn written(store: &Store) -> Option<Store> {
    store.is_writable().then(|| store.clone())
}

/// The word with its directories where they really are.
fn found(word: Word) -> Result<Word, String> {
    let real = |path: PathBuf| Opener::find(&path).map_err(|error| error.to_string());
    let branch = |mut branch: super::plan::aufs::BranchWord| {
        branch.path = real(branch.path)?;
        Ok::<_, String>(branch)
    };
    // What goes may be gone from the host.
    let known = |path: PathBuf| Opener::find(&path).unwrap_or(path);
    Ok(match word {
        Word::Branches(branches) => {
            Word::Branches(branches.into_iter().map(branch).collect::<Result<_, _>>()?)
        }
        Word::Change(change) => Word::Change(match change {
            Change::Add(at, new) => Change::Add(at, branch(new)?),
            Change::Append(new) => Change::Append(branch(new)?),
            Change::Prepend(new) => Change::Prepend(branch(new)?),
            Change::Delete(path) => Change::Delete(known(path)),
            Change::Modify(path, permission) => Change::Modify(known(path), permission),
        }),
        Word::Setting(_) | Word::Anyway(_) => word,
    })
}

fn position(branches: &[Branch], path: &std::path::Path) -> Result<usize, String> {
    let at = branches.iter().position(|branch| branch.path == path);
    at.ok_or_else(|| format!("{} is no branch: see ufs branch list", path.display()))
}

/// How a branch is written is settled when it is first written.
fn refuse_other_dialects(before: &Stack, after: &Stack) -> Result<(), String> {
    let is_written = |branch: &CoreBranch| branch.storage.is_writable();
    let written = after.branches().iter().filter(|branch| is_written(branch));
    for branch in written {
        if let Some(old) = before.branch(branch.id)
            && is_written(old)
            && old.dialect != branch.dialect
        {
            return Err(
                "nolwh cannot be said, or left out, of a branch that is written: make it ro, and \
                 then rw in another change"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// Settings that a mounted stack can take on.
fn changeable(setting: &Setting) -> Result<(), String> {
    let name = match setting {
        Setting::Create(_)
        | Setting::CopyUp(_)
        | Setting::Sum(_)
        // Without an effect, then and now.
        | Setting::Xino(_)
        | Setting::DirWh(_)
        | Setting::RdCache(_)
        | Setting::WarnPerm(_)
        | Setting::Verbose(_) => return Ok(()),
        Setting::PseudoLinks(_) => "plink",
        Setting::Udba(_) => "udba",
        Setting::Opaque(_) => "diropq",
        Setting::ShowWhiteouts(_) => "shwh",
        Setting::Acl(_) => "acl",
    };
    Err(format!(
        "{name} cannot be changed while mounted: unmount, and mount with it"
    ))
}

fn set_in(mut options: Options, setting: &Setting) -> Options {
    match setting {
        Setting::Create(policy) => options.create = *policy,
        Setting::CopyUp(policy) => options.copy_up = *policy,
        Setting::Sum(sum) => options.size = branches::size(*sum),
        Setting::Xino(_)
        | Setting::DirWh(_)
        | Setting::RdCache(_)
        | Setting::WarnPerm(_)
        | Setting::Verbose(_)
        | Setting::PseudoLinks(_)
        | Setting::Udba(_)
        | Setting::Opaque(_)
        | Setting::ShowWhiteouts(_)
        | Setting::Acl(_) => {}
    }
    options
}

/// Why the union does not take a change.
fn sentence(error: &Error) -> String {
    if let Error::InUse(names) = error {
        return format!("files are open on it ({names}): close them first");
    }
    format!("the branches cannot be put together so ({error})")
}
