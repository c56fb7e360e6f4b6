//! A mounted union: how it comes up, and how it goes.
//!
//! Owns the session's life; the requests are the adapter's.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fuser::{Config, Session, SessionACL};
use overlay_core::Union;
use overlay_core::union::Live;

use crate::adapter::{Adapter, More};
use crate::control::Control;
use crate::epoch::Epoch;
use crate::follow::Follower;
use crate::io::Io;
use crate::presentation::Presentation;

mod device;
mod error;
mod fusermount;
mod options;
mod unmount;

pub use error::MountError;
pub use options::{MountFlag, MountOptions, Propagation, Users};
pub use unmount::{Unmounted, Unmounter};

/// Fewer would let one slow request hold up all others.
const LEAST_THREADS: usize = 2;

/// A union that is about to be mounted.
///
/// ```no_run
/// use overlay_core::{Directories, Union};
/// use overlay_fuse::{Mount, MountOptions};
///
/// let directories = Directories {
///     lowers: vec!["/srv/base".into()],
///     upper: Some("/srv/changes".into()),
///     ..Directories::default()
/// };
/// let union = Union::new(directories.open()?)?;
/// let mounted = Mount::builder(union)
///     .options(MountOptions::new().source("my-union"))
///     .mount("/mnt/merged")?;
/// // The files are there now. They go when `mounted` is dropped, or:
/// mounted.unmount()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Mount {
    union: Arc<Union>,
    options: MountOptions,
    presentation: Presentation,
    threads: Option<NonZeroUsize>,
    follows: bool,
    control: Option<Arc<dyn Control>>,
    io: Io,
}

impl Mount {
    /// Begins with the defaults of [`MountOptions`].
    pub fn builder(union: Arc<Union>) -> Mount {
        Mount {
            union,
            options: MountOptions::new(),
            presentation: Presentation::new(),
            threads: None,
            follows: false,
            control: None,
            io: Io::default(),
        }
    }

    /// How to mount. A union that is read-only is mounted so in any case.
    pub fn options(mut self, options: MountOptions) -> Mount {
        self.options = options;
        self
    }

    /// How the union is shown; as it is unless set.
    pub fn presentation(mut self, presentation: Presentation) -> Mount {
        self.presentation = presentation;
        self
    }

    /// How contents go between programs and layers.
    pub fn io(mut self, io: Io) -> Mount {
        self.io = io;
        self
    }

    /// How many threads answer requests. Default: as many as the machine runs
    /// at once, two at least.
    pub fn threads(mut self, threads: NonZeroUsize) -> Mount {
        self.threads = Some(threads);
        self
    }

    /// What others change in the branches is seen at once, though the kernel
    /// keeps what it knows (`udba=notify` of AuFS). The union has to find it:
    /// [`Others::Write`](overlay_core::union::Others).
    pub fn follow_others(mut self) -> Mount {
        self.follows = true;
        self
    }

    /// Who answers what is asked of the mount itself, by
    /// [`control::ask`](crate::control::ask); so its branches can change.
    pub fn control(mut self, control: Arc<dyn Control>) -> Mount {
        self.control = Some(control);
        self
    }

