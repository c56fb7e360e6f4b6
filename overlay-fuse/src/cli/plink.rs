//! `ufs plink`: the pseudo-links of a branch that is not mounted, told, and
//! made hard links.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use overlay_core::Stack;
use overlay_core::stack::directories::{BranchAccess, LoneBranch, OpenedBranch, Opener};
use overlay_core::union::plinks::{self, Flushed, Left};

use super::ending::{self, Ending};
use super::plan::aufs::{AufsMount, MountAccess, Opaque, read};
use super::progress::Progress;
use super::{branches, shown};

mod told;

/// What it is called in sentences.
const COMMAND: &str = "ufs plink";

/// The exit codes; as far as they have the same meaning, those of `ufs check`.
mod code {
    /// Some pseudo-links are left.
    pub const LEFT: u8 = 4;
    /// It could not be done, or not wholly.
    pub const FAILED: u8 = 8;
    /// The words mean nothing.
    pub const USAGE: u8 = 16;
    /// Whoever read the list had enough of it.
    pub const CANCELLED: u8 = 32;
}

const HELP: &str = "\
Exit status: 0 done, 4 some pseudo-links are left, 8 failed (also if the branch
is in use), 16 usage, 32 the reader of the output went away.";

/// The words after `ufs plink`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the pseudo-links of branches: whose copies they are, and by which
    /// names
    List {
        /// The directories, which no mounted union writes to
        #[arg(required = true, value_name = "BRANCH")]
        branches: Vec<PathBuf>,
        /// As lines of JSON
        #[arg(long)]
        json: bool,
    },
    /// Give every name that lower branches have of such a file to the copy on
    /// BRANCH, and remove the pseudo-links
    Flush {
        /// The writable branch of a stack that is not mounted
        branch: OsString,
        /// The branches below it, top first: DIR or DIR=PERMISSION, as for
        /// ufsmount -o br:
        #[arg(required = true, value_name = "LOWER")]
        lowers: Vec<OsString>,
        /// Also remove pseudo-links of files of which the branches below show no
        /// name
        #[arg(long)]
        all: bool,
        /// Say nothing but why it failed
        #[arg(short = 'q', long)]
        quiet: bool,
    },
}

/// Runs `ufs plink`.
pub(super) fn run(args: Args) -> ExitCode {
    let done = match args.task {
        Task::List { branches, json } => list(&branches, json),
        Task::Flush {
            branch,
            lowers,
            all,
            quiet,
        } => flush(branch, lowers, all, quiet),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.end(COMMAND),
    }
}

/// Words that clap does not understand.
pub(super) fn usage_error(error: &clap::Error) -> ExitCode {
    ending::usage_error(COMMAND, code::USAGE, error)
}

fn failed(error: impl ToString) -> Ending {
    Ending::Failed(code::FAILED, error.to_string())
}

fn list(paths: &[PathBuf], json: bool) -> Result<(), Ending> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for path in paths {
        let branch = LoneBranch::open(path).map_err(failed)?;
        let found = plinks::list(&branch.root());
        let found = found.map_err(|error| failed(format!("{}: {error}", shown(path))))?;
        for plink in &found {
            let line = match json {
                true => told::json(path, plink),
                false => told::line(path, plink),
            };
            writeln!(out, "{line}").map_err(unread)?;
        }
    }
    out.flush().map_err(unread)
}

fn unread(error: io::Error) -> Ending {
    match error.kind() == io::ErrorKind::BrokenPipe {
        true => Ending::Told(code::CANCELLED),
        false => failed(format!(
            "the list cannot be written ({error}): see where it goes"
        )),
    }
}

fn flush(branch: OsString, lowers: Vec<OsString>, all: bool, quiet: bool) -> Result<(), Ending> {
    let path = PathBuf::from(&branch);
    let stack = open(branch, lowers)?;
    let left = match all {
        true => Left::Remove,
        false => Left::Keep,
    };
    let mut progress = Progress::new("seen", io::stderr().is_terminal() && !quiet);
    let flushed = plinks::flush(stack, left, &mut |seen| progress.at(seen));
    progress.clear();
    let flushed = flushed.map_err(|error| {
        failed(format!(
            "{}: {error}; see to that, and run the command again: it goes on where it was",
            shown(&path)
        ))
    })?;
    if !quiet {
        tell(&path, &flushed)?;
    }
    match flushed.kept.is_empty() && flushed.others == 0 {
        true => Ok(()),
        false => Err(Ending::Told(code::LEFT)),
    }
}

fn tell(path: &Path, flushed: &Flushed) -> Result<(), Ending> {
    let mut out = io::stdout().lock();
    let lines = told::flushed(path, flushed);
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .map_err(unread)
}

/// The branches as `br:` would mount them.
fn open(branch: OsString, lowers: Vec<OsString>) -> Result<Stack, Ending> {
    let usage = |error: &dyn ToString| Ending::Failed(code::USAGE, error.to_string());
    let mut list = OsString::from("br:");
    list.push(branch);
    for lower in lowers {
        list.push(":");
        list.push(lower);
    }
    let words = read(&list).map_err(|error| usage(&error))?;
    let mount = AufsMount::new(words, MountAccess::ReadWrite).map_err(|error| usage(&error))?;
    let opener = Opener::new(None);
    let mut opened: Vec<OpenedBranch> = Vec::new();
    for branch in &mount.branches {
        let directory = branches::directory(branch, Opaque::default());
        let is_written = matches!(directory.access, BranchAccess::Writable { .. });
        if is_written != opened.is_empty() {
            let sentence = "the first branch is written, and no other: pseudo-links are on the \
                            branch above all others";
            return Err(usage(&sentence));
        }
        let others: Vec<PathBuf> = opened.iter().map(|other| other.real.clone()).collect();
        opened.push(opener.open(&directory, &others).map_err(failed)?);
    }
    let mut stack = Stack::new();
    for (at, branch) in opened.into_iter().enumerate() {
        branch.insert(&mut stack, at);
    }
    Ok(stack)
}
