//! `ufs branch`: the branches of a mounted stack, told and changed. The server
//! does it (`control.rs`); here are the words.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use rustix::fs::StatVfsMountFlags;
use serde_json::json;

use super::control::{CHANGE, LIST};
use super::plan::Remount;
use super::plan::aufs::read;
use super::{Failure, WRONG_WORDS, ending, shown};
use crate::control::{Answer, ask};

mod words;

use words::{absolute, word, words};

/// What it is called in sentences.
const COMMAND: &str = "ufs branch";

/// What is done with the branches of a mount.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the branches, top first
    List {
        /// Where the stack is mounted
        mount: PathBuf,
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Put a branch at a place among the others; 0 is the top
    #[command(visible_alias = "insert")]
    Add {
        /// Where the stack is mounted
        mount: PathBuf,
        /// Its place; what is there, and all below it, go one further down
        index: usize,
        /// DIR or DIR=PERMISSION
        branch: OsString,
    },
    /// Put branches below all others, one below the other
    Append {
        /// Where the stack is mounted
        mount: PathBuf,
        /// DIR or DIR=PERMISSION
        #[arg(required = true)]
        branches: Vec<OsString>,
    },
    /// Put branches on top, one above the other
    Prepend {
        /// Where the stack is mounted
        mount: PathBuf,
        /// DIR or DIR=PERMISSION
        #[arg(required = true)]
        branches: Vec<OsString>,
    },
    /// Take branches away
    Remove {
        /// Where the stack is mounted
        mount: PathBuf,
        /// Their directories
        #[arg(required = true)]
        branches: Vec<OsString>,
    },
    /// Change what branches may be used for
    Mode {
        /// Where the stack is mounted
        mount: PathBuf,
        /// DIR=PERMISSION: rw, ro, ro+wh, ...
        #[arg(required = true)]
        branches: Vec<OsString>,
    },
    /// Make the writable layer of an overlay read-only, and put a new one on top
    Freeze {
        /// Where the stack is mounted
        mount: PathBuf,
        /// The new writable layer; its work directory is <DIR>.work
        branch: OsString,
    },
    /// Do what the words of a remount say, all of them or none
    Change {
        /// Where the stack is mounted
        mount: PathBuf,
        /// For example append:/base=ro+wh,del:/old
        words: OsString,
    },
}

/// Runs the command.
pub(super) fn run(args: Args) -> ExitCode {
    match done(args.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(COMMAND),
    }
}

/// Words that clap does not understand.
pub(super) fn usage_error(error: &clap::Error) -> ExitCode {
    ending::usage_error(COMMAND, WRONG_WORDS, error)
}

fn done(task: Task) -> Result<(), Failure> {
    match task {
        Task::List { mount, json } => list(&mount, json),
        Task::Add {
            mount,
            index,
            branch,
        } => change(&mount, vec![word(&format!("add:{index}:"), &branch)?]),
        Task::Append { mount, branches } => change(&mount, words("append:", &branches)?),
        Task::Prepend { mount, branches } => change(&mount, words("prepend:", &branches)?),
        Task::Remove { mount, branches } => change(&mount, words("del:", &branches)?),
        Task::Mode { mount, branches } => change(&mount, words("mod:", &branches)?),
        Task::Freeze { mount, branch } => freeze(&mount, &branch),
        Task::Change { mount, words } => change_by(&mount, &[words]),
    }
}

/// `ufsmount -o remount,...`.
pub(super) fn remount(remount: &Remount) -> Result<(), Failure> {
    let point = &remount.point;
    let is_read_only = || {
        let stat = rustix::fs::statvfs(point);
        stat.is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
    };
    if remount.read_only && !is_read_only() {
        return Err(Failure::Usage(format!(
            "ro and words about branches are two remounts: make {} read-only with mount -i -o \
             remount,ro",
            shown(point)
        )));
    }
    change_by(point, &remount.words)
}

/// What the words of a remount say.
fn change_by(mount: &Path, words: &[OsString]) -> Result<(), Failure> {
    let words = words.iter().map(|list| absolute(list));
    change(mount, words.collect::<Result<_, _>>()?)
}

