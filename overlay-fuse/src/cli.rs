//! The commands: words in, a mount or one sentence out.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use overlay_core::SetupError;

use crate::mount::MountError;

mod branch;
mod branches;
mod check;
mod control;
mod convert;
mod daemon;
mod ending;
mod escape;
mod log;
mod mapped;
mod plan;
mod plink;
mod progress;
mod serve;
mod ufs;

pub use plan::{Plan, UsageError, aufs};
pub use ufs::ufs;

/// What `--help` says of the layers.
const LAYERS_HELP: &str = "\
Layers are named from the top down and separated by ':'. Without UPPER the
union is read-only. In LOWER, and in the values of -o, write ':' as '\\:',
',' as '\\,' and '\\' as '\\\\'. UPPER and MOUNTPOINT are taken as they are.
";

/// What `--help` says at its end.
const UNMOUNT_HELP: &str = "\
Unmount with umount, or fusermount3 -u as an ordinary user.";

/// Mounts a union of directories.
#[derive(Debug, Parser)]
#[command(
    name = "ufsmount",
    version,
    override_usage = "ufsmount [OPTIONS] LOWER[:LOWER...] [UPPER] MOUNTPOINT\n       \
                      ufsmount -o lowerdir=...,upperdir=...,workdir=... [SOURCE] MOUNTPOINT\n       \
                      ufsmount -o br:DIR[=PERMISSION][:DIR...] [SOURCE] MOUNTPOINT",
    after_help = after_help()
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
    #[arg(short = 'd', long)]
    debug: bool,
    /// Append what the server has to say to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// This is the server, and its standard output is a pipe to the command
    #[arg(long, hide = true)]
    detached: bool,
}

fn after_help() -> String {
    [LAYERS_HELP, &plan::help(), UNMOUNT_HELP].join("\n")
}

/// Runs `ufsmount` with the arguments of this process.
pub fn ufsmount() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell("ufsmount"),
    }
}

/// Why a command ends with another status than 0: one sentence.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The words make no sense, or are not for this user.
    Usage(String),
    /// What they ask for has failed.
    Task(String),
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Failure {
        let sentence = error.to_string();
        match error.is_about_an_option() {
            true => Failure::Usage(sentence),
            false => Failure::Task(sentence),
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Failure {
        Failure::Task(error.to_string())
    }
}

impl Failure {
    /// What one process says and ends with, as another understands it.
    fn of(sentence: String, status: Option<i32>) -> Failure {
        match status == Some(WRONG_WORDS.into()) {
            true => Failure::Usage(sentence),
            false => Failure::Task(sentence),
        }
    }

    fn sentence(&self) -> &str {
        match self {
            Failure::Usage(sentence) | Failure::Task(sentence) => sentence,
        }
    }

    fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => WRONG_WORDS,
            Failure::Task(_) => MOUNT_FAILED,
        }
    }

    /// Says why on the standard error.
    fn tell(&self, program: &str) -> ExitCode {
        say(program, self.sentence());
        ExitCode::from(self.status())
    }
}

/// What `mount(8)` ends with for a wrong call, or one that is not permitted.
const WRONG_WORDS: u8 = 1;

/// What `mount(8)` ends with when mounting failed.
const MOUNT_FAILED: u8 = 32;

pub(crate) fn say(program: &str, sentence: &str) {
    match writeln!(io::stderr(), "{program}: {sentence}") {
        // Without a standard error the status says it alone.
        Ok(()) | Err(_) => {}
    }
}

fn run(args: &[OsString]) -> Result<(), Failure> {
    let parsed = match Args::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(error) => return usage("ufsmount", &error).map_err(Failure::Usage),
    };
    if let Some(remount) = parsed.remount() {
        let remount = remount.map_err(|error| Failure::Usage(error.to_string()))?;
        return branch::remount(&remount);
    }
    let detached = parsed.detached;
    let plan = parsed
        .plan()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    if detached {
        daemon::serve_detached(plan)
    } else if plan.foreground {
        serve::in_foreground(plan)
    } else {
        daemon::start(args)
    }
}

/// `--help` and `--version` are no errors; of all else, clap's first sentence.
fn usage(program: &str, error: &clap::Error) -> Result<(), String> {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        return error.print().map_err(|error| error.to_string());
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(format!("what to do? See {program} --help"));
    }
    let text = error.to_string();
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    // Those that are missing stand below, one a line.
    let names = lines.take_while(|line| !line.is_empty()).map(str::trim);
    let names: Vec<&str> = names.filter(|_| line.ends_with(':')).collect();
    let line = match names.is_empty() {
        true => line.to_owned(),
        false => format!("{line} {}", names.join(", ")),
    };
    Err(format!("{line}: see {program} --help"))
}

/// A path as it is if a terminal takes no harm from it, else escaped.
fn shown(path: &Path) -> String {
    let path = path.as_os_str().as_encoded_bytes();
    match std::str::from_utf8(path) {
        Ok(path) if !path.contains(char::is_control) => path.to_owned(),
        Ok(_) | Err(_) => path.escape_ascii().to_string(),
    }
}

/// Whether the log on the standard error may have colours.
pub(crate) fn colours() -> bool {
    io::stderr().is_terminal()
}
