//! One mount of one peer on a fresh upper layer. Dropping it unmounts, ends
//! the server, and removes the upper layer.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use tempfile::TempDir;

use super::peer::{Peer, Places, Program};
use super::{OURS, say, sys};

/// How long a server may take to mount, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a mount may be busy after the last file was closed: servers close
/// theirs when they are told, which is later.
const BUSY: Duration = Duration::from_secs(3);

const EVERY: Duration = Duration::from_millis(5);

/// A live mount.
#[derive(Debug)]
pub(crate) struct Mounted {
    home: TempDir,
    point: PathBuf,
    server: Option<Child>,
}

impl Mounted {
    /// Mounts `peer` over `lowers`, with an upper layer in a new directory
    /// inside `parent`.
    pub(crate) fn new(peer: &Peer, lowers: &[PathBuf], parent: &Path) -> io::Result<Mounted> {
        let home = tempfile::Builder::new()
            .prefix("mount-")
            .tempdir_in(parent)?;
        let in_home = |name: &str| {
            let path = home.path().join(name);
            fs::create_dir(&path).map(|()| path)
        };
        let (upper, work, point) = (in_home("upper")?, in_home("work")?, in_home("point")?);
        let places = Places {
            lowers,
            upper: &upper,
            work: &work,
            point: &point,
        };
        let log = home.path().join("log");
        let server = match &peer.program {
            Program::None => {
                overlay(&places, &peer.options)?;
                None
            }
            Program::Itself => {
                let mut command = Command::new("/proc/self/exe");
                command.arg0(OURS);
                Some(serve(command, peer, &places, &log)?)
            }
            Program::At(path) => Some(serve(Command::new(path), peer, &places, &log)?),
        };
        let mut mounted = Mounted {
            home,
            point,
            server,
        };
        mounted.wait_until_live(&log)?;
        Ok(mounted)
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// The number of its server's process.
    pub(crate) fn server(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// A mount has another device than the directory that it is on.
    fn is_live(&self) -> io::Result<bool> {
        let outside = fs::metadata(self.home.path())?.dev();
        match fs::metadata(&self.point) {
            Ok(inside) => Ok(inside.dev() != outside),
            // A server that has mounted and does not answer yet, or is gone.
            Err(_) => Ok(false),
        }
    }

    fn wait_until_live(&mut self, log: &Path) -> io::Result<()> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        let start = Instant::now();
        let ended = loop {
            if let Some(status) = server.try_wait()? {
                break status.to_string();
            }
            let outside = fs::metadata(self.home.path())?.dev();
            if fs::metadata(&self.point).is_ok_and(|inside| inside.dev() != outside) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                break "no mount in time".to_owned();
            }
            thread::sleep(EVERY);
        };
        let said = fs::read_to_string(log).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing");
        Err(io::Error::other(format!(
            "the mount failed ({ended}): {last}"
        )))
    }

    fn unmount(&self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            match unmount(&self.point, UnmountFlags::NOFOLLOW) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY) if start.elapsed() < BUSY => thread::sleep(EVERY),
                Err(Errno::BUSY) => {
                    say(&format!(
                        "{} is busy: unmounted lazily",
                        self.point.display()
                    ));
                    return Ok(unmount(&self.point, UnmountFlags::DETACH)?);
                }
                // Its server has done so.
                Err(Errno::INVAL) if !self.is_live()? => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn end_server(&mut self) -> io::Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        let start = Instant::now();
        while server.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                say("a server does not end after unmounting: killed");
                server.kill()?;
            }
            thread::sleep(EVERY);
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            say(&format!("unmounting {}: {error}", self.point.display()));
        }
        if let Err(error) = self.end_server() {
            say(&format!("ending a server: {error}"));
        }
    }
}

fn serve(mut command: Command, peer: &Peer, places: &Places<'_>, log: &Path) -> io::Result<Child> {
    let log = File::create(log)?;
    command
        .args(peer.words(places))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    sys::dies_with_us(&mut command);
    command.spawn()
}

/// The kernel's own, through the new mount calls: 200 lower layers do not fit
/// into the page of `mount(2)`. Needs Linux 6.8 for `lowerdir+`.
fn overlay(places: &Places<'_>, options: &[String]) -> io::Result<()> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in places.lowers {
        fsconfig_set_string(&fs, "lowerdir+", lower)?;
    }
    fsconfig_set_string(&fs, "upperdir", places.upper)?;
    fsconfig_set_string(&fs, "workdir", places.work)?;
    for option in options {
        match option.split_once('=') {
            Some((name, value)) => fsconfig_set_string(&fs, name, value)?,
            None => fsconfig_set_flag(&fs, option.as_str())?,
        }
    }
    fsconfig_create(&fs)?;
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount, "", rustix::fs::CWD, places.point, from)?)
}