fn change(mount: &Path, words: Vec<OsString>) -> Result<(), Failure> {
    let words = words.join(",".as_ref());
    // What has no meaning is no failure of the mount.
    read(&words).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut request = OsString::from_vec(CHANGE.to_vec());
    request.push(words);
    asked(mount, request.as_bytes()).map(drop)
}

fn freeze(mount: &Path, branch: &OsString) -> Result<(), Failure> {
    let branches = branches(mount)?;
    let written: Vec<&Branch> = branches
        .iter()
        .filter(|b| b.permission.starts_with("rw"))
        .collect();
    let [upper] = written.as_slice() else {
        return Err(Failure::Task(format!(
            "{} has not one writable layer but {}: use ufs branch mode and ufs branch prepend",
            shown(mount),
            written.len()
        )));
    };
    let frozen = word("mod:", &upper.path.clone().into_os_string())?;
    let mut frozen = frozen.into_vec();
    frozen.extend(b"=ro");
    let mut new = word("prepend:", branch)?;
    if !new.as_bytes().ends_with(b"=rw") {
        new.push("=rw");
    }
    change(mount, vec![OsString::from_vec(frozen), new])
}

/// One line of the list.
struct Branch {
    permission: String,
    free: u64,
    size: u64,
    path: PathBuf,
}

fn branches(mount: &Path) -> Result<Vec<Branch>, Failure> {
    let mut branches = Vec::new();
    loop {
        let from = [LIST, branches.len().to_string().as_bytes()].concat();
        let more = parsed(&asked(mount, &from)?)?;
        if more.is_empty() {
            return Ok(branches);
        }
        branches.extend(more);
    }
}

fn parsed(text: &[u8]) -> Result<Vec<Branch>, Failure> {
    let lines = text
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty());
    let parse = |line: &[u8]| {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(parts.next()?).ok();
        let permission = word()?.to_owned();
        let (free, size) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let path = OsString::from_vec(parts.next()?.to_vec()).into();
        Some(Branch {
            permission,
            free,
            size,
            path,
        })
    };
    lines
        .map(|line| {
            parse(line).ok_or_else(|| Failure::Task("the server's list makes no sense".into()))
        })
        .collect()
}

fn list(mount: &Path, json: bool) -> Result<(), Failure> {
    let branches = branches(mount)?;
    let mut out = io::stdout().lock();
    let written = match json {
        true => {
            let rows: Vec<_> = branches
                .iter()
                .enumerate()
                .map(|(index, branch)| {
                    json!({
                        "index": index,
                        "permission": branch.permission,
                        "directory": branch.path.to_string_lossy(),
                        "available_bytes": branch.free,
                        "size_bytes": branch.size,
                    })
                })
                .collect();
            writeln!(out, "{}", json!({ "branches": rows }))
        }
        false => branches.iter().enumerate().try_for_each(|(index, branch)| {
            writeln!(
                out,
                "{index:>3}  {:<8} {:>8} free of {:>8}  {}",
                branch.permission,
                bytes(branch.free),
                bytes(branch.size),
                shown(&branch.path)
            )
        }),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Task(format!(
            "the list cannot be written ({error})"
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// As `df -h` has it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let mut size = count as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    while size >= 1024.0 {
        match units.next() {
            Some(next) => (size, unit) = (size / 1024.0, next),
            None => break,
        }
    }
    match size < 10.0 && *unit != "B" {
        true => format!("{size:.1}{unit}"),
        false => format!("{size:.0}{unit}"),
    }
}

fn asked(mount: &Path, request: &[u8]) -> Result<Vec<u8>, Failure> {
    match ask(mount, request) {
        Ok(Answer::Done(text)) => Ok(text),
        Ok(Answer::Refused(why)) => Err(Failure::Task(why)),
        Err(error) => Err(Failure::Task(match error.raw_os_error() {
            Some(libc::ENOTTY | libc::EINVAL | libc::ENOSYS) => format!(
                "{} is not the root of a mount by ufsmount: name the mount point",
                shown(mount)
            ),
            Some(libc::E2BIG) => {
                "so much does not fit into one request: change the branches in several".to_owned()
            }
            Some(libc::EPERM) => format!(
                "the branches of {} cannot be changed from here: ask as the user who has mounted it, \
                 with all rights, and outside of containers",
                shown(mount)
            ),
            _ => format!("{} cannot be asked ({error})", shown(mount)),
        })),
    }
}
