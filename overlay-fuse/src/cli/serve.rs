//! The server: sets up, mounts, and waits for the end.

use std::io;
use std::sync::Arc;
use std::thread;

use overlay_core::stack::directories::{Opened, OpenedBranch};
use overlay_core::union::{
    DefaultAcls, Index, Metacopy, NfsExport, Options, Others, Recover, RedirectDir,
};
use overlay_core::{Error, IndexFault, Stack, Union};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::Branches;
use super::log::Log;
use super::plan::Plan;
use super::plan::aufs::Udba;
use super::{Failure, branches};
use crate::control::Control;
use crate::mount::{Mount, MountError, MountHandle, Unmounted, Unmounter, check_fuse};
use crate::presentation::Xattrs;

/// A mount with its signals handled.
#[derive(Debug)]
pub(super) struct Serving {
    handle: MountHandle,
}

impl Serving {
    /// Waits for the end, however it comes.
    pub(super) fn until_unmounted(self) -> Result<(), MountError> {
        self.handle.wait()
    }
}

/// Serves in the foreground until it is unmounted.
pub(super) fn in_foreground(plan: Plan) -> Result<(), Failure> {
    Ok(mount(plan)?.until_unmounted()?)
}

/// Mounts as planned. On failure nothing on disk has changed.
pub(super) fn mount(plan: Plan) -> Result<Serving, Failure> {
    let no_signals =
        |error| Failure::Task(format!("signals cannot be handled ({error}): try again"));
    let log = Log::start(plan.log.as_deref(), plan.debug).map_err(Failure::Task)?;
    raise_descriptors();
    // New files get the mode that their maker asked for; the mask of whoever
    // started the server is not theirs.
    rustix::process::umask(Mode::empty());
    // Before anything else is done: one that comes now is handled below.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(no_signals)?;
    check_fuse()?;
    let layers = Layers::open(&plan)?;
    let stack = layers.stack();
    let options = match &plan.branches {
        None => of_layers(&plan, &stack)?,
        Some(branches) => branches::options(branches),
    };
    let options = Options {
        durability: plan.durability,
        recover: Recover::WhenAsked,
        others: match plan.udba {
            Udba::None => Others::KeepAway,
            Udba::Reval | Udba::Notify => Others::Write,
        },
        default_acls: match plan.presentation.shown_xattrs() {
            Xattrs::All => DefaultAcls::Inherited,
            Xattrs::NoAcls | Xattrs::None => DefaultAcls::Ignored,
        },
        ..options
    };
    let control = Arc::new(Branches::new(&plan, &stack));
    let union =
        Union::with_options(stack, options).map_err(|error| not_put_together(&error, &plan))?;
    let mut mount = Mount::builder(union)
        .control(Arc::clone(&control) as Arc<dyn Control>)
        .io(plan.io)
        .options(plan.options.clone())
        .presentation(plan.presentation.clone());
    if plan.udba == Udba::Notify {
        mount = mount.follow_others();
    }
    let handle = mount.mount(&plan.point)?;
    if let Some(device) = handle.unmounter().filesystem() {
        control.mounted_as(device);
    }
    layers.keep();
    handle_signals(signals, handle.unmounter()).map_err(no_signals)?;
    log.keep();
    Ok(Serving { handle })
}

/// What the words say of an overlay.
fn of_layers(plan: &Plan, stack: &Stack) -> Result<Options, Failure> {
    let options = Options {
        redirect_dir: redirect_dir(plan.redirect_dir, stack)?,
        metacopy: metacopy(plan.metacopy, stack)?,
        index: plan.index,
        nfs_export: plan.nfs_export,
        xino: plan.xino,
        ..Options::default()
    };
    refuse_marks(&options, stack)?;
    Ok(options)
}

/// What is put together, while that can still be taken back.
enum Layers {
    Overlay(Opened),
    Branches(Vec<OpenedBranch>),
}

impl Layers {
    fn open(plan: &Plan) -> Result<Layers, Failure> {
        match &plan.branches {
            None => Ok(Layers::Overlay(plan.directories.open_undoable()?)),
            Some(branches) => Ok(Layers::Branches(branches::open(branches, plan)?)),
        }
    }

    fn stack(&self) -> Stack {
        match self {
            Layers::Overlay(opened) => opened.stack().clone(),
            Layers::Branches(opened) => {
                let mut stack = Stack::new();
                for (at, branch) in opened.iter().enumerate() {
                    branch.insert(&mut stack, at);
                }
                stack
            }
        }
    }

    fn keep(self) {
        match self {
            Layers::Overlay(opened) => drop(opened.keep()),
            Layers::Branches(opened) => opened.into_iter().for_each(OpenedBranch::keep),
        }
    }
}

