//! `ufs check`: words in, findings out, and the exit codes of `fsck(8)`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use overlay_core::check::{Check, Event, Redirects, Repair, Settings, Summary};
use overlay_core::stack::directories::Opened;
use overlay_core::union::RedirectDir;
use overlay_core::{Directories, Stack};

use super::ending::{self, Ending};
use super::plan::{self, Unmounted};
use super::progress::Progress;
use super::serve::redirect_dir;

mod json;
mod text;

/// What it is called in sentences.
const COMMAND: &str = "ufs check";

/// The exit codes; bits, as those of `fsck(8)`.
mod code {
    /// Something was repaired.
    pub const REPAIRED: u8 = 1;
    /// Errors or warnings are left.
    pub const LEFT: u8 = 4;
    /// The check could not be done, or not wholly.
    pub const FAILED: u8 = 8;
    /// The words mean nothing.
    pub const USAGE: u8 = 16;
    /// Whoever read the findings had enough of them.
    pub const CANCELLED: u8 = 32;
}

const HELP: &str = "\
Layers and -o are as for ufsmount: replace the name of the command. Options
that concern the mount alone are accepted. At a mount point, after -o
lowerdir=..., no union may be mounted. WORK is UPPER.work unless named.

Nothing is written without --repair, and never to a lower layer.

Exit status, a sum of: 1 something was repaired, 4 errors or warnings are left,
8 the check failed or is not complete (also if the stack is in use), 16 usage,
32 the reader of the output went away. 0: no errors and no warnings.";

/// The words after `ufs check`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "ufs check [OPTIONS] LOWER[:LOWER...] [UPPER [WORK]]\n       \
                      ufs check [OPTIONS] -o lowerdir=...,upperdir=...,workdir=...",
    after_help = HELP
)]
pub(super) struct Args {
    /// The layers
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPTION[,OPTION...]")]
    options: Vec<OsString>,
    /// Only report what is found: the default
    #[arg(short = 'n', long, conflicts_with = "repair")]
    dry_run: bool,
    /// Repair what can be repaired, in UPPER and WORK
    #[arg(long)]
    repair: bool,
    /// Remove the note of a volatile mount: its data is known to be whole
    #[arg(long)]
    accept_volatile: bool,
    /// Repair although UPPER was last used over another lower layer
    #[arg(long)]
    accept_lower: bool,
    /// List leftovers and hints too
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Write all findings as lines of JSON
    #[arg(long)]
    json: bool,
}

/// Runs `ufs check`.
pub(super) fn run(args: Args) -> ExitCode {
    match checked(&args) {
        Ok(code) => ExitCode::from(code),
        Err(ending) => ending.end(COMMAND),
    }
}

/// Words that clap does not understand.
pub(super) fn usage_error(error: &clap::Error) -> ExitCode {
    ending::usage_error(COMMAND, code::USAGE, error)
}

fn checked(args: &Args) -> Result<u8, Ending> {
    let failed = |sentence: String| Ending::Failed(code::FAILED, sentence);
    let words = plan::unmounted(&args.options, args.paths.clone())
        .map_err(|error| Ending::Failed(code::USAGE, error.to_string()))?;
    let repair = repair_asked(args, &words)?;
    refuse_other_directories(args, &words.directories)?;
    let directories = &words.directories;
    match repair {
        Repair::Nothing => {
            let looked = directories
                .open_to_check()
                .map_err(|error| failed(error.to_string()))?;
            let settings = settings(args, &words, looked.stack())?;
            let check = match &directories.upper {
                Some(_) => Check::looking(looked.stack(), looked.workdir(), settings),
                None => Check::new(looked.stack(), settings),
            };
            let check = check.map_err(|error| failed(unreadable(&error)))?;
            tell(args, directories, &check, repair)
        }
        Repair::All => {
            // What opening made is taken back at the end.
            let opened: Opened = directories
                .open_to_repair()
                .map_err(|error| failed(error.to_string()))?;
            let settings = settings(args, &words, opened.stack())?;
            let check = Check::new(opened.stack(), settings);
            let check = check.map_err(|error| failed(unreadable(&error)))?;
            tell(args, directories, &check, repair)
        }
    }
}

