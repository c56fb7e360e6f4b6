//! The server: sets up, mounts, and waits for the end.

use std::io;
use std::thread;

use overlay_core::union::{DefaultAcls, Index, Metacopy, NfsExport, Options, Recover, RedirectDir};
use overlay_core::{Error, IndexFault, Stack, Union};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Failure;
use super::log::Log;
use super::plan::Plan;
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
    let opened = plan.directories.open_undoable()?;
    let options = Options {
        redirect_dir: redirect_dir(plan.redirect_dir, opened.stack())?,
        metacopy: metacopy(plan.metacopy, opened.stack())?,
        index: plan.index,
        nfs_export: plan.nfs_export,
        xino: plan.xino,
        durability: plan.durability,
        recover: Recover::WhenAsked,
        default_acls: match plan.presentation.shown_xattrs() {
            Xattrs::All => DefaultAcls::Inherited,
            Xattrs::NoAcls | Xattrs::None => DefaultAcls::Ignored,
        },
        ..Options::default()
    };
    refuse_marks(&options, opened.stack())?;
    let union = Union::with_options(opened.stack().clone(), options)
        .map_err(|error| not_put_together(&error, &plan))?;
    let handle = Mount::builder(union)
        .options(plan.options)
        .presentation(plan.presentation)
        .mount(&plan.point)?;
    drop(opened.keep());
    handle_signals(signals, handle.unmounter()).map_err(no_signals)?;
    log.keep();
    Ok(Serving { handle })
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