fn not_put_together(error: &Error, plan: &Plan) -> Failure {
    if let Error::Index(fault) = error {
        return no_index(*fault, plan);
    }
    Failure::Task(format!(
        "the layers cannot be put together ({error}): check them"
    ))
}

/// What to do where there can be no index.
fn no_index(fault: IndexFault, plan: &Plan) -> Failure {
    let option = match plan.nfs_export {
        NfsExport::On => "nfs_export=on",
        NfsExport::Off => "index=on",
    };
    let upper = plan.directories.upper.clone().unwrap_or_default();
    let work = plan.directories.workdir().unwrap_or_default();
    match fault {
        IndexFault::NotPermitted => Failure::Usage(format!(
            "the option {option} needs root of the first user namespace, to find files by their \
             handles: leave it out"
        )),
        IndexFault::NoHandles => Failure::Task(format!(
            "the option {option} needs layers whose filesystems tell files apart by handles: \
             leave it out, or choose directories on other filesystems"
        )),
        IndexFault::OtherLower => Failure::Task(format!(
            "upper layer {upper:?} was used with index=on over another lower layer: name the \
             lower layers that it was used with, leave {option} out, or, if these are right, run \
             ufs check --repair --accept-lower"
        )),
        IndexFault::OtherUpper => Failure::Task(format!(
            "work directory {work:?} holds the index of another upper layer than {upper:?}: name \
             another work directory, or leave {option} out"
        )),
        IndexFault::NotDirectory => Failure::Task(format!(
            "{:?} is not a directory, and {option} keeps copies in one of that name: move it \
             away, or leave {option} out",
            work.join("index")
        )),
    }
}

/// As on the kernel: with `userxattr` redirects are neither made nor followed,
/// for anybody may have written them.
pub(super) fn redirect_dir(
    asked: Option<RedirectDir>,
    stack: &Stack,
) -> Result<RedirectDir, Failure> {
    match (Options::of(stack).redirect_dir, asked) {
        (RedirectDir::NoFollow, Some(RedirectDir::On | RedirectDir::Follow)) => {
            Err(Failure::Usage(
                "redirects are not followed with userxattr: leave redirect_dir out, or write \
                 nofollow"
                    .to_owned(),
            ))
        }
        (RedirectDir::NoFollow, _) => Ok(RedirectDir::NoFollow),
        (RedirectDir::On | RedirectDir::Follow, None) => Ok(match stack.takes_marks() {
            true => RedirectDir::On,
            false => RedirectDir::Follow,
        }),
        (RedirectDir::On | RedirectDir::Follow, Some(asked)) => Ok(asked),
    }
}

/// What would have to be noted in attributes, on an upper layer that has none
/// for it.
fn refuse_marks(options: &Options, stack: &Stack) -> Result<(), Failure> {
    if stack.takes_marks() {
        return Ok(());
    }
    let asked = if options.redirect_dir == RedirectDir::On {
        "redirect_dir=on"
    } else if options.metacopy == Metacopy::On {
        "metacopy=on"
    } else if options.nfs_export == NfsExport::On {
        "nfs_export=on"
    } else if options.index == Index::On {
        "index=on"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(format!(
        "{asked} needs marks that AuFS does not have: leave it out, or use an upper layer of \
         another layer_format"
    )))
}

/// The same for files whose data lies below.
fn metacopy(asked: Option<Metacopy>, stack: &Stack) -> Result<Metacopy, Failure> {
    match (Options::of(stack).metacopy, asked) {
        (Metacopy::NoFollow, Some(Metacopy::On | Metacopy::Follow)) => Err(Failure::Usage(
            "metacopy files are not followed with userxattr: leave metacopy out, or write nofollow"
                .to_owned(),
        )),
        (usual, asked) => Ok(asked.unwrap_or(usual)),
    }
}

/// The first signal unmounts; the second ends the process, and takes the
/// files that are still open away from their users.
fn handle_signals(mut signals: Signals, unmounter: Unmounter) -> io::Result<()> {
    let name = "signals".to_owned();
    let unmount = move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                tracing::warn!(signal, "ending at once");
                std::process::exit(1);
            }
            match unmounter.unmount() {
                Ok(Unmounted::Now | Unmounted::Already) => {
                    tracing::info!(signal, "unmounted");
                }
                Ok(Unmounted::Lazily) => tracing::warn!(
                    signal,
                    "the mount is in use: unmounted lazily, open files work until they are closed; \
                     signal again to end at once"
                ),
                Err(error) => tracing::error!(signal, %error, "signal again to end at once"),
            }
        }
    };
    thread::Builder::new().name(name).spawn(unmount).map(drop)
}

/// The more descriptors, the more directories stay open between requests. It
/// also works with few.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%errno, "the limit of open files stays as it is");
    }
}