    /// Mounts at the directory `point`. Requests are answered from the moment
    /// this returns.
    ///
    /// Whether `point` lies inside a layer is for the caller to check (as
    /// [`Directories`](overlay_core::Directories) does with `mount_point`):
    /// a union does not know its paths.
    pub fn mount(self, point: impl AsRef<Path>) -> Result<MountHandle, MountError> {
        let given = point.as_ref();
        let point = given
            .canonicalize()
            .map_err(|source| MountError::Point(given.to_owned(), source))?;
        let options = match self.union.is_read_only() {
            // The kernel then refuses changes itself, as on its own overlay.
            true => self.options.set(MountFlag::ReadOnly),
            false => self.options,
        };
        let follower = match self.follows {
            true => Some(Follower::new(&self.union).map_err(MountError::Follow)?),
            false => None,
        };
        // The kernel's writes to a layer's file do not know of this flag.
        let synchronous = options.has(MountFlag::Synchronous);
        let device = device::mount(&point, &options)?;
        let mut config = Config::default();
        config.acl = match options.allows_others() {
            true => SessionACL::All,
            false => SessionACL::Owner,
        };
        config.n_threads = Some(self.threads.map_or_else(default_threads, NonZeroUsize::get));
        // A queue of its own for each thread; needs to open /dev/fuse again.
        config.clone_fd = device.reopens;
        let unmounter = Unmounter::of(&point);
        let epoch = match device.fd.try_clone() {
            Ok(copy) => Some(Epoch::new(copy, unmounter.filesystem())),
            Err(error) => {
                tracing::warn!(%error, "the kernel will keep names over a change of the branches");
                None
            }
        };
        // Now that nothing about the mount can be refused any more.
        let recovered = self.union.recover();
        let live = Arc::new(Live::new(self.union));
        let following = follower.clone();
        let more = More {
            follower,
            epoch: epoch.filter(|_| self.control.is_some()),
            control: self.control,
            io: match synchronous {
                true => Io::Cached,
                false => self.io,
            },
        };
        let adapter = Adapter::new(Arc::clone(&live), self.presentation, more);
        let notifier = adapter.notifier();
        let session = recovered.map_err(MountError::Recover).and_then(|()| {
            if let Some(follower) = following {
                let started = follower.start(&live, Arc::clone(&notifier));
                started.map_err(MountError::Session)?;
            }
            Session::from_fd(adapter, device.fd, config.acl, config)
                .and_then(|session| {
                    notifier.get_or_init(|| session.notifier());
                    thread::Builder::new()
                        .name("overlay-fuse".into())
                        .spawn(move || session.run())
                })
                .map_err(MountError::Session)
        });
        match session {
            Ok(session) => Ok(MountHandle {
                session: Some(session),
                unmounter,
            }),
            Err(failed) => {
                // The first error is the one to tell.
                if let Err(error) = unmounter.unmount() {
                    tracing::warn!(%error, "a failed mount stays");
                }
                Err(failed)
            }
        }
    }
}

fn default_threads() -> usize {
    thread::available_parallelism().map_or(LEAST_THREADS, |n| n.get().max(LEAST_THREADS))
}

/// A mounted union. Dropping it unmounts.
#[derive(Debug)]
#[must_use = "dropping the handle unmounts"]
pub struct MountHandle {
    session: Option<JoinHandle<io::Result<()>>>,
    unmounter: Unmounter,
}

impl MountHandle {
    /// Where it is mounted: absolute, without symlinks.
    pub fn point(&self) -> &Path {
        self.unmounter.point()
    }

    /// Something that can unmount it from another thread.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Waits until it is unmounted, by whomever, and the last file is closed.
    pub fn wait(mut self) -> Result<(), MountError> {
        self.join()
    }

    /// Unmounts. Where files are in use it unmounts lazily: the union is gone
    /// from the tree, and goes on serving those files until they are closed.
    pub fn unmount(mut self) -> Result<Unmounted, MountError> {
        let how = self.unmounter.unmount()?;
        match how {
            Unmounted::Now | Unmounted::Already => self.join()?,
            Unmounted::Lazily => self.session = None,
        }
        Ok(how)
    }

    fn join(&mut self) -> Result<(), MountError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        match session.join() {
            Ok(result) => ended(result),
            // Requests do not panic (see `answer`), so fuser itself did.
            Err(_) => Err(MountError::Session(io::Error::other(
                "the thread that serves the mount has failed",
            ))),
        }
    }
}

impl Drop for MountHandle {
    fn drop(&mut self) {
        if self.session.is_none() {
            return;
        }
        let result = match self.unmounter.unmount() {
            Ok(Unmounted::Now | Unmounted::Already) => self.join(),
            // To wait for others to close their files could take for ever.
            Ok(Unmounted::Lazily) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%error, point = %self.point().display(), "unmounting failed");
        }
    }
}

/// How serving ended. The kernel says `ENODEV` once the mount is gone, which
/// fuser takes for the end, but `ECONNABORTED` to a thread that was just taking
/// a request out of the queue (`fuse_dev_do_read` in `fs/fuse/dev.c`).
fn ended(result: io::Result<()>) -> Result<(), MountError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
        result => result.map_err(MountError::Session),
    }
}

/// Finds out whether this process could mount at all, without doing it.
///
/// Fails where `/dev/fuse` is missing, or where an ordinary user has no
/// `fusermount3`.
pub fn check_fuse() -> Result<(), MountError> {
    device::check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_a_request_under_way_at_the_end_is_no_failure() {
        let errno = |errno: rustix::io::Errno| Err(io::Error::from(errno));
        assert!(ended(errno(rustix::io::Errno::CONNABORTED)).is_ok());
        assert!(ended(errno(rustix::io::Errno::IO)).is_err());
    }
}
