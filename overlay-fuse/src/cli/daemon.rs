//! Into the background, once the mount is live and not before.
//!
//! The command starts itself again as the server and waits for one line from
//! it: `live`, or the sentence that says why not. A new process instead of a
//! fork: a fork keeps only one thread, and whatever locks the others held.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::plan::Plan;
use super::{Failure, serve};
use crate::sys;

/// This program, whatever has become of its file.
const SELF: &str = "/proc/self/exe";

/// Where the server's standard streams lead.
const NULL: &str = "/dev/null";

/// The number after standard input, output and error.
const FIRST_NOT_STANDARD: u32 = 3;

/// What the server says when the mount is live.
const LIVE: &str = "live\n";

/// Starts the server with the same words and waits until the mount is live.
pub(super) fn start(args: &[OsString]) -> Result<(), Failure> {
    let no_server = |error| {
        let advice = "mount /proc, or use --foreground";
        Failure::Task(format!("the server cannot be started ({error}): {advice}"))
    };
    let (name, words) = args
        .split_first()
        .ok_or_else(|| Failure::Task("this program has no name".to_owned()))?;
    let null = null().map_err(|error| {
        let advice = "make it (mknod -m 666 /dev/null c 1 3), or use --foreground";
        Failure::Task(format!("{NULL} cannot be opened ({error}): {advice}"))
    })?;
    // What the caller has open is not for a server that outlives it: a lock
    // would stay taken, a pipe open.
    if let Err(error) = sys::close_on_exec_from(FIRST_NOT_STANDARD) {
        // Linux 5.11 has it.
        tracing::debug!(%error, "the server keeps what the caller has open");
    }
    let mut server = Command::new(SELF)
        .arg0(name)
        .arg("--detached")
        .args(words)
        .stdin(null)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(no_server)?;
    let mut said = Vec::new();
    if let Some(mut pipe) = server.stdout.take() {
        pipe.read_to_end(&mut said).map_err(no_server)?;
    }
    if said == LIVE.as_bytes() {
        return Ok(());
    }
    let status = server.wait().map_err(no_server)?;
    match String::from_utf8_lossy(&said).trim() {
        "" => Err(Failure::Task(format!(
            "the server ended without a word ({status}): try --foreground"
        ))),
        sentence => Err(Failure::of(sentence.to_owned(), status.code())),
    }
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open(NULL)
}

/// Serves as that server. Errors before the mount is live go through the pipe.
pub(super) fn serve_detached(plan: Plan) -> Result<(), Failure> {
    match mounted(plan) {
        Ok(serving) => {
            let result = serving.until_unmounted();
            // Nobody listens any more but the log.
            result.map_err(|error| {
                tracing::error!(%error, "the mount has ended");
                Failure::from(error)
            })
        }
        Err(failure) => {
            let mut pipe = io::stdout();
            match pipe.write_all(failure.sentence().as_bytes()) {
                Ok(()) => std::process::exit(failure.status().into()),
                Err(_) => Err(failure),
            }
        }
    }
}

fn mounted(plan: Plan) -> Result<serve::Serving, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::Task(format!("{what} failed ({error}): use -f"))
    };
    // A session of its own: the terminal's signals are not for the server.
    rustix::process::setsid().map_err(|errno| failed("setsid", &errno))?;
    let serving = serve::mount(plan)?;
    let leave = || -> io::Result<()> {
        let null = null()?;
        let mut pipe = io::stdout();
        // Fails if the command was interrupted; dropping `serving` unmounts.
        pipe.write_all(LIVE.as_bytes())?;
        pipe.flush()?;
        std::env::set_current_dir("/")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        // The last one: it ends the command's waiting.
        rustix::stdio::dup2_stdout(&null)?;
        Ok(())
    };
    leave().map_err(|error| failed("going to the background", &error))?;
    Ok(serving)
}
