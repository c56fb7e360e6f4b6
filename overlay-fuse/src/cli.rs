//! The commands: words in, a mount or one sentence out.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

mod daemon;
mod escape;
mod plan;
mod serve;
mod ufs;

pub use plan::{Plan, UsageError};
pub use ufs::ufs;

/// What `--help` says below the options.
const OPTIONS_HELP: &str = "\
Layers are named from the top down and separated by ':'. Without UPPER the
union is read-only. In LOWER, and in the values of -o, write ':' as '\\:',
',' as '\\,' and '\\' as '\\\\'. UPPER and MOUNTPOINT are taken as they are.

Options for -o:
  lowerdir=DIR[:DIR...]    the read-only layers, top first (lowerdir+=DIR: one more)
  upperdir=DIR             the layer that takes all changes
  workdir=DIR              where changes are prepared, on the filesystem of
                           upperdir; default: <upperdir>.work, made if missing
  userxattr                marks in user.overlay.* instead of trusted.overlay.*
                           (what an ordinary user gets in any case)
  ro, rw                   with ro, UPPER is only read too
  nosuid, nodev            no effect of setuid, no device nodes: what an
                           ordinary user gets in any case
  suid, dev                the contrary: the default for root, and only for root
  exec, noexec, atime, noatime, diratime, nodiratime, sync, async, dirsync
                           as mount(8) says
  allow_other              for all users; root has it in any case
  fsname=NAME, subtype=NAME
                           how /proc/mounts shows the mount
  debug                    as --debug
  redirect_dir=on|follow|nofollow|off
                           whether directories with lower content can be renamed
                           (on: the default), and whether layers in which that
                           was done are followed (off: as follow); with userxattr
                           nofollow
  default_permissions, relatime, index=off, metacopy=off, nfs_export=off,
  verity=off               accepted: so it is in any case
  defaults, auto, noauto, user, nouser, users, nofail, _netdev, x-...
                           accepted: they are for mount(8)

Unmount with umount, or fusermount3 -u as an ordinary user.";

/// Mounts a union of directories.
#[derive(Debug, Parser)]
#[command(
    name = "ufsmount",
    version,
    override_usage = "ufsmount [OPTIONS] LOWER[:LOWER...] [UPPER] MOUNTPOINT\n       \
                      ufsmount -o lowerdir=...,upperdir=...,workdir=... [SOURCE] MOUNTPOINT",
    after_help = OPTIONS_HELP
)]
pub struct Args {
    /// The layers and the mount point
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPTION[,OPTION...]")]
    options: Vec<OsString>,
    /// Stay in the foreground
    #[arg(short = 'f', long)]
    foreground: bool,
    /// Tell every request on the standard error; implies --foreground
    #[arg(long)]
    debug: bool,
    /// Append what the server has to say to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// This is the server, and its standard output is a pipe to the command
    #[arg(long, hide = true)]
    detached: bool,
}

/// Runs `ufsmount` with the arguments of this process.
pub fn ufsmount() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => fail("ufsmount", &sentence),
    }
}

/// Says why, and how to end the process.
pub(crate) fn fail(program: &str, sentence: &str) -> ExitCode {
    match writeln!(io::stderr(), "{program}: {sentence}") {
        // Without a standard error the status says it alone.
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}

fn run(args: &[OsString]) -> Result<(), String> {
    let parsed = match Args::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(error) => return usage("ufsmount", &error),
    };
    let detached = parsed.detached;
    let plan = parsed.plan().map_err(|error| error.to_string())?;
    if detached {
        daemon::serve_detached(plan)
    } else if plan.foreground {
        serve::in_foreground(plan)
    } else {
        daemon::start(args)
    }
}

/// `--help` and `--version` are no errors; of all else, clap's first line.
fn usage(program: &str, error: &clap::Error) -> Result<(), String> {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        return error.print().map_err(|error| error.to_string());
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(format!("what to do? See {program} --help"));
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    Err(format!("{line}: see {program} --help"))
}

/// Whether the log on the standard error may have colours.
pub(crate) fn colours() -> bool {
    io::stderr().is_terminal()
}