fn unreadable(error: &overlay_core::Error) -> String {
    format!("the root of a layer cannot be read ({error}): check the layers")
}

fn repair_asked(args: &Args, words: &Unmounted) -> Result<Repair, Ending> {
    let usage = |sentence: &str| Err(Ending::Failed(code::USAGE, sentence.to_owned()));
    match (args.repair, &words.directories.upper) {
        (false, _) if args.accept_volatile || args.accept_lower => {
            usage("--accept-volatile and --accept-lower are for --repair: add it")
        }
        (false, _) => Ok(Repair::Nothing),
        (true, None) => usage(
            "without an upper layer nothing can be repaired: name UPPER, or leave --repair out",
        ),
        (true, Some(_)) if words.read_only => {
            usage("repairs are written to the upper layer: leave ro or --repair out")
        }
        (true, Some(_)) => Ok(Repair::All),
    }
}

/// A third path is a mount point for `ufsmount`, and a work directory here.
fn refuse_other_directories(args: &Args, directories: &Directories) -> Result<(), Ending> {
    let (Some(work), true) = (&directories.work, args.paths.len() > 2) else {
        return Ok(());
    };
    let has = |name: &str| fs::symlink_metadata(work.join(name)).is_ok();
    // A missing one is refused with the other directories.
    if !work.is_dir() || has("work") || has("index") {
        return Ok(());
    }
    let sentence = format!(
        "{work:?} has not been a work directory yet: name the one of this upper layer, or leave it out"
    );
    Err(Ending::Failed(code::FAILED, sentence))
}

fn settings(args: &Args, words: &Unmounted, stack: &Stack) -> Result<Settings, Ending> {
    let redirects = redirect_dir(words.redirect_dir, stack)
        .map_err(|failure| Ending::Failed(code::USAGE, failure.sentence().to_owned()))?;
    Ok(Settings {
        redirects: match redirects {
            RedirectDir::On | RedirectDir::Follow => Redirects::Followed,
            RedirectDir::NoFollow => Redirects::Refused,
        },
        accept_volatile: args.accept_volatile,
        accept_lower: args.accept_lower,
    })
}

/// Runs the check and tells what it finds.
fn tell(
    args: &Args,
    directories: &Directories,
    check: &Check,
    repair: Repair,
) -> Result<u8, Ending> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut progress = Progress::new("checked", io::stderr().is_terminal());
    let mut written = Ok(());
    let summary = check.run(repair, &mut |event| {
        match event {
            Event::Progress(objects) => progress.at(objects),
            Event::Found(finding) => {
                progress.clear();
                let line = match args.json {
                    true => json::finding(directories, finding),
                    false => text::finding(directories, finding, repair, args.verbose),
                };
                if written.is_ok() {
                    written = line.map_or(Ok(()), |line| writeln!(out, "{line}"));
                }
            }
        }
        match (&written, repair) {
            // What was begun is finished, whether it is read or not.
            (Ok(()), _) | (Err(_), Repair::All) => ControlFlow::Continue(()),
            (Err(_), Repair::Nothing) => ControlFlow::Break(()),
        }
    });
    progress.clear();
    let summary = summary.map_err(|error| Ending::Failed(code::FAILED, unreadable(&error)))?;
    let code = exit_code(&summary);
    let last = match args.json {
        true => json::summary(&summary, code),
        false => text::summary(&summary, args.verbose),
    };
    let written = written
        .and_then(|()| writeln!(out, "{last}"))
        .and_then(|()| out.flush());
    match written {
        Ok(()) => Ok(code),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code | code::CANCELLED),
        Err(error) => Err(Ending::Failed(
            code | code::FAILED,
            format!("the findings cannot be written ({error}): see where they go"),
        )),
    }
}

fn exit_code(summary: &Summary) -> u8 {
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    bit(summary.repaired > 0, code::REPAIRED)
        | bit(summary.left > 0, code::LEFT)
        | bit(summary.unreadable > 0, code::FAILED)
}
